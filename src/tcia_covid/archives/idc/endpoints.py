"""The hosts that serve IDC's buckets, and which of them to use."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar
from urllib.parse import quote

from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    StatusError,
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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that serves the buckets.

    Attributes:
        url: `https://…` with the bucket as the path's first part; None for Amazon, where the
            bucket is part of the host's name.
        buckets: the buckets that have another name there, by their names at Amazon.
    """

    url: str | None
    buckets: Mapping[str, str] = field(default_factory=dict, hash=False)

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
    return [_parse_endpoint(part.strip()) for part in text.split(",")]


def _parse_endpoint(name: str) -> Endpoint:
    if name.lower() == "aws":
        return Endpoint(None)
    url = _GCS_URL if name.lower() == "gcs" else name.rstrip("/")
    if not _ENDPOINT_URL.fullmatch(url):
        raise UsageError(
            "an IDC endpoint is 'aws', 'gcs' or the http(s) URL of an S3 server, "
            f"not {name.partition('?')[0].rpartition('@')[2]!r}",
            hint="check the option or variable that sets IDC's URL",
        )
    return Endpoint(url, _GCS_BUCKETS if url == _GCS_URL else {})


class Endpoints:
    """Uses the first endpoint that responds, and skips others for growing times.

    Args:
        endpoints: in order of preference.
        pause: seconds to skip one at first.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        endpoints: list[Endpoint],
        *,
        pause: float = _FIRST_PAUSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._endpoints = endpoints
        self._breaker = CircuitBreaker(pause, _MAX_PAUSE, clock)

    def try_each(self, attempt: Callable[[Endpoint], T]) -> T:
        """Return what `attempt` returns for the first endpoint that responds.

        Raises:
            ArchiveError: the last endpoint's error, if none responds; any other error at once.
        """
        *others, last = self._breaker.order(self._endpoints, lambda endpoint: endpoint)
        for endpoint in others:
            try:
                return self._try(endpoint, attempt)
            except ArchiveError as error:
                if not _is_down(error):
                    raise
        return self._try(last, attempt)

    def _try(self, endpoint: Endpoint, attempt: Callable[[Endpoint], T]) -> T:
        try:
            result = attempt(endpoint)
        except ArchiveError as error:
            if _is_down(error):
                self._breaker.open(endpoint)
            raise
        self._breaker.close(endpoint)
        return result

    def limit(self, error: ArchiveError) -> int | None:
        """One retry of an unreachable endpoint is enough if there is another one."""
        is_replaceable = len(self._endpoints) > 1
        return 1 if is_replaceable and isinstance(error, UnreachableError) else None


def _is_down(error: ArchiveError) -> bool:
    """Whether `error`, after all retries, is about the endpoint rather than about an object."""
    if isinstance(error, StatusError):
        return error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return isinstance(error, UnreachableError | ConnectionLostError)
