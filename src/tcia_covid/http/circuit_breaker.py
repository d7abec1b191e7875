"""Skipping what fails repeatedly: for a while, longer after each failed probe."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class _OpenCircuit:
    pause: float
    until: float


class CircuitBreaker:
    """One circuit per key: open means that the key's owner is not responding and is skipped.

    A pause has `pause` seconds at first, twice as many after each failed probe, and at most
    `max_pause`. When it is over, one caller probes; the others keep skipping until it succeeds.
    """

    def __init__(
        self, pause: float, max_pause: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._pause = pause
        self._max_pause = max_pause
        self._clock = clock
        self._open: dict[Hashable, _OpenCircuit] = {}
        self._lock = threading.Lock()

    def order(self, candidates: Sequence[T], key: Callable[[T], Hashable]) -> list[T]:
        """The candidates in the order to try them: those to skip come last."""
        with self._lock:
            skipped = {each for each in set(map(key, candidates)) if self._skips(each)}
        return sorted(candidates, key=lambda candidate: key(candidate) in skipped)

    def is_open(self, key: Hashable) -> bool:
        """Whether `key` has failed and not succeeded since."""
        with self._lock:
            return key in self._open

    def open(self, key: Hashable) -> bool:
        """Skip `key` from now on; False if it was open before."""
        with self._lock:
            if key in self._open:
                return False
            self._open[key] = _OpenCircuit(self._pause, self._clock() + self._pause)
            return True

    def close(self, key: Hashable) -> None:
        """Use `key` again: it succeeded."""
        with self._lock:
            self._open.pop(key, None)

    def _skips(self, key: Hashable) -> bool:
        circuit = self._open.get(key)
        if circuit is None:
            return False
        now = self._clock()
        if circuit.until > now:
            return True
        circuit.pause = min(self._max_pause, 2 * circuit.pause)
        circuit.until = now + circuit.pause
        return False
