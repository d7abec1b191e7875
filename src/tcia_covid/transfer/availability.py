"""Which archives answer: one that is down is left alone for a while, longer each time."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    StatusError,
    TlsError,
    UnreachableError,
)
from tcia_covid.core.events import Emit, Notice

_FIRST_PAUSE = 30.0
"""Seconds that an archive is left alone at first."""
_LONGEST_PAUSE = 600.0
UNREACHABLE = (UnreachableError, TlsError)
"""What says at once that an archive does not work."""
_DOUBTFUL = (ConnectionLostError, BadResponseError, StatusError)
"""What may as well be the trouble of one series."""
_DOUBTS = 3
"""Doubtful failures in a row that say so, too."""
_SHORTEST, _LONGEST = 600.0, 12 * 3600.0
"""Seconds that an outage is borne, by default: as long as the run had worked, within these."""
_FIRST_WAIT, _LONGEST_WAIT = 30.0, 600.0
_LOOK = 0.5
"""Seconds between looks whether another worker had an answer meanwhile."""


@dataclass(slots=True)
class _OpenCircuit:
    until: float
    length: float


class ArchiveAvailability:
    """Knows which archives failed lately; shared by all workers of a run."""

    def __init__(self) -> None:
        self.last_answer: float | None = None
        """When an archive last gave something of a series (monotonic seconds)."""
        self._pauses: dict[str, _OpenCircuit] = {}
        self._doubts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def order(self, archives: Sequence[Archive]) -> list[Archive]:
        """The archives in the order to try them: those that are down come last.

        Where a pause is over one caller looks whether the archive is back; the others do not wait
        for what it finds.
        """
        now = time.monotonic()
        with self._lock:
            down = {name for name in self._pauses if self._rests(name, now)}
        return sorted(archives, key=lambda archive: archive.name in down)

    def is_down(self, archive: Archive) -> bool:
        """Whether the archive is to be left alone now."""
        with self._lock:
            return archive.name in self._pauses

    def failed(self, archive: Archive, error: ArchiveError) -> float | None:
        """Note why an attempt failed; gives how long the archive is left alone, if that is news.

        Seconds, for an archive that cannot be reached or failed several times in a row.
        """
        with self._lock:
            self._doubts[archive.name] += isinstance(error, _DOUBTFUL) and error.retryable
            gone = isinstance(error, UNREACHABLE) or self._doubts[archive.name] >= _DOUBTS
            if not gone or archive.name in self._pauses:
                return None
            self._pauses[archive.name] = _OpenCircuit(time.monotonic() + _FIRST_PAUSE, _FIRST_PAUSE)
            return _FIRST_PAUSE

    def worked(self, archive: Archive) -> None:
        """The archive gave something of a series."""
        with self._lock:
            self._pauses.pop(archive.name, None)
            self._doubts.pop(archive.name, None)
            self.last_answer = time.monotonic()

    def answered_since(self, moment: float) -> bool:
        """Whether any archive gave something after `moment` (monotonic seconds)."""
        return self.last_answer is not None and self.last_answer > moment

    def _rests(self, name: str, now: float) -> bool:
        pause = self._pauses[name]
        if pause.until > now:
            return True
        pause.length = min(_LONGEST_PAUSE, 2 * pause.length)
        pause.until = now + pause.length
        return False


class OutageMonitor:
    """Whether no archive answers any more, and for how much longer that is borne.

    A run that fetched all night waits all morning for a line that is down; one that no archive
    ever answered ends within minutes.

    Args:
        failures: series in a row that fail on their archives before it counts as an outage.
        timeout: seconds to bear one; None for as long as the run had worked before, at least ten
            minutes and at most twelve hours.
        health: knows when an archive last gave something.
        stop: ends the waiting.
        emit: hears when an outage begins and ends.
    """

    def __init__(
        self,
        failures: int,
        timeout: float | None,
        health: ArchiveAvailability,
        stop: CancelToken,
        emit: Emit,
    ) -> None:
        self._failures = failures
        self._timeout = timeout
        self._health = health
        self._stop = stop
        self._emit = emit
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._in_a_row = 0.0
        self._since = self._began
        self._told = False

    @property
    def suspected(self) -> bool:
        """Whether a series failed, and no archive gave anything since."""
        return self._in_a_row > 0 and not self._health.answered_since(self._since)

    def failed(self, error: ArchiveError) -> bool:
        """Count a series that failed on its archives; whether that makes an outage.

        What may as well be the trouble of one series counts by half.
        """
        with self._lock:
            if not self.suspected:
                self._in_a_row, self._since = 0.0, time.monotonic()
            self._in_a_row += 1.0 if isinstance(error, UNREACHABLE) else 0.5
            return self._in_a_row >= self._failures

    def wait_for_recovery(self, error: ArchiveError) -> bool:
        """Wait for a part of the outage; False once it has lasted too long."""
        left = self._limit() - self._lasted
        if left <= 0:
            return False
        self._tell(error, left)
        pause = min(_LONGEST_WAIT, max(_FIRST_WAIT, self._lasted / 2)) * random.uniform(0.5, 1)
        end = time.monotonic() + min(pause, left)
        while time.monotonic() < end and not self._stop.is_set():
            if self._health.answered_since(self._since):
                self._tell_of_end()
                break
            time.sleep(min(_LOOK, max(0.0, end - time.monotonic())))
        return True

    @property
    def _lasted(self) -> float:
        return time.monotonic() - self._since

    def _limit(self) -> float:
        last = self._health.last_answer
        if last is None:
            return 0.0
        if self._timeout is not None:
            return self._timeout
        return min(_LONGEST, max(_SHORTEST, last - self._began))

    def _tell(self, error: ArchiveError, left: float) -> None:
        with self._lock:
            told, self._told = self._told, True
        if not told:
            text = f"no archive answers any more ({error.message}): trying again for up to"
            self._emit(Notice(f"{text} {_minutes(left)}; what is complete is kept"))

    def _tell_of_end(self) -> None:
        with self._lock:
            told, self._told = self._told, False
        if told:
            self._emit(Notice(f"the archive answers again after {_minutes(self._lasted)}"))


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"  # noqa: PLR2004
