"""Which archives respond, and how long a run waits when none does."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    RedirectError,
    StatusError,
)
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.units import format_duration
from tcia_covid.http.circuit_breaker import CircuitBreaker
from tcia_covid.http.retry import UNREACHABLE

_FIRST_PAUSE, _MAX_PAUSE = 30.0, 600.0
"""Seconds that an archive is skipped."""
_AMBIGUOUS = (ConnectionLostError, BadResponseError, StatusError, RedirectError)
"""These may be about one series only."""
_MAX_AMBIGUOUS = 3
"""Consecutive ambiguous errors that show it as well."""
_MIN_TIMEOUT, _MAX_TIMEOUT = 600.0, 12 * 3600.0
OUTAGE_WAIT = 30.0
"""Seconds before the first attempt in an outage; later ones wait longer, up to …"""
_MAX_OUTAGE_WAIT = 600.0
_POLL_INTERVAL = 0.5


class ArchiveAvailability:
    """Knows which archives failed lately; shared by all workers of a run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.last_answer: float | None = None
        """When an archive last sent part of a series (monotonic seconds)."""
        self._breaker = CircuitBreaker(_FIRST_PAUSE, _MAX_PAUSE, clock)
        self._ambiguous: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._clock = clock

    def order(self, archives: Sequence[Archive]) -> list[Archive]:
        """The archives in the order to try them: those to skip come last."""
        return self._breaker.order(archives, lambda archive: archive.name)

    def is_down(self, archive: Archive) -> bool:
        """Whether the archive is not responding."""
        return self._breaker.is_open(archive.name)

    def failed(self, archive: Archive, error: ArchiveError) -> float | None:
        """Count a failed attempt.

        Returns the seconds for which the archive is skipped, if this error is why.
        """
        is_absent = isinstance(error, StatusError) and error.status == HTTPStatus.NOT_FOUND
        with self._lock:
            self._ambiguous[archive.name] += isinstance(error, _AMBIGUOUS) and not is_absent
            is_repeated = self._ambiguous[archive.name] >= _MAX_AMBIGUOUS
        is_down = isinstance(error, UNREACHABLE) or is_repeated
        return _FIRST_PAUSE if is_down and self._breaker.open(archive.name) else None

    def worked(self, archive: Archive) -> None:
        """The archive sent part of a series."""
        with self._lock:
            self._ambiguous.pop(archive.name, None)
            self.last_answer = self._clock()
        self._breaker.close(archive.name)

    def responded_since(self, moment: float) -> bool:
        """Whether any archive sent something after `moment` (monotonic seconds)."""
        return self.last_answer is not None and self.last_answer > moment


@dataclass(slots=True, eq=False)
class OutageMonitor:
    """Detects that no archive responds any more, and limits how long to keep retrying.

    A run that downloaded all night keeps retrying all morning; one that no archive ever responded
    to ends within seconds.
    """

    failures: int
    """Consecutive series whose archives all fail before it counts as an outage."""
    timeout: float | None
    """Seconds to keep retrying; None for as long as the run had worked before, at least ten minutes
    and at most twelve hours."""
    availability: ArchiveAvailability
    """Knows when an archive last sent something."""
    stop: CancelToken
    """Ends a wait."""
    emit: Emit
    """Is given the beginning and the end of an outage."""
    wait: float = OUTAGE_WAIT
    """Seconds before the first retry."""
    min_timeout: float = _MIN_TIMEOUT
    """The least value of the default timeout."""
    clock: Callable[[], float] = time.monotonic
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _consecutive: float = field(default=0.0, init=False)
    _is_announced: bool = field(default=False, init=False)
    _run_start: float = field(init=False)
    _outage_start: float = field(init=False)

    def __post_init__(self) -> None:
        self._run_start = self._outage_start = self.clock()

    @property
    def suspected(self) -> bool:
        """Whether a series failed, and no archive has sent anything since."""
        return self._consecutive > 0 and not self.availability.responded_since(self._outage_start)

    def failed(self, error: ArchiveError) -> bool:
        """Count a series whose archives all failed; whether that makes an outage.

        An error that may be about one series only counts by half.
        """
        with self._lock:
            if not self.suspected:
                self._consecutive, self._outage_start = 0.0, self.clock()
            self._consecutive += 1.0 if isinstance(error, UNREACHABLE) else 0.5
            return self._consecutive >= self.failures

    def wait_for_recovery(self, error: ArchiveError) -> bool:
        """Wait before the next attempt; False once the outage has lasted too long."""
        elapsed = self.clock() - self._outage_start
        left = self._limit() - elapsed
        if left <= 0:
            return False
        if self._set_announced(announced=True):
            self.emit(
                Notice(
                    f"no archive responds any more ({error.message}): retrying for up to "
                    f"{format_duration(left)}; what is complete is kept"
                )
            )
        pause = min(_MAX_OUTAGE_WAIT, max(self.wait, elapsed / 2)) * random.uniform(0.5, 1)
        deadline = self.clock() + min(pause, left)
        interval = min(_POLL_INTERVAL, self.wait / 4)
        while (remaining := deadline - self.clock()) > 0 and not self.stop.is_set():
            if self.availability.responded_since(self._outage_start):
                if self._set_announced(announced=False):
                    seconds = self.clock() - self._outage_start
                    self.emit(
                        Notice(f"the archive responds again after {format_duration(seconds)}")
                    )
                break
            time.sleep(min(interval, remaining))
        return True

    def _limit(self) -> float:
        last = self.availability.last_answer
        if last is None:
            return 0.0
        if self.timeout is not None:
            return self.timeout
        return min(_MAX_TIMEOUT, max(self.min_timeout, last - self._run_start))

    def _set_announced(self, *, announced: bool) -> bool:
        """Whether this changed anything: of many workers, one announces."""
        with self._lock:
            changed, self._is_announced = self._is_announced != announced, announced
        return changed
