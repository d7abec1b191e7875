"""Reading response bodies in large pieces; http.client reads chunked ones 8 KiB at a time."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead

_MAX_LINE = 64 * 1024
"""Bytes of one line, and of all trailer lines."""
GATHER_SIZE = 256 * 1024
"""Small pieces, such as TLS records of 16 KiB, are joined up to this many bytes …"""
GATHER_SECONDS = 0.1
"""… and for at most this long."""
_FIRST_LINE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_NEXT_LINE = re.compile(rb"\r\n" + _FIRST_LINE.pattern)
_TRAILERS = re.compile(rb"(?:[^\r\n][^\n]*\n)*\r?\n")
_BUFFER_SIZE = 512 * 1024
"""Bytes; as many may arrive while the previous ones are inflated, hashed and written."""
buffer_pool: list[bytearray] = []
"""Buffers that no body uses at the moment."""


class ChunkedFramingError(HTTPException):
    """The body is not framed as the chunked transfer coding requires."""


class ChunkedBody:
    """A body in the chunked transfer coding (RFC 9112, section 7.1).

    Args:
        receive: fills part of a buffer and returns the number of bytes; 0 once the connection
            has ended.
        buffer: holds received bytes; longer than any line.
        clock: monotonic seconds.
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
        """Read at most `size` bytes.

        Returns at least 256 KiB, unless less is left or arrives within a tenth of a second.

        Raises:
            http.client.IncompleteRead: the body was cut here.
            ChunkedFramingError: there is no valid chunk here.
        """
        if self.ended:
            return b""
        self._move_to_front()
        pieces = self._gather(size)
        if size and not (pieces or self.ended):
            raise IncompleteRead(b"") if self._is_cut else ChunkedFramingError("no valid chunk")
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

    def _move_to_front(self) -> None:
        rest = bytes(self._view[self._start : self._end])
        self._view[: len(rest)] = rest
        self._start, self._end = 0, len(rest)

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
    """A body with a Content-Length; http.client would wait until each piece is full.

    Args:
        receive: as for `ChunkedBody`.
        buffer: holds received bytes.
        length: bytes of the body.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        receive: Callable[[memoryview], int],
        buffer: bytearray,
        length: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._receive = receive
        self._view = memoryview(buffer)
        self._clock = clock
        self.left = length
        """Bytes that are still to come."""

    @property
    def ended(self) -> bool:
        """Whether the whole body was read."""
        return not self.left

    def read(self, size: int) -> bytes:
        """Read as `ChunkedBody.read` does; empty where the body was cut."""
        room = self._view[: min(size, self.left)]
        count, deadline = 0, self._clock() + GATHER_SECONDS
        while count < min(len(room), GATHER_SIZE) and not (count and self._clock() > deadline):
            received = self._receive(room[count:])
            if not received:
                break
            count += received
        self.left -= count
        return bytes(room[:count])


def take_buffer() -> bytearray:
    """Take a buffer from the pool, or make one."""
    try:
        return buffer_pool.pop()
    except IndexError:
        return bytearray(_BUFFER_SIZE)


def return_buffer(buffer: bytearray) -> None:
    """Return a buffer to the pool; the caller must not use it any more."""
    buffer_pool.append(buffer)
