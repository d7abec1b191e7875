"""Counting the bytes that arrive, and holding them to a maximum rate."""

from __future__ import annotations

import sys
import threading
import time

from tcia_covid.stop import Stop

_LUMP = 64 * 1024
_SHORT = 0.01
"""Seconds; shorter pauses are noise to the scheduler."""


class Meter:
    """Counts the bytes that all connections of a run received."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0

    def add(self, count: int) -> None:
        """Count `count` more bytes."""
        with self._lock:
            self.received += count


class RateLimit:
    """A token bucket over all connections: `take` waits until `count` bytes are within the rate.

    Attributes:
        most: bytes that may be taken at once: a connection that waits for long is cut.
    """

    def __init__(self, rate: float | None, stop: Stop) -> None:
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
