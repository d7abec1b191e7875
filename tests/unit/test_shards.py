"""Shares of a selection: disjoint, covering, stable, balanced."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcia_covid import catalogue
from tcia_covid.errors import UsageError
from tcia_covid.model import Series
from tcia_covid.selection.filters import order
from tcia_covid.selection.shards import Share, parse_shard, shard


def series(uid: str, size: int | None) -> Series:
    return Series(uid=uid, collection="C", patient="P", study="1.2", size=size)


SIZES = st.lists(st.one_of(st.none(), st.integers(0, 10**9)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(sizes=SIZES, count=st.integers(1, 12), shuffled=st.randoms())
def test_shares_are_disjoint_covering_and_independent_of_the_listing(
    sizes: list[int | None], count: int, shuffled: object
) -> None:
    some = [series(f"1.{n}", size) for n, size in enumerate(sizes)]
    shares = [shard(some, index, count) for index in range(1, count + 1)]
    assert sorted((one for share in shares for one in share), key=order) == sorted(some, key=order)
    shuffled.shuffle(some)  # type: ignore[attr-defined]
    assert [shard(iter(some), index, count) for index in range(1, count + 1)] == shares


@settings(max_examples=100, deadline=None)
@given(sizes=st.lists(st.integers(0, 10**6), min_size=1, max_size=60), count=st.integers(1, 8))
def test_shares_differ_by_no_more_than_the_largest_series(sizes: list[int], count: int) -> None:
    some = [series(f"1.{n}", size) for n, size in enumerate(sizes)]
    loads = [
        sum(one.size or 0 for one in shard(some, index, count)) for index in range(1, count + 1)
    ]
    assert max(loads) - min(loads) <= max(sizes)


def test_series_of_unknown_size_are_shared_out_by_number() -> None:
    some = [series(f"1.{n}", None) for n in range(10)]
    assert [len(shard(some, index, 4)) for index in range(1, 5)] == [3, 3, 2, 2]


def test_a_series_listed_twice_is_in_one_share_once() -> None:
    some = [series("1.1", 5), series("1.2", 5), series("1.1", 5)]
    uids = [[one.uid for one in shard(some, index, 2)] for index in (1, 2)]
    assert uids == [["1.1"], ["1.2"]]


def test_a_real_collection_is_shared_out_evenly() -> None:
    some = catalogue.load("MIDRC-RICORD-1A")
    loads = [sum(one.size or 0 for one in shard(some, index, 8)) for index in range(1, 9)]
    assert max(loads) / min(loads) < 1.01
    assert shard(some, 3, 8)[0].uid == shard(reversed(some), 3, 8)[0].uid


@pytest.mark.parametrize(("text", "share"), [("1/1", Share(1, 1)), (" 3 / 8 ", Share(3, 8))])
def test_a_share_is_written_as_a_fraction(text: str, share: Share) -> None:
    assert parse_shard(text) == share


@pytest.mark.parametrize(
    "text", ["", "1", "1/", "/2", "a/b", "1/2/3", "-1/2", "1.5/2", "1/" + "9" * 5000]
)
def test_what_is_no_share_is_refused(text: str) -> None:
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
def test_a_share_out_of_range_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_shard(text)
    index, count = map(int, text.split("/"))
    with pytest.raises(UsageError, match=complaint):
        shard([], index, count)
