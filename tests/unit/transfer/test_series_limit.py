"""How many series are in progress at once, on lines of all kinds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.transfer.series_limit import FIRST_SERIES, SeriesLimiter
from tests.waiting import SOON

WORKERS = 11
MB = 1_000_000
STEP = 0.25
"""Seconds of simulated time."""


class Line:
    """Simulates a download: `rate` gives bytes per second for a number of arriving series."""

    def __init__(
        self,
        rate: Callable[[int], float],
        *,
        size: int = 100 * MB,
        delay: float = 0.0,
        workers: int = WORKERS,
    ) -> None:
        self.now = 0.0
        self.limiter = SeriesLimiter(workers, CancelToken(), clock=lambda: self.now)
        self.size = size
        self.complete: list[float] = []
        """When each series was complete."""
        self.limits: list[int] = []
        self._rate = rate
        self._delay = delay
        self._left: dict[str, float] = {}
        self._begun: dict[str, float] = {}
        self._contexts: dict[str, object] = {}
        self._number = 0

    def run(self, seconds: float, series: int = 1 << 30) -> None:
        """Download `series` at most, for `seconds` at most."""
        while self.now < seconds and (self._number < series or self._left):
            while len(self._left) < self.limiter.limit and self._number < series:
                self._begin()
            arriving = [u for u in self._left if self.now - self._begun[u] >= self._delay]
            for uid in arriving:
                count = self._rate(len(arriving)) * STEP / len(arriving)
                self._left[uid] -= count
                self.limiter.stored(uid, int(count))
            self.now += STEP
            for uid in [uid for uid, left in self._left.items() if left <= 0]:
                del self._left[uid]
                self._contexts.pop(uid).__exit__(None, None, None)  # type: ignore[attr-defined]
                self.complete.append(self.now)
            self.limiter.adjust()
            self.limits.append(self.limiter.limit)

    def _begin(self) -> None:
        self._number += 1
        uid = f"1.{self._number}"
        context = self.limiter.progress(uid, self.size)
        context.__enter__()
        self._contexts[uid] = context
        self._left[uid], self._begun[uid] = self.size, self.now


def full(total: float) -> Callable[[int], float]:
    """A line of `total` bytes per second, however many share it."""
    return lambda number: total


def per_connection(rate: float) -> Callable[[int], float]:
    """An archive that limits each connection."""
    return lambda number: rate * number


def test_a_fast_line_is_shared_by_all_workers_after_the_first_measurement() -> None:
    line = Line(full(100 * MB))
    line.run(STEP)
    assert line.limits[-1] == WORKERS


def test_small_series_are_downloaded_by_all_workers_at_once_on_any_line() -> None:
    line = Line(full(1 * MB), size=100_000)
    line.run(STEP)
    assert line.limits[-1] == WORKERS


def test_on_a_slow_line_few_series_at_a_time_so_that_some_complete_early() -> None:
    line = Line(full(0.5 * MB))
    line.run(1200)
    assert max(line.limits) <= FIRST_SERIES + 1
    assert sum(limit == FIRST_SERIES for limit in line.limits) > 0.8 * len(line.limits)
    # With eleven at once the first would be complete after 2,200 s.
    assert line.complete[0] < 1000
    assert len(line.complete) >= FIRST_SERIES


@pytest.mark.parametrize("rate", [0.2 * MB, 1 * MB, 3 * MB])
def test_where_each_connection_is_limited_all_workers_are_used(rate: float) -> None:
    line = Line(per_connection(rate))
    line.run(60)
    assert line.limits[-1] == WORKERS


def test_full_speed_on_a_line_that_one_connection_does_not_fill() -> None:
    """The run takes less than 5 % longer than with all workers from the beginning."""
    line = Line(lambda number: min(20 * MB, 3 * MB * number), size=40 * MB)
    line.run(3600, series=461)
    assert line.complete[-1] < 1.05 * 461 * 40 / 20


def test_an_archive_that_prepares_long_is_given_more_to_prepare() -> None:
    line = Line(full(5 * MB), delay=40.0)
    line.run(30)
    assert line.limits[-1] > FIRST_SERIES


def test_a_line_that_becomes_fast_is_used_at_once() -> None:
    rate = 0.5 * MB
    line = Line(lambda number: rate)
    line.run(100)
    assert line.limits[-1] <= FIRST_SERIES + 1
    rate = 100 * MB
    line.run(110)
    assert line.limits[-1] == WORKERS


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_few_workers_are_not_limited(workers: int) -> None:
    assert SeriesLimiter(workers, CancelToken()).limit == workers


def test_a_wait_for_a_slot_ends_when_the_run_is_canceled_or_a_slot_is_free() -> None:
    stop = CancelToken()
    limiter = SeriesLimiter(2, stop, first=1)
    entered = threading.Event()

    def enter() -> None:
        with limiter.slot():
            entered.set()

    with limiter.slot():
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.05)
        stop.set()
        assert entered.wait(SOON)
    thread.join(SOON)


def test_small_series_use_the_whole_limit() -> None:
    limiter = SeriesLimiter(2, CancelToken())
    in_progress = ExitStack()

    def enter() -> None:
        with limiter.slot(), limiter.progress("1.4", 1, share=0.5):
            pass

    for number in range(3):
        in_progress.enter_context(limiter.slot())
        in_progress.enter_context(limiter.progress(f"1.{number}", 1, share=0.5))
    with in_progress:
        thread = threading.Thread(target=enter, daemon=True)
        thread.start()
        thread.join(SOON)
        assert not thread.is_alive()
