"""How long a piece of work goes on trying; a budget is spent once, not at every level."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError
from tcia_covid.core.settings import HttpSettings

_DOUBLINGS = 30
"""Enough for any cap; a float takes no power of two without end."""


class RetryPolicy:
    """A budget of fruitless attempts in a row, with full-jitter exponential pauses between.

    An archive that gives ten images and drops the line, again and again, is slow, not broken:
    `progressed` starts the count anew.
    """

    def __init__(
        self,
        settings: HttpSettings,
        stop: CancelToken,
        on_retry: Callable[[str, float], None] = lambda reason, wait: None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._on_retry = on_retry
        self._kinds: Counter[type[ArchiveError]] = Counter()
        self.failures = 0
        """Fruitless attempts since the last progress."""

    def progressed(self) -> None:
        """Something new arrived."""
        self.failures = 0
        self._kinds.clear()

    def failed(self, error: ArchiveError, *, limit: int | None = None) -> None:
        """Wait before the next attempt after `error`, or raise it.

        Args:
            error: why the attempt failed.
            limit: a smaller budget for errors of this type alone.

        Raises:
            ArchiveError: `error`, where it is final or a budget is spent, this one or another.
            TciaCovidError: the run is to end.
        """
        self.failures += 1
        self._kinds[type(error)] += 1
        spent = limit is not None and self._kinds[type(error)] > limit
        if not error.retryable or error.spent or spent:
            raise error
        if self.failures > self._settings.retries:
            error.spent = self._settings.retries > 0
            raise error
        wait = self._pause(error.retry_after)
        self._on_retry(error.message, wait)
        self._stop.wait(wait)

    def _pause(self, retry_after: float | None) -> float:
        settings = self._settings
        doublings = min(self.failures - 1, _DOUBLINGS)
        ceiling = min(settings.retry_wait_cap, settings.retry_wait * 2**doublings)
        return max(random.uniform(0, ceiling), retry_after or 0.0)
