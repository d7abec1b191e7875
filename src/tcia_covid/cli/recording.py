"""Runs a command with its log file and event log open."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

from tcia_covid.cli.console import Console
from tcia_covid.cli.errors import to_error
from tcia_covid.core.events import CommandFinished, CommandStarted, Emit
from tcia_covid.output.event_log import EventLog
from tcia_covid.output.log_file import LogFile


def run_recorded(console: Console, work: Callable[[], int]) -> int:
    """Run `work`; record how the command begins and ends.

    Raises:
        UsageError: a log cannot be written.
        Exception: what `work` raises, once it is recorded.
    """
    with ExitStack() as stack:
        console.recorders = list(_recorders(console, stack))

        def record(event: CommandStarted | CommandFinished) -> None:
            for recorder in console.recorders:
                recorder(event)

        record(CommandStarted(console.command))
        try:
            code = work()
        except BaseException as error:
            record(CommandFinished(console.command, to_error(error).exit_code, error))
            raise
        record(CommandFinished(console.command, code))
        return code


def _recorders(console: Console, stack: ExitStack) -> Iterator[Emit]:
    if console.log_file:
        log = LogFile(console.log_file)
        stack.callback(log.close)
        yield log.take
    if console.events:
        events = EventLog(console.events)
        stack.callback(_close, events, console)
        yield events.take


def _close(log: EventLog, console: Console) -> None:
    log.close()
    if log.failed is not None:
        reason = log.failed.strerror or log.failed
        console.error(f"the event log {console.events} is incomplete: {reason}")
