"""Opening the archives of a run: at once, or when one is first asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol

from tcia_covid.archives.addresses import check_addresses
from tcia_covid.events import Emit
from tcia_covid.model import Series
from tcia_covid.options import Options
from tcia_covid.selection.carts import CartKeeper
from tcia_covid.selection.lists import Lister
from tcia_covid.stop import Stop

if TYPE_CHECKING:
    from tcia_covid.archives.choose import Archives


class Keeper(Lister, CartKeeper, Protocol):
    """What of NBIA tells which series there are."""


class Keepers(Protocol):
    """NBIA, asked patiently and hastily."""

    @property
    def nbia(self) -> Keeper:
        """For what nobody else can tell."""
        ...

    @property
    def hasty(self) -> Keeper:
        """For what can be had elsewhere as well."""
        ...


def open_for(options: Options, stop: Stop, emit: Emit) -> Archives:
    """Open the archives that the options name."""
    from tcia_covid.archives.choose import open_archives  # noqa: PLC0415 - brings all of HTTP along

    return open_archives(
        options.source,
        options.http,
        nbia_url=options.nbia_url,
        idc_url=options.idc_url,
        jobs=options.jobs,
        stop=stop,
        emit=emit,
    )


class OnDemand:
    """Archives that are opened when one is first asked: the catalogue alone does for most."""

    def __init__(self, options: Options, stop: Stop, emit: Emit) -> None:
        check_addresses(options.nbia_url, options.idc_url)
        self._open = partial(open_for, options, stop, emit)
        self._archives: Archives | None = None
        self.nbia = _Asked(lambda: self._opened().nbia)
        self.hasty = _Asked(lambda: self._opened().hasty)

    def _opened(self) -> Archives:
        self._archives = self._archives or self._open()
        return self._archives

    def close(self) -> None:
        """Close those that were opened."""
        if self._archives is not None:
            self._archives.close()


class _Asked:
    """One archive that is found when it is asked."""

    def __init__(self, find: Callable[[], Keeper]) -> None:
        self._find = find

    def collections(self) -> list[str]:
        return self._find().collections()

    def list_collection(self, collection: str) -> list[Series]:
        return self._find().list_collection(collection)

    def list_series(self, uids: Sequence[str]) -> list[Series]:
        return self._find().list_series(uids)

    def shared_cart(self, name: str) -> Sequence[str]:
        return self._find().shared_cart(name)
