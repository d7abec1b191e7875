"""Reading response bodies in large pieces; http.client reads chunked ones 8 KiB at a time."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import time
from collections.abc import Callable
from typing import Any

from tcia_covid.http.settings import HttpSettings
from tcia_covid.http.watchdog import ActiveRequest, current_request

_MAX_LINE = 64 * 1024
"""Bytes of one line, and of all trailer lines."""
GATHER_SIZE = 256 * 1024
"""Small pieces, such as TLS records of 16 KiB, are joined up to this many bytes …"""
GATHER_SECONDS = 0.1
"""… and for at most this long."""
_FIRST_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_NEXT_LINE = re.compile(rb"\r\n" + _FIRST_LINE.pattern)
_TRAILERS = re.compile(rb"(?:[^\r\n][^\n]*\n)*\r?\n")
_BUFFER_SIZE = 1024 * 1024
"""Bytes; as many may arrive while the previous ones are inflated, hashed and written."""
_READ_SIZE = 64 * 1024
buffer_pool: list[bytearray] = []
"""Buffers that no body uses at the moment."""


class ChunkedFramingError(http.client.HTTPException):
    """The body is not framed as the chunked transfer coding requires."""


class ChunkedBody:
    """A body in the chunked transfer coding (RFC 9112, section 7.1).

    `receive` fills part of a buffer and returns the number of bytes, 0 once the connection has
    ended. `buffer` holds received bytes; it is longer than any line.
    """

    def __init__(
        self,
        receive: Callable[[memoryview], int],
        buffer: bytearray,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._clock = clock
        self._start = 0
        """Where unparsed bytes start in the buffer."""
        self._end = 0
        """Where received bytes end in the buffer."""
        self._chunk_left = 0
        """Bytes of the current chunk that are still to come."""
        self._line = _FIRST_LINE
        """Pattern of the line before the next chunk."""
        self._is_last_chunk = False
        self._trailers = b""
        self._is_cut = False
        """Whether the connection has ended."""
        self.ended = False
        """Whether the whole body was read."""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes: at least 256 KiB if so many are left and arrive within 0.1 s.

        Raises:
            http.client.IncompleteRead: the body was cut here.
            ChunkedFramingError: there is no valid chunk here.
        """
        if self.ended:
            return b""
        rest = bytes(self._view[self._start : self._end])
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)
        pieces = self._gather(size)
        if size and not (pieces or self.ended):
            if self._is_cut:
                raise http.client.IncompleteRead(b"")
            raise ChunkedFramingError("no valid chunk")
        return b"".join(pieces)

    def _gather(self, size: int) -> list[memoryview]:
        pieces: list[memoryview] = []
        missing, enough = size, max(0, size - GATHER_SIZE)
        deadline = self._clock() + GATHER_SECONDS
        while True:
            for piece in self._parse():
                pieces.append(piece)
                missing -= len(piece)
            if self._is_last_chunk:
                self.ended = self._read_trailers()
                return pieces
            is_late = pieces and self._clock() > deadline
            if is_late or missing <= enough or not self._fill(missing):
                return pieces

    def _parse(self) -> list[memoryview]:
        """Return the chunk data in the buffer, without the lines between."""
        pieces = []
        start, end = self._start, self._end
        while start < end and not self._is_last_chunk:
            if self._chunk_left:
                piece = self._view[start : min(start + self._chunk_left, end)]
                pieces.append(piece)
                start += len(piece)
                self._chunk_left -= len(piece)
                continue
            line = self._line.match(self._buffer, start, end)
            if line is None:
                break
            start = line.end()
            self._chunk_left = int(line[1], 16)
            self._is_last_chunk = not self._chunk_left
            self._line = _NEXT_LINE
        self._start = start
        return pieces

    def _fill(self, size: int) -> bool:
        """Receive more; False where nothing arrives, or nothing could complete the line."""
        line = self._start + (2 if self._line is _NEXT_LINE else 0)
        is_whole_line = self._buffer.find(b"\n", line, self._end) >= 0
        if is_whole_line or self._end - self._start > _MAX_LINE:
            return False
        room = self._view[self._end : self._end + size]
        count = self._receive(room) if room else 0
        self._is_cut = bool(room) and not count
        self._end += count
        return bool(count)

    def _read_trailers(self) -> bool:
        """Read the trailer lines, or up to a close: some servers send none. False if endless."""
        self._trailers += bytes(self._view[self._start : self._end])
        self._start = self._end
        while not _TRAILERS.match(self._trailers):
            if len(self._trailers) > _MAX_LINE:
                return False
            room = memoryview(bytearray(_MAX_LINE))
            count = self._receive(room)
            if not count:
                break
            self._trailers += bytes(room[:count])
        return True


class SizedBody:
    """A body of `length` bytes; http.client would wait until each piece is full.

    `receive` and `buffer` are as for a `ChunkedBody`; `received` says where in the buffer there are
    bytes that have arrived.
    """

    def __init__(
        self,
        receive: Callable[[memoryview], int],
        buffer: bytearray,
        length: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        received: tuple[int, int] = (0, 0),
    ) -> None:
        self._receive = receive
        self._view = memoryview(buffer)
        self._clock = clock
        self._start, self._end = received
        self.left = length
        """Bytes that are still to come."""

    @property
    def ended(self) -> bool:
        """Whether the whole body was read."""
        return not self.left

    @property
    def surplus(self) -> int:
        """Bytes that arrived after the body."""
        return self._end - self._start if self.ended else 0

    def read(self, size: int) -> memoryview:
        """Read as `ChunkedBody.read` does, a rest that fits into the buffer as a whole.

        Empty where the body was cut. The view is of the buffer: valid until the next call.
        """
        room = self._view[self._start : self._start + min(size, self.left)]
        count = min(self._end - self._start, len(room))
        self._start += count
        if self._start == self._end:
            deadline = self._clock() + GATHER_SECONDS
            enough = len(room) if len(room) == self.left else min(len(room), GATHER_SIZE)
            while count < enough and not (count and self._clock() > deadline):
                received = self._receive(room[count:])
                if not received:
                    break
                count += received
            self._start = self._end = 0
        self.left -= count
        return room[:count]


def take_buffer() -> bytearray:
    """Take a buffer from the pool, or make one."""
    try:
        return buffer_pool.pop()
    except IndexError:
        return bytearray(_BUFFER_SIZE)


class _CountingReader(io.RawIOBase):
    """Counts what the socket gives; in the body, turns an error of the socket into an end.

    A buffered read that meets an error discards what it had gathered. With an end instead, every
    byte before the cut is delivered; the error is kept in the request.
    """

    def __init__(self, raw: io.RawIOBase, request: ActiveRequest, received: bytes) -> None:
        super().__init__()
        self._raw = raw
        self._request = request
        self._received = received
        """Bytes of the response that have arrived, and are counted."""
        self.in_body = False
        self.head_is_cut = False
        """Whether the connection ended before the head did."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._received:
            piece, self._received = self._received[: len(buffer)], self._received[len(buffer) :]
            buffer[: len(piece)] = piece
            return len(piece)
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


class WatchedResponse(http.client.HTTPResponse):
    """Counts bytes; applies the stall timeout as soon as the head has arrived.

    `received` is the start of the response, where somebody has read it from the socket.
    """

    def __init__(
        self, sock: socket.socket, *args: Any, received: bytes = b"", **kwargs: Any
    ) -> None:
        super().__init__(sock, *args, **kwargs)
        self._request = current_request() or ActiveRequest(HttpSettings())
        self._socket = sock
        self._request.reads_from(sock)
        self._reader = _CountingReader(self.fp.detach(), self._request, received)
        self.fp = io.BufferedReader(self._reader, _READ_SIZE)
        self._body: ChunkedBody | SizedBody | None = None
        self._buffer: bytearray | None = None

    def begin(self) -> None:  # noqa: D102 - of http.client
        super().begin()
        if self._reader.head_is_cut:
            # http.client accepts part of a head as a whole one: no length, no body, no error.
            raise http.client.RemoteDisconnected("the response head was cut")
        self._reader.in_body = True
        self._request.head_received()
        self._socket.settimeout(self._request.settings.stall_timeout)

    def read(self, amt: int | None = None) -> bytes:
        """Read at most `amt` bytes of the body, and at least one before its end or a cut."""
        if amt is None or self.fp is None or not (self.chunked or self.length):
            return super().read(amt and min(amt, _READ_SIZE))
        self._body = self._body or self._new_body()
        data = bytes(self._body.read(amt))
        if isinstance(self._body, SizedBody):
            self.length = self._body.left
        if self._body.ended or (amt and not data):
            pending = getattr(self._socket, "pending", None)
            if pending is not None and pending():
                # More came than was announced. TLS keeps it where the pool, which looks at the
                # socket, does not see it: no other request may use this connection.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
            self.close()
        return data

    def close(self) -> None:  # noqa: D102
        super().close()
        self._request.detach()  # the connection may be used by another request now
        # In one statement: a signal handler may close again in between.
        buffer, self._buffer, self._body = self._buffer, None, None
        if buffer is not None:
            buffer_pool.append(buffer)

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
