"""The time-outs, rates and retry budgets of a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """All durations in seconds, all rates in bytes a second."""

    connect_timeout: float = 20.0
    """For name resolution's answer and the TCP handshake of one address."""
    first_byte_timeout: float = 620.0
    """From the request to the first header; NBIA's own proxy gives up after 600 s."""
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
