"""Runs a command with its log file and event log open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tcia_covid.cli.console import Console
from tcia_covid.cli.error_report import to_error
from tcia_covid.core.errors import DestinationError
from tcia_covid.core.events import CommandFinished, CommandStarted, Emit, Event
from tcia_covid.output.event_log import EventLog
from tcia_covid.output.log_file import LogFile


def run_recorded(console: Console, work: Callable[[], int]) -> int:
    """Run `work`; record how the command begins and ends.

    Raises:
        UsageError: a log cannot be opened.
        DestinationError: a log cannot be written; `work` is not run.
        Exception: what `work` raises, once it is recorded.
    """
    with ExitStack() as stack:
        console.recorders = list(_recorders(console, stack))

        def record(event: CommandStarted | CommandFinished) -> None:
            for recorder in console.recorders:
                recorder(event)

        record(CommandStarted(console.command))
        if console.log_failure:
            raise DestinationError(
                f"cannot write the log {console.log_failure}; nothing was done",
                hint="free some space, or choose another file with --log-file or --events",
            )
        try:
            code = console.exit_code(work())
        except BaseException as error:
            record(CommandFinished(console.command, to_error(error).exit_code, error))
            raise
        record(CommandFinished(console.command, code))
    if console.log_failure:
        console.error(f"the log is incomplete: {console.log_failure}")
    return console.exit_code(code)


def _recorders(console: Console, stack: ExitStack) -> Iterator[Emit]:
    if console.log_file:
        yield _recorder(console, LogFile(console.log_file), console.log_file, stack)
    if console.events:
        yield _recorder(console, EventLog(console.events), console.events, stack)


def _recorder(console: Console, log: LogFile | EventLog, path: str, stack: ExitStack) -> Emit:
    def note_failure() -> None:
        if log.failed is not None and not console.log_failure:
            console.log_failure = f"{path}: {log.failed.strerror or log.failed}"

    def record(event: Event) -> None:
        log.take(event)
        note_failure()

    def close() -> None:
        log.close()
        note_failure()

    stack.callback(close)
    return record
