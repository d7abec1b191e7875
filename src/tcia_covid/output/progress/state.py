"""The progress of a run: takes events from any thread, gives snapshots."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

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
"""Seconds over which the rate is averaged."""
_SILENCE = 3.0
"""Seconds without a byte that are not worth showing."""


@dataclass(slots=True)
class ActiveSeries:
    """A series that a worker downloads."""

    series: Series
    size: int
    """Bytes on disk."""
    pause: float = 0.0
    """Seconds until the next attempt."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The progress at a moment."""

    series: int
    """To download when the run started."""
    complete: int
    failed: int
    total: int
    """Bytes to download when the run started."""
    size: int
    """Bytes of these on disk."""
    rate: float
    """Bytes per second, recently."""
    active: tuple[ActiveSeries, ...]
    given_up: int = 0
    """Bytes of failed series."""
    silence: float = 0.0
    """Seconds without a byte from the archive, if worth showing; else 0."""

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None if nothing arrives."""
        rest = max(0, self.total - self.given_up - self.size)
        return rest / self.rate if self.rate > 0 else None


class ProgressState:
    """Counts series and bytes.

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
        self._received = 0
        self._given_up = 0
        self._last_byte = clock()
        self._active: dict[str, ActiveSeries] = {}
        self._next_attempts: dict[str, float] = {}
        """Times, by SeriesInstanceUID."""
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, event: Event) -> None:
        """Count an event; cheap for bytes, which arrive all the time."""
        with self._lock:
            if isinstance(event, BytesStored):
                self._stored(event)
            elif isinstance(event, SeriesStarted):
                self._remove(event.series.uid)
                self._active[event.series.uid] = ActiveSeries(event.series, event.partial_bytes)
                self._size += event.partial_bytes
            elif isinstance(event, SeriesRetried):
                self._next_attempts[event.series] = self._clock() + event.wait
            elif isinstance(event, SeriesFinished):
                self._finished(event.outcome)
            elif isinstance(event, RunStarted):
                self._series, self._total = event.series, event.size
                self._last_byte = self._clock()
                self._samples.append((self._last_byte, 0))

    def snapshot(self) -> Snapshot:
        """The progress now."""
        with self._lock:
            now = self._clock()
            silence = now - self._last_byte
            return Snapshot(
                series=self._series,
                complete=self._complete,
                failed=self._failed,
                total=self._total,
                size=self._size,
                rate=self._rate(now),
                active=tuple(
                    replace(one, pause=max(0.0, self._next_attempts.get(uid, 0.0) - now))
                    for uid, one in self._active.items()
                ),
                given_up=self._given_up,
                silence=silence if self._active and silence >= _SILENCE else 0.0,
            )

    def _stored(self, event: BytesStored) -> None:
        self._received += event.count
        self._size += event.count
        if event.count > 0:
            self._last_byte = self._clock()
        active = self._active.get(event.series)
        if active is not None:
            active.size += event.count

    def _finished(self, outcome: Outcome) -> None:
        on_disk = self._remove(outcome.series.uid)
        listed = outcome.series.size or 0
        if outcome.receipt is not None:
            self._complete += 1
            self._size += listed
        else:
            self._size += on_disk
            if outcome.state in {State.FAILED, State.LOCKED}:
                self._failed += 1
                self._given_up += max(0, listed - on_disk)

    def _remove(self, uid: str) -> int:
        """Remove an active series, and its bytes from the sum; give its bytes."""
        self._next_attempts.pop(uid, None)
        active = self._active.pop(uid, None)
        if active is None:
            return 0
        self._size -= active.size
        return active.size

    def _rate(self, now: float) -> float:
        self._samples.append((now, self._received))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:  # noqa: PLR2004
            self._samples.popleft()
        since, before = self._samples[0]
        seconds = now - since
        return max(0.0, (self._received - before) / seconds) if seconds > 0 else 0.0
