"""The event log of `--events`: one JSON object per line, for programs that watch a run."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import UsageError
from tcia_covid.core.events import (
    BytesStored,
    CommandFinished,
    DamageFound,
    Event,
    RunFinished,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, Series, name_series
from tcia_covid.core.redaction import scrub
from tcia_covid.output.json_documents import summary_document

_IDENTITY = (
    "SeriesInstanceUID",
    "Collection",
    "PatientID",
    "StudyInstanceUID",
    "Modality",
    "ImageCount",
    "FileSize",
)
"""What events say of a series."""


class EventLog:
    """Appends events to a file, except `BytesStored`; creates it if it does not exist.

    Raises:
        UsageError: the file cannot be written.
    """

    def __init__(self, path: str | Path) -> None:
        self._lock = threading.Lock()
        self.failed: OSError | None = None
        """The error that ended the log early."""
        try:
            # File names need not be valid text: JSON can escape them with a backslash.
            self._file = Path(path).open(  # noqa: SIM115 - see `close`
                "a", encoding="utf-8", errors="backslashreplace"
            )
        except OSError as error:
            raise UsageError(f"cannot write events to {path}: {error.strerror or error}") from error

    def take(self, event: Event) -> None:
        """Write an event."""
        if isinstance(event, BytesStored):
            return
        line = json.dumps(event_object(event), ensure_ascii=False, separators=(",", ":"))
        with self._lock:
            if self.failed is not None or self._file.closed:
                return
            try:
                self._file.write(f"{line}\n")
                self._file.flush()
            except OSError as error:
                self.failed = error

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            try:
                self._file.close()
            except OSError as error:
                self.failed = self.failed or error


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
