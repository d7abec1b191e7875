"""The requests session of one thread, and connections that can be watched."""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from tcia_covid.core.errors import ConfigError, RedirectError
from tcia_covid.core.redaction import redact
from tcia_covid.core.settings import HttpSettings
from tcia_covid.core.version import __version__
from tcia_covid.http import body
from tcia_covid.http.body import ChunkedBody, SizedBody
from tcia_covid.http.watchdog import ActiveRequest, current_request

USER_AGENT = f"tcia-covid/{__version__}"
_MAX_REDIRECTS = 5
_KEEP_THE_FORM = frozenset({307, 308})
_BUFFER = 64 * 1024
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds (twice: macOS has another name for it), seconds, count. Routers forget connections that
are silent for minutes, as they are while an archive prepares a big series; and a connection so
forgotten is noticed."""
_NEEDED = (2, 2, 3)
"""Older ones do not tell a short body from a whole one, or leak sockets when a proxy fails."""


class _UrlAuth(AuthBase):
    """Credentials of the URL itself and no others: `~/.netrc` is never asked."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user or password else request


class ArchiveSession(requests.Session):
    """Follows redirects only within https (or from http), and takes no credential along."""

    def __init__(self) -> None:
        super().__init__()
        self.headers.update(
            {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        self.auth = _UrlAuth()
        self._environment: dict[tuple[str, str], dict[str, Any]] = {}
        self.max_redirects = _MAX_REDIRECTS
        self.mount("http://", WatchedAdapter())
        self.mount("https://", WatchedAdapter())

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Give what requests finds in the environment, which it would search for every request."""
        origin = urlsplit(url)[:2]
        if origin not in self._environment:
            found = super().merge_environment_settings(url, proxies, stream, verify, cert)
            self._environment[origin] = dict(found)
        return self._environment[origin].copy()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give the redirect's target, or refuse it.

        Raises:
            RedirectError: it leads from https to something else, or nowhere, or would turn a POST
                into a GET.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        # The body of a redirect is of no use; it may be endless.
        resp.raw.close()
        here, there = redact(resp.url), _split(resp.url, target)
        if there is None:
            raise RedirectError(f"{here} redirects to an address that is no http(s) URL")
        shown = redact(there.geturl())
        if there.scheme != "https" and urlsplit(resp.url).scheme.lower() != "http":
            raise RedirectError(
                f"{here} redirects to {shown}, which is not protected by TLS",
                hint="not followed; check the archive's URL and the proxy settings",
            )
        if resp.request.method == "POST" and resp.status_code not in _KEEP_THE_FORM:
            raise RedirectError(
                f"{here} redirects a form to {shown}, which would lose what the form says",
                hint="set the archive's URL to where it redirects to",
            )
        return target

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop credentials on the way to another host; never look for others."""
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def _split(base: str, target: str) -> SplitResult | None:
    """Give the address that `target` means; None if it is no usable http(s) URL."""
    try:
        parts = urlsplit(urljoin(base, target))
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None


class _Wire(io.RawIOBase):
    """What the socket gives, counted; ends in the body where the socket fails.

    A buffered read that meets an error throws away what it had gathered. With an end instead,
    every byte before the cut is delivered; the error waits in the call.
    """

    def __init__(self, raw: io.RawIOBase, call: ActiveRequest) -> None:
        super().__init__()
        self._raw = raw
        self._call = call
        self.in_body = False
        self.head_ended = False
        """Whether the connection ended before the head did."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._call.failure is not None:
            return 0
        try:
            count: int | None = self._raw.readinto(buffer)
        except OSError as error:
            if not self.in_body:
                raise
            self._call.failure = error
            return 0
        self._call.received += count or 0
        self.head_ended = self.head_ended or (count == 0 and not self.in_body)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Reads through a `_Wire`; the stall time-out holds as soon as the answer's head is here."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._call = current_request() or ActiveRequest(HttpSettings())
        self._socket = sock
        self._wire = _Wire(self.fp.detach(), self._call)
        self.fp = io.BufferedReader(self._wire, _BUFFER)
        self._body: ChunkedBody | SizedBody | None = None
        self._buffer: bytearray | None = None

    def begin(self) -> None:
        super().begin()
        if self._wire.head_ended:
            # http.client takes what there is of the head for all: no length, no body, no error.
            raise http.client.RemoteDisconnected("the head of the answer was cut")
        self._wire.in_body = True
        self._call.answered()
        self._socket.settimeout(self._call.settings.stall_timeout)

    def read(self, amt: int | None = None) -> bytes:
        """Read at most `amt` bytes of the body, and at least one before its end or a cut."""
        if self.fp is None or not (self.chunked or self.length):
            return super().read(amt and min(amt, _BUFFER))
        if amt is None:
            return self._read_all()
        self._body = self._body or self._new_body()
        data = self._body.read(amt)
        if isinstance(self._body, SizedBody):
            self.length = self._body.left
        if self._body.ended or (amt and not data):
            self._drop_what_follows()
            self.close()
        return data

    def close(self) -> None:
        super().close()
        # At once, for whoever interrupts this closes again.
        buffer, self._buffer, self._body = self._buffer, None, None
        if buffer is not None:
            body.return_buffer(buffer)

    def _read_all(self) -> bytes:
        data = b"".join(iter(lambda: self.read(_BUFFER), b""))
        if self.length:
            raise http.client.IncompleteRead(data, self.length)
        return data

    def _drop_what_follows(self) -> None:
        """Have no other request use a connection on which more came than was announced.

        TLS keeps that where the pool, which looks at the socket, does not see it.
        """
        pending = getattr(self._socket, "pending", None)
        if pending is not None and pending():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _new_body(self) -> ChunkedBody | SizedBody:
        self._buffer = body.take_buffer()
        receive = _received(self.fp, self._wire)
        if self.chunked:
            return ChunkedBody(receive, self._buffer)
        return SizedBody(receive, self._buffer, self.length or 0)


def _received(buffered: io.BufferedReader, wire: _Wire) -> Callable[[memoryview], int]:
    """A function that receives what is left of the body: first what came along with its head.

    Past the buffer, which would make a new object of each record of TLS.
    """
    ahead = len(buffered.peek())

    def receive(room: memoryview) -> int:
        nonlocal ahead
        if not ahead:
            return wire.readinto(room) or 0
        count = buffered.readinto(room[:ahead])
        ahead -= count
        return count

    return receive


class _Watched:
    """Goes before urllib3's connection classes: attaches each connection to the current call."""

    response_class = _Response
    sock: Any

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        _keep_alive(sock)
        call = current_request()
        if call is not None:
            call.attach(sock.fileno())
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        call = current_request()
        if call is not None and self.sock is not None:
            call.attach(self.sock.fileno())
        super().request(*args, **kwargs)  # type: ignore[misc]
        if call is not None:
            call.asked = True


def _keep_alive(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


@functools.cache
def _watched(pool: Any) -> Any:
    """Give `pool`, a class, with watched connections; works for proxies' own classes, too."""
    if issubclass(pool.ConnectionCls, _Watched):
        return pool
    connection = type(pool.ConnectionCls.__name__, (_Watched, pool.ConnectionCls), {})
    return type(pool.__name__, (pool,), {"ConnectionCls": connection})


def _watch_pools(manager: Any) -> Any:
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _watched(pool) for scheme, pool in pools.items()}
    return manager


class WatchedAdapter(HTTPAdapter):
    """Opens watched connections; retries nothing."""

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Have the pools make watched connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Have the pools towards proxies make watched connections, too."""
        return _watch_pools(super().proxy_manager_for(*args, **kwargs))


def check_urllib3(installed: str | None = None) -> None:
    """See that urllib3 is new enough.

    Raises:
        ConfigError: it is not.
    """
    installed = installed or str(urllib3.__version__)  # type: ignore[attr-defined]
    numbers = tuple(int(part) for part in installed.split(".")[:3] if part.isdigit())
    if numbers < _NEEDED:
        needed = ".".join(map(str, _NEEDED))
        raise ConfigError(
            f"urllib3 {installed} is installed, {needed} or newer is needed",
            hint="pip install --upgrade urllib3",
        )
