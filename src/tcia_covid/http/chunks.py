"""Taking HTTP's chunks off a body: many at a time, for servers make them of 8 KiB."""

from __future__ import annotations

import re
from collections.abc import Callable
from http.client import IncompleteRead

_LONGEST = 64 * 1024
"""Bytes of a line, and of all lines behind the last chunk."""
_ENOUGH = 32 * 1024
"""Bytes; what is waited for where they come in drops."""
_FIRST = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_NEXT = re.compile(rb"\r\n" + _FIRST.pattern)
_END = re.compile(rb"(?:[^\r\n][^\n]*\n)*\r?\n")


class ChunkedBody:
    """A body in chunks as in RFC 9112, section 7.1; http.client makes eight calls for each.

    Args:
        receive: gives what came, at most so many bytes; none once the connection has ended.
    """

    def __init__(self, receive: Callable[[int], bytes]) -> None:
        self._receive = receive
        self._framed = b""
        self._at = 0
        """How far `_framed` was understood."""
        self._left = 0
        """Bytes of the chunk under way that are still to come."""
        self._line = _FIRST
        """The line before the next chunk."""
        self._was_last = False
        self.ended = False
        """Whether all was read."""

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; fewer than 32 KiB only before an end or a cut.

        Raises:
            http.client.IncompleteRead: the body was cut here, or its framing is broken.
        """
        pieces: list[memoryview] = []
        missing, enough = size, max(0, size - _ENOUGH)
        while missing > enough and not self.ended:
            for piece in self._unframed():
                pieces.append(piece)
                missing -= len(piece)
            if self._was_last:
                self._finish()
            elif missing > enough and not self._refill(missing):
                break
        if not (pieces or self.ended):
            raise IncompleteRead(b"")
        return b"".join(pieces)

    def _unframed(self) -> list[memoryview]:
        """What chunks hold of what is here."""
        found = []
        view, at = memoryview(self._framed), self._at
        while at < len(view) and not self._was_last:
            if self._left:
                piece = view[at : at + self._left]
                found.append(piece)
                at += len(piece)
                self._left -= len(piece)
                continue
            line = self._line.match(self._framed, at)
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
        here = len(self._framed) - self._at
        line = self._at + (2 if self._line is _NEXT else 0)
        if here > _LONGEST or (here and self._framed.find(b"\n", line) >= 0):
            return False
        more = self._receive(size)
        self._framed = self._framed[self._at :] + more
        self._at = 0
        return bool(more)

    def _finish(self) -> None:
        """Take the lines behind the last chunk; some servers send none, and close."""
        lines = self._framed[self._at :]
        while not _END.match(lines) and len(lines) < _LONGEST:
            more = self._receive(_LONGEST)
            if not more:
                break
            lines += more
        self.ended = True
