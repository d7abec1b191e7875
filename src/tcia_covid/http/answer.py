"""An answer whose body is still arriving."""

from __future__ import annotations

import time
from collections.abc import Iterator

import requests
import urllib3

from tcia_covid.errors import BadAnswerError, ConnectionLostError
from tcia_covid.http.call import Call
from tcia_covid.http.meter import Meter, RateLimit
from tcia_covid.http.redact import redact
from tcia_covid.http.settings import HttpSettings
from tcia_covid.stop import Stop

CHUNK = 64 * 1024
"""Bytes; what the socket, the inflater and the disk are all near their best with."""
_SMALLEST_READ = 2 * 1024
_QUICK, _SLOW = 0.1, 0.5


class Answer:
    """A successful response; reading it raises `ConnectionLostError` where the body breaks."""

    def __init__(
        self,
        response: requests.Response,
        call: Call,
        settings: HttpSettings,
        stop: Stop,
        meter: Meter,
        rate: RateLimit,
    ) -> None:
        self._response = response
        self._call = call
        self._settings = settings
        self._stop = stop
        self._meter = meter
        self._rate = rate
        self._ask = _SMALLEST_READ * 4
        self.received = 0
        """Bytes of the body so far, as sent."""
        self.status = response.status_code
        self.headers = response.headers
        self.url = redact(response.url)

    def read(self, count: int = CHUNK) -> bytes:
        """Read at most `count` bytes, perhaps fewer; empty at the end of the body.

        Raises:
            ConnectionLostError: the body was cut, stalled, or came too slowly.
            TciaCovidError: the run is to end.
        """
        started = time.monotonic()
        self._call.waiting_since = started
        try:
            data: bytes = self._response.raw.read(min(count, self._ask), decode_content=False)
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            raise self._lost(error) from error
        finally:
            self._call.waiting_since = None
        self._account(len(data), time.monotonic() - started)
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
                raise BadAnswerError(f"{self.url} answered with more than {limit} bytes")
        return b"".join(pieces)

    def _account(self, count: int, seconds: float) -> None:
        call = self._call
        if call.broken is not None:
            raise self._lost(None)
        self._stop.check()
        # Small reads on a slow line: what is still inside a read is not yet counted.
        if seconds > _SLOW:
            self._ask = max(_SMALLEST_READ, self._ask // 2)
        elif seconds < _QUICK:
            self._ask = min(CHUNK, self._ask * 2)
        self.received += count
        self._meter.add(count)
        call.window_bytes += count
        call.window_seconds += seconds
        if call.window_seconds >= self._settings.rate_window and not call.too_slow(self._settings):
            call.window_bytes, call.window_seconds = 0, 0.0
        self._rate.take(count)

    def _lost(self, error: Exception | None) -> ConnectionLostError:
        self._stop.check()
        return ConnectionLostError(
            f"the answer of {self.url} broke off after {self.received} bytes: {self._why(error)}",
            retryable=True,
            push_back=isinstance(error, urllib3.exceptions.ReadTimeoutError),
        )

    def _why(self, error: Exception | None) -> str:
        settings = self._settings
        if self._call.broken is not None:
            return f"slower than {settings.min_rate:.0f} bytes/s for {settings.rate_window:.0f} s"
        if isinstance(error, (urllib3.exceptions.ReadTimeoutError, TimeoutError)):
            return f"no byte for {settings.stall_timeout:g} s"
        if isinstance(error, urllib3.exceptions.IncompleteRead):
            return "the connection was closed too early"
        return "the connection was cut"
