"""Who hears of a run's events: the display, the log file, the event log."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TextIO

from tcia_covid.cli.console import Console
from tcia_covid.events import Emit, Event

Listener = Callable[[Event], None]


@contextmanager
def listening(console: Console) -> Iterator[Emit]:
    """Open what the console was told to show and keep; give the function that takes events.

    Raises:
        UsageError: a file cannot be written.
    """
    with ExitStack() as stack:
        listeners = list(_listeners(console, stack))

        def emit(event: Event) -> None:
            for listener in listeners:
                listener(event)

        yield emit


def _listeners(console: Console, stack: ExitStack) -> Iterator[Listener]:
    if console.log_file:
        yield _log_file(console.log_file, stack)
    if console.events:
        yield _event_log(console, console.events, stack)
    if not console.quiet:
        from tcia_covid.progress import open_display  # noqa: PLC0415

        bars = not console.no_progress and draws_bars()
        display = open_display(sys.stderr, console.say, bars=bars, verbose=console.verbose)
        stack.callback(display.close)
        yield display.take


def _log_file(path: str, stack: ExitStack) -> Listener:
    from tcia_covid.cli.logfile import LogFile  # noqa: PLC0415 - few runs have one

    log = LogFile(path)
    stack.callback(log.close)
    stack.push(lambda kind, error, trace: log.error(error) if error else None)
    return log.take


def _event_log(console: Console, path: str, stack: ExitStack) -> Listener:
    from tcia_covid.eventlog import EventLog  # noqa: PLC0415 - few runs have one

    log = EventLog(path)

    def close() -> None:
        log.close()
        if log.failed is not None:
            reason = log.failed.strerror or log.failed
            console.complain(f"the event log {path} is not complete: {reason}")

    stack.callback(close)
    return log.take


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
