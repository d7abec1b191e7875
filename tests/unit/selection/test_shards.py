"""Shards of a selection: disjoint, complete, stable, balanced."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.resolve import Selection
from tcia_covid.selection.shards import Shard, parse_shard, shard_filter
from tests.unit.selection.helpers import OneList, selected

NAME = "COVID-19-AR"


def series(uid: str, size: int | None) -> Series:
    return Series(uid=uid, collection="C", patient="P", study="1.2", size=size)


def shards(uids: Sequence[str], balanced: Sequence[Series], count: int) -> list[set[str]]:
    mine = [shard_filter(Shard(index, count), balanced) for index in range(1, count + 1)]
    return [{uid for uid in uids if is_mine(uid)} for is_mine in mine]


SIZES = st.lists(st.one_of(st.none(), st.integers(0, 10**9)), max_size=40)


@given(sizes=SIZES, unknown=st.integers(0, 40), count=st.integers(1, 12), shuffled=st.randoms())
def test_shards_are_disjoint_complete_and_independent_of_order(
    sizes: list[int | None], unknown: int, count: int, shuffled: random.Random
) -> None:
    known = [series(f"1.{n}", size) for n, size in enumerate(sizes)]
    uids = [item.uid for item in known] + [f"2.{n}" for n in range(unknown)]
    parts = shards(uids, known, count)
    assert sorted(uid for part in parts for uid in part) == sorted(uids)
    shuffled.shuffle(known)
    assert shards(uids, known * 2, count) == parts


@given(sizes=st.lists(st.integers(0, 10**6), min_size=1, max_size=60), count=st.integers(1, 8))
def test_shards_differ_by_at_most_the_largest_series(sizes: list[int], count: int) -> None:
    known = {f"1.{n}": size for n, size in enumerate(sizes)}
    parts = shards(list(known), [series(*pair) for pair in known.items()], count)
    loads = [sum(known[uid] for uid in part) for part in parts]
    assert max(loads) - min(loads) <= max(sizes)


def test_series_outside_the_catalog_are_distributed_by_hash() -> None:
    uids = [f"1.3.6.1.4.1.14519.5.2.1.{n}" for n in range(4000)]
    counts = [len(part) for part in shards(uids, [], 4)]
    assert min(counts) > 900
    assert shards(uids[:100], [], 4)[2] == shards(uids, [], 4)[2] & set(uids[:100])


def share(lists: OneList, index: int, count: int, filters: Filters | None = None) -> Selection:
    filters = filters or Filters()
    return selected([NAME], load_registry(), lists, filters=filters, shard=Shard(index, count))


@pytest.mark.parametrize(
    "filters", [Filters(), Filters(modalities=("CT",)), Filters(max_size=2**31)]
)
def test_tasks_with_different_lists_have_shards_of_the_same_selection(filters: Filters) -> None:
    known = series_catalog.load(NAME)
    largest = max(known, key=lambda one: one.size or 0)
    more = [*known, replace(largest, uid="1.2.3.4", size=5_000_000)]
    other = [replace(item, size=7) if item.uid == largest.uid else item for item in more]
    whole = selected([NAME], load_registry(), OneList(known), filters=filters).series
    lists = [OneList(known), OneList(more), OneList(other)]
    found = [item.uid for n in range(16) for item in share(lists[n % 3], n + 1, 16, filters).series]
    assert len(found) == len(set(found))
    assert {item.uid for item in whole} - set(found) <= {largest.uid}
    assert filters != Filters() or {item.uid for item in more} == set(found)


def test_shards_are_balanced_after_the_filters() -> None:
    filters = Filters(modalities=("CT",), first_patients=40)
    parts = [
        share(OneList(series_catalog.load(NAME)), n, 4, filters).groups[0] for n in range(1, 5)
    ]
    sizes = [sum(item.size or 0 for item in part.series) for part in parts]
    largest = max(item.size or 0 for part in parts for item in part.series)
    assert max(sizes) - min(sizes) <= largest


def test_an_unlisted_series_fails_only_in_its_shard() -> None:
    known = series_catalog.load(NAME)
    lists = OneList(known[1:], [Failure(known[0].uid, "not-listed", "gone")])
    said = [len(share(lists, n, 4).failures) for n in range(1, 5)]
    assert sorted(said) == [0, 0, 0, 1]


def test_the_shards_of_a_real_collection_are_balanced() -> None:
    some = series_catalog.load("COVID-19-NY-SBU")
    loads = [
        sum(item.size or 0 for item in some if is_mine(item.uid))
        for is_mine in (shard_filter(Shard(index, 8), some) for index in range(1, 9))
    ]
    assert max(loads) / min(loads) < 1.01


@pytest.mark.parametrize(("text", "share"), [("1/1", Shard(1, 1)), (" 3 / 8 ", Shard(3, 8))])
def test_a_shard_is_written_as_a_fraction(text: str, share: Shard) -> None:
    assert parse_shard(text) == share


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2", "1/" + "9" * 5000]
)
def test_text_that_is_not_a_shard_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not a shard"):
        parse_shard(text)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("0/4", "there is no shard 0 of 4"),
        ("5/4", "there is no shard 5 of 4"),
        ("0/0", "1 to 100,000 shards, not 0"),
        ("1/999999999", "1 to 100,000 shards"),
    ],
)
def test_a_shard_out_of_range_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_shard(text)
    index, count = map(int, text.split("/"))
    with pytest.raises(UsageError, match=complaint):
        Shard(index, count)
