"""Opening the archives that a run may use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from tcia_covid.archives.base import Archive
from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.idc.endpoints import parse_endpoints
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog import series_catalog
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import Emit
from tcia_covid.core.models import Series
from tcia_covid.core.settings import HttpSettings, check_nbia_url
from tcia_covid.http.client import Client
from tcia_covid.http.throttle import ByteCounter, RateLimiter
from tcia_covid.selection.lists import SeriesLister
from tcia_covid.selection.request import Options
from tcia_covid.selection.targets import CartArchive

_IDC_CONNECTIONS_A_JOB = 2
"""S3 serves single images, so more requests are under way than with NBIA's streams."""


@dataclass(frozen=True, slots=True)
class Archives:
    """The archives of a run, and what they share."""

    nbia: NbiaArchive
    quick: NbiaArchive
    """NBIA asked without much patience, for what can be had elsewhere as well."""
    order: Sequence[Archive]
    """Where series are fetched, the first choice first."""
    hash_archives: Sequence[Archive]
    """Asked for hashes of what another archive gave, without much patience."""
    meter: ByteCounter
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
    stop: CancelToken,
    emit: Emit,
) -> Archives:
    """Make the archives ready; nothing is sent yet."""
    meter = ByteCounter()
    rate = RateLimiter(settings.max_rate, stop)

    def client(settings: HttpSettings, connections: int = jobs) -> Client:
        return Client(
            settings, stop=stop, connections=connections, meter=meter, rate=rate, emit=emit
        )

    in_turn = source == "auto"
    patient, quick = client(settings), client(_hasty(settings, first_byte=120.0))
    prover = client(_hasty(settings, first_byte=20.0))
    bucket = client(_prompt(settings, in_turn=in_turn), jobs * _IDC_CONNECTIONS_A_JOB)
    nbia = NbiaArchive(patient, nbia_url)
    idc = IdcArchive(
        bucket,
        idc_url,
        find=series_catalog.find,
        list_all=series_catalog.load,
        start_retries=0 if in_turn else None,
    )
    orders: dict[str, list[Archive]] = {"nbia": [nbia], "idc": [idc], "auto": [idc, nbia]}
    return Archives(
        nbia=nbia,
        quick=NbiaArchive(quick, nbia_url, timeout_retries=0),
        order=orders[source],
        hash_archives=[NbiaArchive(prover, nbia_url)] if in_turn else [],
        meter=meter,
        clients=(patient, quick, prover, bucket),
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


class ListingArchive(SeriesLister, CartArchive, Protocol):
    """What of NBIA tells which series there are."""


class ListingArchives(Protocol):
    """NBIA, asked patiently and hastily."""

    @property
    def nbia(self) -> ListingArchive:
        """For what nobody else can tell."""
        ...

    @property
    def quick(self) -> ListingArchive:
        """For what can be had elsewhere as well."""
        ...


def open_for_options(options: Options, stop: CancelToken, emit: Emit) -> Archives:
    """Open the archives that the options name."""
    return open_archives(
        options.source,
        options.http,
        nbia_url=options.nbia_url,
        idc_url=options.idc_url,
        jobs=options.jobs,
        stop=stop,
        emit=emit,
    )


class LazyArchives:
    """Archives that are opened when one is first asked: the catalog alone does for most."""

    def __init__(self, options: Options, stop: CancelToken, emit: Emit) -> None:
        check_addresses(options.nbia_url, options.idc_url)
        self._open = partial(open_for_options, options, stop, emit)
        self._archives: Archives | None = None
        self.nbia = _LazyArchive(lambda: self._opened().nbia)
        self.quick = _LazyArchive(lambda: self._opened().quick)

    def _opened(self) -> Archives:
        self._archives = self._archives or self._open()
        return self._archives

    def close(self) -> None:
        """Close those that were opened."""
        if self._archives is not None:
            self._archives.close()


class _LazyArchive:
    """One archive that is found when it is asked."""

    def __init__(self, find: Callable[[], ListingArchive]) -> None:
        self._find = find

    def collections(self) -> list[str]:
        return self._find().collections()

    def list_collection(self, collection: str) -> list[Series]:
        return self._find().list_collection(collection)

    def list_series(self, uids: Sequence[str]) -> list[Series]:
        return self._find().list_series(uids)

    def shared_cart(self, name: str) -> Sequence[str]:
        return self._find().shared_cart(name)


def check_addresses(nbia_url: str, idc_url: str | None) -> None:
    """See that archives could be opened at these addresses.

    Raises:
        UsageError: one of them is of no use.
    """
    check_nbia_url(nbia_url)
    if idc_url:
        parse_endpoints(idc_url)
