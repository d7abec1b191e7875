"""Settings of HTTP: time-outs, rates, retries; and the address of NBIA."""

from __future__ import annotations

import ipaddress
import math
from dataclasses import dataclass, fields
from urllib.parse import urlsplit

from tcia_covid.core.errors import UsageError

_MAX_DURATION = 1e7
"""Seconds (116 days) that every system's timers accept."""
DEFAULT_NBIA_URL = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """HTTP settings: durations in seconds, rates in bytes per second.

    Raises:
        UsageError: a value is out of range, such as a timeout of 0.
    """

    connect_timeout: float = 20.0
    """For the TCP handshake with any address of the host, and for the TLS handshake."""
    first_byte_timeout: float = 620.0
    """From the request to the end of the response headers; NBIA's proxy gives up after 600 s."""
    stall_timeout: float = 60.0
    """Silence in the middle of a response; `min_rate` is checked over the same time."""
    min_rate: float = 1024.0
    """A response slower than this over `stall_timeout` is aborted and requested again."""
    max_rate: float | None = None
    """Of all connections together; None for no limit."""
    retries: int = 6
    """Consecutive failures before giving up; any progress resets the counter."""
    retry_wait: float = 1.0
    """Upper limit of the first pause before a retry; it doubles with each further one."""
    retry_wait_cap: float = 60.0
    retry_after_cap: float = 600.0
    """Upper limit of an archive's Retry-After."""
    outage_timeout: float | None = None
    """How long to keep retrying when no archive responds any more; None: as long as the run worked
    before, at least ten minutes and at most twelve hours."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and not _is_valid(field.name, value):
                raise UsageError(
                    f"{value:g} is not a valid {field.name.replace('_', '-')}",
                    hint="durations are seconds, rates are bytes per second, both above 0",
                )


def _is_valid(name: str, value: float) -> bool:
    if name == "max_rate":
        return value > 0 and math.isfinite(value)
    if name in ("min_rate", "retries"):
        return value >= 0 and math.isfinite(value)
    may_be_zero = name in ("retry_wait", "retry_wait_cap", "retry_after_cap", "outage_timeout")
    return (value > 0 or (may_be_zero and value == 0)) and value <= _MAX_DURATION


def check_nbia_url(base_url: str) -> None:
    """Raise `UsageError` if no path can be appended to a URL."""
    if "?" in base_url or "#" in base_url:
        raise UsageError(
            "the URL of NBIA must end with the API version and have no query",
            hint=f"such as {DEFAULT_NBIA_URL}",
        )


def is_safe_address(url: str, *, allow_http: bool) -> bool:
    """Whether a URL is https, without credentials; `allow_http`: or http on this machine."""
    try:
        parts = urlsplit(url)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not is_usable or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        allow_http and parts.scheme == "http" and _is_loopback(parts.hostname or "")
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
