"""The one owner of retries: how long a piece of work goes on trying."""

from __future__ import annotations

import random
from collections.abc import Callable

from tcia_covid.errors import ArchiveError
from tcia_covid.http.settings import HttpSettings
from tcia_covid.stop import Stop


class Patience:
    """A budget of fruitless attempts in a row, with full-jitter exponential pauses between.

    An archive that gives ten images and drops the line, again and again, is slow, not broken:
    `progressed` starts the count anew.
    """

    def __init__(
        self,
        settings: HttpSettings,
        stop: Stop,
        on_retry: Callable[[str, float], None] = lambda reason, wait: None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._on_retry = on_retry
        self.failures = 0

    def progressed(self) -> None:
        """Something new arrived."""
        self.failures = 0

    def failed(self, error: ArchiveError, *, limit: int | None = None) -> None:
        """Wait before the next attempt after `error`, or raise it.

        Args:
            error: why the attempt failed.
            limit: a smaller budget for this kind of error.

        Raises:
            ArchiveError: `error`, where it is final or the budget is spent.
            TciaCovidError: the run is to end.
        """
        self.failures += 1
        budget = self._settings.retries if limit is None else min(limit, self._settings.retries)
        if not error.retryable or self.failures > budget:
            raise error
        wait = self._pause(error.retry_after)
        self._on_retry(error.message, wait)
        self._stop.wait(wait)

    def _pause(self, retry_after: float | None) -> float:
        settings = self._settings
        ceiling = min(settings.retry_wait_cap, settings.retry_wait * 2 ** (self.failures - 1))
        return max(random.uniform(0, ceiling), retry_after or 0.0)
