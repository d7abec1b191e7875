"""Progress without a terminal: plain lines at intervals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tcia_covid.core.events import (
    Event,
    Notice,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
)
from tcia_covid.core.models import Failure
from tcia_covid.output.progress import wording
from tcia_covid.output.progress.state import ProgressState

Say = Callable[[str], None]
"""Writes one line."""
INTERVAL = 30.0
FIRST_INTERVAL = 5.0
"""Seconds until the first line about the whole run."""
_RETRY_INTERVAL = 15.0
"""Seconds between two lines about retries."""


class Ticker:
    """Calls a function at intervals from its own thread, until it is closed.

    Args:
        act: the function.
        interval: seconds between two calls.
        first: seconds until the first one, if shorter.
    """

    def __init__(
        self, act: Callable[[], None], interval: float, first: float | None = None
    ) -> None:
        self._act = act
        self._interval = interval
        self._first = interval if first is None else min(first, interval)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Start, with an interval."""
        self._thread.start()

    def close(self) -> None:
        """Stop; the function is not called again."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(1.0)  # a stopped terminal may block it

    def _run(self) -> None:
        interval = self._first
        while not self._closed.wait(interval):
            self._act()
            interval = self._interval


class Messages:
    """Writes a line about events that deserve one: starts, retries, notices, failures.

    Args:
        say: writes a line.
        verbose: whether every event deserves one.
        clock: monotonic seconds.
    """

    def __init__(
        self, say: Say, *, verbose: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._say = say
        self._verbose = verbose
        self._clock = clock
        self._lock = threading.Lock()
        self._next_retry = clock()
        self._suppressed = 0
        self._failures: set[str] = set()

    def take(self, event: Event) -> None:
        """Write a line about `event`, or nothing."""
        line = self._line(event)
        if line:
            self._say(line)

    def _line(self, event: Event) -> str:
        if isinstance(event, RunStarted):
            return wording.start_line(event)
        if isinstance(event, Notice):
            return wording.notice_line(event)
        if isinstance(event, SeriesRetried | RequestRetried):
            return self._retry(event)
        if isinstance(event, SeriesFinished) and event.outcome.failure is not None:
            return self._failure(event.outcome.failure)
        return wording.detail_line(event) if self._verbose else ""

    def _failure(self, failure: Failure) -> str:
        """A line about a failure; the summary lists those that only repeat another."""
        with self._lock:
            repeated = failure.detail in self._failures
            self._failures.add(failure.detail)
        return "" if repeated and not self._verbose else f"failed: {wording.failure_line(failure)}"

    def _retry(self, event: SeriesRetried | RequestRetried) -> str:
        """A line about a retry, not too often: with an archive down there are hundreds."""
        with self._lock:
            now = self._clock()
            if now < self._next_retry and not self._verbose:
                self._suppressed += 1
                return ""
            self._next_retry = now + _RETRY_INTERVAL
            number, self._suppressed = self._suppressed, 0
        similar = f" ({number:,} similar {'line' if number == 1 else 'lines'} omitted)"
        return wording.retry_line(event) + (similar if number else "")


class Lines:
    """A display of plain lines.

    Args:
        say: writes a line.
        verbose: whether every event deserves one.
        interval: seconds between two lines about the whole run.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        say: Say,
        *,
        verbose: bool = False,
        interval: float = INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._state = ProgressState(clock)
        self._messages = Messages(say, verbose=verbose, clock=clock)
        self._ticker = Ticker(self.draw, interval, FIRST_INTERVAL)
        self._is_started = False

    def take(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        self._messages.take(event)
        if isinstance(event, RunStarted) and event.series and not self._is_started:
            self._is_started = True
            self._ticker.start()

    def draw(self) -> None:
        """Write a line about the whole run."""
        progress = self._state.snapshot()
        self._say(f"{wording.percentage(progress)}: {wording.summary_line(progress)}")

    def close(self) -> None:
        """Stop."""
        self._ticker.close()
