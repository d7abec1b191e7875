"""How many threads unpack at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

Read = Callable[[int], bytes]
_AT_THE_DISK = 3


class Turns:
    """Lets `count` threads at a time work on what they received, while others receive.

    More than there are processors would but wait for the interpreter's lock, at two changes of the
    running thread for each piece that one reads, inflates, hashes or writes. Some more there are,
    for a turn may wait for the disk.
    """

    def __init__(self, count: int | None = None) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count or (os.cpu_count() or 1) + _AT_THE_DISK):
            self._free.put(None)

    @contextmanager
    def between_reads(self, read: Read) -> Iterator[Read]:
        """Wait for a turn and have it, but while the function that this gives reads."""

        def reading(size: int) -> bytes:
            self._free.put(None)
            try:
                return read(size)
            finally:
                self._free.get()

        self._free.get()
        try:
            yield reading
        finally:
            self._free.put(None)
