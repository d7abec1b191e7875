"""Ctrl-C in the thread that called a function of the library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tcia_covid.stop import Stop


@contextmanager
def interruptible(stop: Stop) -> Iterator[None]:
    """Let the workers end, too, when Ctrl-C ends the caller."""
    try:
        yield
    except KeyboardInterrupt:
        stop.set()
        raise
