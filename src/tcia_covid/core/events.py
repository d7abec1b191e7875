"""Events of a run: all that progress displays and event logs see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcia_covid.core.models import Outcome, Series
    from tcia_covid.core.summary import Summary


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """A command starts: the first event."""

    command: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The work is known: the series still to download, and their images and bytes."""

    series: int
    images: int
    size: int
    already_complete: int
    output: str
    already_bytes: int = 0
    """Bytes of the series that are complete already."""


@dataclass(frozen=True, slots=True)
class SeriesStarted:
    """A worker starts a series; `partial_images` images of an earlier attempt exist already."""

    series: Series
    partial_images: int
    partial_bytes: int


@dataclass(frozen=True, slots=True)
class BytesStored:
    """Bytes of a series were written; negative if they were discarded."""

    series: str
    count: int


class Phase(Enum):
    """What happens to a series at the moment."""

    QUEUED = "queued"
    """It waits until a request is permitted."""
    DOWNLOADING = "downloading"
    CHECKING = "checking"
    COMMITTING = "moving into place"
    LOCKED = "locked"
    """Another run works on it."""


@dataclass(frozen=True, slots=True)
class PhaseChanged:
    """A series is in another phase; it begins as queued."""

    series: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class RateLimited:
    """The maximum rate delays what arrives; at most once a second."""


@dataclass(frozen=True, slots=True)
class ImagesChecked:
    """Bytes and images on disk were read."""

    size: int
    images: int
    done: str = "checked"
    """The name of the work."""


@dataclass(frozen=True, slots=True)
class ActivityStarted:
    """Work other than a series began that may take long, such as `asking NBIA for a list`."""

    text: str


@dataclass(frozen=True, slots=True)
class ActivityFinished:
    """It ended."""

    text: str


@dataclass(frozen=True, slots=True)
class SeriesRetried:
    """An attempt at a series failed; the next one starts after `wait` seconds."""

    series: str
    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class RequestRetried:
    """A request for no single series failed; it is repeated after `wait` seconds."""

    request: str
    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class SeriesFinished:
    """A series ended."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ConcurrencyChanged:
    """The number of simultaneous requests is now `limit`."""

    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to the user."""

    text: str
    always: bool = False
    """Whether it is shown with `--quiet`, too, such as that a user's file was moved."""


@dataclass(frozen=True, slots=True)
class DamageFound:
    """A file failed verification."""

    series: str
    """SeriesInstanceUID; empty for a file of no series."""
    file: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class CommandFinished:
    """A command ended: the last event."""

    command: str
    exit_code: int
    error: BaseException | None = None
    """What ended it, if it has no result."""


Event = (
    CommandStarted
    | RunStarted
    | SeriesStarted
    | BytesStored
    | PhaseChanged
    | RateLimited
    | ImagesChecked
    | ActivityStarted
    | ActivityFinished
    | SeriesRetried
    | RequestRetried
    | SeriesFinished
    | ConcurrencyChanged
    | Notice
    | DamageFound
    | RunFinished
    | CommandFinished
)
DISPLAY_ONLY = (
    BytesStored,
    PhaseChanged,
    RateLimited,
    ImagesChecked,
    ActivityStarted,
    ActivityFinished,
)
"""Frequent events, which logs omit."""
Emit = Callable[[Event], None]
"""Called from any thread; must not raise and must not block for long."""


def discard(event: Event) -> None:
    """Ignore an event: the library's default."""
    del event


@contextmanager
def activity(emit: Emit, text: str) -> Iterator[None]:
    """Emit an event at the beginning and the end of the block."""
    emit(ActivityStarted(text))
    try:
        yield
    finally:
        emit(ActivityFinished(text))
