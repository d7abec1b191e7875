"""One request under way, with a handle on its socket so that it can be broken from outside.

A read time-out never fires on a slow drip, and nothing but the socket itself wakes a thread
that waits for a first byte: so every call knows its socket.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from tcia_covid.http.settings import HttpSettings

_thread = threading.local()


class Call:
    """One request: its socket, and the rate at which its answer arrives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self.broken: str | None = None
        """Why this side broke the connection; None while it did not."""
        self.waiting_since: float | None = None
        """When the read under way began (monotonic seconds); None between reads."""
        self.window_seconds = 0.0
        """Seconds spent reading since the rate was last judged."""
        self.window_bytes = 0

    def make_current(self) -> None:
        """Have the connections that this thread opens from now on belong to this call."""
        _thread.call = self

    def attach(self, sock: socket.socket | None) -> None:
        """Take the socket that carries this call."""
        with self._lock:
            self._socket = sock
            broken = self.broken
        if broken is not None:
            self.break_off(broken)

    def set_timeout(self, seconds: float) -> None:
        """Change the silence that the socket bears."""
        with self._lock:
            if self._socket is not None:
                self._socket.settimeout(seconds)

    def break_off(self, reason: str) -> None:
        """Shut the socket down: the thread that reads from it wakes within milliseconds."""
        with self._lock:
            self.broken = self.broken or reason
            if self._socket is None:
                return
            with contextlib.suppress(OSError, AttributeError, TypeError):
                # The plain socket's method: SSLSocket.shutdown pulls the TLS object from under
                # the reading thread.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def too_slow(self, settings: HttpSettings) -> bool:
        """Whether the answer arrived slower than the minimum rate over a whole window."""
        since = self.waiting_since
        pending = time.monotonic() - since if since is not None else 0.0
        seconds = self.window_seconds + pending
        if seconds < settings.rate_window:
            return False
        return self.window_bytes < settings.min_rate * seconds


class _AttachedHTTPConnection(HTTPConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        super().request(*args, **kwargs)
        _attach(self.sock)

    def connect(self) -> None:
        super().connect()
        _attach(self.sock)


class _AttachedHTTPSConnection(HTTPSConnection):
    def request(self, *args: Any, **kwargs: Any) -> None:
        super().request(*args, **kwargs)
        _attach(self.sock)

    def connect(self) -> None:
        super().connect()
        _attach(self.sock)


def _attach(sock: Any) -> None:
    call: Call | None = getattr(_thread, "call", None)
    if call is not None:
        call.attach(sock)


class _AttachedHTTPPool(HTTPConnectionPool):
    ConnectionCls = _AttachedHTTPConnection


class _AttachedHTTPSPool(HTTPSConnectionPool):
    ConnectionCls = _AttachedHTTPSConnection


_POOLS = {"http": _AttachedHTTPPool, "https": _AttachedHTTPSPool}


class AttachingAdapter(HTTPAdapter):
    """Opens connections that tell the current call their socket; retries nothing."""

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have the pools make the connections above."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Have the pools towards proxies make the connections above, too."""
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager


class RateWatch:
    """A thread that breaks off calls which are slower than the minimum rate."""

    def __init__(self, settings: HttpSettings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._calls: set[Call] = set()
        self._thread: threading.Thread | None = None

    def add(self, call: Call) -> None:
        """Watch `call`, and start the thread with the first one."""
        with self._lock:
            self._calls.add(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="rate-watch", daemon=True)
                self._thread.start()

    def remove(self, call: Call) -> None:
        """Watch `call` no longer."""
        with self._lock:
            self._calls.discard(call)

    def break_all(self, reason: str) -> None:
        """Break off every call under way."""
        with self._lock:
            calls = list(self._calls)
        for call in calls:
            call.break_off(reason)

    def _run(self) -> None:
        period = min(1.0, self._settings.rate_window / 4)
        idle = 0.0
        while True:
            time.sleep(period)
            with self._lock:
                calls = list(self._calls)
                idle = 0.0 if calls else idle + period
                if idle > 5:  # noqa: PLR2004 - a later call starts a new thread
                    self._thread = None
                    return
            for call in calls:
                if call.too_slow(self._settings):
                    call.break_off("slow")
