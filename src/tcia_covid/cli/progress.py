"""Runs the work of a command with the progress display that the console asks for."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import ParamSpec, TypeVar

from tcia_covid.cli.console import Console
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.events import Emit, Event, Notice
from tcia_covid.output.progress import CheckProgress, Display, clean_line

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


def run_displayed(console: Console, work: Callable[..., T]) -> T:
    """Run `work(emit=…, stop=…)` until it ends or a signal cancels it; show its events."""
    with progress_display(console) as emit:
        return run_cancellable(lambda stop: work(emit=emit, stop=stop))


@contextmanager
def progress_display(console: Console) -> Iterator[Emit]:
    """Show events until the end; gives the function that takes them."""
    display: Display | None = None
    if console.quiet:
        show: Emit = partial(_show_important, console)
    else:
        if console.no_progress or not draws_bars():
            display = Display(console.message, verbose=console.verbose)
        else:
            from tcia_covid.output.progress_bars import Bars  # noqa: PLC0415 - tqdm is slow

            display = Bars(sys.stderr, verbose=console.verbose)
        show = display.take
    listeners = [*(log.take for log in console.logs), _never_raising(show)]

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    try:
        yield emit
    finally:
        if display is not None:
            _never_raising(display.close)()


@contextmanager
def check_progress(console: Console, done: str = "checked") -> Iterator[Callable[[int, int], None]]:
    """Show how much is `done`; gives the function that counts bytes and images."""
    if console.quiet or console.no_progress or not draws_bars():
        progress = CheckProgress(console.message, done=done)
    else:
        from tcia_covid.output.progress_bars import CheckBar  # noqa: PLC0415 - tqdm is slow

        progress = CheckBar(sys.stderr, done)
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
