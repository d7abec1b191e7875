"""Opening the archives that a run may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tcia_covid import catalogue
from tcia_covid.archives.base import Archive
from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.events import Emit
from tcia_covid.http import Client, Meter, RateLimit
from tcia_covid.settings import HttpSettings
from tcia_covid.stop import Stop

_IDC_CONNECTIONS_A_JOB = 2
"""S3 serves single images, so more requests are under way than with NBIA's streams."""


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of a run, and what they share."""

    nbia: NbiaArchive
    hasty: NbiaArchive
    """NBIA asked without much patience, for what can be had elsewhere as well."""
    order: Sequence[Archive]
    """Where series are fetched, the first choice first."""
    provers: Sequence[Archive]
    """Asked for hashes of what another archive gave, without much patience."""
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
    rate = RateLimit(settings.max_rate, stop)

    def client(settings: HttpSettings, connections: int = jobs) -> Client:
        return Client(
            settings, stop=stop, connections=connections, meter=meter, rate=rate, emit=emit
        )

    in_turn = source == "auto"
    patient, hasty = client(settings), client(_hasty(settings, first_byte=120.0))
    prover = client(_hasty(settings, first_byte=20.0))
    bucket = client(_prompt(settings, in_turn=in_turn), jobs * _IDC_CONNECTIONS_A_JOB)
    nbia = NbiaArchive(patient, nbia_url)
    idc = IdcArchive(
        bucket,
        idc_url,
        find=catalogue.find,
        list_all=catalogue.load,
        vain_starts=0 if in_turn else None,
    )
    orders: dict[str, list[Archive]] = {"nbia": [nbia], "idc": [idc], "auto": [idc, nbia]}
    return Archives(
        nbia=nbia,
        hasty=NbiaArchive(hasty, nbia_url, silences=0),
        order=orders[source],
        provers=[NbiaArchive(prover, nbia_url)] if in_turn else [],
        meter=meter,
        clients=(patient, hasty, prover, bucket),
    )


def _prompt(settings: HttpSettings, *, in_turn: bool) -> HttpSettings:
    """S3 answers at once or not at all; the long wait is for NBIA's ZIPs."""
    first_byte, connect = (20.0, 10.0) if in_turn else (60.0, settings.connect_timeout)
    return replace(
        settings,
        connect_timeout=min(settings.connect_timeout, connect),
        first_byte_timeout=min(settings.first_byte_timeout, first_byte),
    )


def _hasty(settings: HttpSettings, *, first_byte: float) -> HttpSettings:
    """For what can be had elsewhere, or done without: it must not hold up the rest."""
    return replace(
        settings,
        retries=min(settings.retries, 1),
        retry_after_cap=min(settings.retry_after_cap, 10.0),
        connect_timeout=min(settings.connect_timeout, 10.0),
        first_byte_timeout=min(settings.first_byte_timeout, first_byte),
    )
