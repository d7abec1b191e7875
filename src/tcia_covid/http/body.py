"""Taking HTTP's chunks off a body: many at a time, for servers make them of 8 KiB."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http.client import HTTPException, IncompleteRead

_LONGEST = 64 * 1024
"""Bytes of a line, and of all lines behind the last chunk."""
GATHERED_SIZE = 256 * 1024
"""Bytes that are gathered where they come in small pieces, as TLS's records of 16 KiB are."""
GATHERING_TIME = 0.1
"""Seconds for which they are."""
_FIRST = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_NEXT = re.compile(rb"\r\n" + _FIRST.pattern)
_END = re.compile(rb"(?:[^\r\n][^\n]*\n)*\r?\n")
_SIZE = 512 * 1024
"""Bytes; as many may have come while those before them were inflated, hashed and written."""
_LARGEST = 1024 * 1024
_spare: list[bytearray] = []


class ChunkedFramingError(HTTPException):
    """What came is no chunk."""


class ChunkedBody:
    """A body in chunks as in RFC 9112, section 7.1; http.client makes eight calls for each.

    Args:
        receive: fills a part of a buffer with what came, and says how many bytes; none once the
            connection has ended.
        buffer: for what is received, longer than any line.
    """

    def __init__(self, receive: Callable[[memoryview], int], buffer: bytearray) -> None:
        self._receive = receive
        self._buffer = buffer
        self._view = memoryview(buffer)
        self._at = 0
        """How far the buffer was understood."""
        self._end = 0
        """Where what was received ends in it."""
        self._left = 0
        """Bytes of the chunk under way that are still to come."""
        self._line = _FIRST
        """The line before the next chunk."""
        self._was_last = False
        self._trailers = b""
        self._cut = False
        """Whether the connection has ended."""
        self.ended = False
        """Whether all was read."""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes: 256 KiB or more, or what came before a cut or the end.

        Fewer where they are slow: what came by the first arrival after a tenth of a second.

        Raises:
            http.client.IncompleteRead: the body was cut here.
            BrokenFramingError: what came here is no chunk.
        """
        if self.ended:
            return b""
        self._move_rest()
        pieces = self._gather(size)
        if size and not (pieces or self.ended):
            raise IncompleteRead(b"") if self._cut else ChunkedFramingError("chunks out of frame")
        return b"".join(pieces)

    def _gather(self, size: int) -> list[memoryview]:
        pieces: list[memoryview] = []
        missing, enough = size, max(0, size - GATHERED_SIZE)
        until = time.monotonic() + GATHERING_TIME
        while True:
            for piece in self._unframed():
                pieces.append(piece)
                missing -= len(piece)
            if self._was_last:
                self.ended = self._finish()
                return pieces
            is_late = pieces and time.monotonic() > until
            if is_late or missing <= enough or not self._refill(missing):
                return pieces

    def _move_rest(self) -> None:
        """Make room behind the part of a line that was not understood yet."""
        rest = bytes(self._view[self._at : self._end])
        self._view[: len(rest)] = rest
        self._at, self._end = 0, len(rest)

    def _unframed(self) -> list[memoryview]:
        """What chunks hold of what is here."""
        found = []
        at, end = self._at, self._end
        while at < end and not self._was_last:
            if self._left:
                piece = self._view[at : min(at + self._left, end)]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            line = self._line.match(self._buffer, at, end)
            if line is None:
                break
            at = line.end()
            self._left = int(line[1], 16)
            self._was_last = not self._left
            self._line = _NEXT
        self._at = at
        return found

    def _refill(self, size: int) -> bool:
        """Receive more; False where nothing comes, or nothing that comes would help."""
        line = self._at + (2 if self._line is _NEXT else 0)
        is_whole = self._buffer.find(b"\n", line, self._end) >= 0
        if is_whole or self._end - self._at > _LONGEST:
            return False
        room = self._view[self._end : self._end + size]
        count = self._receive(room) if room else 0
        self._cut = bool(room) and not count
        self._end += count
        return bool(count)

    def _finish(self) -> bool:
        """Take the lines behind the last chunk; some servers send none, and close.

        False where there is no end to them.
        """
        self._trailers += bytes(self._view[self._at : self._end])
        self._at = self._end
        while not _END.match(self._trailers):
            if len(self._trailers) > _LONGEST:
                return False
            room = memoryview(bytearray(_LONGEST))
            count = self._receive(room)
            if not count:
                break
            self._trailers += bytes(room[:count])
        return True


class SizedBody:
    """A body as long as its head says; http.client would wait until each piece is full.

    Args:
        receive: as for `ChunkedBody`.
        buffer: for what is received.
        length: bytes of the body.
    """

    def __init__(
        self, receive: Callable[[memoryview], int], buffer: bytearray, length: int
    ) -> None:
        self._receive = receive
        self._view = memoryview(buffer)
        self.left = length
        """Bytes that are still to come."""

    @property
    def ended(self) -> bool:
        """Whether all was read."""
        return not self.left

    def read(self, size: int) -> bytes:
        """Read as `ChunkedBody.read` does; nothing where the body was cut."""
        room = self._view[: min(size, self.left)]
        count, until = 0, time.monotonic() + GATHERING_TIME
        while count < min(len(room), GATHERED_SIZE) and not (count and time.monotonic() > until):
            more = self._receive(room[count:])
            if not more:
                break
            count += more
        self.left -= count
        return bytes(room[:count])


def take_buffer() -> bytearray:
    """A buffer that nobody else uses."""
    try:
        return _spare.pop()
    except IndexError:
        return bytearray(_SIZE)


def return_buffer(buffer: bytearray) -> None:
    """Let others use a buffer; the caller does not touch it any more."""
    _spare.append(buffer)


bytearray(_LARGEST)  # freed at once
