"""When to retry after an error, and how long to wait before."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, TlsError, UnreachableError
from tcia_covid.http.settings import HttpSettings

T = TypeVar("T")
Limit = Callable[[ArchiveError], int | None]
"""Gives a smaller number of retries for some errors."""
UNREACHABLE = (UnreachableError, TlsError)
"""Errors that show that no connection to a server is possible."""
FIRST_PATIENCE = 3.0
"""Seconds to keep retrying as long as no server has ever responded."""
_MAX_DOUBLINGS = 30
"""Enough for any cap, and within the range of a float."""


def no_limit(error: ArchiveError) -> None:
    """Use the whole number of retries for every error."""
    del error


class Reachability:
    """Whether any server has responded in this run; shared by all clients of a run.

    A network that never worked in this run is a wrong setting, not an outage: until the first
    response, retries end `patience` seconds after the first request was sent.
    """

    def __init__(
        self, patience: float = FIRST_PATIENCE, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.responded = False
        """Set with the first response of any server."""
        self._patience = patience
        self._clock = clock
        self._since: float | None = None
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Note that a request is sent; the first counts."""
        if self._since is None:  # without the lock, for which all threads wait
            with self._lock:
                self._since = self._since or self._clock()

    def is_too_late(self, error: ArchiveError, wait: float) -> bool:
        """Whether it is too late to try again `wait` seconds after a failure."""
        if self.responded or not isinstance(error, UNREACHABLE):
            return False
        self.begin()
        return self._since is not None and self._clock() + wait > self._since + self._patience


class RetryPolicy:
    """Counts consecutive failures; waits between attempts, longer each time, with full jitter.

    An archive that sends ten images and then drops the connection, again and again, is slow, not
    broken: `progressed` resets the counter.

    `on_retry` is given the reason and the pause in seconds before each retry; `reachability` ends
    retries early where no server has responded yet.
    """

    def __init__(
        self,
        settings: HttpSettings,
        stop: CancelToken,
        on_retry: Callable[[str, float], None] = lambda reason, wait: None,
        *,
        reachability: Reachability | None = None,
    ) -> None:
        self._settings = settings
        self._stop = stop
        self._on_retry = on_retry
        self._reachability = reachability
        self._by_type: Counter[type[ArchiveError]] = Counter()
        self.failures = 0
        """Consecutive failures."""

    def run(self, attempt: Callable[[], T], limit: Limit = no_limit) -> T:
        """Call `attempt` until it succeeds, or raise as `failed` does."""
        while True:
            try:
                return attempt()
            except ArchiveError as error:
                self.failed(error, limit=limit(error))

    def progressed(self) -> None:
        """Reset the counter: something new arrived."""
        self.failures = 0
        self._by_type.clear()

    def failed(self, error: ArchiveError, *, limit: int | None = None) -> None:
        """Wait before the next attempt; `limit` is a smaller number of retries for such errors.

        Raises:
            ArchiveError: `error`, where a retry cannot help or no retry is left, here or in
                another policy.
            TciaCovidError: the run was canceled.
        """
        settings = self._settings
        self.failures += error.attempts
        self._by_type[type(error)] += 1
        is_over_limit = limit is not None and self._by_type[type(error)] > limit
        if not error.retryable or error.spent or is_over_limit:
            raise error
        if self.failures > settings.retries:
            error.spent = settings.retries > 0
            raise error
        doublings = min(self.failures - 1, _MAX_DOUBLINGS)
        ceiling = min(settings.retry_wait_cap, settings.retry_wait * 2**doublings)
        wait = max(random.uniform(0, ceiling), error.retry_after or 0.0)
        if self._reachability is not None and self._reachability.is_too_late(error, wait):
            raise error
        self._on_retry(error.message, wait)
        self._stop.wait(wait)
