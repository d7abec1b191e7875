"""Cancellation: the flag that ends a run early; every wait checks it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from tcia_covid.core.errors import InterruptedRunError, TciaCovidError


class CancelToken:
    """Set once, by a signal or by an error that ends the run; then every wait ends at once.

    Callbacks registered with `on_stop` run in the thread that sets the flag; they end blocking
    reads (see `tcia_covid.http`).
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._callbacks: list[Callable[[], None]] = []
        self.reason: TciaCovidError | None = None
        self.since = 0.0
        """When it was set, by the monotonic clock."""

    def set(self, reason: TciaCovidError | None = None) -> None:
        """Cancel the run; the first reason counts. Without a reason it is an interruption."""
        with self._lock:
            if self._event.is_set():
                return
            self.since = time.monotonic()
            self.reason = reason or InterruptedRunError()
            self._event.set()
            callbacks = list(self._callbacks)
        for callback in callbacks:
            callback()

    def is_set(self) -> bool:
        """Whether the run is canceled."""
        return self._event.is_set()

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the run is canceled; at once if it already is."""
        with self._lock:
            self._callbacks.append(callback)
            already = self._event.is_set()
        if already:
            callback()

    def check(self) -> None:
        """Raise the reason if the run is canceled."""
        if self._event.is_set() and self.reason is not None:
            raise self.reason

    def wait(self, seconds: float) -> None:
        """Sleep for `seconds`, or raise the reason as soon as the run is canceled."""
        self._event.wait(seconds)
        self.check()
