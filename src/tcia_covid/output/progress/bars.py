"""Progress on a terminal: one bar for the whole job, one line for each series under way."""

from __future__ import annotations

import shutil
import threading
from collections.abc import MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from tqdm import tqdm

from tcia_covid.core.events import Event, RunStarted
from tcia_covid.output.progress import wording
from tcia_covid.output.progress.lines import Messages, Ticker
from tcia_covid.output.progress.state import ProgressState, UnderWay

EVERY = 0.15
_NARROW = 80
"""Columns below which the words need the room of the bar."""
_PERCENT = 7
"""Columns of the share, with a blank that stays free at the end."""
_SPARE_ROWS = 4
_BAR = "{percentage:3.0f} % {bar} {words}"
_WORDS = "{percentage:3.0f} % {words}"
_SERIES = "{words}"
if TYPE_CHECKING:
    _Tqdm = tqdm[Any]
else:
    _Tqdm = tqdm  # generic in its stubs alone


class Row(_Tqdm):
    """A row of the display; its words are this program's own."""

    monitor_interval = 0  # no thread that watches over displays
    words = ""

    @property
    def format_dict(self) -> MutableMapping[str, Any]:
        """What the format may name."""
        return {**super().format_dict, "words": self.words}


_LOCK = threading.RLock()
Row.set_lock(_LOCK)  # tqdm's own is one for processes, too


class Places:
    """Which line each series has: it keeps its line while it is under way."""

    def __init__(self) -> None:
        self._uids: list[str] = []
        """Of the lines from above; empty for a line that is free."""

    def order(self, under_way: Sequence[UnderWay]) -> list[UnderWay | None]:
        """The series line by line; new ones take the lines that others left."""
        present = {one.series.uid: one for one in under_way}
        self._uids = [uid if uid in present else "" for uid in self._uids]
        for uid in [uid for uid in present if uid not in self._uids]:
            self._place(uid)
        while self._uids and not self._uids[-1]:
            self._uids.pop()
        return [present.get(uid) for uid in self._uids]

    def _place(self, uid: str) -> None:
        if "" in self._uids:
            self._uids[self._uids.index("")] = uid
        else:
            self._uids.append(uid)


class Bars:
    """A display of bars.

    Args:
        stream: a terminal.
        verbose: whether every event deserves a line above the bars.
        every: seconds between two drawings.
    """

    def __init__(self, stream: TextIO, *, verbose: bool = False, every: float = EVERY) -> None:
        self._stream = stream
        self._board = ProgressState()
        self._remarks = Messages(self._say, verbose=verbose)
        self._lock: threading.RLock = _LOCK
        self._rows: list[Row] = []
        self._places = Places()
        self._every = every
        self._ticker: Ticker | None = None

    def take(self, event: Event) -> None:
        """Show an event."""
        self._board.take(event)
        self._remarks.take(event)
        if isinstance(event, RunStarted) and event.series and self._ticker is None:
            self._ticker = Ticker(self.draw, self._every)
            self._ticker.start()

    def draw(self) -> None:
        """Draw how the run stands."""
        picture = self._board.look()
        columns, lines = shutil.get_terminal_size()
        with self._lock:
            under_way = self._places.order(picture.under_way)[: max(1, lines - _SPARE_ROWS)]
            whole = self._row(0)
            whole.bar_format = _WORDS if columns < _NARROW else _BAR
            whole.total, whole.n = max(picture.total, 1), min(picture.size, picture.total)
            whole.words = wording.summary_line(picture, columns - _PERCENT)
            for place, one in enumerate(under_way, start=1):
                self._row(place).words = wording.series_line(one) if one else ""
            for spare in self._rows[len(under_way) + 1 :]:
                spare.words = ""
            for drawn in self._rows:
                drawn.refresh()

    def close(self) -> None:
        """Take all bars off the screen."""
        if self._ticker is not None:
            self._ticker.close()
        with self._lock:
            rows, self._rows = self._rows, []
            for drawn in reversed(rows):
                drawn.close()

    def _row(self, place: int) -> Row:
        while len(self._rows) <= place:
            number = len(self._rows)
            self._rows.append(new_row(self._stream, number, _SERIES if number else _BAR))
        return self._rows[place]

    def _say(self, line: str) -> None:
        with self._lock:
            Row.write(line, file=self._stream)


def new_row(stream: TextIO, position: int = 0, form: str = _SERIES) -> Row:
    """Make a row of the display, `position` lines below the first."""
    return Row(
        total=1,
        position=position,
        file=stream,
        leave=False,
        dynamic_ncols=True,
        bar_format=form,
        ascii=None if _carries_blocks(stream) else True,
    )


def _carries_blocks(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().startswith("utf")
