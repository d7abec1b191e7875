"""The log file: everything that happens, as text with timestamps."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

from tcia_covid.core.errors import UsageError
from tcia_covid.core.events import (
    BytesStored,
    CommandFinished,
    CommandStarted,
    DamageFound,
    Event,
    Notice,
    RequestRetried,
    RunFinished,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
)
from tcia_covid.core.redaction import scrub
from tcia_covid.core.version import __version__
from tcia_covid.output.progress import clean_line, detail_line, failure_line, retry_line, start_line

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(threadName)s %(name)s: %(message)s"
_LOGGERS = ("tcia_covid", "urllib3", "requests")


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """A record with its traceback, without credentials."""
        return scrub(super().format(record))


class LogFile:
    """Appends events, and what the HTTP libraries log, to a file; creates it if it is missing.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: str) -> None:
        try:
            self._handler = logging.FileHandler(
                Path(path), encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise UsageError(
                f"cannot write the log to {path}: {error.strerror or error}"
            ) from error
        self._handler.setFormatter(_Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
        self._handler.handleError = self._note_failure  # type: ignore[assignment]
        self.failed: OSError | None = None
        """The error that made the log incomplete."""
        self._logger = logging.getLogger("tcia_covid")
        self._logger.propagate = False
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self._handler)

    def take(self, event: Event) -> None:
        """Log an event."""
        if not isinstance(event, BytesStored):
            level, text = _record(event)
            error = event.error if isinstance(event, CommandFinished) else None
            self._logger.log(level, text, exc_info=error)

    def close(self) -> None:
        """Close the file."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
        self._logger.propagate = True
        try:
            self._handler.close()
        except OSError as error:
            self.failed = self.failed or error

    def _note_failure(self, _: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failed = self.failed or error


def _record(event: Event) -> tuple[int, str]:
    if isinstance(event, Notice):
        return logging.WARNING, clean_line(event.text)
    if isinstance(event, SeriesRetried | RequestRetried):
        return logging.WARNING, retry_line(event)
    if error := _error_text(event):
        return logging.ERROR, error
    if step := _step(event):
        return logging.INFO, step
    return logging.DEBUG, detail_line(event)


def _error_text(event: Event) -> str:
    """What went wrong; empty if nothing."""
    if isinstance(event, SeriesFinished) and event.outcome.failure is not None:
        failure = event.outcome.failure
        return f"failed ({failure.reason}): {failure_line(failure)}"
    if isinstance(event, DamageFound):
        return clean_line(f"{event.reason}: {event.file} {event.detail}")
    if isinstance(event, CommandFinished) and event.error is not None:
        return f"{_end(event)}: {event.error}"
    return ""


def _step(event: Event) -> str:
    """The start or end of a command or run; empty for other events."""
    if isinstance(event, CommandStarted):
        return f"tcia-covid {__version__}: {event.command} started"
    if isinstance(event, RunStarted):
        return start_line(event) or "nothing to download"
    if isinstance(event, RunFinished):
        summary = event.summary
        return (
            f"finished: {summary.complete} of {summary.selected} series complete, "
            f"{summary.failed} failed, {summary.remaining} remaining, "
            f"exit code {summary.exit_code}"
        )
    return _end(event) if isinstance(event, CommandFinished) else ""


def _end(event: CommandFinished) -> str:
    return f"{event.command} ended with exit code {event.exit_code}"
