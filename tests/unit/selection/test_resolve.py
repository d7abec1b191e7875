"""From targets, filters and lists to what is selected."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import UnknownCollectionError
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.listing import ArchiveSource
from tcia_covid.selection.targets import Unknown, parse_targets, unknown_target
from tests.unit.selection.helpers import OneList, selected

NAME = "COVID-19-AR"
SERIES = series_catalog.load(NAME)
FIRST, LAST = SERIES[0], SERIES[-1]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(), True),
        (Filters(patients=(LAST.patient,)), True),
        (Filters(patients=(FIRST.patient,)), False),
        (Filters(series=(LAST.uid, FIRST.uid)), True),
        (Filters(series=(FIRST.uid,)), False),
        (Filters(first_patients=3), False),
        (Filters(max_series=5), False),
    ],
)
def test_an_unlisted_series_fails_only_if_the_filters_select_it(
    filters: Filters, *, said: bool
) -> None:
    lists = OneList(SERIES[:-1], [Failure(LAST.uid, "not-listed", "gone")])
    found = selected([NAME], load_registry(), lists, filters=filters)
    assert bool(found.failures) == said


@pytest.mark.parametrize(
    "failure", [Failure("", "incomplete-list", "x"), Failure("1.2.3", "x", "x")]
)
def test_unlisted_series_that_the_catalog_does_not_know_always_fail(failure: Failure) -> None:
    filters = Filters(patients=(FIRST.patient,))
    found = selected([NAME], load_registry(), OneList(SERIES, [failure]), filters=filters)
    assert found.failures == [failure]


def test_series_are_grouped_under_any_name_of_their_collection(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("collections: {Mine: {format: DICOM, nbia: THEIRS, aliases: [my own]}}")
    names = ("Mine", "THEIRS", "my-own")
    series = [replace(SERIES[n], collection=name) for n, name in enumerate(names)]
    found = selected(["mine"], load_registry([mine]), OneList(series), filters=Filters())
    assert [(group.name, len(group.series)) for group in found.groups] == [("Mine", 3)]


@pytest.mark.parametrize("word", ["x" * 300, "a\0b", "/" + "y/" * 3000, "\udcff"])
def test_a_word_that_is_not_a_valid_file_name_is_a_collection(word: str) -> None:
    (target,) = parse_targets([word], load_registry())
    assert target.unknown == [Unknown("word", word)]
    assert isinstance(unknown_target(word, [], load_registry()), UnknownCollectionError)


def selecting(count: int) -> int:
    """The bytes that it takes at most to select a list of so many series."""
    listed = [replace(FIRST, uid=f"1.2.{number}") for number in range(count)]
    registry = load_registry()
    tracemalloc.start()
    try:
        found = selected([NAME], registry, OneList(listed))
        assert len(found.series) == count
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_one_list_of_many_series_is_selected_without_an_index() -> None:
    count = 10_000
    # What threads of other tests allocate meanwhile counts as well: the least is what it takes.
    assert min(selecting(count) for _ in range(3)) < 40 * count


def listing(count: int) -> float:
    """The seconds that it takes to list so many series, half of which the archive does not have."""
    listed = [replace(FIRST, uid=f"1.2.{number}") for number in range(count)]

    class Half:
        def list_collection(self, collection: str) -> list[Series]:
            raise AssertionError(collection)

        def list_series(self, uids: Sequence[str]) -> list[Series]:
            return listed[::2]

    source = ArchiveSource(Half(), accept_listed=False, quick=None)
    began = time.process_time()
    found = source.series([series.uid for series in listed])
    assert (len(found.series), len(found.failures)) == (count / 2, count / 2)
    return time.process_time() - began


def test_which_series_an_archive_does_not_have_is_found_in_linear_time() -> None:
    listing(10)  # reads the catalog
    short, long = (min(listing(count) for _ in range(3)) for count in (500, 8000))
    assert long < 50 * short, "16 times as many take 256 times as long if it is quadratic"
