"""A body of known length, gathered in few large pieces."""

from __future__ import annotations

import time
from collections.abc import Callable

from tcia_covid.http.chunks import ENOUGH, PATIENCE


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
        count, until = 0, time.monotonic() + PATIENCE
        while count < min(len(room), ENOUGH) and not (count and time.monotonic() > until):
            more = self._receive(room[count:])
            if not more:
                break
            count += more
        self.left -= count
        return bytes(room[:count])
