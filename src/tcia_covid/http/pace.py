"""One pace for all workers: how many requests may be under way, and not before when."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.events import Emit, PaceChanged, discard
from tcia_covid.stop import Stop


class Pace:
    """Additive increase, halving on push-back, never above `ceiling` requests at once.

    A push-back counts once for all the requests that were under way when it came: eight
    workers that are all told 503 in the same moment halve the pace once, not eight times.
    """

    def __init__(self, ceiling: int, stop: Stop, emit: Emit = discard) -> None:
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
            self._emit(PaceChanged(after, "the archive keeps up"))

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
            self._emit(PaceChanged(after, reason))

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
