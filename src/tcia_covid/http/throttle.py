"""Limits that all workers share: simultaneous requests, and bytes per second."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import PausedError
from tcia_covid.core.events import ConcurrencyChanged, Emit, RateLimited, discard

_MIN_PIECE, _MAX_PIECE = 1024, 64 * 1024
_PIECE_SECONDS = 0.25
"""A piece takes no longer at the maximum rate, where it is not the smallest piece."""
_MIN_SLEEP = 0.01
"""Seconds; the system's scheduler cannot time shorter pauses."""


@dataclass(slots=True)
class Slot:
    """The permission to send one request."""

    started: float
    """When it was given (monotonic seconds)."""
    is_held: bool = True


class ConcurrencyLimiter:
    """Limits the requests to one host: additive increase, multiplicative decrease.

    A push-back counts once for all requests that were active when it came: eight workers that
    all receive a 503 in the same moment halve the limit once, not eight times.

    At most `ceiling` requests are active. A request does not wait out a pause of more than
    `max_pause` seconds; `host` is for the message then.
    """

    def __init__(
        self,
        ceiling: int,
        stop: CancelToken,
        emit: Emit = discard,
        *,
        host: str = "the archive",
        max_pause: float = math.inf,
    ) -> None:
        self.ceiling = ceiling
        self._host = host
        self._max_pause = max_pause
        self._limit = float(ceiling)
        self._active = 0
        self._waiting = 0
        self._not_before = 0.0
        self._halved_at = float("-inf")
        self._condition = threading.Condition()
        self._stop = stop
        self._emit = emit
        stop.on_stop(self._wake_all)

    @property
    def limit(self) -> int:
        """Requests that may be active now."""
        return max(1, int(self._limit))

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Wait for a slot, and hold it for the block, or until `release` or `succeeded`.

        Must not be nested: with a limit of one a thread would wait for itself.

        Raises:
            PausedError: the host asked for a longer pause than `max_pause`.
        """
        with self._condition:
            slot = Slot(self._acquire())
        try:
            yield slot
        finally:
            self.release(slot)

    def release(self, slot: Slot) -> None:
        """Let another request have a slot, unless that happened before."""
        with self._condition:
            if slot.is_held:
                self._free(slot)

    def succeeded(self, slot: Slot) -> None:
        """Release the slot of a request that succeeded: a round of them adds a slot.

        Only where all slots are taken: nothing is known of a load that was not tried.
        """
        with self._condition:
            before = self.limit
            if not slot.is_held:
                return
            if self._limit < self.ceiling and self._active >= before:
                self._limit = min(float(self.ceiling), self._limit + 1.0 / self._limit)
            after = self.limit
            self._free(slot)
        if after != before:
            self._emit(ConcurrencyChanged(after, "the archive keeps up"))

    def pause(self, seconds: float) -> None:
        """Start no request within the next `seconds`."""
        with self._condition:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    def push_back(self, started: float, reason: str, retry_after: float | None = None) -> None:
        """Halve the limit: the archive is overloaded, says a request that `started` then."""
        if retry_after is not None:
            self.pause(retry_after)
        with self._condition:
            if started <= self._halved_at:
                return
            self._halved_at = time.monotonic()
            before = self.limit
            self._limit = max(1.0, self._limit / 2)
            after = self.limit
        if after != before:
            self._emit(ConcurrencyChanged(after, reason))

    def _acquire(self) -> float:
        while True:
            self._stop.check()
            now = time.monotonic()
            wait = self._not_before - now
            if wait > self._max_pause:
                raise PausedError(self._host, wait)
            if wait <= 0 and self._active < self.limit:
                self._active += 1
                return now
            self._waiting += 1
            try:
                self._condition.wait(wait if wait > 0 else None)
            finally:
                self._waiting -= 1

    def _free(self, slot: Slot) -> None:
        slot.is_held = False
        self._active -= 1
        self._wake()

    def _wake(self) -> None:
        """Wake as many threads as there are slots: waking all costs each of them time."""
        if self._waiting:
            self._condition.notify(max(0, self.limit - self._active))

    def _wake_all(self) -> None:
        with self._condition:
            self._condition.notify_all()


class ByteCounter:
    """Counts the bytes that all connections of a run receive."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.received = 0

    def add(self, count: int) -> None:
        """Count `count` more bytes."""
        with self._lock:
            self.received += count


class RateLimiter:
    """A token bucket for all connections: `rate` bytes per second, or None for no limit."""

    def __init__(
        self,
        rate: float | None,
        stop: CancelToken,
        clock: Callable[[], float] = time.monotonic,
        emit: Emit = discard,
    ) -> None:
        self.max_piece = (
            sys.maxsize
            if rate is None
            else max(_MIN_PIECE, min(_MAX_PIECE, int(rate * _PIECE_SECONDS)))
        )
        """The most bytes to take at once: a server drops a connection that waits long."""
        self._rate = rate
        self._stop = stop
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()
        self._emit = emit
        self._emitted_at = float("-inf")

    def take(self, count: int) -> None:
        """Wait until `count` bytes, which have arrived, are within the rate."""
        if self._rate is None:
            return
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + count / self._rate
            wait = self._free_at - now
            is_news = wait > _MIN_SLEEP and now - self._emitted_at >= 1.0
            if is_news:
                self._emitted_at = now
        if is_news:
            self._emit(RateLimited())
        if wait > _MIN_SLEEP:
            self._stop.wait(wait)
