"""What is known of a run at a moment: events in, from any thread; a picture of it out."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tcia_covid.core.events import (
    BytesStored,
    Event,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, Series, State

_WINDOW = 20.0
"""Seconds that the rate is the mean of."""
_PATIENCE = 3.0
"""Seconds without a byte that need no word."""


@dataclass(slots=True)
class UnderWay:
    """A series that a worker has."""

    series: Series
    size: int
    """Bytes that are there of it."""
    pause: float = 0.0
    """Seconds until it is asked for again."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A run at a moment."""

    series: int
    """That were to be fetched when the run began."""
    complete: int
    failed: int
    total: int
    """Bytes that were to be fetched."""
    size: int
    """Bytes of them that are there."""
    rate: float
    """Bytes a second, lately."""
    under_way: tuple[UnderWay, ...]
    given_up: int = 0
    """Bytes of series that failed, and will not come."""
    silence: float = 0.0
    """Seconds without a byte from the archive, where they are worth a word; else 0."""

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None where nothing arrives."""
        rest = max(0, self.total - self.given_up - self.size)
        return rest / self.rate if self.rate > 0 else None


class ProgressState:
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
        self._given_up = 0
        self._heard = clock()
        self._under_way: dict[str, UnderWay] = {}
        self._again: dict[str, float] = {}
        """When a series is asked for again, by its UID."""
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, event: Event) -> None:
        """Count an event; costs next to nothing for the bytes that arrive all the time."""
        with self._lock:
            if isinstance(event, BytesStored):
                self._stored(event)
            elif isinstance(event, SeriesStarted):
                self._started(event)
            elif isinstance(event, SeriesRetried):
                self._again[event.series] = self._clock() + event.wait
            elif isinstance(event, SeriesFinished):
                self._finished(event.outcome)
            elif isinstance(event, RunStarted):
                self._series, self._total = event.series, event.size
                self._heard = self._clock()
                self._samples.append((self._heard, 0))

    def look(self) -> Snapshot:
        """How the run stands now."""
        with self._lock:
            return Snapshot(
                series=self._series,
                complete=self._complete,
                failed=self._failed,
                total=self._total,
                size=self._size,
                rate=self._rate(),
                under_way=tuple(self._copy(one) for one in self._under_way.values()),
                given_up=self._given_up,
                silence=self._silence(),
            )

    def _copy(self, one: UnderWay) -> UnderWay:
        again = self._again.get(one.series.uid, 0.0)
        return UnderWay(one.series, one.size, max(0.0, again - self._clock()))

    def _silence(self) -> float:
        seconds = self._clock() - self._heard
        return seconds if self._under_way and seconds >= _PATIENCE else 0.0

    def _stored(self, event: BytesStored) -> None:
        self._fetched += event.count
        self._size += event.count
        if event.count > 0:
            self._heard = self._clock()
        one = self._under_way.get(event.series)
        if one is not None:
            one.size += event.count

    def _started(self, event: SeriesStarted) -> None:
        self._forget(event.series.uid)
        self._under_way[event.series.uid] = UnderWay(event.series, event.partial_bytes)
        self._size += event.partial_bytes

    def _finished(self, outcome: Outcome) -> None:
        there = self._forget(outcome.series.uid)
        listed = outcome.series.size or 0
        if outcome.receipt is not None:
            self._complete += 1
            self._size += listed
        else:
            self._size += there
            if outcome.state in {State.FAILED, State.LOCKED}:
                self._failed += 1
                self._given_up += max(0, listed - there)

    def _forget(self, uid: str) -> int:
        """Take a series off the list, and its bytes out of the sum; gives these."""
        self._again.pop(uid, None)
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
