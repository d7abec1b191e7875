"""Aborting requests that stall: a read timeout never fires while single bytes drip in.

Only shutting down the socket wakes a thread that waits for it, and on Windows only closing it, so
each active request keeps a handle on its connection that other threads can use.
"""

from __future__ import annotations

import contextlib
import enum
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.http.settings import HttpSettings

_thread = threading.local()
_SILENCE = 1.5
"""Times the stall timeout: the socket ends silence itself, except within a TLS record."""


class AbortReason(enum.Enum):
    """Why this program shut a connection down."""

    CANCELED = "the run was canceled"
    LATE = "no complete response head within the first-byte timeout"
    SLOW = "slower than the minimum rate"


class ActiveRequest:
    """One request: its connection, and how fast its response arrives.

    The thread that reads owns it; `check_progress` and `abort` are called from other threads.
    """

    closes_to_abort = sys.platform == "win32"
    """Whether only closing a socket wakes a thread that reads from it."""

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        self.abort_reason: AbortReason | None = None
        self.read_error: OSError | None = None
        """What the socket raised in the middle of the body."""
        self.received = 0
        """Bytes received on the current connection."""
        self.is_accepted = False
        """Whether a host or a proxy accepted a connection."""
        self.is_sent = False
        """Whether the request was sent on the current connection."""
        self.is_reused = False
        """Whether the current connection carried an earlier request."""
        self._lock = threading.Lock()
        self._handle: socket.socket | None = None
        self._socket: socket.socket | None = None
        self._finished = False
        self._head_deadline: float | None = None
        # Seconds spent in reads that ended, and when the current one began: one tuple, so that
        # the watchdog never sees half of an update.
        self._reading: tuple[float, float | None] = (0.0, None)
        self._last_check = (0.0, 0)
        self._last_received = 0

    @contextmanager
    def activate(self) -> Iterator[None]:
        """Assign the connections that this thread uses in the block to this request."""
        previous = current_request()
        _thread.request = self
        try:
            yield
        finally:
            _thread.request = previous

    def attach(
        self,
        sock: socket.socket,
        *,
        is_reused: bool = False,
        needs_handshake: bool = False,
        is_stable: bool = False,
    ) -> None:
        """Take the connection that carries this request, and start the timeout of the next step.

        That is the TLS handshake if it `needs_handshake`, otherwise the first byte of the response.
        `is_stable` promises that `detach` is called before the socket is closed or replaced.
        """
        # A duplicate stays valid while the TLS layer swaps socket objects, and never names a
        # descriptor that the system has reused for something else.
        handle = (
            None if is_stable else socket.fromfd(sock.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        )
        settings = self.settings
        timeout = settings.connect_timeout if needs_handshake else settings.first_byte_timeout
        with self._lock:
            if self._finished:
                if handle is not None:
                    handle.close()
                return
            self._close_handle()
            self._handle, self._socket = handle, sock
            self.is_sent, self.received, self.read_error = False, 0, None
            self.is_reused, self.is_accepted = is_reused, True
            self._head_deadline = time.monotonic() + timeout
            if self.abort_reason is not None:
                self._shut_down()

    def reads_from(self, sock: socket.socket) -> None:
        """Take the socket that the response is read from: with TLS not the attached one."""
        self._socket = sock

    def head_received(self) -> None:
        """End the first-byte timeout."""
        self._head_deadline = None

    def begin_read(self) -> None:
        """Start counting time: only time spent in reads counts against the archive."""
        self._reading = (self._reading[0], time.monotonic())

    def end_read(self) -> None:
        """Stop counting time."""
        seconds, since = self._reading
        if since is not None:
            self._reading = (seconds + time.monotonic() - since, None)

    def abort(self, reason: AbortReason) -> None:
        """Shut the connection down and wake its reader, unless the request has finished."""
        with self._lock:
            if not self._finished:
                self.abort_reason = self.abort_reason or reason
                self._shut_down()

    def detach(self) -> None:
        """Release the connection: another one may carry the request."""
        with self._lock:
            self._close_handle()

    def finish(self) -> None:
        """Release the connection, and take no other."""
        with self._lock:
            self._finished = True
            self._close_handle()

    def check_progress(self) -> None:
        """Abort if the head is overdue, or the body was too slow over the stall timeout."""
        now = time.monotonic()
        deadline = self._head_deadline
        if deadline is not None and now >= deadline:
            self.abort(AbortReason.LATE)
        seconds, since = self._reading
        seconds += now - since if since is not None else 0.0
        received, elapsed = self.received, seconds - self._last_check[0]
        is_silent, self._last_received = received == self._last_received, received
        if elapsed < self.settings.stall_timeout * (_SILENCE if is_silent else 1):
            return
        if received - self._last_check[1] < self.settings.min_rate * elapsed:
            self.abort(AbortReason.SLOW)
        self._last_check = (seconds, received)

    def _shut_down(self) -> None:
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._handle.shutdown(socket.SHUT_RDWR)
        if self._socket is not None and (self.closes_to_abort or self._handle is None):
            if self._handle is not None:
                self._handle.close()  # only closing the last handle wakes a reader
            shut_down(self._socket, close=self.closes_to_abort)

    def _close_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = self._socket = None


def shut_down(sock: socket.socket, *, close: bool = sys.platform == "win32") -> None:
    """End a connection and wake the thread that reads from it, where needed by closing it."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    # Its own `close` would wait for the files that were made of it.
    if close and (descriptor := sock.detach()) != -1:
        socket.close(descriptor)


def current_request() -> ActiveRequest | None:
    """The request that this thread is sending."""
    request: ActiveRequest | None = getattr(_thread, "request", None)
    return request


class Watchdog:
    """Checks all active requests, several times per stall timeout and at least every second."""

    def __init__(self, settings: HttpSettings) -> None:
        shortest = min(
            settings.connect_timeout, settings.first_byte_timeout, settings.stall_timeout
        )
        self._interval = min(1.0, shortest / 4)
        self._lock = threading.Lock()
        self._requests: set[ActiveRequest] = set()
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()

    @contextmanager
    def watch(self, request: ActiveRequest) -> Iterator[None]:
        """Watch `request` in the block, and release its connection afterwards."""
        with self._lock:
            self._requests.add(request)
            if self._thread is None:
                self._start()
        try:
            yield
        finally:
            with self._lock:
                self._requests.discard(request)
            request.finish()

    def _start(self) -> None:
        """Start the thread; the next request tries again if the system permits no more threads."""
        self._closed = threading.Event()
        thread = threading.Thread(
            target=self._run, args=(self._closed,), name="http-watchdog", daemon=True
        )
        with contextlib.suppress(RuntimeError):
            thread.start()
            self._thread = thread

    def active(self) -> list[ActiveRequest]:
        """The requests being watched."""
        with self._lock:
            return list(self._requests)

    def abort_all(self) -> None:
        """Abort every active request, because the run was canceled."""
        for request in self.active():
            request.abort(AbortReason.CANCELED)

    def close(self) -> None:
        """End the thread; a later request starts another one."""
        with self._lock:
            thread, self._thread = self._thread, None
            self._closed.set()
        if thread is not None:
            thread.join()

    def _run(self, closed: threading.Event) -> None:
        while not closed.wait(self._interval):
            for request in self.active():
                request.check_progress()
