"""Where the bytes of a ZIP stream come from: forwards only, with a few bytes of look-ahead."""

from __future__ import annotations

from collections.abc import Callable

from tcia_covid.core.errors import TruncatedZipError, ZipError

FEED = 128 * 1024
"""Bytes that are inflated at a time."""
_READ = 512 * 1024
"""Bytes asked for at a time: so many may have come while those before were inflated."""
QUOTED_CHARACTERS = 120


class Source:
    """A reader of a stream that cannot be rewound.

    Attributes:
        position: bytes taken so far, from the stream's start.
    """

    def __init__(self, read: Callable[[int], bytes], *, limit: int) -> None:
        self._read = read
        self._limit = limit
        self._buffer = b""
        self._at = 0
        self._received = 0
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The next `size` bytes without taking them; fewer only at the stream's end."""
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
        """Take what is at hand or arrives next: at least one byte, at most `limit`.

        Raises:
            TruncatedZipError: the stream has ended.
        """
        if self._at == len(self._buffer):
            self._buffer, self._at = self._receive(), 0
            if not self._buffer:
                raise truncated_error(self.position)
        return self._take(limit)

    def give_back(self, unused: bytes) -> None:
        """Put back the end of what was fed, which is most often still in the buffer."""
        self.position -= len(unused)
        if len(unused) <= self._at:
            self._at -= len(unused)
            return
        # An inflater may hold bytes of an earlier feed when it sees that its stream has ended.
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
            raise refused_error(
                f"the ZIP stream is longer than the {self._limit} bytes it may have"
            )
        return more


def damaged_error(what: str) -> ZipError:
    """The stream contradicts itself: a fault of transfer or server, worth another attempt."""
    return ZipError(what, hint="the series is asked for again", retryable=True)


def refused_error(what: str) -> ZipError:
    """The stream is of a kind that is not read; another attempt would bring the same."""
    return ZipError(what, hint="the archive sent a ZIP that this program does not accept")


def truncated_error(position: int) -> TruncatedZipError:
    """The stream ended `position` bytes from its start, before its end record was complete."""
    what = f"the ZIP stream was cut after {position} bytes, before its end record"
    return TruncatedZipError(
        what if position else "the answer is empty: not even a ZIP's first byte came",
        hint="the series is asked for again",
        retryable=True,
    )


def not_a_zip_error(head: bytes) -> ZipError:
    """The stream does not begin like a ZIP: most often an error page."""
    return damaged_error(f"the answer is not a ZIP; it begins with '{quoted_bytes(head)}'")


def quoted_bytes(raw: bytes) -> str:
    """The first characters of `raw`, printable ones alone, for use in a message."""
    text = raw.decode("utf-8", "replace")
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split())[:QUOTED_CHARACTERS]
