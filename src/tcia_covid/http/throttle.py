"""One pace for all workers: how many requests may be under way, and not before when."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import ConcurrencyChanged, Emit, discard

_LUMP = 64 * 1024
_SHORT = 0.01
"""Seconds; shorter pauses are noise to the scheduler."""


class ConcurrencyLimiter:
    """Additive increase, halving on push-back, never above `ceiling` requests at once.

    A push-back counts once for all the requests that were under way when it came: eight
    workers that are all told 503 in the same moment halve the pace once, not eight times.
    """

    def __init__(self, ceiling: int, stop: CancelToken, emit: Emit = discard) -> None:
        self.ceiling = ceiling
        self._limit = float(ceiling)
        self._active = 0
        self._not_before = 0.0
        self._halved_at = float("-inf")
        self._condition = threading.Condition()
        self._stop = stop
        self._emit = emit
        stop.on_stop(self._wake)

    @property
    def limit(self) -> int:
        """Requests that may be under way now."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self) -> Iterator[float]:
        """Wait for a place among the requests under way; gives the moment it was had.

        Not to be nested: with a limit of one a thread would wait for itself.
        """
        started = self._enter()
        try:
            yield started
        finally:
            with self._condition:
                self._active -= 1
                self._let_in()

    def succeeded(self) -> None:
        """A request that has a place ended well: one more place after a round of such.

        Only where all places are taken: what is not used is not known to be borne.
        """
        with self._condition:
            before = self.limit
            if self._active < before:
                return
            self._limit = min(float(self.ceiling), self._limit + 1.0 / self._limit)
            after = self.limit
            self._let_in()
        if after != before:
            self._emit(ConcurrencyChanged(after, "the archive keeps up"))

    def hold(self, seconds: float) -> None:
        """Let nobody ask within the next `seconds`, as the archive wants it."""
        with self._condition:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def push_back(self, started: float, reason: str, retry_after: float | None = None) -> None:
        """The archive pushed back on a request that had its place since `started`.

        Args:
            started: what `slot` gave, monotonic seconds.
            reason: for the event.
            retry_after: seconds that nobody may ask again.
        """
        if retry_after is not None:
            self.hold(retry_after)
        with self._condition:
            if started <= self._halved_at:
                return
            self._halved_at = time.monotonic()
            before = self.limit
            self._limit = max(1.0, self._limit / 2)
            after = self.limit
        if after != before:
            self._emit(ConcurrencyChanged(after, reason))

    def _enter(self) -> float:
        with self._condition:
            while True:
                self._stop.check()
                now = time.monotonic()
                wait = self._not_before - now
                if wait <= 0 and self._active < self.limit:
                    self._active += 1
                    return now
                self._condition.wait(wait if wait > 0 else None)

    def _let_in(self) -> None:
        """Wake as many as there are places: those who wait in vain cost each other time."""
        self._condition.notify(max(0, self.limit - self._active))

    def _wake(self) -> None:
        with self._condition:
            self._condition.notify_all()


class ByteCounter:
    """Counts the bytes that all connections of a run received."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0

    def add(self, count: int) -> None:
        """Count `count` more bytes."""
        with self._lock:
            self.received += count


class RateLimiter:
    """A token bucket over all connections: `take` waits until `count` bytes are within the rate.

    Attributes:
        most: bytes that may be taken at once: a connection that waits for long is cut.
    """

    def __init__(self, rate: float | None, stop: CancelToken) -> None:
        self.most = sys.maxsize if rate is None else _LUMP
        self._rate = rate
        self._stop = stop
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Account for `count` bytes that arrived, and wait as long as they were early."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + count / self._rate
            wait = self._free_at - now
        if wait > _SHORT:
            self._stop.wait(wait)
