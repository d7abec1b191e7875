"""What the addresses of archives have to look like, known before any archive is opened."""

from __future__ import annotations

from tcia_covid.archives.idc.hosts import DEFAULT_HOSTS, read_hosts
from tcia_covid.archives.nbia.address import check_url


def check_addresses(nbia_url: str, idc_url: str | None) -> None:
    """See that archives could be opened at these addresses.

    Raises:
        UsageError: one of them is of no use.
    """
    check_url(nbia_url)
    read_hosts(idc_url or DEFAULT_HOSTS)
