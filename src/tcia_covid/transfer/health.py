"""Which archives answer: one that is down is left alone for a while, longer each time."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tcia_covid.archives.base import Archive
from tcia_covid.errors import (
    ArchiveError,
    BadAnswerError,
    ConnectionLostError,
    StatusError,
    TlsError,
    UnreachableError,
)

_FIRST_PAUSE = 30.0
"""Seconds that an archive is left alone at first."""
_LONGEST_PAUSE = 600.0
GONE = (UnreachableError, TlsError)
"""What says at once that an archive does not work."""
_DOUBTFUL = (ConnectionLostError, BadAnswerError, StatusError)
"""What may as well be the trouble of one series."""
_DOUBTS = 3
"""Doubtful failures in a row that say so, too."""


@dataclass(slots=True)
class _Pause:
    until: float
    length: float


class Health:
    """Knows which archives failed lately; shared by all workers of a run."""

    def __init__(self) -> None:
        self.last_answer: float | None = None
        """When an archive last gave something of a series (monotonic seconds)."""
        self._pauses: dict[str, _Pause] = {}
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
            gone = isinstance(error, GONE) or self._doubts[archive.name] >= _DOUBTS
            if not gone or archive.name in self._pauses:
                return None
            self._pauses[archive.name] = _Pause(time.monotonic() + _FIRST_PAUSE, _FIRST_PAUSE)
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
