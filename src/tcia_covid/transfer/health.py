"""Which archives answer: one that is down is left alone for a while, longer each time."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from tcia_covid.archives.base import Archive

_FIRST_PAUSE = 30.0
"""Seconds that an archive is left alone after its first failure."""
_LONGEST_PAUSE = 600.0


@dataclass(slots=True)
class _Pause:
    until: float
    length: float


class Health:
    """Knows which archives failed lately; shared by all workers of a run."""

    def __init__(self) -> None:
        self._pauses: dict[str, _Pause] = {}
        self._lock = threading.Lock()

    def order(self, archives: Sequence[Archive]) -> list[Archive]:
        """The archives in the order to try them: those that are down come last."""
        now = time.monotonic()
        with self._lock:
            down = {name for name, pause in self._pauses.items() if pause.until > now}
        return sorted(archives, key=lambda archive: archive.name in down)

    def is_down(self, archive: Archive) -> bool:
        """Whether the archive is to be left alone now."""
        with self._lock:
            pause = self._pauses.get(archive.name)
        return pause is not None and pause.until > time.monotonic()

    def failed(self, archive: Archive) -> float | None:
        """Leave the archive alone from now on; gives for how many seconds, if that is news."""
        now = time.monotonic()
        with self._lock:
            known = self._pauses.get(archive.name)
            if known is not None and known.until > now:
                return None
            length = min(_LONGEST_PAUSE, known.length * 2 if known else _FIRST_PAUSE)
            self._pauses[archive.name] = _Pause(now + length, length)
        return length

    def worked(self, archive: Archive) -> None:
        """The archive answers."""
        with self._lock:
            self._pauses.pop(archive.name, None)
