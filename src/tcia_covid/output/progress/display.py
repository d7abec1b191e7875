"""How a run is shown while it goes on, from events alone: bars on a terminal, else plain lines."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol, TextIO

from tcia_covid.core.events import Event
from tcia_covid.core.units import count, format_size
from tcia_covid.output.progress.lines import EARLY, EVERY, Lines, Say, Ticker

if TYPE_CHECKING:
    from tcia_covid.output.progress.bars import Row

_REDRAW = 0.2


class Display(Protocol):
    """Shows events; `take` may be called from any thread."""

    def take(self, event: Event) -> None:
        """Show an event."""
        ...

    def close(self) -> None:
        """Leave the screen as a result may follow."""
        ...


def open_display(stream: TextIO, say: Say, *, bars: bool, verbose: bool = False) -> Display:
    """Make the display that fits.

    Args:
        stream: where bars are drawn.
        say: writes a line where there are none.
        bars: whether `stream` is a terminal that can draw them.
        verbose: whether every event deserves a line.
    """
    if not bars:
        return Lines(say, verbose=verbose)
    from tcia_covid.output.progress.bars import Bars  # noqa: PLC0415 - tqdm costs time

    return Bars(stream, verbose=verbose)


class CheckProgress:
    """Counts what was checked.

    Args:
        say: writes a line.
        terminal: where one line is drawn again and again; None for a plain line now and then.
    """

    def __init__(self, say: Say, terminal: TextIO | None) -> None:
        self._say = say
        self._lock = threading.Lock()
        self._size = 0
        self._images = 0
        self._since = time.monotonic()
        self._row = _row(terminal) if terminal else None
        self._ticker = Ticker(self._draw, _REDRAW if terminal else EVERY, EARLY)
        self._ticker.start()

    def add(self, size: int, images: int) -> None:
        """Count bytes and images."""
        with self._lock:
            self._size += size
            self._images += images

    def close(self) -> None:
        """Show no more."""
        self._ticker.close()
        if self._row is not None:
            self._row.close()

    def _draw(self) -> None:
        with self._lock:
            size, images = self._size, self._images
        rate = size / max(0.001, time.monotonic() - self._since)
        words = (
            f"checked {count(images, 'image')}, {format_size(size)}, {format_size(round(rate))}/s"
        )
        if self._row is None:
            self._say(words)
        else:
            self._row.words = words
            self._row.refresh()


def _row(terminal: TextIO) -> Row:
    from tcia_covid.output.progress.bars import new_row  # noqa: PLC0415 - tqdm costs time

    return new_row(terminal)
