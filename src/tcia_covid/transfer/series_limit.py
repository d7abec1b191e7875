"""How many series are in progress at once: all on a fast line, few on a slow one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tcia_covid.core.cancellation import CancelToken

_POLL_INTERVAL = 0.1
FIRST_SERIES = 4
"""Series in progress at once that are always permitted."""
_ROUND = 60.0
"""Seconds in which the series in progress complete on a fast line."""
_SAMPLE = 0.25
"""Seconds of the shortest measurement."""
_TRIAL = 5.0
"""Seconds of a measurement with one more series."""
_PAUSE = 60.0
"""Seconds until the next trial after one that brought nothing."""


@dataclass(slots=True)
class _Progress:
    size: int
    """Bytes of the series; 0 if unknown."""
    stored: int = 0


class SeriesLimiter:
    """Limits the series in progress, so that on a slow line some complete early.

    Eleven series that share a slow line all end late, and an interrupted run has completed none.
    A few are always permitted. More are while one of these holds, measured over all series:

    - those in progress complete within a minute: the line is fast;
    - one more made the whole faster by half of its share: the line is not full, as where an
      archive limits each connection;
    - an archive still prepares what was requested, and less than `first` series arrive.

    Args:
        workers: the most series at once.
        stop: ends every wait.
        first: series that are always permitted.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        workers: int,
        stop: CancelToken,
        first: int = FIRST_SERIES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.workers = workers
        self.limit = min(first, workers)
        """Series permitted now."""
        self._first = self.limit
        self._stop = stop
        self._clock = clock
        self._condition = threading.Condition()
        self._slots = 0.0
        """Taken by the series in progress."""
        self._series: dict[str, _Progress] = {}
        self._stored = 0
        self._since = clock()
        """When the measurement began."""
        self._stored_before = 0
        self._rate_before: float | None = None
        """Bytes per second with one series less; None if no trial is under way."""
        self._next_trial = self._since

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Wait until one more series is permitted, or until the run is canceled."""
        with self._condition:
            while self._slots >= self.limit and not self._stop.is_set():
                self._condition.wait(_POLL_INTERVAL)
                self.adjust()
            self._slots += 1.0
        try:
            yield
        finally:
            with self._condition:
                self._release(1.0)

    @contextmanager
    def progress(self, uid: str, size: int, share: float = 1.0) -> Iterator[None]:
        """Count a series, of `size` bytes, as in progress.

        A small one needs only a `share` of the slot that its thread has taken.
        """
        with self._condition:
            self._series[uid] = _Progress(size)
            self._release(1.0 - share)
        try:
            yield
        finally:
            with self._condition:
                self._series.pop(uid, None)
                self._slots += 1.0 - share

    def stored(self, uid: str, count: int) -> None:
        """Count bytes of a series that arrived."""
        with self._condition:
            self._stored += max(0, count)
            if uid in self._series:
                self._series[uid].stored += count

    def _release(self, slots: float) -> None:
        if slots:
            self._slots -= slots
            self._condition.notify()

    def adjust(self) -> None:
        """Change the limit by what was measured since the last change."""
        with self._condition:
            now = self._clock()
            elapsed = now - self._since
            if elapsed < _SAMPLE or self.limit >= self.workers:
                return
            rate = (self._stored - self._stored_before) / elapsed
            size = sum(series.size for series in self._series.values())
            if rate and size / rate <= _ROUND:
                is_far_from_slow = size / rate * self.workers <= _ROUND * self.limit
                self._set(self.workers if is_far_from_slow else self.limit + 1, now)
            elif elapsed >= _TRIAL:
                self._try_one_more(rate, now)

    def _try_one_more(self, rate: float, now: float) -> None:
        arriving = sum(series.stored > 0 for series in self._series.values())
        if arriving < min(self._first, len(self._series)):
            self._set(self.limit + 1, now)
        elif self._rate_before is not None and rate < self._rate_before * (1 + 0.5 / self.limit):
            self._set(max(self._first, self.limit - 1), now)
            self._next_trial = now + _PAUSE
        elif now >= self._next_trial:
            self._set(self.limit + 1, now)
            self._rate_before = rate

    def _set(self, limit: int, now: float) -> None:
        """Set the limit, and begin a new measurement."""
        self.limit = limit
        self._since, self._stored_before = now, self._stored
        self._rate_before = None
        self._condition.notify_all()
