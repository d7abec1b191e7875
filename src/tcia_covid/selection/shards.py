"""Shards: disjoint, balanced parts of a selection, for job arrays.

Tasks of a job array list their targets at different times, some from the archive and some from
the catalog, so their lists may differ. All of them put a series into the same shard nevertheless:
that depends only on its UID, the number of shards, and the selected series of the shipped catalog.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heapify, heapreplace

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series

MAX_SHARDS = 100_000


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th, counted from 1, of `count` shards.

    Raises:
        UsageError: `index` is not one of 1 … `count`.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_SHARDS:
            raise UsageError(f"a selection has 1 to {MAX_SHARDS:,} shards, not {self.count}")
        if not 1 <= self.index <= self.count:
            raise UsageError(
                f"there is no shard {self.index} of {self.count}",
                hint="shards are counted from 1: a job array that counts from 0 must add one",
            )


def parse_shard(text: str) -> Shard:
    """Read `I/N`.

    Raises:
        UsageError: it is not of this form, or I is not one of 1 … N.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is not a shard", hint="write it as I/N, such as 1/8")
    return Shard(int(match[1]), int(match[2]))


def shard_filter(shard: Shard, balanced: Iterable[Series]) -> Callable[[str], bool]:
    """Return a function that decides whether a SeriesInstanceUID is in `shard`.

    Args:
        shard: the shard.
        balanced: series that all tasks know. They are distributed by size, the largest first, each
            to the shard with the fewest bytes so far, so no two shards differ by more than the
            largest series. Other series are distributed by a hash of their UID.
    """
    indexes = _balanced({series.uid: series.size or 0 for series in balanced}, shard.count)

    def index_of(uid: str) -> int:
        digest = hashlib.md5(uid.encode(), usedforsecurity=False).digest()
        return indexes.get(uid) or int.from_bytes(digest, "big") % shard.count + 1

    return lambda uid: index_of(uid) == shard.index


def _balanced(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Give the index of the shard of each UID, counted from 1."""
    loads = [(0, 0, index) for index in range(1, count + 1)]  # bytes, series, shard
    heapify(loads)
    indexes = {}
    for uid in sorted(sizes, key=lambda uid: (-sizes[uid], uid)):
        size, series, index = loads[0]
        heapreplace(loads, (size + sizes[uid], series + 1, index))
        indexes[uid] = index
    return indexes
