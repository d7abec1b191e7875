"""The time-outs, rates and retry budgets of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tcia_covid.core.errors import UsageError

_LONGEST = 1e7
"""Seconds, a hundred days and more: what the system's own timers are sure to take."""
DEFAULT_NBIA_URL = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"
DEFAULT_OUTPUT = "tcia-data"
"""The folder, below the current one, that takes what is downloaded."""


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """All durations in seconds, all rates in bytes a second.

    Raises:
        UsageError: a value that makes no sense, such as a time-out of 0.
    """

    connect_timeout: float = 20.0
    """For the TCP handshake with one address, and for the TLS handshake."""
    first_byte_timeout: float = 620.0
    """From the request to the answer's whole head; NBIA's own proxy gives up after 600 s."""
    stall_timeout: float = 60.0
    """Silence in the middle of an answer."""
    min_rate: float = 1024.0
    """An answer that arrives slower than this over `rate_window` is dropped and asked for again."""
    rate_window: float = 60.0
    max_rate: float | None = None
    """All connections together; None for as fast as it goes."""
    retries: int = 6
    """Fruitless attempts in a row before giving up; any progress starts the count again."""
    retry_wait: float = 1.0
    """The longest first pause before a retry; doubled with each further one."""
    retry_wait_cap: float = 60.0
    retry_after_cap: float = 600.0
    """The longest that an archive's Retry-After is obeyed."""
    outage_timeout: float | None = None
    """How long a run that had worked bears that no archive answers; None: as long as it had worked,
    at least ten minutes and at most twelve hours."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not _makes_sense(field.name, value):
                raise UsageError(
                    f"{value:g} makes no sense as {field.name.replace('_', '-')}",
                    hint="durations are seconds, rates are bytes a second, both above 0",
                )


def _makes_sense(name: str, value: float) -> bool:
    if name == "max_rate":
        return value > 0 and math.isfinite(value)
    if name in ("min_rate", "retries"):
        return value >= 0 and math.isfinite(value)
    lowest_allowed = name in ("retry_wait", "retry_wait_cap", "retry_after_cap", "outage_timeout")
    return (value > 0 or (lowest_allowed and value == 0)) and value <= _LONGEST


def check_nbia_url(base_url: str) -> None:
    """See that a URL can be gone on from.

    Raises:
        UsageError: it has a query or a fragment.
    """
    if "?" in base_url or "#" in base_url:
        raise UsageError(
            "the URL of NBIA ends in its API's version, without a query",
            hint=f"such as {DEFAULT_NBIA_URL}",
        )
