"""What happens during a run, as values: progress displays and event logs see nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcia_covid.core.models import Outcome, Series
    from tcia_covid.core.summary import Summary


@dataclass(frozen=True, slots=True)
class CommandStarted:
    """A verb of the command line begins: the first event on record."""

    command: str


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The work is known: `series` series still to fetch, of `images` images and `size` bytes."""

    series: int
    images: int
    size: int
    already_complete: int
    output: str


@dataclass(frozen=True, slots=True)
class SeriesStarted:
    """A worker took a series; `kept` images of an earlier attempt are there already."""

    series: Series
    kept: int
    kept_bytes: int


@dataclass(frozen=True, slots=True)
class BytesStored:
    """Bytes of a series reached the disk; negative where they were thrown away again."""

    series: str
    count: int


@dataclass(frozen=True, slots=True)
class SeriesRetried:
    """An attempt at a series failed; the next one starts after `wait` seconds."""

    series: str
    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class RequestRetried:
    """A request that belongs to no single series failed; asked again after `wait` seconds."""

    what: str
    reason: str
    wait: float


@dataclass(frozen=True, slots=True)
class SeriesFinished:
    """A series ended, one way or the other."""

    outcome: Outcome


@dataclass(frozen=True, slots=True)
class ConcurrencyChanged:
    """The number of connections that may work at once is now `limit`."""

    limit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a line to the user."""

    text: str
    always: bool = False
    """Whether `--quiet` does not silence it: a file of the user's was moved, for instance."""


@dataclass(frozen=True, slots=True)
class DamageFound:
    """A check found a file that is not as it should be."""

    series: str
    """SeriesInstanceUID; empty for a file that belongs to none."""
    file: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run is over."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class CommandFinished:
    """A verb of the command line ends: the last event on record."""

    command: str
    exit_code: int
    error: BaseException | None = None
    """What ended it, where it did not come to its result."""


Event = (
    CommandStarted
    | RunStarted
    | SeriesStarted
    | BytesStored
    | SeriesRetried
    | RequestRetried
    | SeriesFinished
    | ConcurrencyChanged
    | Notice
    | DamageFound
    | RunFinished
    | CommandFinished
)
Emit = Callable[[Event], None]
"""Called from any thread; must not raise and must not block for long."""


def discard(event: Event) -> None:
    """Take an event and do nothing: the default listener of the library."""
    del event
