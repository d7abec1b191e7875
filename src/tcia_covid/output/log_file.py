"""The log file: everything that happens, as text with times, for a person who looks for a cause."""

from __future__ import annotations

import contextlib
import logging
import time
from pathlib import Path

from tcia_covid.core.errors import UsageError
from tcia_covid.core.events import (
    BytesStored,
    CommandFinished,
    CommandStarted,
    DamageFound,
    Event,
    RequestRetried,
    RunFinished,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
)
from tcia_covid.core.events import Notice as NoticeEvent
from tcia_covid.core.redaction import scrub
from tcia_covid.core.version import __version__
from tcia_covid.output.progress import wording

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(threadName)s %(name)s: %(message)s"
_OTHERS = ("urllib3", "requests")
"""Whose own debug lines belong in the file."""


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """One record, tracebacks included, without credentials."""
        return scrub(super().format(record))


class LogFile:
    """Appends events, and what the HTTP libraries log, to a file.

    Args:
        path: made if it is not there.

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
                f"the log cannot be written to {path}: {error.strerror or error}"
            ) from error
        self._handler.setFormatter(_Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
        self._handler.handleError = lambda record: None  # type: ignore[method-assign]
        self._logger = logging.getLogger("tcia_covid")
        self._logger.propagate = False
        for name in ("tcia_covid", *_OTHERS):
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
        """Log no more."""
        for name in ("tcia_covid", *_OTHERS):
            logging.getLogger(name).removeHandler(self._handler)
        self._logger.propagate = True
        # What a full disk did to the log must not spoil a run whose data are complete.
        with contextlib.suppress(OSError):
            self._handler.close()


def _record(event: Event) -> tuple[int, str]:
    if isinstance(event, NoticeEvent):
        return logging.WARNING, wording.notice_line(event)
    if isinstance(event, SeriesRetried | RequestRetried):
        return logging.WARNING, wording.retry_line(event)
    if trouble := _trouble(event):
        return logging.ERROR, trouble
    if step := _step(event):
        return logging.INFO, step
    return logging.DEBUG, wording.detail_line(event)


def _trouble(event: Event) -> str:
    """What went wrong; empty if nothing did."""
    if isinstance(event, SeriesFinished) and event.outcome.failure is not None:
        found = event.outcome.failure
        return f"failed ({found.reason}): {wording.failure_line(found)}"
    if isinstance(event, DamageFound):
        return wording.clean_line(f"{event.reason}: {event.file} {event.detail}")
    if isinstance(event, CommandFinished) and event.error is not None:
        return f"{_end(event)}: {event.error}"
    return ""


def _step(event: Event) -> str:
    """The beginning or end of a command or run; empty for what lies between."""
    if isinstance(event, CommandStarted):
        return f"tcia-covid {__version__}: {event.command} begins"
    if isinstance(event, RunStarted):
        return wording.start_line(event) or "nothing is left to fetch"
    if isinstance(event, RunFinished):
        return _finished(event)
    return _end(event) if isinstance(event, CommandFinished) else ""


def _end(event: CommandFinished) -> str:
    return f"{event.command} ends with exit code {event.exit_code}"


def _finished(event: RunFinished) -> str:
    summary = event.summary
    return (
        f"finished: {summary.complete} of {summary.selected} series complete, "
        f"{summary.failed} failed, {summary.remaining} remain, exit code {summary.exit_code}"
    )
