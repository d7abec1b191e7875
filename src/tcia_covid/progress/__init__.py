"""How a run is shown while it goes on, from events alone: bars on a terminal, else plain lines."""

from __future__ import annotations

from typing import Protocol, TextIO

from tcia_covid.events import Event
from tcia_covid.progress.lines import Lines, Say

__all__ = ["Display", "Lines", "Say", "open_display"]


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
    from tcia_covid.progress.bars import Bars  # noqa: PLC0415 - tqdm costs time

    return Bars(stream, verbose=verbose)
