"""Runs the work of a command with the progress display that the console asks for."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from types import FrameType
from typing import ParamSpec, TypeVar

from tcia_covid.cli.console import Console
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.events import Emit, Event, Notice
from tcia_covid.core.redaction import clean_line
from tcia_covid.output.progress import Display
from tcia_covid.output.progress_bars import Bars
from tcia_covid.output.screen import supports_escapes

Arguments = ParamSpec("Arguments")
T = TypeVar("T")


def run_displayed(console: Console, work: Callable[..., T]) -> T:
    """Run `work(emit=…, stop=…)` until it ends or a signal cancels it; show its events."""
    with progress_display(console) as emit:
        return run_cancellable(lambda stop: work(emit=emit, stop=stop))


@contextmanager
def progress_display(console: Console) -> Iterator[Emit]:
    """Show events while the block runs; yields the function that receives them."""
    display: Display | None = None
    show: Emit = partial(_show_important, console)
    if not console.quiet:
        display = (
            Display(console.message, verbose=console.verbose)
            if console.no_progress or not draws_bars()
            else Bars(sys.stderr, verbose=console.verbose)
        )
        show = display.take
        display.start()
    listeners: list[Emit] = [*(log.take for log in console.logs), _never_raising(show)]

    def emit(event: Event) -> None:
        for listener in listeners:
            listener(event)

    try:
        with suspending(display) if display is not None else nullcontext():
            yield emit
    finally:
        if display is not None:
            _never_raising(display.close)()


@contextmanager
def suspending(display: Display) -> Iterator[None]:
    """Erase the display while the process is stopped by Ctrl-Z."""
    is_main = threading.current_thread() is threading.main_thread()
    if sys.platform == "win32" or not is_main:
        yield
        return

    def stop(number: int, _: FrameType | None) -> None:
        _never_raising(display.suspend)()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)  # the process stops here
        signal.signal(number, stop)
        display.resume()

    before = signal.getsignal(signal.SIGTSTP)
    if before is signal.SIG_IGN:  # a shell without job control
        yield
        return
    signal.signal(signal.SIGTSTP, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)


def _show_important(console: Console, event: Event) -> None:
    if isinstance(event, Notice) and event.always:
        console.warning(clean_line(event.text))


def _never_raising(show: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """Ignore errors of the display: a closed terminal must not end a run."""

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
            is_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
            return not is_ci and supports_escapes(stream)
    return False
