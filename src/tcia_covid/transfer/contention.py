"""Series that another run works on: when to look at them again, and when to give up."""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

from tcia_covid.core.errors import TakenOverError, TciaCovidError
from tcia_covid.core.models import Series
from tcia_covid.store.tree import Tree

_QUIET = 1.5
"""Seconds without a change on disk before a series is taken from a run that held no lock."""


@dataclass(frozen=True, slots=True)
class Job:
    """One series to bring into one tree."""

    series: Series
    tree: Tree
    update: bool = False


@dataclass(slots=True)
class LockedJob:
    """A job that another run has, and what was last seen of that run."""

    job: Job
    error: TciaCovidError
    activity: int = -1
    since: float = 0.0
    """When the other run last changed something (monotonic seconds)."""
    takeovers: int = 0

    def look(self) -> None:
        """Note whether the other run gets on with it."""
        activity = self.job.tree.activity(self.job.series.uid)
        if activity != self.activity:
            self.activity, self.since = activity, time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since the other run last changed something."""
        return time.monotonic() - self.since

    @property
    def ready(self) -> bool:
        """Whether to try the series now.

        A lock decides by itself. Where one was taken over although a lock should have kept it,
        locks hold nothing: two runs would take the series from each other for ever, so each
        waits until the other is done or silent, longer each time.
        """
        if self.takeovers == 0:
            return True
        done = self.job.tree.committed(self.job.series.uid) is not None
        return done or self.idle > _QUIET * 2.0 ** min(self.takeovers, 8)


class LockedJobs:
    """The jobs of a run that other runs have; safe for threads."""

    def __init__(self) -> None:
        self._jobs: deque[LockedJob] = deque()
        self._lock = threading.Lock()

    def put(self, job: Job, error: TciaCovidError, was: LockedJob | None) -> LockedJob:
        """Keep a job for later."""
        held = was or LockedJob(job, error)
        held.error = error
        held.takeovers += isinstance(error, TakenOverError)
        held.look()
        with self._lock:
            self._jobs.append(held)
        return held

    def put_back(self, held: LockedJob) -> None:
        """Keep a job for later that it was not yet time for."""
        held.look()
        with self._lock:
            self._jobs.append(held)

    def take(self) -> LockedJob | None:
        """The job that waits longest, or None."""
        with self._lock:
            return self._jobs.popleft() if self._jobs else None
