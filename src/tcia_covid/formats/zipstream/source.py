"""The bytes of a ZIP stream: forward only, with a little look-ahead. Errors of ZIP streams."""

from __future__ import annotations

from collections.abc import Callable

from tcia_covid.core.errors import TruncatedZipError, ZipError

FEED = 128 * 1024
"""Bytes to inflate at once."""
_READ = 512 * 1024
"""Bytes to request at once: so many may arrive while the previous ones are inflated."""
QUOTED_CHARACTERS = 120


class Source:
    """A reader of a stream that cannot be rewound.

    Attributes:
        position: bytes taken so far.
    """

    def __init__(self, read: Callable[[int], bytes], *, limit: int) -> None:
        self._read = read
        self._limit = limit
        self._buffer = b""
        self._at = 0
        self._received = 0
        self.position = 0

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without taking them; fewer only at the end of the stream."""
        while len(self._buffer) - self._at < size:
            more = self._receive()
            if not more:
                break
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        return self._buffer[self._at : self._at + size]

    def exactly(self, size: int) -> bytes:
        """Take the next `size` bytes.

        Raises:
            TruncatedZipError: the stream ends before.
        """
        pieces = [self._take(size)]
        missing = size - len(pieces[0])
        while missing:
            piece = self.feed(missing)
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def feed(self, limit: int = FEED) -> memoryview:
        """Take what is buffered or arrives next: at least one byte, at most `limit`.

        Raises:
            TruncatedZipError: the stream has ended.
        """
        if self._at == len(self._buffer):
            self._buffer, self._at = self._receive(), 0
            if not self._buffer:
                raise truncated_error(self.position)
        return self._take(limit)

    def give_back(self, unused: bytes) -> None:
        """Put back the unused end of what was taken, which is usually still in the buffer."""
        self.position -= len(unused)
        if len(unused) <= self._at:
            self._at -= len(unused)
            return
        # An inflater may still have bytes of an earlier feed when its stream ends.
        self._buffer = unused + self._buffer[self._at :]
        self._at = 0

    def _take(self, limit: int) -> memoryview:
        piece = memoryview(self._buffer)[self._at : self._at + limit]
        self._at += len(piece)
        self.position += len(piece)
        return piece

    def _receive(self) -> bytes:
        more = self._read(_READ)
        self._received += len(more)
        if self._received > self._limit:
            raise refused_error(f"the ZIP stream is longer than the limit of {self._limit} bytes")
        return more


def damaged_error(message: str) -> ZipError:
    """Give the error for an inconsistent stream, which another attempt may fix."""
    return ZipError(message, hint="the series is requested again", retryable=True)


def refused_error(message: str) -> ZipError:
    """Give the error for a stream that is not accepted; another attempt would give the same."""
    return ZipError(message, hint="the archive sent a ZIP that this program does not accept")


def truncated_error(position: int) -> TruncatedZipError:
    """Give the error for a stream that ended after `position` bytes."""
    message = f"the ZIP stream was truncated after {position} bytes, before its end record"
    return TruncatedZipError(
        message if position else "the response is empty, not a ZIP",
        hint="the series is requested again",
        retryable=True,
    )


def not_a_zip_error(head: bytes) -> ZipError:
    """Give the error for a stream that does not begin like a ZIP: usually an error page."""
    return damaged_error(f"the response is not a ZIP; it begins with '{quoted_bytes(head)}'")


def quoted_bytes(raw: bytes) -> str:
    """Quote the first printable characters of `raw` in a message."""
    text = raw.decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:QUOTED_CHARACTERS]
