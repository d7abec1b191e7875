"""Connections that the watchdog can abort, over IPv6 or IPv4, and the adapter that opens them."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any, cast

import urllib3
from requests.adapters import HTTPAdapter
from urllib3.util.ssl_ import create_urllib3_context

from tcia_covid.http import errors
from tcia_covid.http.body import WatchedResponse
from tcia_covid.http.watchdog import current_request

try:
    import truststore
except ImportError:
    truststore = None
# Unlike epoll, poll needs no file descriptor of its own.
_Selector = getattr(selectors, "PollSelector", selectors.SelectSelector)
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds (twice: macOS has another name for it), seconds, count. Routers forget connections that
are silent for minutes, as they are while an archive prepares a large series; this keeps them in
use, and notices one that was forgotten."""
_MAX_HOSTS = 16
"""Hosts whose connections are kept; IDC has three buckets in each of two clouds."""


def connect(
    host: str,
    port: int,
    timeout: float,
    options: Sequence[tuple[Any, ...]] | None = None,
    *,
    head_start: float = 0.3,
) -> socket.socket:
    """Connect to the first address of `host` that accepts (happy eyeballs, RFC 8305).

    Networks exist that drop all IPv6 packets: an address that does not respond costs `head_start`
    seconds, after which the next one is tried as well. All together have `timeout` seconds.

    Raises:
        socket.gaierror: the name cannot be resolved.
        TimeoutError: no address responded.
        OSError: no address accepted; the last error.
    """
    addresses = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    # The preferred family and the other one in turn.
    preferred = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    waiting = deque(filter(None, chain(*zip_longest(preferred, others))))
    deadline = time.monotonic() + timeout
    timed_out = TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
    error: OSError = timed_out
    with _Selector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    try:
                        attempt = _start(waiting.popleft(), options)
                    except OSError as refused:
                        error = refused
                        continue
                    selector.register(attempt, selectors.EVENT_WRITE, attempt)
                left = max(0.0, deadline - time.monotonic())
                for key, _ in selector.select(min(head_start, left) if waiting else left):
                    sock: socket.socket = key.data
                    selector.unregister(sock)
                    code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if code == 0:
                        sock.settimeout(timeout)
                        return sock
                    sock.close()
                    error = OSError(code, os.strerror(code))
                if left == 0.0:
                    raise timed_out
        finally:
            for key in list(selector.get_map().values()):
                key.data.close()
    raise error


def _start(address: Any, options: Sequence[tuple[Any, ...]] | None) -> socket.socket:
    """Begin to connect to one address, as `getaddrinfo` returns it."""
    sock = socket.socket(*address[:3])
    try:
        for option in options or ():
            sock.setsockopt(*option)
        sock.settimeout(0)
        with contextlib.suppress(BlockingIOError):
            sock.connect(address[4])
    except OSError:
        sock.close()
        raise
    return sock


class _WatchedConnection:
    """Mixin for urllib3's connection classes: attaches connections to the current request."""

    response_class = WatchedResponse
    host: str
    port: int
    timeout: float
    socket_options: Any
    sock: Any
    is_socks = False
    """Whether the class connects to a SOCKS proxy, by itself."""
    _has_carried = False
    """Whether a request was sent; TLS connects before the first one."""

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn() if self.is_socks else self._connect()  # type: ignore[misc]
        self._has_carried = False
        enable_keepalive(sock)
        request = current_request()
        if request is not None:
            is_tls = isinstance(self, urllib3.connection.HTTPSConnection)
            request.attach(sock, needs_handshake=is_tls)
        return sock

    def _connect(self) -> socket.socket:
        """Call `connect`; raises urllib3's errors."""
        exceptions: Any = urllib3.exceptions
        try:
            return connect(self.host, self.port, self.timeout, self.socket_options)
        except UnicodeError as error:
            raise exceptions.LocationParseError(self.host) from error
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise exceptions.NewConnectionError(self, str(error)) from error

    def connect(self) -> None:
        if isinstance(self, urllib3.connection.HTTPSConnection) and uses_system_store():
            # For this connection alone: truststore locks a context during the handshake.
            self.ssl_context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        super().connect()  # type: ignore[misc]

    def request(self, *args: Any, **kwargs: Any) -> None:
        request = current_request()
        if request is not None and self.sock is not None:
            request.attach(self.sock, is_reused=self._has_carried)
        super().request(*args, **kwargs)  # type: ignore[misc]
        self._has_carried = True
        if request is not None:
            request.is_sent = True


def enable_keepalive(sock: socket.socket) -> None:
    """Have the system probe a silent connection."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@functools.cache
def _watched_pool(pool: Any) -> Any:
    """A subclass of a pool class with watched connections; works for proxies' classes, too."""
    if issubclass(pool.ConnectionCls, _WatchedConnection):
        return pool
    original = pool.ConnectionCls
    is_socks = original._new_conn is not urllib3.connection.HTTPConnection._new_conn  # noqa: SLF001
    connection = type(original.__name__, (_WatchedConnection, original), {"is_socks": is_socks})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _watch_pools(manager: Any) -> Any:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched_pool(pool) for scheme, pool in pools.items()}
    return manager


class WatchedAdapter(HTTPAdapter):
    """Opens watched connections, to proxies as well; retries nothing.

    With the extra `truststore`, certificates are checked against the system's store, too, unless
    the environment names a CA bundle.
    """

    def __init__(self, connections: int) -> None:
        self._tls_contexts: dict[tuple[str | None, str | None], ssl.SSLContext] = {}
        """By CA bundle and folder of CA certificates: reading a bundle takes 17 ms."""
        super().__init__(_MAX_HOSTS, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: D102
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return _watch_pools(super().proxy_manager_for(*args, **kwargs))

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Have all connections of a pool use one TLS context; urllib3 makes one for each."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        trusted = (conn.ca_certs, conn.ca_cert_dir)
        if conn.proxy is None and any(trusted) and not uses_system_store():
            if trusted not in self._tls_contexts:
                self._tls_contexts[trusted] = _tls_context(*trusted)
            conn.conn_kw["ssl_context"] = self._tls_contexts[trusted]
            conn.ca_certs = conn.ca_cert_dir = None


def _tls_context(bundle: str | None, folder: str | None) -> ssl.SSLContext:
    """A TLS context that several threads can use."""
    context: Any = create_urllib3_context()
    try:
        context.load_verify_locations(bundle, folder)
    except OSError as error:
        raise urllib3.exceptions.SSLError(error) from error
    context.set_alpn_protocols(["http/1.1"])
    # urllib3 calls it for each connection: OpenSSL frees a list that other threads may be reading.
    context.set_alpn_protocols = lambda protocols: None
    return cast(ssl.SSLContext, context)


def uses_system_store() -> bool:
    """Whether certificates are checked against the system's store."""
    return truststore is not None and not any(errors.ca_bundles())
