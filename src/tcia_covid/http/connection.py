"""The requests session of one thread, and connections that the watchdog can abort.

`tests/unit/http/test_contracts.py` covers what is used here of urllib3, http.client and requests
without being documented.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import ipaddress
import socket
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy

from tcia_covid.core.errors import ConnectionLostError, RedirectError
from tcia_covid.core.redaction import redact
from tcia_covid.core.settings import HttpSettings
from tcia_covid.core.version import __version__
from tcia_covid.http import errors
from tcia_covid.http.body import ChunkedBody, SizedBody, return_buffer, take_buffer
from tcia_covid.http.connect import connect
from tcia_covid.http.response import Response
from tcia_covid.http.watchdog import ActiveRequest, current_request

try:
    import truststore
except ImportError:
    truststore = None
_MAX_REDIRECTS = 5
_METHOD_PRESERVING = frozenset({307, 308})
_BUFFER_SIZE = 64 * 1024
_ERROR_TEXT_SIZE = 1024
"""Bytes of an error's body that are read for the message."""
_KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""Seconds (twice: macOS has another name for it), seconds, count. Routers forget connections that
are silent for minutes, as they are while an archive prepares a large series; this keeps them in
use, and notices one that was forgotten."""


class _UrlAuth(AuthBase):
    """Credentials of the URL itself and no others: `~/.netrc` is never read."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user or password else request


class ArchiveSession(requests.Session):
    """Follows redirects only within https (or from http), without credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.headers.update(
            {
                "User-Agent": f"tcia-covid/{__version__}",
                "Accept": "*/*",
                "Accept-Encoding": "identity",
            }
        )
        self.auth = _UrlAuth()
        self._environment: dict[tuple[str, str], dict[str, Any]] = {}
        self.max_redirects = _MAX_REDIRECTS
        self.mount("http://", WatchedAdapter())
        self.mount("https://", WatchedAdapter())

    def send_watched(
        self,
        active: ActiveRequest,
        method: str,
        url: str,
        params: Any = None,
        form: Any = None,
        headers: Any = None,
    ) -> requests.Response:
        """Send a request; returns once the response's head has arrived.

        Servers close connections that were idle, just when the next request comes. All requests
        of this program only read, so one that a reused connection did not answer is sent again.

        Raises:
            ArchiveError: no response.
            RequestError: the URL, the proxy or the CA bundle cannot be used.
        """
        settings = active.settings
        while True:
            active.is_reused = False
            try:
                with active.activate():
                    return self.request(
                        method,
                        url,
                        params=params,
                        data=form,
                        headers=headers,
                        timeout=(settings.connect_timeout, settings.first_byte_timeout),
                        stream=True,
                    )
            except (requests.RequestException, OSError, ValueError) as error:
                # Ends with the pool's last connection: a new one is not a reused one.
                if not (active.is_reused and errors.is_closed_unanswered(error, active)):
                    raise errors.error_from_exception(error, url, active) from error

    @staticmethod
    def check_head(response: Response, settings: HttpSettings) -> None:
        """Accept a status of 2xx and a body without compression.

        Raises:
            StatusError: another status.
            BadResponseError: the body is compressed.
        """
        if 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's class of success
            errors.check_content_encoding(response)
            return
        try:
            text = response.read(_ERROR_TEXT_SIZE)
        except ConnectionLostError:
            text = b""
        raise errors.error_from_status(
            response.status, response.url, response.headers, text, settings.retry_after_cap
        )

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Read proxies and the CA bundle from the environment once per host."""
        origin = urlsplit(url)[:2]
        if origin not in self._environment:
            merged = dict(super().merge_environment_settings(url, proxies, stream, verify, cert))
            if merged["verify"] is True:  # requests knows two variables
                merged["verify"] = next(errors.ca_bundles(), (None, True))[1]
            self._environment[origin] = merged
        return self._environment[origin].copy()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the redirect's target, or refuse it.

        Raises:
            RedirectError: it is not https although the redirect came from https, or is no URL, or
                leads from a public host into a private network, or would turn a POST into a GET.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        # The body of a redirect is of no use; it may be endless.
        resp.raw.close()
        source, parts = redact(resp.url), _split_target(resp.url, target)
        if parts is None:
            raise RedirectError(f"{source} redirects to an address that is not an http(s) URL")
        shown = redact(parts.geturl())
        if parts.scheme != "https" and urlsplit(resp.url).scheme.lower() != "http":
            raise RedirectError(
                f"{source} redirects to {shown}, which is not protected by TLS",
                hint="not followed; check the archive's URL and the proxy settings",
            )
        if _is_private(parts) and not _is_private(urlsplit(resp.url)):
            raise RedirectError(
                f"{source} redirects to {shown}, which is in a private network",
                hint="not followed; check the archive's URL and the proxy settings",
            )
        if resp.request.method == "POST" and resp.status_code not in _METHOD_PRESERVING:
            raise RedirectError(
                f"{source} redirects a form to {shown}, which would drop its contents",
                hint="set the archive's URL to the redirect's target",
            )
        return target

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop credentials when a redirect leads to another host; never add others."""
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def _split_target(base: str, target: str) -> SplitResult | None:
    """Resolve a redirect's target; None if it is not a usable http(s) URL."""
    try:
        parts = urlsplit(urljoin(base, target))
        is_usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if is_usable else None


def _is_private(url: SplitResult) -> bool:
    """Whether a URL's host is this machine, link-local or in a private network.

    A name is looked up unless a proxy does that; one without an address counts as public.
    """
    host = url.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    has_proxy = select_proxy(url.geturl(), get_environ_proxies(url.geturl())) is not None
    try:
        flags = socket.AI_NUMERICHOST if has_proxy else 0
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return False
    return any(_is_private_address(str(address[0])) for *_, address in found)


def _is_private_address(text: str) -> bool:
    address = ipaddress.ip_address(text)
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_private or address.is_link_local or address.is_loopback


class _CountingReader(io.RawIOBase):
    """Counts what the socket gives; in the body, turns an error of the socket into an end.

    A buffered read that meets an error discards what it had gathered. With an end instead, every
    byte before the cut is delivered; the error is kept in the request.
    """

    def __init__(self, raw: io.RawIOBase, request: ActiveRequest) -> None:
        super().__init__()
        self._raw = raw
        self._request = request
        self.in_body = False
        self.head_is_cut = False
        """Whether the connection ended before the head did."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._request.read_error is not None:
            return 0
        try:
            count: int | None = self._raw.readinto(buffer)
        except OSError as error:
            if not self.in_body:
                raise
            self._request.read_error = error
            return 0
        self._request.received += count or 0
        self.head_is_cut = self.head_is_cut or (count == 0 and not self.in_body)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _WatchedResponse(http.client.HTTPResponse):
    """Counts bytes; applies the stall timeout as soon as the head has arrived."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._request = current_request() or ActiveRequest(HttpSettings())
        self._socket = sock
        self._request.reads_from(sock)
        self._reader = _CountingReader(self.fp.detach(), self._request)
        self.fp = io.BufferedReader(self._reader, _BUFFER_SIZE)
        self._body: ChunkedBody | SizedBody | None = None
        self._buffer: bytearray | None = None

    def begin(self) -> None:
        super().begin()
        if self._reader.head_is_cut:
            # http.client accepts part of a head as a whole one: no length, no body, no error.
            raise http.client.RemoteDisconnected("the response head was cut")
        self._reader.in_body = True
        self._request.head_received()
        self._socket.settimeout(self._request.settings.stall_timeout)

    def read(self, amt: int | None = None) -> bytes:
        """Read at most `amt` bytes of the body, and at least one before its end or a cut."""
        if self.fp is None or not (self.chunked or self.length):
            return super().read(amt and min(amt, _BUFFER_SIZE))
        if amt is None:
            return self._read_all()
        self._body = self._body or self._new_body()
        data = self._body.read(amt)
        if isinstance(self._body, SizedBody):
            self.length = self._body.left
        if self._body.ended or (amt and not data):
            self._shut_down_if_more_came()
            self.close()
        return data

    def close(self) -> None:
        super().close()
        # In one statement: a signal handler may close again in between.
        buffer, self._buffer, self._body = self._buffer, None, None
        if buffer is not None:
            return_buffer(buffer)

    def _read_all(self) -> bytes:
        data = b"".join(iter(lambda: self.read(_BUFFER_SIZE), b""))
        if self.length:
            raise http.client.IncompleteRead(data, self.length)
        return data

    def _shut_down_if_more_came(self) -> None:
        """Let no other request use a connection on which more came than was announced.

        TLS keeps such bytes where the pool, which looks at the socket, does not see them.
        """
        pending = getattr(self._socket, "pending", None)
        if pending is not None and pending():
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _new_body(self) -> ChunkedBody | SizedBody:
        self._buffer = take_buffer()
        receive = _receiver(self.fp, self._reader)
        if self.chunked:
            return ChunkedBody(receive, self._buffer)
        return SizedBody(receive, self._buffer, self.length or 0)


def _receiver(buffered: io.BufferedReader, reader: _CountingReader) -> Callable[[memoryview], int]:
    """A function that receives the body: first what arrived together with the head.

    The rest bypasses the buffer, which would make a new object of each TLS record.
    """
    in_buffer = len(buffered.peek())

    def receive(room: memoryview) -> int:
        nonlocal in_buffer
        if not in_buffer:
            return reader.readinto(room) or 0
        count = buffered.readinto(room[:in_buffer])
        in_buffer -= count
        return count

    return receive


class _FastConnection:
    """Mixin for urllib3's connection classes: connects by `connect`, with urllib3's errors."""

    host: str
    port: int
    timeout: float
    socket_options: Any

    def _new_conn(self) -> socket.socket:
        unreachable: Any = urllib3.exceptions
        try:
            return connect(self.host, self.port, self.timeout, self.socket_options)
        except UnicodeError as error:
            raise urllib3.exceptions.LocationParseError(self.host) from error
        except socket.gaierror as error:
            raise unreachable.NameResolutionError(self.host, self, error) from error
        except TimeoutError as error:
            raise unreachable.ConnectTimeoutError(self, str(error)) from error
        except OSError as error:
            raise unreachable.NewConnectionError(self, str(error)) from error


class _WatchedConnection:
    """Mixin for urllib3's connection classes: attaches connections to the current request."""

    response_class = _WatchedResponse
    sock: Any
    _has_carried = False
    """Whether a request was sent; TLS connects before the first one."""

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]
        self._has_carried = False
        enable_keepalive(sock)
        request = current_request()
        if request is not None:
            is_tls = isinstance(self, urllib3.connection.HTTPSConnection)
            request.attach(sock, needs_handshake=is_tls)
        return sock

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
    name = pool.ConnectionCls.__name__
    is_direct = pool.ConnectionCls._new_conn is urllib3.connection.HTTPConnection._new_conn  # noqa: SLF001
    mixins = (_WatchedConnection, _FastConnection) if is_direct else (_WatchedConnection,)
    connection = type(name, (*mixins, pool.ConnectionCls), {})  # a SOCKS proxy connects itself
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

    def __init__(self) -> None:
        super().__init__(pool_connections=4, pool_maxsize=4, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: D102
        super().init_poolmanager(*args, **_with_system_store(kwargs))
        _watch_pools(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: D102
        return _watch_pools(super().proxy_manager_for(*args, **_with_system_store(kwargs)))


def _with_system_store(arguments: dict[str, Any]) -> dict[str, Any]:
    if truststore is None or any(errors.ca_bundles()):
        return arguments
    return {**arguments, "ssl_context": truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)}
