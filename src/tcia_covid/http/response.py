"""An answer whose body is still arriving."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import BadResponseError, ConnectionLostError
from tcia_covid.core.redaction import redact
from tcia_covid.http.throttle import ByteCounter, RateLimiter
from tcia_covid.http.watchdog import AbortReason, ActiveRequest

if TYPE_CHECKING:
    import requests

CHUNK_SIZE = 512 * 1024
"""Bytes; how much may have come while what came before was worked on."""


class Response:
    """A successful response; reading it raises `ConnectionLostError` where the body breaks.

    Every byte that arrived before the break is given first.
    """

    def __init__(
        self,
        response: requests.Response,
        call: ActiveRequest,
        stop: CancelToken,
        meter: ByteCounter,
        rate: RateLimiter,
    ) -> None:
        self._response = response
        self._call = call
        self._stop = stop
        self._meter = meter
        self._rate = rate
        self._cut: Exception | None = None
        self.received = 0
        """Bytes of the body so far, as sent."""
        self.status = response.status_code
        self.headers = response.headers
        self.url = redact(response.url)

    def read(self, count: int = CHUNK_SIZE) -> bytes:
        """Read at most `count` bytes, perhaps fewer; empty at the end of the body.

        Raises:
            ConnectionLostError: the body was cut, stalled, or came too slowly.
            TciaCovidError: the run is to end.
        """
        data = self._receive(min(count, CHUNK_SIZE, self._rate.most))
        self._stop.check()
        if not data:
            self._check_end()
            return b""
        self.received += len(data)
        self._meter.add(len(data))
        self._rate.take(len(data))
        return data

    def chunks(self) -> Iterator[bytes]:
        """Read the body piece by piece to its end."""
        while data := self.read():
            yield data

    def read_all(self, limit: int) -> bytes:
        """Read the whole body.

        Raises:
            BadAnswerError: it is longer than `limit` bytes.
            ConnectionLostError: as `read`.
        """
        pieces: list[bytes] = []
        for data in self.chunks():
            pieces.append(data)
            if self.received > limit:
                raise BadResponseError(f"{self.url} answered with more than {limit} bytes")
        return b"".join(pieces)

    def _receive(self, count: int) -> bytes:
        if self._cut is not None:
            return b""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - takes 0.1 s

        self._call.begin_read()
        try:
            data: bytes = self._response.raw.read(count, decode_content=False)
        except (HTTPError, OSError, ValueError) as error:
            self._cut = error
            return b""
        finally:
            self._call.end_read()
        return data

    def _check_end(self) -> None:
        """Tell the end of the body from a cut; where nothing frames the body, HTTP cannot."""
        call = self._call
        if self._cut is None and call.failure is None and call.broken is None:
            return
        raise ConnectionLostError(
            f"the answer of {self.url} broke off after {self.received} bytes: {self._why()}",
            hint="check the network; the same command goes on from what is kept",
            retryable=True,
            push_back=call.broken is AbortReason.SLOW or isinstance(call.failure, TimeoutError),
        ) from (call.failure or self._cut)

    def _why(self) -> str:
        from tcia_covid.http.body import ChunkedFramingError  # noqa: PLC0415 - needs http.client

        settings, failure = self._call.settings, self._call.failure
        if self._call.broken is AbortReason.SLOW:
            return f"slower than {settings.min_rate:g} bytes/s for {settings.rate_window:g} s"
        if isinstance(failure, TimeoutError):
            return f"no byte for {settings.stall_timeout:g} s"
        if failure is not None:
            return "the connection was reset"
        if self._cut is not None and isinstance(self._cut.__cause__, ChunkedFramingError):
            return "what came is not framed as HTTP says"
        return "the connection was closed too early"
