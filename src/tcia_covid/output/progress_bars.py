"""Progress on a terminal: one bar for the whole run, one line for each active series."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm
from tqdm.utils import disp_trim

from tcia_covid.output.progress import (
    ActiveSeries,
    CheckProgress,
    Display,
    series_line,
    summary_line,
)

INTERVAL = 0.15
_NARROW = 80
"""Columns below which there is no room for a bar beside the text."""
_PERCENT_WIDTH = 7
"""Columns of the percentage, and a blank at the end."""
_SPARE_LINES = 4
_BAR = "{percentage:3.0f} % {bar} {text}"
_NO_BAR = "{percentage:3.0f} % {text}"
_TEXT = "{text}"

if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:
    _Tqdm = tqdm  # generic in its stubs only


def terminal_size(stream: TextIO) -> os.terminal_size:
    """Columns and lines of the terminal that a stream writes to; 80 and 24 if it does not say."""
    with contextlib.suppress(OSError, ValueError):
        if (size := os.get_terminal_size(stream.fileno())).columns:
            return size
    return os.terminal_size((80, 24))


class Row(_Tqdm):
    """A row of the display, with text of this program's own."""

    monitor_interval = 0  # no thread that monitors displays
    text = ""

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """The names that the format may use."""
        return {**super().format_dict, "text": self.text}

    def __str__(self) -> str:
        # Older versions of tqdm cut only rows with a bar to the width of the terminal.
        row = super().__str__()
        return disp_trim(row, self.ncols) if self.ncols else row


_LOCK = threading.RLock()

Row.set_lock(_LOCK)  # tqdm's own also locks processes


class Places:
    """Assigns lines to series: a series keeps its line."""

    def __init__(self) -> None:
        self._uids: list[str] = []
        """Of the lines from the top; empty for a free line."""

    def order(self, active: Sequence[ActiveSeries]) -> list[ActiveSeries | None]:
        """The series by line; new ones get free lines."""
        present = {series.series.uid: series for series in active}
        self._uids = [uid if uid in present else "" for uid in self._uids]
        for uid in [uid for uid in present if uid not in self._uids]:
            if "" in self._uids:
                self._uids[self._uids.index("")] = uid
            else:
                self._uids.append(uid)
        while self._uids and not self._uids[-1]:
            self._uids.pop()
        return [present.get(uid) for uid in self._uids]


class Bars(Display):
    """A display of bars on a terminal, with lines about events above them."""

    def __init__(
        self,
        stream: TextIO,
        *,
        verbose: bool = False,
        interval: float = INTERVAL,
        size: Callable[[TextIO], os.terminal_size] = terminal_size,
    ) -> None:
        super().__init__(self._write_above, verbose=verbose, interval=interval)
        self._stream = stream
        self._size = size
        self._rows: list[Row] = []
        self._places = Places()

    def draw(self) -> None:
        """Draw all rows."""
        progress = self._state.snapshot()
        columns, lines = self._size(self._stream)
        with _LOCK:
            active = self._places.order(progress.active)[: max(1, lines - _SPARE_LINES)]
            whole = self._row(0)
            whole.bar_format = _NO_BAR if columns < _NARROW else _BAR
            whole.total, whole.n = max(progress.total, 1), min(progress.size, progress.total)
            whole.text = summary_line(progress, columns - _PERCENT_WIDTH)
            for place, series in enumerate(active, start=1):
                self._row(place).text = series_line(series) if series else ""
            for row in self._rows[len(active) + 1 :]:
                row.text = ""
            for row in self._rows:
                row.ncols = columns - 1
                row.refresh()

    def close(self) -> None:
        """Stop, and remove all rows from the screen."""
        super().close()
        with _LOCK:
            rows, self._rows = self._rows, []
            for row in reversed(rows):
                row.close()

    def _row(self, place: int) -> Row:
        while len(self._rows) <= place:
            number = len(self._rows)
            columns = self._size(self._stream).columns
            self._rows.append(new_row(self._stream, columns, number, _TEXT if number else _BAR))
        return self._rows[place]

    def _write_above(self, line: str) -> None:
        with _LOCK:
            Row.write(line, file=self._stream)


def new_row(stream: TextIO, columns: int, position: int = 0, bar_format: str = _TEXT) -> Row:
    """Make a row of the display, `position` lines below the first, for a terminal's columns."""
    encoding = (getattr(stream, "encoding", None) or "").lower()
    return Row(
        total=1,
        position=position,
        file=stream,
        leave=False,
        ncols=columns - 1,  # a full line would wrap on Windows
        bar_format=bar_format,
        ascii=None if encoding.startswith("utf") else True,
    )


class CheckBar(CheckProgress):
    """Redraws one line on a terminal with how much is done."""

    def __init__(self, stream: TextIO, done: str = "checked") -> None:
        self._stream = stream
        self._row = new_row(stream, terminal_size(stream).columns)
        super().__init__(self._redraw, INTERVAL, done)

    def _redraw(self, text: str) -> None:
        self._row.text, self._row.ncols = text, terminal_size(self._stream).columns - 1
        self._row.refresh()

    def close(self) -> None:
        """Stop, and remove the line."""
        super().close()
        self._row.close()
