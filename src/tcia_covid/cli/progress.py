"""Opens the progress display that the console asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import ParamSpec

from tcia_covid.cli.console import Console
from tcia_covid.core.events import Emit, Event, Notice
from tcia_covid.output.progress import CheckProgress, Display, Lines, clean_line

Arguments = ParamSpec("Arguments")


@contextmanager
def progress_display(console: Console) -> Iterator[Emit]:
    """Show events until the end; gives the function that takes them."""
    display: Display | None = None
    if console.quiet:
        show: Emit = partial(_show_important, console)
    else:
        display = _open_display(console)
        show = display.take
    listeners = [*console.recorders, _never_raising(show)]

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    try:
        yield emit
    finally:
        if display is not None:
            _never_raising(display.close)()


def _open_display(console: Console) -> Display:
    if console.no_progress or not draws_bars():
        return Lines(console.message, verbose=console.verbose)
    from tcia_covid.output.progress_bars import Bars  # noqa: PLC0415 - tqdm is slow to import

    return Bars(sys.stderr, verbose=console.verbose)


@contextmanager
def check_progress(console: Console) -> Iterator[Callable[[int, int], None]]:
    """Show how much is checked; gives the function that counts bytes and images."""
    if console.quiet or console.no_progress or not draws_bars():
        progress = CheckProgress(console.message)
    else:
        from tcia_covid.output.progress_bars import CheckBar  # noqa: PLC0415 - tqdm is slow

        progress = CheckBar(sys.stderr)
    with closing(progress):
        yield progress.add


def _show_important(console: Console, event: Event) -> None:
    if isinstance(event, Notice) and event.always:
        console.warning(clean_line(event.text))


def _never_raising(show: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """A terminal that is closed must not end a run."""

    def attempt(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        with suppress(OSError, ValueError):
            show(*args, **kwargs)

    return attempt


def draws_bars() -> bool:
    """Whether standard error is a terminal that can draw bars, and not a log of a CI system."""
    stream = sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    with suppress(OSError, ValueError):
        if os.get_terminal_size(stream.fileno()).columns:  # 0 in some containers
            return os.environ.get("CI", "").lower() in {"", "0", "false"}
    return False
