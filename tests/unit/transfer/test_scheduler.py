"""Many series at once: their order, and how a run ends when it cannot continue."""

from __future__ import annotations

import errno
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    ConfigError,
    DestinationError,
    IncompleteSeriesError,
    NoSpaceError,
    NotAvailableError,
    StatusError,
    TciaCovidError,
    UnreachableError,
)
from tcia_covid.core.events import SeriesFinished
from tcia_covid.core.models import Outcome, Series, State
from tcia_covid.store.tree import Tree
from tests.unit.transfer.helpers import (
    IMAGES,
    FakeArchive,
    Run,
    listed,
    locked_by_another_run,
    raising,
    unreachable,
)
from tests.unit.trees import grow, new_tree
from tests.waiting import LONG


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def test_every_series_is_downloaded_and_reported_once(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 8)]
    run = Run(tree, FakeArchive(), workers=3)(series)
    assert run.states_of(series) == [State.COMPLETE] * 7
    assert all(tree.complete_receipt(item.uid) for item in series)
    finished = [event.outcome for event in run.events if isinstance(event, SeriesFinished)]
    assert sorted(item.series.uid for item in finished) == sorted(item.uid for item in series)
    assert not run.stop.is_set()


def test_the_biggest_series_comes_first_and_equals_come_in_a_stable_order(tree: Tree) -> None:
    small, big, middle, other = listed(1), listed(2, images=9), listed(3, images=4), listed(4)
    unknown = replace(listed(5), size=None)
    archive = FakeArchive()
    Run(tree, archive, workers=1)([small, unknown, other, middle, big])
    first = list(dict.fromkeys(archive.asked))
    assert first[:2] == [big.uid, middle.uid]
    assert first[2:] == [small.uid, other.uid, unknown.uid]


def test_a_run_without_jobs_ends_at_once(tree: Tree) -> None:
    assert Run(tree, FakeArchive())([]).outcomes == []


@pytest.mark.parametrize(
    ("connections_per_job", "images", "expected"),
    [(1, 2, 3), (2, 4, 3), (2, 3, 5)],
    ids=["streams", "many objects", "few objects"],
)
def test_no_more_series_are_in_progress_than_there_are_workers(
    tree: Tree, connections_per_job: int, images: int, expected: int
) -> None:
    in_progress, most, lock = 0, 0, threading.Lock()
    all_workers = threading.Barrier(expected)

    def before(series: Series) -> None:
        nonlocal in_progress, most
        with lock:
            in_progress += 1
            most = max(most, in_progress)
        all_workers.wait(LONG)
        with lock:
            in_progress -= 1

    archive = FakeArchive(before, connections_per_job=connections_per_job)
    Run(tree, archive, workers=3)(listed(number, images=images) for number in range(1, 16))
    assert most == expected


def test_a_complete_series_is_not_requested(tree: Tree) -> None:
    series = listed(1)
    grow(tree, series, IMAGES)
    archive = FakeArchive()
    run = Run(tree, archive)([series])
    assert run.states == {series.uid: State.ALREADY}
    assert archive.asked == []


def test_a_series_that_fails_does_not_affect_the_others(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 6)]
    error = IncompleteSeriesError("two are missing", hint="later", missing=("1.2", "1.3"))
    run = Run(tree, FakeArchive(raising(error, series[2].uid)))(series)
    expected = [State.COMPLETE, State.COMPLETE, State.FAILED, State.COMPLETE, State.COMPLETE]
    assert run.states_of(series) == expected
    (failed,) = [outcome for outcome in run.outcomes if outcome.state is State.FAILED]
    assert failed.failure is not None
    assert failed.failure.reason == "incomplete"
    assert failed.failure.missing == ("1.2", "1.3")
    assert (failed.failure.detail, failed.failure.hint) == ("two are missing", "later")


def test_series_that_are_not_available_never_end_the_run(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 12)]
    run = Run(tree, FakeArchive(raising(NotAvailableError("not public"))))(series)
    assert run.states_of(series) == [State.FAILED] * 11
    assert {outcome.failure.reason for outcome in run.outcomes if outcome.failure} == {
        "not-available"
    }
    assert not run.stop.is_set()


def test_an_archive_that_never_responded_ends_the_run_without_a_failure(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 40)]
    archive = FakeArchive(raising(unreachable()))
    run = Run(tree, archive)(series)
    assert isinstance(run.stop.reason, UnreachableError)
    assert set(run.states_of(series)) == {State.REMAINING}
    assert len(run.outcomes) == len(series)


def test_series_that_fail_with_http_errors_get_a_second_attempt_and_do_not_end_the_run(
    tree: Tree,
) -> None:
    series = [listed(number) for number in range(11, 31)]
    bad = {one.uid for number, one in enumerate(series, 1) if number % 4}
    error = StatusError("HTTP 504", status=504, retryable=True)
    archive = FakeArchive(raising(error, *bad))
    run = Run(tree, archive, workers=1)(series)
    assert not run.stop.is_set()
    assert list(run.states.values()).count(State.COMPLETE) == 5
    attempts = Counter(archive.asked)
    assert {attempts[item.uid] for item in series if item.uid not in bad} == {1}
    assert max(attempts[uid] for uid in bad) == 2


def test_the_biggest_series_all_failing_do_not_end_the_run(tree: Tree) -> None:
    """As NBIA's proxy does, which gives up on big series after ten minutes."""
    big = [listed(number, images=5) for number in range(1, 9)]
    small = [listed(number) for number in range(9, 30)]
    error = StatusError("HTTP 504", status=504, retryable=True)
    run = Run(tree, FakeArchive(raising(error, *(item.uid for item in big))), workers=4)(
        big + small
    )
    assert not run.stop.is_set()
    assert run.states_of(small) == [State.COMPLETE] * len(small)
    assert run.states_of(big) == [State.FAILED] * len(big)


@pytest.mark.parametrize("error", [NoSpaceError("disk full"), DestinationError("read-only")])
def test_a_destination_that_fails_ends_the_run_at_once(tree: Tree, error: DestinationError) -> None:
    series = [listed(number) for number in range(1, 20)]
    archive = FakeArchive(raising(error))
    run = Run(tree, archive, workers=2)(series)
    assert run.stop.reason is error
    assert run.states_of(series) == [State.REMAINING] * 19
    assert len(archive.asked) <= 2


def test_an_os_error_while_writing_is_a_destination_error(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 5)]
    full = OSError(errno.ENOSPC, "No space left on device")
    run = Run(tree, FakeArchive(raising(full)), workers=1)(series)
    assert isinstance(run.stop.reason, NoSpaceError)
    assert run.states_of(series) == [State.REMAINING] * 4


def test_a_request_that_cannot_be_carried_out_ends_the_run_with_its_reason(tree: Tree) -> None:
    """A CA bundle or a proxy setting that cannot be used concerns every series."""
    series = [listed(number) for number in range(1, 6)]
    error = ConfigError("the CA bundle cannot be read")
    run = Run(tree, FakeArchive(raising(error)), workers=1)(series)
    assert run.stop.reason is error
    assert run.states_of(series) == [State.REMAINING] * 5


def test_an_internal_error_ends_the_run_and_is_reported(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 6)]
    bug = KeyError("https://user:hunter2@host/x?token=hunter2")
    run = Run(tree, FakeArchive(raising(bug)), workers=1)(series)
    reason = run.stop.reason
    assert isinstance(reason, TciaCovidError)
    assert reason.__cause__ is bug
    assert f"internal error at series {series[0].uid}: KeyError" in reason.message
    assert "--verbose" in reason.hint
    assert "hunter2" not in reason.message
    assert run.states_of(series) == [State.REMAINING] * 5


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED, State.LOCKED])
def test_an_error_while_an_outcome_is_counted_is_not_swallowed(tree: Tree, state: State) -> None:
    good, bad, theirs = listed(1), listed(2), listed(3)

    def count(outcome: Outcome) -> None:
        if outcome.state is state:
            raise ZeroDivisionError("bug")

    archive = FakeArchive(raising(IncompleteSeriesError("no"), bad.uid))
    run = Run(tree, archive, workers=1, on_outcome=count)
    with locked_by_another_run(tree, theirs):
        run([good, bad, theirs])
    assert isinstance(run.stop.reason, TciaCovidError)
    assert isinstance(run.stop.reason.__cause__, ZeroDivisionError)
