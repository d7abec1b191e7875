"""What the addresses of archives have to look like, known before any archive is opened."""

from __future__ import annotations

from tcia_covid.archives.nbia.address import check_url


def check_addresses(nbia_url: str, idc_url: str | None) -> None:
    """See that archives could be opened at these addresses.

    Raises:
        UsageError: one of them is of no use.
    """
    check_url(nbia_url)
    if idc_url:
        from tcia_covid.archives.idc.hosts import read_hosts  # noqa: PLC0415 - few choose the host

        read_hosts(idc_url)
