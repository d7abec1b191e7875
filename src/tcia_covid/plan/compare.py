"""NBIA's lists beside the shipped catalogue, by SeriesInstanceUID."""

from __future__ import annotations

from tcia_covid import catalogue
from tcia_covid.errors import UsageError
from tcia_covid.events import Emit, discard
from tcia_covid.names import is_uid
from tcia_covid.opening import open_for
from tcia_covid.registry import Collection, load_registry
from tcia_covid.request import Request
from tcia_covid.selection.comparison import beside
from tcia_covid.selection.filters import apply
from tcia_covid.stop import Stop
from tcia_covid.summary import Comparison


def compare(
    request: Request, *, emit: Emit = discard, stop: Stop | None = None
) -> list[Comparison]:
    """Compare NBIA's lists of the collections asked for with the catalogue, after the filters.

    Raises:
        UsageError: a target is no collection of the catalogue, or NBIA is not to be asked.
        ArchiveError: NBIA gave no list.
    """
    stop = stop or Stop()
    if request.options.source == "idc":
        raise UsageError(
            "--compare asks NBIA for its lists, and --source idc asks IDC alone",
            hint="leave one of them out",
        )
    registry = load_registry(request.options.registry)
    collections = [_catalogued(word, registry.find(word)) for word in request.targets]
    archives = open_for(request.options, stop, emit)
    try:
        pairs = [
            (one, archives.hasty.list_collection(one.nbia or one.name), catalogue.load(one.name))
            for one in collections
        ]
    finally:
        archives.close()
    return [
        beside(
            one.name,
            {series.uid: series for series in apply(request.filters, listed).series},
            {series.uid: series for series in apply(request.filters, known).series},
        )
        for one, listed, known in pairs
    ]


def _catalogued(word: str, collection: Collection | None) -> Collection:
    if collection is None or not catalogue.has(collection.name):
        known = ", ".join(entry.collection for entry in catalogue.info().entries)
        what = "no collection" if is_uid(word) else "not in the catalogue"
        raise UsageError(
            f"{word!r} is {what}, so there is nothing to compare NBIA's list with",
            hint=f"--compare takes {known}",
        )
    return collection
