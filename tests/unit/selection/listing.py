"""Lists that need no archive."""

from __future__ import annotations

from collections.abc import Sequence

from tcia_covid.catalog.collections import Collection
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.listing import SeriesListing


class OneList:
    """Gives one list of one collection."""

    def __init__(self, found: list[Series], failures: Sequence[Failure] = ()) -> None:
        self.listed = SeriesListing(found, list(failures))

    def collection(self, collection: Collection) -> SeriesListing:
        return self.listed

    def other(self, name: str) -> SeriesListing:
        raise AssertionError(name)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        raise AssertionError(uids)
