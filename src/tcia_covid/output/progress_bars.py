"""Progress on a terminal: a bar for the whole job, and a row for each active series."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import TextIO

from tcia_covid.core.events import Phase
from tcia_covid.core.units import cut, display_width
from tcia_covid.output.progress import (
    Display,
    Snapshot,
    activity_line,
    checked_line,
    is_running,
    percentage,
    series_line,
    summary_parts,
)
from tcia_covid.output.screen import Screen, terminal_size

INTERVAL = 0.2
_PATIENCE = 1.0
"""Seconds until something in progress gets a line."""
_MIN_BAR = 20
"""Columns of a bar next to text; with fewer it has a line of its own."""
_MAX_BAR = 30
_EXISTING, _DONE, _REST = "=", "#", "-"


class Bars(Display):
    """A display of bars on a terminal, with lines about events above them."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        interval: float = INTERVAL,
        size: Callable[[TextIO], os.terminal_size] = terminal_size,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._screen = Screen(stream, size)
        super().__init__(self._screen.write_above, verbose=verbose, interval=interval, clock=clock)

    def tick(self) -> None:
        """Draw."""
        self.draw()

    def draw(self) -> None:
        """Draw the bar and the rows."""
        columns, lines = self._screen.size
        self._screen.show(frame(self._state.snapshot(), columns, lines))

    def close(self) -> None:
        """Stop, and erase what is drawn."""
        super().close()
        self._screen.clear()

    def suspend(self) -> None:
        """Erase the display: the shell is about to write there."""
        self._screen.suspend()

    def resume(self) -> None:
        """Draw again, below what the shell wrote."""
        self._screen.resume()


def frame(progress: Snapshot, columns: int, lines: int) -> list[str]:
    """The lines to draw on a terminal of so many columns and lines; all fit."""
    width, room = columns - 1, lines - 1
    if not is_running(progress):
        drawn = [checked_line(progress)] if progress.checked_images else []
        drawn += _bar_lines(progress, width) if progress.total and not drawn else []
        if progress.activity_seconds >= _PATIENCE and not progress.checked_images:
            drawn.append(activity_line(progress))
    else:
        drawn = _bar_lines(progress, width)
        active = sorted(progress.active, key=lambda series: series.phase is Phase.QUEUED)
        rows = [series_line(series) for series in active]
        room_for_rows = max(0, room - len(drawn))
        if len(rows) > room_for_rows:
            shown = max(0, room_for_rows - 1)
            rows = [*rows[:shown], f"  and {len(rows) - shown:,} more"][:room_for_rows]
        drawn += rows
    return [cut(line, width) for line in drawn[:room]]


def _bar_lines(progress: Snapshot, width: int) -> list[str]:
    """The bar with its text; on a narrow terminal the text is below it."""
    parts = summary_parts(progress)
    percent, text = percentage(progress), ", ".join(parts)
    room = width - display_width(f"[]  {percent}  {text}", ambiguous=2)
    if room >= _MIN_BAR:
        return [f"{_bar(progress, min(room, _MAX_BAR))}  {percent}  {text}"]
    alone = max(0, width - len(f"[]  {percent}"))
    return [f"{_bar(progress, min(alone, _MAX_BAR))}  {percent}", *_wrapped(parts, width)]


def _bar(progress: Snapshot, length: int) -> str:
    """Draw three parts: from earlier runs, from this run, and the rest."""
    total = max(1, progress.total or progress.series)
    done = progress.size if progress.total else progress.complete
    existing = length * min(progress.existing, done, total) // total
    added = length * min(done, total) // total - existing
    return f"[{_EXISTING * existing + _DONE * added:{_REST}<{length}}]"


def _wrapped(parts: Iterable[str], width: int) -> list[str]:
    """Lines of as many parts as fit, separated by commas."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 2 < width:
            lines[-1] += f", {part}"
        else:
            lines.append(part)
    return lines
