"""Series lists that need no archive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.listing import SeriesListing, SeriesSource
from tcia_covid.selection.lookup import ArchiveLookup
from tcia_covid.selection.resolve import Selection, resolve
from tcia_covid.selection.targets import parse_targets


class OneList:
    """Gives one list of one collection."""

    def __init__(self, found: list[Series], failures: Sequence[Failure] = ()) -> None:
        self.listed = SeriesListing(found, list(failures))

    def collection(self, collection: Collection) -> SeriesListing:
        return self.listed

    def series(self, uids: Sequence[str]) -> SeriesListing:
        raise AssertionError(uids)


class CatalogOnly:
    """Gives the catalog's lists, and those of further collections."""

    def __init__(self, further: Mapping[str, list[Series]] | None = None) -> None:
        self._further = further or {}

    def collection(self, collection: Collection) -> SeriesListing:
        listed = self._further.get(collection.name)
        return SeriesListing(listed or series_catalog.load(collection.name))

    def series(self, uids: Sequence[str]) -> SeriesListing:
        return SeriesListing([*series_catalog.find(uids).values()])


def selected(
    words: Sequence[str], registry: Registry, source: SeriesSource, **choices: Any
) -> Selection:
    """What the words and choices select, without an archive."""
    choices.setdefault("filters", Filters())
    targets = parse_targets(words, registry)
    return resolve(targets, registry, source, ArchiveLookup(None, registry), **choices)
