"""Outages: distinguished from single failures, limited in time, ended by a response."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import StatusError, UnreachableError
from tcia_covid.core.events import Event, Notice
from tcia_covid.core.models import Series, State
from tcia_covid.http.settings import HttpSettings
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.availability import ArchiveAvailability, OutageMonitor
from tests.unit.transfer.helpers import FakeArchive, Run, listed, unreachable
from tests.unit.trees import new_tree
from tests.waiting import soon

ARCHIVE = FakeArchive()
DOWN = unreachable()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


class Clock:
    """Monotonic seconds that a test sets forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _outage(
    availability: ArchiveAvailability,
    timeout: float | None = None,
    stop: CancelToken | None = None,
    **options: Any,
) -> OutageMonitor:
    events: list[Event] = []
    options = {"wait": 0.02, **options}
    return OutageMonitor(2, timeout, availability, stop or CancelToken(), events.append, **options)


def test_failures_in_a_row_make_an_outage_and_an_answer_between_them_does_not() -> None:
    availability = ArchiveAvailability()
    outage = _outage(availability)
    assert [outage.failed(DOWN), outage.failed(DOWN), outage.failed(DOWN)] == [False, True, True]
    time.sleep(0.001)
    availability.worked(ARCHIVE)
    assert [outage.failed(DOWN), outage.failed(DOWN)] == [False, True]


def test_failures_that_may_be_of_one_series_count_by_half() -> None:
    outage = _outage(ArchiveAvailability())
    error = StatusError("HTTP 504", status=504, retryable=True)
    assert [outage.failed(error) for _ in range(4)] == [False, False, False, True]


def test_an_archive_that_never_answered_is_not_waited_for() -> None:
    outage = _outage(ArchiveAvailability())
    outage.failed(DOWN)
    assert not outage.wait_for_recovery(DOWN)


def test_by_default_retries_continue_as_long_as_the_run_has_worked() -> None:
    clock = Clock()
    availability, stop = ArchiveAvailability(clock), CancelToken()
    stop.set()
    outage = _outage(availability, stop=stop, min_timeout=0.0, clock=clock)
    clock.now += 100
    availability.worked(ARCHIVE)
    outage.failed(DOWN)
    assert outage.wait_for_recovery(DOWN)
    clock.now += 99
    assert outage.wait_for_recovery(DOWN)
    clock.now += 1
    assert not outage.wait_for_recovery(DOWN)


def test_by_default_retries_continue_for_at_least_ten_minutes() -> None:
    clock = Clock()
    availability, stop = ArchiveAvailability(clock), CancelToken()
    stop.set()
    outage = _outage(availability, stop=stop, clock=clock)
    availability.worked(ARCHIVE)
    outage.failed(DOWN)
    clock.now += 599
    assert outage.wait_for_recovery(DOWN)
    clock.now += 1
    assert not outage.wait_for_recovery(DOWN)


def test_a_given_timeout_replaces_the_time_that_the_run_has_worked() -> None:
    availability = ArchiveAvailability()
    availability.worked(ARCHIVE)
    outage = _outage(availability, timeout=0)
    outage.failed(DOWN)
    assert not outage.wait_for_recovery(DOWN)


def test_waiting_ends_at_once_when_the_run_is_canceled() -> None:
    availability, stop = ArchiveAvailability(), CancelToken()
    availability.worked(ARCHIVE)
    outage = _outage(availability, stop=stop, wait=60.0)
    outage.failed(DOWN)
    threading.Timer(0.05, stop.set).start()
    with soon():
        outage.wait_for_recovery(DOWN)


def _down_between(first: int, last: int) -> Callable[[Series], None]:
    """Refuse the requests with these numbers, counted over all threads."""
    numbers: Iterator[int] = iter(range(1 << 30))

    def before(series: Series) -> None:
        if first <= next(numbers) < last:
            raise UnreachableError("no route to h", retryable=True)

    return before


def test_a_run_that_had_worked_waits_out_an_outage_and_completes_everything(
    tree: Tree,
) -> None:
    series = [listed(number) for number in range(1, 30)]
    settings = HttpSettings(retries=0, retry_wait=0)
    run = Run(tree, FakeArchive(_down_between(10, 40)), workers=4, settings=settings)(series)
    assert run.states_of(series) == [State.COMPLETE] * len(series)
    notices = [event.text for event in run.events if isinstance(event, Notice)]
    assert sum("no archive responds any more (no route to h)" in text for text in notices) >= 1
    assert any("responds again" in text for text in notices)


def test_an_outage_that_lasts_too_long_ends_the_run_and_keeps_the_rest_for_the_next(
    tree: Tree,
) -> None:
    series = [listed(number) for number in range(1, 30)]
    run = Run(tree, FakeArchive(_down_between(10, 1 << 30)), workers=4)(series)
    assert isinstance(run.stop.reason, UnreachableError)
    states = run.states_of(series)
    assert states.count(State.COMPLETE) >= 6
    assert states.count(State.REMAINING) >= 15
