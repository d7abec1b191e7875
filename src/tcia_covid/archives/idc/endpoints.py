"""Where IDC's buckets are served, and which of the places to ask now."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import quote

from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    StatusError,
    UnreachableError,
    UsageError,
)

T = TypeVar("T")
DEFAULT_ENDPOINTS = "aws,gcs"
"""Amazon first: its region holds the originals; Google has the same objects."""
_AWS = "aws"
_GCS = "gcs"
_GCS_URL = "https://storage.googleapis.com"
_GCS_NAMES = {"idc-open-data-cr": "idc-open-cr", "idc-open-data-two": "idc-open-idc1"}
_ENDPOINT_URL = re.compile(r"https?://[^/?#\s]+(/[^?#\s]*)?")
_FIRST_REST = 60.0
_LONGEST_REST = 3600.0


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One place that serves the buckets.

    Attributes:
        endpoint: `https://…` with the bucket as the path's first part; None for Amazon, where
            the bucket is part of the host's name.
        names: the buckets that are called otherwise there, by their names at Amazon.
    """

    endpoint: str | None
    names: Mapping[str, str] = field(default_factory=dict, hash=False)

    def bucket_url(self, bucket: str) -> str:
        """The URL that lists `bucket` (its name at Amazon)."""
        if self.endpoint is None:
            return f"https://{bucket}.s3.amazonaws.com"
        return f"{self.endpoint}/{self.names.get(bucket, bucket)}"

    def object_url(self, bucket: str, key: str) -> str:
        """The URL of one object."""
        return f"{self.bucket_url(bucket)}/{quote(key, safe='/')}"


def parse_endpoints(text: str) -> list[Endpoint]:
    """Read `aws`, `gcs`, an endpoint's URL, or several of them with commas between.

    Raises:
        UsageError: a part is none of these.
    """
    return [_parse_endpoint(part.strip()) for part in text.split(",")]


def _parse_endpoint(name: str) -> Endpoint:
    if name.lower() == _AWS:
        return Endpoint(None)
    if name.lower() == _GCS:
        return Endpoint(_GCS_URL, _GCS_NAMES)
    url = name.rstrip("/")
    if not _ENDPOINT_URL.fullmatch(url):
        raise UsageError(
            "an IDC endpoint is 'aws', 'gcs' or the http(s) URL of an S3 server, "
            f"not {name.partition('?')[0].rpartition('@')[2]!r}",
            hint="check the option or variable that sets IDC's URL",
        )
    return Endpoint(url, _GCS_NAMES if url == _GCS_URL else {})


@dataclass(slots=True)
class _Outage:
    rest: float
    until: float


class Endpoints:
    """Asks the first host that answers; one that does not is left alone for growing times.

    Args:
        hosts: the first choice first.
        first_rest: seconds that a host is left alone at first; doubled with each vain look.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        hosts: list[Endpoint],
        *,
        first_rest: float = _FIRST_REST,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._first_rest = first_rest
        self._clock = clock
        self._outages: dict[Endpoint, _Outage] = {}
        self._lock = threading.Lock()

    def first_answer(self, attempt: Callable[[Endpoint], T]) -> T:
        """Give what `attempt` makes of the first host that answers.

        Raises:
            ArchiveError: what the last host said, if none answers; any other error at once.
        """
        order = self._order()
        for host in order:
            try:
                result = attempt(host)
            except ArchiveError as error:
                if not _is_down(error):
                    raise
                self._note_down(host)
                if host is order[-1]:
                    raise
            else:
                self._note_up(host)
                return result
        raise UnreachableError("no host serves IDC's buckets")

    def limit(self, error: ArchiveError) -> int | None:
        """How often to ask a host again after `error`: soon the other's turn, if there is one."""
        if isinstance(error, UnreachableError) and len(self._hosts) > 1:
            return 1
        return None

    def _order(self) -> list[Endpoint]:
        """All hosts, those that rest last."""
        with self._lock:
            resting = [host for host in self._hosts if self._rests(host)]
        return [host for host in self._hosts if host not in resting] + resting

    def _rests(self, host: Endpoint) -> bool:
        outage = self._outages.get(host)
        if outage is None:
            return False
        now = self._clock()
        if outage.until > now:
            return True
        # One caller looks whether the host is back; the others do not wait for what it finds.
        outage.rest = min(2 * outage.rest, _LONGEST_REST)
        outage.until = now + outage.rest
        return False

    def _note_down(self, host: Endpoint) -> None:
        with self._lock:
            if host not in self._outages:
                until = self._clock() + self._first_rest
                self._outages[host] = _Outage(self._first_rest, until)

    def _note_up(self, host: Endpoint) -> None:
        with self._lock:
            self._outages.pop(host, None)


def _is_down(error: ArchiveError) -> bool:
    """Whether `error`, after all attempts, says that the host rather than an object is at fault."""
    if isinstance(error, StatusError):
        return error.status >= 500  # noqa: PLR2004 - HTTP's class of the server's own failures
    return isinstance(error, UnreachableError | ConnectionLostError)
