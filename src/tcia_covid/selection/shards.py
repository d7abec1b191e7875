"""Disjoint, balanced shares of a selection: what each task of a job array downloads.

The tasks of an array list their targets one by one, at different times, some from the archive and
some from the catalog, so their lists may differ. A series is in the same share for all of them
nevertheless: that depends on its UID, the count, and what is asked for of the shipped catalog.
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
    """The `index`-th, counted from 1, of `count` shares.

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
                hint="shards are counted from 1: a job array that counts from 0 has to add one",
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


def shard_filter(share: Shard, balanced: Iterable[Series]) -> Callable[[str], bool]:
    """Tell of any SeriesInstanceUID whether it is in `share`; each is in one of the shares.

    Args:
        share: which one.
        balanced: series that all tasks know alike, for about the same bytes in each share: the
            largest goes first, each to the share that has least so far, so no two shares differ
            by more than the largest. Others are shared out by a hash of their UID.
    """
    places = _balanced({one.uid: one.size or 0 for one in balanced}, share.count)
    return lambda uid: (places.get(uid) or _hashed(uid, share.count)) == share.index


def _balanced(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Give each UID its share, counted from 1."""
    loads = [(0, 0, place) for place in range(1, count + 1)]  # bytes, series, whose
    heapify(loads)
    places = {}
    for uid in sorted(sizes, key=lambda uid: (-sizes[uid], uid)):
        load, held, place = loads[0]
        heapreplace(loads, (load + sizes[uid], held + 1, place))
        places[uid] = place
    return places


def _hashed(uid: str, count: int) -> int:
    digest = hashlib.md5(uid.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % count + 1
