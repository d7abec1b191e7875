"""Progress where there is no terminal: a plain line now and then."""

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
EVERY = 30.0
EARLY = 5.0
"""Seconds until the first line about the whole."""
_RETRIES_APART = 15.0
"""Seconds between two lines about retries."""


class Ticker:
    """Calls a function at intervals from a thread of its own, until it is closed.

    Args:
        act: the function.
        every: seconds between two calls.
        first: seconds until the first one; None for as many.
    """

    def __init__(self, act: Callable[[], None], every: float, first: float | None = None) -> None:
        self._act = act
        self._every = every
        self._first = every if first is None else min(first, every)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Begin, after a first interval."""
        self._thread.start()

    def close(self) -> None:
        """End; nothing is called any more after this."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(1.0)  # a stopped terminal may hold it

    def _run(self) -> None:
        pause = self._first
        while not self._closed.wait(pause):
            self._act()
            pause = self._every


class Messages:
    """Says what deserves a line of its own: beginnings, retries, notices, failures.

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
        self._unsaid = 0
        self._failures: set[str] = set()

    def take(self, event: Event) -> None:
        """Say a line about `event`, or nothing."""
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

    def _failure(self, found: Failure) -> str:
        """A line about a failure; one that only repeats another waits for the summary."""
        with self._lock:
            repeated = found.detail in self._failures
            self._failures.add(found.detail)
        return "" if repeated and not self._verbose else f"failed: {wording.failure_line(found)}"

    def _retry(self, event: SeriesRetried | RequestRetried) -> str:
        """A line about a retry; an archive that is down would fill the screen with them."""
        with self._lock:
            now = self._clock()
            if now < self._next_retry and not self._verbose:
                self._unsaid += 1
                return ""
            self._next_retry = now + _RETRIES_APART
            unsaid, self._unsaid = self._unsaid, 0
        return wording.retry_line(event) + _left_out(unsaid)


def _left_out(unsaid: int) -> str:
    if not unsaid:
        return ""
    return f" ({unsaid:,} similar {'line' if unsaid == 1 else 'lines'} left out)"


class Lines:
    """A display of plain lines.

    Args:
        say: writes a line.
        verbose: whether every event deserves one.
        every: seconds between two lines about the whole.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        say: Say,
        *,
        verbose: bool = False,
        every: float = EVERY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._board = ProgressState(clock)
        self._remarks = Messages(say, verbose=verbose, clock=clock)
        self._every = every
        self._ticker: Ticker | None = None

    def take(self, event: Event) -> None:
        """Show an event."""
        self._board.take(event)
        self._remarks.take(event)
        if isinstance(event, RunStarted) and event.series and self._ticker is None:
            self._ticker = Ticker(self.draw, self._every, EARLY)
            self._ticker.start()

    def draw(self) -> None:
        """Say how the whole stands."""
        picture = self._board.look()
        self._say(f"{wording.percentage(picture)}: {wording.summary_line(picture)}")

    def close(self) -> None:
        """Say no more."""
        if self._ticker is not None:
            self._ticker.close()
