"""The logs of a run: `--events`, JSON for programs that watch it; `--log-file`, text with times."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import UsageError
from tcia_covid.core.events import (
    DISPLAY_ONLY,
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
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, Series, name_series
from tcia_covid.core.redaction import clean_line, scrub
from tcia_covid.core.summary import SeriesResult
from tcia_covid.core.version import __version__
from tcia_covid.output.json_documents import summary_document
from tcia_covid.output.progress import detail_line, retry_line, start_line
from tcia_covid.output.tables import failure_line

_IDENTITY = (
    "SeriesInstanceUID",
    "Collection",
    "PatientID",
    "StudyInstanceUID",
    "Modality",
    "ImageCount",
    "FileSize",
)
"""The keys of events about a series."""
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(threadName)s %(name)s: %(message)s"
_LOGGERS = ("tcia_covid", "urllib3", "requests")


class _Log:
    """A file that is appended to; created if it is missing.

    Args:
        path: the file.
        content: what is written, for messages.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: str | Path, content: str) -> None:
        self.path = path
        self.failed: OSError | None = None
        """The first error that made the log incomplete."""
        try:
            # File names need not be valid text: JSON can escape them with a backslash.
            self._handler = logging.FileHandler(
                Path(path), encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(
                f"cannot write {content} to {path}: {reason}",
                hint="name a file in a folder that exists and can be written to",
            ) from error
        self._handler.handleError = self._note_failure  # type: ignore[assignment]

    def close(self) -> None:
        """Close the file."""
        try:
            self._handler.close()
        except OSError as error:
            self.failed = self.failed or error

    def _note_failure(self, _: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            self.failed = self.failed or error


class EventLog(_Log):
    """Appends events as JSON objects, one per line; the first failure ends it."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "events")
        self._closed = False

    def take(self, event: Event) -> None:
        """Write an event."""
        if not (isinstance(event, DISPLAY_ONLY) or self.failed or self._closed):
            line = json.dumps(
                event_object(event),
                ensure_ascii=False,
                separators=(",", ":"),
                default=SeriesResult.to_dict,
            )
            self._handler.handle(logging.makeLogRecord({"msg": line}))

    def close(self) -> None:
        """Close the file; later events have no effect."""
        self._closed = True
        super().close()


def event_object(event: Event) -> dict[str, Any]:
    """Return an event as a JSON object: type, time (UTC, ISO 8601) and fields."""
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    name = re.sub(r"(?<!^)(?=[A-Z])", "-", type(event).__name__).lower()
    return {"type": name, "time": now, **_fields(event)}


def _fields(event: Event) -> dict[str, Any]:
    if isinstance(event, SeriesStarted):
        partial = {"images": event.partial_images, "bytes": event.partial_bytes}
        return {**_identify(event.series), "partial": partial}
    if isinstance(event, SeriesFinished):
        return _finished(event.outcome)
    if isinstance(event, RunFinished):
        return {"summary": summary_document(event.summary)}
    if isinstance(event, CommandFinished):
        error = event.error and {
            "type": type(event.error).__name__,
            "message": scrub(str(event.error)),
            "hint": scrub(getattr(event.error, "hint", "")),
        }
        return {"command": event.command, "exit_code": event.exit_code, "error": error}
    fields = {
        "bytes" if name == "size" else name: scrub(value) if isinstance(value, str) else value
        for name, value in asdict(event).items()
    }
    if isinstance(event, SeriesRetried | DamageFound):
        return name_series(fields)
    return fields


def _identify(series: Series) -> dict[str, Any]:
    fields = series.to_dict()
    return {name: fields[name] for name in _IDENTITY}


def _finished(outcome: Outcome) -> dict[str, Any]:
    fields = {**_identify(outcome.series), "state": outcome.state.value}
    if outcome.receipt is not None:
        receipt = outcome.receipt
        fields |= {
            "folder": receipt.folder,
            "images": len(receipt.images),
            "bytes": receipt.size,
            "checked": receipt.check.value,
            "sources": sorted({image.source for image in receipt.images}),
        }
    if outcome.failure is not None:
        fields["failure"] = outcome.failure.to_dict()
    return fields


class _Formatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        """A record with its traceback, without credentials."""
        return scrub(super().format(record))


class LogFile(_Log):
    """Appends events, and what the HTTP libraries log, as text with timestamps."""

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, "the log")
        self._handler.setFormatter(_Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S"))
        self._logger = logging.getLogger("tcia_covid")
        self._logger.propagate = False
        for name in _LOGGERS:
            logger = logging.getLogger(name)
            logger.setLevel(logging.DEBUG)
            logger.addHandler(self._handler)

    def take(self, event: Event) -> None:
        """Log an event."""
        if not isinstance(event, DISPLAY_ONLY):
            level, text = _record(event)
            error = event.error if isinstance(event, CommandFinished) else None
            self._logger.log(level, text, exc_info=error)

    def close(self) -> None:
        """Close the file."""
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._handler)
        self._logger.propagate = True
        super().close()


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
