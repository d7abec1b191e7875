"""What a command leaves in the log file and the event log, from its first line to its exit code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import click

from tcia_covid.cli.console import Console
from tcia_covid.errors import EXIT_PARTIAL, EXIT_SIGINT
from tcia_covid.events import CommandFinished, CommandStarted, Emit


def recorded(console: Console, work: Callable[[], int]) -> int:
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
    from tcia_covid.cli.logfile import LogFile  # noqa: PLC0415 - few runs have one

    log = LogFile(path)
    stack.callback(log.close)
    return log.take


def _event_log(console: Console, path: str, stack: ExitStack) -> Emit:
    from tcia_covid.eventlog import EventLog  # noqa: PLC0415 - few runs have one

    log = EventLog(path)

    def close() -> None:
        log.close()
        if log.failed is not None:
            reason = log.failed.strerror or log.failed
            console.complain(f"the event log {path} is not complete: {reason}")

    stack.callback(close)
    return log.take
