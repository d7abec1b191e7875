"""Progress for the library: one bar of tqdm, in a notebook or on a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tcia_covid.core.events import Emit, Event, ImagesChecked
from tcia_covid.output.progress import Display, summary_parts

_INTERVAL = 0.5


def is_wanted(progress: bool | None) -> bool:  # noqa: FBT001 - the keyword of the functions
    """Whether to show progress; by default in IPython and notebooks."""
    if progress is not None:
        return progress
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


@contextmanager
def shown_events(progress: bool | None, emit: Emit) -> Iterator[Emit]:  # noqa: FBT001 - as above
    """Show the events of a run, and pass them to `emit`."""
    if not is_wanted(progress):
        yield emit
        return
    bar = _EventBar()
    bar.start()

    def both(event: Event) -> None:
        bar.take(event)
        emit(event)

    try:
        yield both
    finally:
        bar.close()


@contextmanager
def shown_checks(
    progress: bool | None,  # noqa: FBT001 - as above
    emit: Emit,
    on_progress: Callable[[int, int], None],
    what: str,
) -> Iterator[Emit]:
    """Show how many bytes and images are done; pass the numbers to `on_progress`, all to `emit`."""
    bar, images = _new_bar(None, what) if is_wanted(progress) else None, 0

    def take(event: Event) -> None:
        nonlocal images
        if isinstance(event, ImagesChecked):
            images += event.images
            if bar is not None:
                bar.set_postfix_str(f"{images:,} images", refresh=False)
                bar.update(event.size)
            on_progress(event.size, event.images)
        emit(event)

    try:
        yield take
    finally:
        if bar is not None:
            bar.close()


class _EventBar(Display):
    """A bar for the bytes of a run, with lines about failures and notices above it."""

    def __init__(self) -> None:
        super().__init__(self._write_above, interval=_INTERVAL)
        self._bar: Any = None
        self._drawing = threading.Lock()

    def tick(self) -> None:
        """Redraw the bar at every interval, not only when nothing else was written."""
        self.draw()

    def draw(self) -> None:
        """Redraw the bar."""
        progress = self._state.snapshot()
        if not progress.total:
            return
        with self._drawing:
            if self._bar is None:
                self._bar = _new_bar(progress.total, "download")
            self._bar.total = max(progress.total, progress.size)
            self._bar.n = progress.size
            self._bar.set_postfix_str(", ".join(summary_parts(progress)), refresh=True)

    def close(self) -> None:
        """Draw the end of the run."""
        super().close()
        self.draw()
        if self._bar is not None:
            self._bar.close()

    def _write_above(self, line: str) -> None:
        _tqdm().write(line, file=sys.stderr)


def _new_bar(total: int | None, what: str) -> Any:
    return _tqdm()(total=total, desc=what, unit="B", unit_scale=True, mininterval=_INTERVAL)


def _tqdm() -> Any:
    """The bar for a notebook or a terminal."""
    from tqdm.auto import tqdm  # noqa: PLC0415 - takes 0.1 s, only where progress is shown

    return tqdm
