"""One request under way: a handle on its connection, and how fast its answer arrives.

A read time-out never fires on a slow drip, and nothing but the connection itself wakes a thread
that waits for a first byte: so every call can be broken off from another thread.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.core.settings import HttpSettings

_thread = threading.local()


class AbortReason(enum.Enum):
    """Why this side broke a connection."""

    STOPPED = "the run is to end"
    LATE = "no whole answer head within the first-byte time-out"
    SLOW = "slower than the minimum rate"


class ActiveRequest:
    """One request: its connection, and the rate at which its answer arrives.

    The reading thread owns it; `judge` and `break_off` come from other threads.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.broken: AbortReason | None = None
        """Why this side broke the connection; None while it did not."""
        self.failure: OSError | None = None
        """What the socket raised in the middle of the body."""
        self.received = 0
        """Bytes that the socket gave of the answer under way."""
        self.asked = False
        """Whether the request was sent on the connection that carries it now."""
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._finished = False
        self._due: float | None = None
        # Seconds of all reads that ended, and when the one under way began: one value, so that
        # the watch never sees half of an update.
        self._reading: tuple[float, float | None] = (0.0, None)
        self._judged = (0.0, 0)

    @contextmanager
    def current(self) -> Iterator[None]:
        """Have the connections that this thread uses meanwhile belong to this call."""
        before = getattr(_thread, "call", None)
        _thread.call = self
        try:
            yield
        finally:
            _thread.call = before

    def attach(self, descriptor: int) -> None:
        """Take the connection that carries this call; its answer's head is due from now on.

        The handle is a duplicate: it stays valid while the TLS layer swaps socket objects, and
        it can never name a descriptor that meanwhile belongs to something else.
        """
        handle = socket.fromfd(descriptor, socket.AF_INET, socket.SOCK_STREAM)
        with self._lock:
            if self._finished:
                handle.close()
                return
            self._drop_handle()
            self._handle = handle
            self.asked, self.received, self.failure = False, 0, None
            self._due = time.monotonic() + self.settings.first_byte_timeout
            if self.broken is not None:
                self._shut_down()

    def answered(self) -> None:
        """The answer's head is here."""
        self._due = None

    def begin_read(self) -> None:
        """A read of the body begins."""
        self._reading = (self._reading[0], time.monotonic())

    def end_read(self) -> None:
        """The read under way ended; time between reads is not the archive's."""
        seconds, since = self._reading
        if since is not None:
            self._reading = (seconds + time.monotonic() - since, None)

    def break_off(self, reason: AbortReason) -> None:
        """Shut the connection down: the thread that waits for it wakes within milliseconds.

        Does nothing once the call is finished: its connection may serve another one.
        """
        with self._lock:
            if self._finished:
                return
            self.broken = self.broken or reason
            self._shut_down()

    def finish(self) -> None:
        """Let go of the connection."""
        with self._lock:
            self._finished = True
            self._drop_handle()

    def judge(self) -> None:
        """Break off if the head is overdue, or the body was too slow over a whole window."""
        now = time.monotonic()
        due = self._due
        if due is not None and now >= due:
            self.break_off(AbortReason.LATE)
        ended, since = self._reading
        seconds = ended + (now - since if since is not None else 0.0)
        elapsed = seconds - self._judged[0]
        if elapsed < self.settings.rate_window:
            return
        received = self.received
        if received - self._judged[1] < self.settings.min_rate * elapsed:
            self.break_off(AbortReason.SLOW)
        self._judged = (seconds, received)

    def _shut_down(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


def current_request() -> ActiveRequest | None:
    """The call that this thread is sending."""
    call: ActiveRequest | None = getattr(_thread, "call", None)
    return call


class Watchdog:
    """Looks at all calls under way, a few times a rate window and at least every second."""

    def __init__(self, settings: HttpSettings) -> None:
        self._period = min(1.0, settings.rate_window / 4, settings.first_byte_timeout / 4)
        self._lock = threading.Lock()
        self._calls: set[ActiveRequest] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def over(self, call: ActiveRequest) -> Iterator[None]:
        """Watch `call` meanwhile, and let go of its connection afterwards."""
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._calls.discard(call)
            call.finish()

    def break_all(self) -> None:
        """Break off every call under way: the run is to end."""
        for call in self._under_way():
            call.break_off(AbortReason.STOPPED)

    def close(self) -> None:
        """End the thread; a later call starts another one."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._closed.set()
        if thread is not None:
            thread.join()

    def _start(self) -> None:
        self._closed = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._closed,), name="http-watch", daemon=True
        )
        self._thread.start()

    def _run(self, closed: threading.Event) -> None:
        while not closed.wait(self._period):
            for call in self._under_way():
                call.judge()

    def _under_way(self) -> list[ActiveRequest]:
        with self._lock:
            return list(self._calls)
