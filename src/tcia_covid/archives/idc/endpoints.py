"""The hosts that serve IDC's buckets, and which of them to use."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    SeriesError,
    StatusError,
    TakenOverError,
    TlsError,
    UnreachableError,
    UsageError,
)
from tcia_covid.http.circuit_breaker import CircuitBreaker

T = TypeVar("T")
DEFAULT_ENDPOINTS = "aws,gcs"
"""Amazon first: its region holds the originals; Google has the same objects."""
_GCS_URL = "https://storage.googleapis.com"
_GCS_BUCKETS = {"idc-open-data-cr": "idc-open-cr", "idc-open-data-two": "idc-open-idc1"}
_ENDPOINT_URL = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")
_FIRST_PAUSE, _MAX_PAUSE = 60.0, 3600.0
"""Seconds that an endpoint is skipped."""
_MAX_FAILURES = 3
"""Consecutive series without a right answer, after which an endpoint is skipped."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that serves the buckets."""

    url: str | None
    """With the bucket as the path's first part; None for Amazon, where it is part of the host."""
    buckets: Mapping[str, str] = field(default_factory=dict, hash=False)
    """The buckets that have another name there, by their names at Amazon."""

    def bucket_url(self, bucket: str) -> str:
        """The URL that lists `bucket` (its name at Amazon)."""
        if self.url is None:
            return f"https://{bucket}.s3.amazonaws.com"
        return f"{self.url}/{self.buckets.get(bucket, bucket)}"

    def object_url(self, bucket: str, key: str) -> str:
        """The URL of one object."""
        return f"{self.bucket_url(bucket)}/{quote(key, safe='/')}"


def parse_endpoints(text: str) -> list[Endpoint]:
    """Parse `aws`, `gcs`, an endpoint's URL, or several of them separated by commas.

    Raises:
        UsageError: a part is none of these.
    """
    endpoints = []
    for name in map(str.strip, text.split(",")):
        url = _GCS_URL if name.lower() == "gcs" else name.rstrip("/")
        if name.lower() == "aws":
            endpoints.append(Endpoint(None))
        elif _ENDPOINT_URL.fullmatch(url):
            endpoints.append(Endpoint(url, _GCS_BUCKETS if url == _GCS_URL else {}))
        else:
            raise UsageError(
                "an IDC endpoint is 'aws', 'gcs' or the http(s) URL of an S3 server, "
                f"not {name.partition('?')[0].rpartition('@')[2]!r}",
                hint="check the option or variable that sets IDC's URL",
            )
    return endpoints


class Endpoints:
    """Uses the first endpoint that gives a right answer, and skips others for growing times."""

    def __init__(
        self,
        endpoints: list[Endpoint],
        *,
        pause: float = _FIRST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._breaker = CircuitBreaker(pause, _MAX_PAUSE, clock)
        self._successes: Counter[Endpoint] = Counter()
        self._failures: Counter[Endpoint] = Counter()
        """Consecutive failures that may be about one object only."""

    def try_each(self, attempt: Callable[[Endpoint, bool], T]) -> T:
        """Return what `attempt` returns for the first endpoint that gives a right answer.

        `attempt` is given an endpoint, and whether it is the last one. It may call `worked` for
        parts of its work. If all fail, the most promising of their errors is raised.
        """
        errors: list[ArchiveError | SeriesError] = []
        endpoints = self._breaker.order(self._endpoints, lambda endpoint: endpoint)
        for endpoint in endpoints:
            successes = self._successes[endpoint]
            try:
                result = attempt(endpoint, endpoint is endpoints[-1])
            except TakenOverError:
                raise
            except (ArchiveError, SeriesError) as error:
                self._failed(endpoint, error, has_worked=self._successes[endpoint] > successes)
                errors.append(error)
            else:
                self.worked(endpoint)
                return result
        raise most_promising(errors)

    def worked(self, endpoint: Endpoint) -> None:
        """The endpoint gave something right: it is not skipped any more."""
        self._successes[endpoint] += 1
        self._failures.pop(endpoint, None)
        self._breaker.close(endpoint)

    def _failed(
        self, endpoint: Endpoint, error: ArchiveError | SeriesError, *, has_worked: bool
    ) -> None:
        """Skip the endpoint if `error` is not about a series or an object only."""
        self._failures[endpoint] += not has_worked
        is_server_error = isinstance(error, ConnectionLostError) or (
            isinstance(error, StatusError) and error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        )
        is_down = isinstance(error, UnreachableError | TlsError) or (
            is_server_error and not has_worked
        )
        if is_down or self._failures[endpoint] >= _MAX_FAILURES:
            self._breaker.open(endpoint)


def most_promising(errors: Sequence[ArchiveError | SeriesError]) -> ArchiveError | SeriesError:
    """The error that a retry may help against soonest, counted as one attempt per error."""
    best = min(errors, key=_promise)
    if isinstance(best, ArchiveError):
        best.attempts = len(errors)
    return best


def _promise(error: ArchiveError | SeriesError) -> tuple[bool, bool, float]:
    is_archive_error = isinstance(error, ArchiveError)
    retry_after = error.retry_after if isinstance(error, ArchiveError) else None
    is_retryable = isinstance(error, ArchiveError) and error.retryable
    return not is_retryable, not is_archive_error, retry_after or 0.0
