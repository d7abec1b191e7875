"""Series that another run works on, and how a run ends when it is interrupted."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.errors import InterruptedRunError
from tcia_covid.core.models import Series, State
from tcia_covid.store.tree import Tree
from tests.unit.transfer.helpers import SETTINGS, FakeArchive, Run, listed, locked_by_another_run
from tests.unit.trees import new_tree
from tests.waiting import LONG, SOON, wait_for


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def test_an_interruption_leaves_the_rest_as_remaining(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 12)]
    run = Run(tree, FakeArchive(lambda one: run.stop.wait(LONG)), workers=2)
    threading.Timer(0.2, run.stop.set).start()
    run(series)
    assert run.seconds < SOON
    assert isinstance(run.stop.reason, InterruptedRunError)
    assert run.states_of(series) == [State.REMAINING] * 11


def test_what_was_complete_before_an_interruption_stays_complete(tree: Tree) -> None:
    series = [listed(1, images=5), listed(2), listed(3)]

    def before(one: Series) -> None:
        if one.uid != series[0].uid:
            run.stop.set()
            run.stop.check()

    run = Run(tree, FakeArchive(before), workers=1)
    run(series)
    assert run.states_of(series) == [State.COMPLETE, State.REMAINING, State.REMAINING]
    assert tree.complete_receipt(series[0].uid) is not None


def test_workers_that_do_not_notice_the_interruption_are_abandoned(tree: Tree) -> None:
    """As in a name resolution, which nothing can end."""
    series = [listed(number) for number in range(1, 6)]
    free = threading.Event()
    run = Run(tree, FakeArchive(lambda one: free.wait(LONG) and None), grace_period=0.2)
    threading.Timer(0.1, run.stop.set).start()
    try:
        run(series)
        assert run.seconds < SOON
        assert run.states_of(series) == [State.REMAINING] * 5
    finally:
        free.set()
    time.sleep(0.1)
    assert run.states_of(series) == [State.REMAINING] * 5


def test_a_series_that_another_run_releases_is_downloaded(tree: Tree) -> None:
    own, theirs = listed(1), listed(2)
    archive = FakeArchive()
    run = Run(tree, archive)
    with locked_by_another_run(tree, theirs):
        thread = threading.Thread(target=run, args=([theirs, own],))
        thread.start()
        wait_for(lambda: run.outcomes)
        assert run.states == {own.uid: State.COMPLETE}
    thread.join()
    assert run.states == {own.uid: State.COMPLETE, theirs.uid: State.COMPLETE}
    assert sum("locked by another run" in text for text in run.texts()) == 1


def test_a_series_that_a_stuck_run_has_locked_is_reported_with_that_run(tree: Tree) -> None:
    own, theirs = listed(1), listed(2)
    with locked_by_another_run(tree, theirs):
        run = Run(tree, FakeArchive())([theirs, own])
    assert run.states == {own.uid: State.COMPLETE, theirs.uid: State.LOCKED}
    (locked,) = [outcome for outcome in run.outcomes if outcome.state is State.LOCKED]
    assert locked.failure is not None
    assert locked.failure.reason == "locked"
    assert "process" in locked.failure.detail
    assert SETTINGS.first_byte_timeout <= run.seconds < SOON


def test_a_series_that_another_run_makes_progress_with_is_waited_for(tree: Tree) -> None:
    theirs = listed(1)
    folder = tree.staging / theirs.uid / "another"
    run = Run(tree, FakeArchive(), settings=replace(SETTINGS, first_byte_timeout=1.5))
    with locked_by_another_run(tree, theirs):
        thread = threading.Thread(target=run, args=([theirs],))
        thread.start()
        folder.mkdir(parents=True)
        for number in range(20):
            (folder / f"{number}.part").write_bytes(b"x")
            time.sleep(0.1)
        assert run.outcomes == [], "given up although the other run made progress"
    thread.join()
    assert run.states == {theirs.uid: State.COMPLETE}


def test_series_locked_by_another_run_remain_when_this_one_is_interrupted(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 4)]
    settings = replace(SETTINGS, first_byte_timeout=LONG)
    run = Run(tree, FakeArchive(), workers=1, settings=settings)
    threading.Timer(0.2, run.stop.set).start()
    with (
        locked_by_another_run(tree, series[0]),
        locked_by_another_run(tree, series[1]),
        locked_by_another_run(tree, series[2]),
    ):
        run(series)
    assert run.states_of(series) == [State.REMAINING] * 3
    assert run.seconds < SOON
