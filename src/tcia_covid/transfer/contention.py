"""Series that another run works on: when to look at them again, and when to give up."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from tcia_covid.core.errors import TakenOverError, TciaCovidError
from tcia_covid.core.models import Series
from tcia_covid.store.tree import Tree

_IDLE = 1.5
"""Seconds without a change on disk before a series is taken over where locks do not work."""


@dataclass(frozen=True, slots=True)
class Job:
    """One series to download into one tree; its UID is unique within a run."""

    series: Series
    tree: Tree
    update: bool = False

    @property
    def uid(self) -> str:
        """The SeriesInstanceUID."""
        return self.series.uid


@dataclass(slots=True)
class LockedSeries:
    """A job whose series another run works on, and when that run last made progress."""

    job: Job
    error: TciaCovidError
    activity: int = -1
    since: float = 0.0
    """When the other run last changed something (monotonic seconds)."""
    takeovers: int = 0

    def refresh(self) -> None:
        """Note whether the other run makes progress."""
        activity = self.job.tree.activity(self.job.uid)
        if activity != self.activity:
            self.activity, self.since = activity, time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since the other run last changed something."""
        return time.monotonic() - self.since

    @property
    def ready(self) -> bool:
        """Whether to try the series now.

        A lock decides by itself. Where a series was taken over although its lock was held, locks
        do not work there: two runs would take the series from each other for ever, so each waits
        until the other is done or idle, longer each time.
        """
        if self.takeovers == 0:
            return True
        done = self.job.tree.complete_receipt(self.job.uid) is not None
        return done or self.idle > _IDLE * 2.0 ** min(self.takeovers, 8)


class LockedQueue:
    """The series of a run that other runs work on; safe for threads."""

    def __init__(self) -> None:
        self._waiting: deque[LockedSeries] = deque()
        self._lock = threading.Lock()

    def put(self, locked: LockedSeries, error: TciaCovidError | None = None) -> None:
        """Keep a series for later; `error` says why an attempt at it failed now."""
        if error is not None:
            locked.error = error
            locked.takeovers += isinstance(error, TakenOverError)
        locked.refresh()
        with self._lock:
            self._waiting.append(locked)

    def take(self) -> LockedSeries | None:
        """The series that waits longest, or None."""
        with self._lock:
            return self._waiting.popleft() if self._waiting else None
