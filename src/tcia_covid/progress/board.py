"""What is known of a run at a moment: events in, from any thread; a picture of it out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tcia_covid.events import BytesStored, Event, RunStarted, SeriesFinished, SeriesStarted
from tcia_covid.model import Outcome, Series, State

_WINDOW = 20.0
"""Seconds that the rate is the mean of."""


@dataclass(slots=True)
class UnderWay:
    """A series that a worker has."""

    series: Series
    size: int
    """Bytes that are there of it."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A run at a moment."""

    series: int
    """That were to be fetched when the run began."""
    complete: int
    failed: int
    total: int
    """Bytes that were to be fetched, without those given up."""
    size: int
    """Bytes of them that are there."""
    rate: float
    """Bytes a second, lately."""
    under_way: tuple[UnderWay, ...]

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None where nothing arrives."""
        return (self.total - self.size) / self.rate if self.rate > 0 else None


class Board:
    """Counts what the events tell.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._series = 0
        self._total = 0
        self._complete = 0
        self._failed = 0
        self._size = 0
        self._fetched = 0
        self._under_way: dict[str, UnderWay] = {}
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, event: Event) -> None:
        """Count an event; costs next to nothing for the bytes that arrive all the time."""
        with self._lock:
            if isinstance(event, BytesStored):
                self._stored(event)
            elif isinstance(event, SeriesStarted):
                self._started(event)
            elif isinstance(event, SeriesFinished):
                self._finished(event.outcome)
            elif isinstance(event, RunStarted):
                self._series, self._total = event.series, event.size
                self._samples.append((self._clock(), 0))

    def look(self) -> Picture:
        """How the run stands now."""
        with self._lock:
            return Picture(
                series=self._series,
                complete=self._complete,
                failed=self._failed,
                total=self._total,
                size=self._size,
                rate=self._rate(),
                under_way=tuple(UnderWay(one.series, one.size) for one in self._under_way.values()),
            )

    def _stored(self, event: BytesStored) -> None:
        self._fetched += event.count
        self._size += event.count
        one = self._under_way.get(event.series)
        if one is not None:
            one.size += event.count

    def _started(self, event: SeriesStarted) -> None:
        self._forget(event.series.uid)
        self._under_way[event.series.uid] = UnderWay(event.series, event.kept_bytes)
        self._size += event.kept_bytes

    def _finished(self, outcome: Outcome) -> None:
        there = self._forget(outcome.series.uid)
        listed = outcome.series.size or 0
        if outcome.receipt is not None:
            self._complete += 1
            self._size += listed
        else:
            self._size += there
            if outcome.state in {State.FAILED, State.HELD}:
                self._failed += 1
                self._total -= max(0, listed - there)

    def _forget(self, uid: str) -> int:
        """Take a series off the list, and its bytes out of the sum; gives these."""
        one = self._under_way.pop(uid, None)
        if one is None:
            return 0
        self._size -= one.size
        return one.size

    def _rate(self) -> float:
        now = self._clock()
        self._samples.append((now, self._fetched))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:  # noqa: PLR2004
            self._samples.popleft()
        since, before = self._samples[0]
        seconds = now - since
        return max(0.0, (self._fetched - before) / seconds) if seconds > 0 else 0.0
