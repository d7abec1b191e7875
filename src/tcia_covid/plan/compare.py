"""NBIA's lists beside the shipped catalogue, by SeriesInstanceUID."""

from __future__ import annotations

from dataclasses import dataclass

from tcia_covid import catalogue
from tcia_covid.download import open_for
from tcia_covid.errors import UsageError
from tcia_covid.events import Emit, discard
from tcia_covid.model import Series
from tcia_covid.options import Request
from tcia_covid.registry import Collection, load_registry
from tcia_covid.selection.filters import apply
from tcia_covid.stop import Stop


@dataclass(frozen=True, slots=True)
class Difference:
    """One series that an archive and the catalogue describe differently."""

    series: str
    images: tuple[int | None, int | None]
    """As the archive, as the catalogue has it."""
    sizes: tuple[int | None, int | None]


@dataclass(frozen=True, slots=True)
class Comparison:
    """An archive's list of one collection beside the catalogue's."""

    collection: str
    listed: int
    """Series in the archive's list."""
    known: int
    """Series in the catalogue."""
    only_nbia: list[str]
    only_catalogue: list[str]
    different: list[Difference]

    @property
    def same(self) -> int:
        """Series that both describe alike."""
        return self.listed - len(self.only_nbia) - len(self.different)

    @property
    def differs(self) -> bool:
        """Whether there is any difference."""
        return bool(self.only_nbia or self.only_catalogue or self.different)


def compare(
    request: Request, *, emit: Emit = discard, stop: Stop | None = None
) -> list[Comparison]:
    """Compare NBIA's lists of the collections asked for with the catalogue, after the filters.

    Raises:
        UsageError: a target is no collection of the catalogue.
        ArchiveError: NBIA gave no list.
    """
    stop = stop or Stop()
    registry = load_registry(request.options.registry)
    collections = [_catalogued(word, registry.find(word)) for word in request.targets]
    archives = open_for(request.options, stop, emit)
    try:
        pairs = [
            (one, archives.nbia.list_collection(one.nbia or one.name), catalogue.load(one.name))
            for one in collections
        ]
    finally:
        archives.close()
    return [
        _comparison(
            one.name,
            {series.uid: series for series in apply(request.filters, listed).series},
            {series.uid: series for series in apply(request.filters, known).series},
        )
        for one, listed, known in pairs
    ]


def _catalogued(word: str, collection: Collection | None) -> Collection:
    if collection is None or not catalogue.has(collection.name):
        known = ", ".join(entry.collection for entry in catalogue.info().entries)
        raise UsageError(
            f"{word!r} is not in the catalogue, so there is nothing to compare NBIA's list with",
            hint=f"--compare takes {known}",
        )
    return collection


def _comparison(name: str, listed: dict[str, Series], known: dict[str, Series]) -> Comparison:
    both = sorted(listed.keys() & known.keys())
    return Comparison(
        collection=name,
        listed=len(listed),
        known=len(known),
        only_nbia=sorted(listed.keys() - known.keys()),
        only_catalogue=sorted(known.keys() - listed.keys()),
        different=[
            Difference(
                uid,
                (listed[uid].image_count, known[uid].image_count),
                (listed[uid].size, known[uid].size),
            )
            for uid in both
            if _described(listed[uid]) != _described(known[uid])
        ],
    )


def _described(series: Series) -> tuple[int | None, int | None]:
    return series.image_count, series.size
