"""Opening the archives that a run may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tcia_covid import catalogue
from tcia_covid.archives.base import Archive
from tcia_covid.archives.idc import IdcArchive
from tcia_covid.archives.nbia import NbiaArchive
from tcia_covid.events import Emit
from tcia_covid.http import Client, HttpSettings, Meter
from tcia_covid.stop import Stop

_IDC_CONNECTIONS_A_JOB = 2
"""S3 serves single images, so more requests are under way than with NBIA's streams."""


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of a run, and what they share."""

    nbia: NbiaArchive
    hasty: NbiaArchive
    """NBIA asked without much patience, for what can be had elsewhere as well."""
    idc: IdcArchive
    order: Sequence[Archive]
    """Where series are fetched, the first choice first."""
    meter: Meter
    clients: tuple[Client, ...]

    def close(self) -> None:
        """Close all connections."""
        for client in self.clients:
            client.close()


def open_archives(
    source: str,
    settings: HttpSettings,
    *,
    nbia_url: str,
    idc_url: str | None,
    jobs: int,
    stop: Stop,
    emit: Emit,
) -> Archives:
    """Make the archives ready; nothing is sent yet."""
    meter = Meter()
    nbia_client = Client(settings, stop=stop, connections=jobs, meter=meter, emit=emit)
    idc_client = Client(
        _prompt(settings),
        stop=stop,
        connections=jobs * _IDC_CONNECTIONS_A_JOB,
        meter=meter,
        emit=emit,
    )
    hasty_client = Client(_hasty(settings), stop=stop, connections=jobs, meter=meter, emit=emit)
    nbia = NbiaArchive(nbia_client, nbia_url)
    hasty = NbiaArchive(hasty_client, nbia_url)
    idc = IdcArchive(idc_client, idc_url, find=catalogue.find, list_all=catalogue.load)
    orders: dict[str, list[Archive]] = {"nbia": [nbia], "idc": [idc], "auto": [idc, nbia]}
    clients = (nbia_client, hasty_client, idc_client)
    return Archives(nbia, hasty, idc, orders[source], meter, clients)


def _prompt(settings: HttpSettings) -> HttpSettings:
    """S3 answers at once or not at all; the long wait is for NBIA's ZIPs."""
    return replace(settings, first_byte_timeout=min(settings.first_byte_timeout, 60.0))


def _hasty(settings: HttpSettings) -> HttpSettings:
    return replace(
        settings,
        retries=min(settings.retries, 1),
        connect_timeout=min(settings.connect_timeout, 10.0),
        first_byte_timeout=min(settings.first_byte_timeout, 120.0),
    )
