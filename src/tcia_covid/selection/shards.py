"""Disjoint, balanced shares of a selection: what each task of a job array downloads.

A share depends on the set of series alone: not on the order in which an archive lists them, the
machine or the time. When the set changes (other filters, a manifest with a line more, an archive
that has released a series) or the count does, series move between shares: run every share of a
job array with the same targets, filters and count. A series that two runs both have is not
fetched twice where they share a destination.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from heapq import heapify, heapreplace

from tcia_covid.errors import UsageError
from tcia_covid.model import Series
from tcia_covid.selection.filters import order

MOST_SHARES = 100_000


@dataclass(frozen=True, slots=True)
class Share:
    """The `index`-th, counted from 1, of `count` shares.

    Raises:
        UsageError: `index` is not one of 1 … `count`.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MOST_SHARES:
            raise UsageError(f"a selection has 1 to {MOST_SHARES:,} shards, not {self.count}")
        if not 1 <= self.index <= self.count:
            raise UsageError(
                f"there is no shard {self.index} of {self.count}",
                hint="shards are counted from 1: a job array that counts from 0 has to add one",
            )


def parse_shard(text: str) -> Share:
    """Read `I/N`.

    Raises:
        UsageError: it is not of this form, or I is not one of 1 … N.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is not a shard", hint="write it as I/N, such as 1/8")
    return Share(int(match[1]), int(match[2]))


def shard(series: Iterable[Series], index: int, count: int) -> list[Series]:
    """The `index`-th, counted from 1, of `count` shares of `series` with about the same bytes.

    The largest series goes first, each to the share that has least so far; so no two shares
    differ by more than the largest series. A size that is not recorded counts as the mean of
    the others.

    Raises:
        UsageError: `index` is not one of 1 … `count`.
    """
    share = Share(index, count)
    unique = list({one.uid: one for one in series}.values())
    known = [one.size for one in unique if one.size is not None]
    mean = sum(known) // len(known) if known else 0
    sized = [(mean if one.size is None else one.size, one) for one in unique]
    sized.sort(key=lambda pair: (-pair[0], pair[1].uid))
    loads = [(0, 0, place) for place in range(1, share.count + 1)]  # bytes, series, whose
    heapify(loads)
    chosen = []
    for size, one in sized:
        load, held, place = loads[0]
        heapreplace(loads, (load + size, held + 1, place))
        if place == share.index:
            chosen.append(one)
    return sorted(chosen, key=order)
