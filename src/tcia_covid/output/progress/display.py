"""Shows the events of a run: bars on a terminal, otherwise plain lines."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from tcia_covid.core.events import Event
from tcia_covid.core.units import count, format_size
from tcia_covid.output.progress.lines import FIRST_INTERVAL, INTERVAL, Lines, Say, Ticker

if TYPE_CHECKING:
    from tcia_covid.output.progress.bars import Row

_REDRAW_INTERVAL = 0.2


class Display(Protocol):
    """Shows events; `take` may be called from any thread."""

    def take(self, event: Event) -> None:
        """Show an event."""
        ...

    def close(self) -> None:
        """Stop, and clear the screen for the result."""
        ...


def open_display(stream: TextIO, say: Say, *, bars: bool, verbose: bool = False) -> Display:
    """Open the display that fits.

    Args:
        stream: where bars are drawn.
        say: writes a line, where there are no bars.
        bars: whether `stream` is a terminal that can show them.
        verbose: whether every event deserves a line.
    """
    if not bars:
        return Lines(say, verbose=verbose)
    from tcia_covid.output.progress.bars import Bars  # noqa: PLC0415 - tqdm is slow to import

    return Bars(stream, verbose=verbose)


class CheckProgress:
    """Shows how many bytes and images are checked.

    Args:
        say: writes a line.
        terminal: where a line is redrawn; None for plain lines at intervals.
    """

    def __init__(self, say: Say, terminal: TextIO | None) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._size = 0
        self._images = 0
        self._started = time.monotonic()
        self._row = _row(terminal) if terminal else None
        interval = _REDRAW_INTERVAL if terminal else INTERVAL
        self._ticker = Ticker(self.draw, interval, FIRST_INTERVAL)
        self._ticker.start()

    def add(self, size: int, images: int) -> None:
        """Count bytes and images."""
        with self._lock:
            self._size += size
            self._images += images

    def close(self) -> None:
        """Stop."""
        self._ticker.close()
        if self._row is not None:
            self._row.close()

    def draw(self) -> None:
        """Show the counts."""
        with self._lock:
            size, images = self._size, self._images
        rate = format_size(round(size / max(0.001, time.monotonic() - self._started)))
        text = f"checked {count(images, 'image')}, {format_size(size)}, {rate}/s"
        if self._row is None:
            self._say(text)
        else:
            self._row.text = text
            self._row.refresh()


def _row(terminal: TextIO) -> Row:
    from tcia_covid.output.progress.bars import new_row  # noqa: PLC0415 - tqdm is slow to import

    return new_row(terminal)
