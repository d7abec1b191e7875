"""GETs over the connections of urllib3's pools, without what other layers do for each request.

requests, urllib3 and http.client need more time for a small image than its transfer takes. They
configure the connections, and read every response that has anything unusual.
"""

from __future__ import annotations

import contextlib
import http.client
import re
from typing import Any

import urllib3

from tcia_covid.http.body import SizedBody, WatchedResponse, buffer_pool, take_buffer
from tcia_covid.http.watchdog import ActiveRequest

_TARGET = re.compile(r"/[A-Za-z0-9._~:/?\[\]@!$&'()*+,;=%-]*")
"""A path and a query that need no quoting."""
_HOST = re.compile(r"[A-Za-z0-9.:\[\]-]+")
_VALUE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_PLAIN_HEAD = re.compile(
    rb"HTTP/1\.1 ([245]\d\d)(?: [ -~]*)?\r\n((?:[A-Za-z0-9_-]+:[ -~]*\r\n)+)\r\n"
)
_HEADER = re.compile(r"([A-Za-z0-9_-]+): *([ -~]*?) *\r\n")
_NO_BODY = 204
_MAX_DIGITS = 15
READ_ERRORS = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError, ValueError)
"""What reading a body raises, by this module or by urllib3."""


def get(
    pool: Any, request: ActiveRequest, host: str, target: str, headers: dict[str, str]
) -> PlainResponse | urllib3.HTTPResponse | None:
    """Send a GET over a connection of a pool; None where a URL or a header is unusual.

    Args:
        pool: a connection pool of urllib3.
        request: what the connection is used for; it must be active in this thread.
        host: name and port, as in the URL.
        target: path and query.
        headers: all of the request, but `Host`.

    Raises:
        OSError: the connection broke.
        urllib3.exceptions.HTTPError: there is no connection.
        http.client.HTTPException: there is no response, or it is not HTTP.
    """
    values = headers.values()
    if not (
        _HOST.fullmatch(host) and _TARGET.fullmatch(target) and all(map(_VALUE.fullmatch, values))
    ):
        return None
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n"
    connection = pool._get_conn()  # noqa: SLF001
    try:
        is_reused = connection.sock is not None
        if not is_reused:
            connection.timeout = request.settings.connect_timeout
            connection.connect()
        request.attach(connection.sock, is_reused=is_reused, is_stable=True)
        return _exchange(pool, connection, request, head.encode("ascii"))
    except BaseException:
        request.detach()
        connection.close()
        pool._put_conn(connection)  # noqa: SLF001
        raise


def _exchange(
    pool: Any, connection: Any, request: ActiveRequest, head: bytes
) -> PlainResponse | urllib3.HTTPResponse:
    sock = connection.sock
    sock.settimeout(request.settings.first_byte_timeout)
    # A server may respond before it closes a connection.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(head)
    connection._has_carried = True  # noqa: SLF001 - of this package
    request.is_sent = True
    response = PlainResponse(pool, connection, request)
    received = response.read_head()
    if not received:
        sock.settimeout(request.settings.stall_timeout)
        return response
    response.return_buffer()
    return _unusual_response(pool, connection, request, received)


def _unusual_response(
    pool: Any, connection: Any, request: ActiveRequest, received: bytes
) -> urllib3.HTTPResponse:
    """Have http.client and urllib3 read a response of which `received` has arrived."""
    request.attach(connection.sock, is_reused=request.is_reused)
    request.is_sent, request.received = True, len(received)
    with request.activate():
        raw = WatchedResponse(connection.sock, method="GET", received=received)
    try:
        raw.begin()
    except BaseException:
        raw.close()
        raise
    if raw.will_close:
        connection.close()  # `raw` keeps the socket open
    return urllib3.HTTPResponse(
        raw,
        headers=urllib3.HTTPHeaderDict(raw.msg.items()),
        status=raw.status,
        reason=raw.reason,
        version=raw.version,
        preload_content=False,
        decode_content=False,
        original_response=raw,
        pool=pool,
        connection=connection,
        request_method="GET",
    )


class Headers(dict[str, str]):
    """The headers of a response by their names in lower case; `get` takes any case."""

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header; several of one name are joined."""
        return super().get(name.lower(), default)


class PlainResponse:
    """A response with a length and an ordinary head; used as urllib3's responses are."""

    def __init__(self, pool: Any, connection: Any, request: ActiveRequest) -> None:
        self._pool = pool
        self._connection = connection
        self._request = request
        self._buffer = take_buffer()
        self._body = SizedBody(self._receive, self._buffer, 0)
        self.status = 0
        self.headers = Headers()

    def read_head(self) -> bytes:
        """Receive the head; return what came if that is not one, else nothing.

        Raises:
            OSError: the connection broke.
            http.client.RemoteDisconnected: it ended.
        """
        count = self._connection.sock.recv_into(self._buffer)
        if not count:
            raise http.client.RemoteDisconnected("the connection ended without a response")
        self._request.received += count
        head = _PLAIN_HEAD.match(self._buffer, 0, count)
        if head is None or not self._parse(head):
            return bytes(self._buffer[:count])
        length = int(self.headers.get("Content-Length", ""))
        self._body = SizedBody(self._receive, self._buffer, length, received=(head.end(), count))
        self._request.head_received()
        return b""

    def _parse(self, head: re.Match[bytes]) -> bool:
        """Parse a head; return whether the body is the next `Content-Length` bytes."""
        self.status, headers = int(head[1]), self.headers
        for name, value in _HEADER.findall(head[2].decode("ascii")):
            key = name.lower()
            headers[key] = f"{headers[key]}, {value}" if key in headers else value
        length = headers.get("Content-Length", "")
        return (
            length.isdigit()
            and len(length) <= _MAX_DIGITS
            and "transfer-encoding" not in headers
            and headers.get("Connection", "keep-alive").lower() == "keep-alive"
            and self.status != _NO_BODY
        )

    def read(self, size: int) -> memoryview:
        """Read at most `size` bytes of the body, and at least one before its end.

        The view is of the buffer: valid until the next call, or until the buffer is returned.

        Raises:
            http.client.IncompleteRead: the body was cut here.
        """
        data = self._body.read(size)
        if size and not data and not self._body.ended:
            raise http.client.IncompleteRead(b"", self._body.left)
        return data

    def _receive(self, room: memoryview) -> int:
        """Receive part of the body; an error of the socket ends it, after what came before."""
        if self._request.read_error is not None:
            return 0  # not another wait for as long as the stall timeout
        try:
            count: int = self._connection.sock.recv_into(room)
        except OSError as error:
            self._request.read_error = error
            return 0
        self._request.received += count
        return count

    @property
    def closed(self) -> bool:
        """Whether the whole body was read."""
        return self._body.ended

    def close(self) -> None:
        """Close the connection unless the body, and nothing more, was read from it."""
        pending = getattr(self._connection.sock, "pending", None)  # bytes that TLS holds
        if not self._body.ended or self._body.surplus or (pending is not None and pending()):
            self._request.detach()
            self._connection.close()

    def release_conn(self) -> None:
        """Return the connection to its pool."""
        self._pool._put_conn(self._connection)  # noqa: SLF001

    def return_buffer(self) -> None:
        """Return the buffer to its pool."""
        buffer_pool.append(self._buffer)
