"""Lists that need no archive."""

from __future__ import annotations

from collections.abc import Sequence

from tcia_covid.model import Failure, Series
from tcia_covid.registry import Collection
from tcia_covid.selection.settling import Listed


class OneList:
    """Gives one list of one collection."""

    def __init__(self, found: list[Series], failures: Sequence[Failure] = ()) -> None:
        self.listed = Listed(found, list(failures))

    def collection(self, collection: Collection) -> Listed:
        return self.listed

    def other(self, name: str) -> Listed:
        raise AssertionError(name)

    def series(self, uids: Sequence[str]) -> Listed:
        raise AssertionError(uids)
