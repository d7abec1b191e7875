"""Who hears of a run's events: the display, and whatever records the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import ParamSpec, TextIO

from tcia_covid.cli.console import Console
from tcia_covid.events import Emit, Event, Notice
from tcia_covid.progress.phrases import notice

Shown = ParamSpec("Shown")


@contextmanager
def listening(console: Console) -> Iterator[Emit]:
    """Open the display that the console was told to show; give the function that takes events."""
    with ExitStack() as stack:
        listeners = [*console.recorders, *_display(console, stack)]

        def emit(event: Event) -> None:
            for listener in listeners:
                listener(event)

        yield emit


def _display(console: Console, stack: ExitStack) -> Iterator[Emit]:
    if not console.quiet:
        from tcia_covid.progress import open_display  # noqa: PLC0415

        bars = not console.no_progress and draws_bars()
        display = open_display(sys.stderr, console.say, bars=bars, verbose=console.verbose)
        stack.callback(shielded(display.close))
        yield shielded(display.take)
    else:

        def report(event: Event) -> None:
            if isinstance(event, Notice) and event.always:
                console.report(notice(event))

        yield shielded(report)


def shielded(show: Callable[Shown, None]) -> Callable[Shown, None]:
    """Show something, or not: a terminal that goes away must not end a run."""

    def attempt(*args: Shown.args, **kwargs: Shown.kwargs) -> None:
        with suppress(OSError, ValueError):
            show(*args, **kwargs)

    return attempt


def draws_bars() -> bool:
    """Whether standard error is a terminal that somebody looks at."""
    stream = sys.stderr
    if stream is None or not stream.isatty() or os.environ.get("TERM") == "dumb":
        return False
    if not _columns(stream):
        return False  # a terminal that nobody gave a size, as some containers have
    return os.environ.get("CI", "").lower() in {"", "0", "false"}


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0
