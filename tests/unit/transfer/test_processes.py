"""How many processes a download uses: by its options, its series, their bytes, the processors."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.selection.request import Options, Source
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.processes import most_processes, processes_for
from tcia_covid.transfer.scheduler import Job
from tests.unit.trees import series_of

PLENTY = 64
"""Processors."""


def jobs_of(count: int, images: int | None) -> list[Job]:
    """So many series of `images` each."""
    tree, numbers = Tree(Path("unused")), range(1, count + 1)
    return [Job(replace(series_of(number), image_count=images), tree) for number in numbers]


@pytest.mark.parametrize(
    ("series", "images", "expected"),
    [(10, 154, 1), (10, 155, 2), (266, 1, 1), (267, 1, 2), (10, 400, 5), (2000, 1, 8)],
)
def test_each_process_has_800_images_where_a_series_counts_as_five(
    series: int, images: int, expected: int
) -> None:
    assert processes_for(Options(jobs=16), jobs_of(series, images), PLENTY) == expected


@pytest.mark.parametrize(("processors", "expected"), [(1, 1), (2, 2), (6, 6), (16, 8)])
def test_no_more_processes_than_processors(processors: int, expected: int) -> None:
    jobs = jobs_of(100, 1000)
    assert processes_for(Options(jobs=16), jobs, processors) == expected


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (3, 1), (4, 2), (7, 3), (64, 32)])
def test_each_process_has_two_of_the_jobs_at_once(limit: int, expected: int) -> None:
    jobs = jobs_of(100, 1000)
    assert processes_for(Options(jobs=limit), jobs, PLENTY) == expected


@pytest.mark.parametrize(("series", "expected"), [(0, 1), (1, 1), (3, 1), (4, 2), (9, 4)])
def test_each_process_has_two_series(series: int, expected: int) -> None:
    assert processes_for(Options(jobs=64), jobs_of(series, 1000), PLENTY) == expected


def test_series_of_unknown_length_count_as_one_image() -> None:
    jobs = jobs_of(266, None), jobs_of(267, None)
    assert [processes_for(Options(jobs=64), each, PLENTY) for each in jobs] == [1, 2]


def test_nbia_alone_uses_one_process() -> None:
    jobs = jobs_of(100, 1000)
    assert processes_for(Options(jobs=16, source="nbia"), jobs, PLENTY) == 1
    assert processes_for(Options(jobs=16, source="idc"), jobs, PLENTY) == 8


@pytest.mark.parametrize("source", ["auto", "nbia", "idc"])
def test_the_option_decides_for_any_amount_of_work(source: Source) -> None:
    options = Options(jobs=16, processes=3, source=source)
    assert processes_for(options, jobs_of(10, 1), 1) == 3
    assert processes_for(options, jobs_of(2, 1), 1) == 2
    assert processes_for(replace(options, jobs=2), jobs_of(10, 1), 1) == 2
    assert processes_for(options, [], 1) == 1


@pytest.mark.parametrize(
    ("options", "processors", "expected"),
    [
        (Options(jobs=8), 1, 1),
        (Options(jobs=8), 2, 2),
        (Options(jobs=8), 64, 4),
        (Options(jobs=1), 64, 1),
        (Options(jobs=8, source="nbia"), 64, 1),
        (Options(jobs=8, processes=3, source="nbia"), 1, 3),
        (Options(jobs=2, processes=3), 64, 2),
    ],
)
def test_as_many_processes_as_options_permit_are_prepared(
    options: Options, processors: int, expected: int
) -> None:
    assert most_processes(options, processors) == expected
    assert processes_for(options, jobs_of(1000, 1000), processors) == expected


def test_no_second_process_where_the_interpreter_cannot_be_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "executable", "")
    jobs = jobs_of(100, 1000)
    assert processes_for(Options(processes=4), jobs, PLENTY) == 1
    assert processes_for(Options(), jobs, PLENTY) == 1
