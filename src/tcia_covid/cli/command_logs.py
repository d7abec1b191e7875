"""Runs a command with its log file and event log open."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing

from tcia_covid.cli.console import Console
from tcia_covid.cli.error_report import to_error
from tcia_covid.core.errors import DestinationError
from tcia_covid.core.events import CommandFinished, CommandStarted
from tcia_covid.output.logs import EventLog, LogFile


def run_with_logs(console: Console, work: Callable[[], int]) -> int:
    """Run `work`; record how the command begins and ends.

    Raises:
        UsageError: a log cannot be opened.
        DestinationError: a log cannot be written; `work` is not run.
        Exception: what `work` raises, once it is recorded.
    """
    with ExitStack() as stack:
        if console.log_file:
            console.logs.append(stack.enter_context(closing(LogFile(console.log_file))))
        if console.events:
            console.logs.append(stack.enter_context(closing(EventLog(console.events))))

        def record(event: CommandStarted | CommandFinished) -> None:
            for log in console.logs:
                log.take(event)

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
