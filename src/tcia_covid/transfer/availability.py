"""Which archives respond, and how long a run waits when none does."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    RedirectError,
    StatusError,
    TlsError,
    UnreachableError,
)
from tcia_covid.core.events import Emit, Notice
from tcia_covid.http.circuit_breaker import CircuitBreaker

_FIRST_PAUSE, _MAX_PAUSE = 30.0, 600.0
"""Seconds that an archive is skipped."""
UNREACHABLE = (UnreachableError, TlsError)
"""One of these shows that an archive is not responding."""
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

    def answered_since(self, moment: float) -> bool:
        """Whether any archive sent something after `moment` (monotonic seconds)."""
        return self.last_answer is not None and self.last_answer > moment


class OutageMonitor:
    """Detects that no archive responds any more, and limits how long to keep retrying.

    A run that downloaded all night keeps retrying all morning; one that no archive ever responded
    to ends within minutes.

    Args:
        failures: consecutive series whose archives all fail before it counts as an outage.
        timeout: seconds to keep retrying; None for as long as the run had worked before, at least
            ten minutes and at most twelve hours.
        health: knows when an archive last sent something.
        stop: ends a wait.
        emit: is given the beginning and the end of an outage.
        wait: seconds before the first retry.
        min_timeout: the least value of the default timeout.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        failures: int,
        timeout: float | None,
        health: ArchiveAvailability,
        stop: CancelToken,
        emit: Emit,
        *,
        wait: float = OUTAGE_WAIT,
        min_timeout: float = _MIN_TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failures = failures
        self._timeout = timeout
        self._health = health
        self._stop = stop
        self._emit = emit
        self._wait = wait
        self._min_timeout = min_timeout
        self._clock = clock
        self._run_start = clock()
        self._lock = threading.Lock()
        self._consecutive = 0.0
        self._outage_start = self._run_start
        self._is_announced = False

    @property
    def suspected(self) -> bool:
        """Whether a series failed, and no archive has sent anything since."""
        return self._consecutive > 0 and not self._health.answered_since(self._outage_start)

    def failed(self, error: ArchiveError) -> bool:
        """Count a series whose archives all failed; whether that makes an outage.

        An error that may be about one series only counts by half.
        """
        with self._lock:
            if not self.suspected:
                self._consecutive, self._outage_start = 0.0, self._clock()
            self._consecutive += 1.0 if isinstance(error, UNREACHABLE) else 0.5
            return self._consecutive >= self._failures

    def wait_for_recovery(self, error: ArchiveError) -> bool:
        """Wait before the next attempt; False once the outage has lasted too long."""
        elapsed = self._clock() - self._outage_start
        left = self._limit() - elapsed
        if left <= 0:
            return False
        if self._set_announced(announced=True):
            self._emit(
                Notice(
                    f"no archive responds any more ({error.message}): retrying for up to "
                    f"{_minutes(left)}; what is complete is kept"
                )
            )
        pause = min(_MAX_OUTAGE_WAIT, max(self._wait, elapsed / 2)) * random.uniform(0.5, 1)
        deadline = self._clock() + min(pause, left)
        interval = min(_POLL_INTERVAL, self._wait / 4)
        while (remaining := deadline - self._clock()) > 0 and not self._stop.is_set():
            if self._health.answered_since(self._outage_start):
                if self._set_announced(announced=False):
                    seconds = self._clock() - self._outage_start
                    self._emit(Notice(f"the archive responds again after {_minutes(seconds)}"))
                break
            time.sleep(min(interval, remaining))
        return True

    def _limit(self) -> float:
        last = self._health.last_answer
        if last is None:
            return 0.0
        if self._timeout is not None:
            return self._timeout
        return min(_MAX_TIMEOUT, max(self._min_timeout, last - self._run_start))

    def _set_announced(self, *, announced: bool) -> bool:
        """Whether this changed anything: of many workers, one announces."""
        with self._lock:
            changed, self._is_announced = self._is_announced != announced, announced
        return changed


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h"  # noqa: PLR2004
