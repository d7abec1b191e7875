"""A response whose body is still arriving, and errors of S3 servers in a response."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html import unescape
from typing import TYPE_CHECKING

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import BadResponseError, ConnectionLostError
from tcia_covid.core.files import Chunk
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.http.throttle import ByteCounter, RateLimiter
from tcia_covid.http.watchdog import AbortReason, ActiveRequest

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from tcia_covid.http.direct import PlainResponse

_MAX_READ = 1024 * 1024
"""Bytes; as many may arrive while the previous ones are processed."""
_FIELD = re.compile(rb"<(Code|Message|RequestId)>([^<]*)(?:</|$)")
_ROOT = re.compile(rb"\s*(?:<\?xml[^>]*>\s*)?<Error\b")


@functools.cache
def _read_errors() -> tuple[type[Exception], ...]:
    from tcia_covid.http.direct import READ_ERRORS  # noqa: PLC0415 - needs urllib3, which is slow

    return READ_ERRORS


class Response:
    """A response; reading raises `ConnectionLostError` where the body breaks off.

    Every byte that arrived before the break is returned first.
    """

    def __init__(
        self,
        raw: BaseHTTPResponse | PlainResponse,
        url: str,
        request: ActiveRequest,
        stop: CancelToken,
        meter: ByteCounter,
        rate: RateLimiter,
    ) -> None:
        self._raw = raw
        self._url = url
        self._request = request
        self._stop = stop
        self._meter = meter
        self._rate = rate
        self._error: Exception | None = None
        self._is_closed = False
        self.on_end: Callable[[], None] = lambda: None
        """Called when the whole body has arrived, before the last of it is returned."""
        self.received = 0
        """Bytes of the body so far, as sent."""
        self.status = raw.status
        self.headers = raw.headers

    def read(self, size: int = _MAX_READ) -> bytes:
        """Read at most `size` bytes, perhaps fewer; empty at the end of the body.

        Raises:
            ConnectionLostError: the body was cut, stalled, or came too slowly.
            TciaCovidError: the run was canceled.
        """
        return bytes(self._read(size))

    def _read(self, size: int = _MAX_READ) -> Chunk:
        """Read as `read` does; a view is valid until the next read."""
        data = self._receive(min(size, _MAX_READ, self._rate.max_piece))
        self.received += len(data)
        if self._raw.closed and not self._is_closed and not self._is_cut:
            self.close()
            self.on_end()
        self._meter.add(len(data))  # also what a canceled run discards
        self._stop.check()
        if not data:
            self._check_end()
            return b""
        self._rate.take(len(data))
        return data

    def chunks(self, limit: int | None = None) -> Iterator[bytes]:
        """Read the body to its end, piece by piece.

        Raises:
            BadResponseError: it is longer than `limit` bytes.
        """
        while data := self.read():
            if limit is not None and self.received > limit:
                raise BadResponseError(f"{self.url} sent more than {limit} bytes")
            yield data

    def views(self) -> Iterator[Chunk]:
        """Read the body to its end without copying it: a view is valid until the next is taken."""
        while data := self._read():
            yield data

    def read_all(self, limit: int) -> bytes:
        """Read the whole body; raises `BadResponseError` if it is longer than `limit` bytes."""
        return b"".join(self.chunks(limit))

    @property
    def url(self) -> str:
        """Where it came from, without credentials and query."""
        return redact(self._url)

    @property
    def links(self) -> dict[str, dict[str, str]]:
        """The links of its head, by relation: `next` and others."""
        from requests.utils import parse_header_links  # noqa: PLC0415 - as the errors above

        links = parse_header_links(self.headers.get("Link", ""))
        return {link.get("rel") or link["url"]: link for link in links}

    def close(self) -> None:
        """Return the connection to the pool, or close it if the body was not read to its end."""
        if not self._is_closed:
            self._is_closed = True
            self._raw.close()
            self._request.finish()
            self._raw.release_conn()

    @property
    def _is_cut(self) -> bool:
        request = self._request
        return bool(self._error or request.read_error or request.abort_reason)

    def _receive(self, count: int) -> Chunk:
        if self._error is not None or self._is_closed:
            return b""
        self._request.begin_read()
        try:
            data: Chunk = self._raw.read(count)
        except _read_errors() as error:
            self._error = error
            return b""
        finally:
            self._request.end_read()
        return data

    def _check_end(self) -> None:
        """Distinguish the end of the body from a cut; HTTP cannot where no length is given."""
        request, settings = self._request, self._request.settings
        error = request.read_error or self._error
        if error is None and request.abort_reason is None:
            return
        from tcia_covid.http.body import ChunkedFramingError  # noqa: PLC0415 - needs http.client

        is_slow = request.abort_reason is AbortReason.SLOW
        is_stalled = isinstance(request.read_error, TimeoutError)
        reason = "the connection was closed too early"
        if is_slow:
            reason = f"slower than {settings.min_rate:g} bytes/s for {settings.stall_timeout:g} s"
        elif is_stalled:
            reason = f"no byte for {settings.stall_timeout:g} s"
        elif request.read_error is not None:
            reason = "the connection was reset"
        elif error is not None and isinstance(error.__cause__, ChunkedFramingError):
            reason = "the chunked encoding is invalid"
        raise ConnectionLostError(
            f"the response of {self.url} broke off after {self.received} bytes: {reason}",
            hint="check the network; the same command resumes from what is complete",
            retryable=True,
            push_back=is_slow or is_stalled,
        ) from error


@dataclass(frozen=True, slots=True)
class S3Error:
    """An error as an S3 server describes it; as text, `SlowDown: message (request 1234)`."""

    code: str
    """S3's name of the error, such as `SlowDown` or `NoSuchKey`."""
    message: str = ""
    """A sentence, on one line."""
    request_id: str = ""
    """Identifies the request in the server's logs."""

    def __str__(self) -> str:
        text = f"{self.code}: {self.message}" if self.message else self.code
        return f"{text} (request {self.request_id})" if self.request_id else text


def parse_s3_error(body: bytes) -> S3Error | None:
    """Parse the start of a response; None if it is not an S3 error."""
    if not _ROOT.match(body.removeprefix(b"\xef\xbb\xbf")):
        return None
    fields = {name.decode(): _text(value) for name, value in _FIELD.findall(body)}
    if not fields.get("Code"):
        return None
    return S3Error(fields["Code"], fields.get("Message", ""), fields.get("RequestId", ""))


def _text(value: bytes) -> str:
    return excerpt(unescape(value.decode("utf-8", "replace")).encode())
