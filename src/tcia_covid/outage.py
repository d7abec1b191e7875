"""Outages: telling them from single failures, and how long a run bears one."""

from __future__ import annotations

import random
import threading
import time

from tcia_covid.errors import ArchiveError
from tcia_covid.events import Emit, Notice
from tcia_covid.stop import Stop
from tcia_covid.transfer.health import GONE, Health

_SHORTEST, _LONGEST = 600.0, 12 * 3600.0
"""Seconds that an outage is borne, by default: as long as the run had worked, within these."""
_FIRST_PAUSE, _LONGEST_PAUSE = 30.0, 600.0
_LOOK = 0.5
"""Seconds between looks whether another worker had an answer meanwhile."""


class Outage:
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
        self, failures: int, timeout: float | None, health: Health, stop: Stop, emit: Emit
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
            self._in_a_row += 1.0 if isinstance(error, GONE) else 0.5
            return self._in_a_row >= self._failures

    def bear(self, error: ArchiveError) -> bool:
        """Wait for a part of the outage; False once it has lasted too long."""
        left = self._limit() - self._lasted
        if left <= 0:
            return False
        self._tell(error, left)
        pause = min(_LONGEST_PAUSE, max(_FIRST_PAUSE, self._lasted / 2)) * random.uniform(0.5, 1)
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
