"""Who hears of a run's events: the display, and whatever records the command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import ParamSpec, TextIO

import click

from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_PARTIAL, EXIT_SIGINT
from tcia_covid.core.events import CommandFinished, CommandStarted, Emit, Event, Notice
from tcia_covid.output.event_log import EventLog
from tcia_covid.output.log_file import LogFile
from tcia_covid.output.progress.display import open_display
from tcia_covid.output.progress.wording import notice_line

Shown = ParamSpec("Shown")


@contextmanager
def progress_display(console: Console) -> Iterator[Emit]:
    """Open the display that the console was told to show; give the function that takes events."""
    with ExitStack() as stack:
        listeners = [*console.recorders, *_display(console, stack)]

        def emit(event: Event) -> None:
            for listener in listeners:
                listener(event)

        yield emit


def _display(console: Console, stack: ExitStack) -> Iterator[Emit]:
    if not console.quiet:
        bars = not console.no_progress and draws_bars()
        display = open_display(sys.stderr, console.say, bars=bars, verbose=console.verbose)
        stack.callback(shielded(display.close))
        yield shielded(display.take)
    else:

        def report(event: Event) -> None:
            if isinstance(event, Notice) and event.always:
                console.report(notice_line(event))

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


def run_recorded(console: Console, work: Callable[[], int]) -> int:
    """Do the work of a verb while the files that the console was told of are open.

    Raises:
        UsageError: a file cannot be written.
        Exception: whatever the work raises, once it is on record.
    """
    with ExitStack() as stack:
        console.recorders = list(_recorders(console, stack))
        _tell(console, CommandStarted(console.verb))
        try:
            code = work()
        except BaseException as error:
            _tell(console, CommandFinished(console.verb, _exit_code(error), error))
            raise
        _tell(console, CommandFinished(console.verb, code))
        return code


def _tell(console: Console, event: CommandStarted | CommandFinished) -> None:
    for recorder in console.recorders:
        recorder(event)


def _exit_code(error: BaseException) -> int:
    interrupted = isinstance(error, KeyboardInterrupt | click.Abort)
    code: int = getattr(error, "exit_code", EXIT_SIGINT if interrupted else EXIT_PARTIAL)
    return code


def _recorders(console: Console, stack: ExitStack) -> Iterator[Emit]:
    if console.log_file:
        yield _log_file(console.log_file, stack)
    if console.events:
        yield _event_log(console, console.events, stack)


def _log_file(path: str, stack: ExitStack) -> Emit:
    log = LogFile(path)
    stack.callback(log.close)
    return log.take


def _event_log(console: Console, path: str, stack: ExitStack) -> Emit:
    log = EventLog(path)

    def close() -> None:
        log.close()
        if log.failed is not None:
            reason = log.failed.strerror or log.failed
            console.complain(f"the event log {path} is not complete: {reason}")

    stack.callback(close)
    return log.take
