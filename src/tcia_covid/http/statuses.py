"""From an answer's head to this program's errors: statuses, Retry-After, odd encodings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from tcia_covid.core.errors import BadResponseError, StatusError
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.core.settings import HttpSettings

_PUSH_BACK = frozenset({429, 502, 503, 504})
_RETRYABLE = _PUSH_BACK | {408, 425, 500, 522, 524}
_HINTS = {
    401: "the archive asks for a login; public TCIA data needs none: check the URL",
    403: "the archive or a proxy on the way refuses; check the URL and the network's rules",
    407: "the proxy asks for a login: put user and password into HTTPS_PROXY",
}


def error_from_status(
    status: int, url: str, headers: Mapping[str, str], body: bytes, settings: HttpSettings
) -> StatusError:
    """Turn a status that is no success into an error; says whether asking again may help."""
    text = excerpt(body)
    said = f": {text}" if text else ""
    retryable = status in _RETRYABLE
    return StatusError(
        f"{redact(url)} answered with HTTP {status}{said}",
        status=status,
        body=text,
        hint=_HINTS.get(status, "try again later" if retryable else "check the archive's URL"),
        retryable=retryable,
        retry_after=retry_after(headers, settings.retry_after_cap) if retryable else None,
        push_back=status in _PUSH_BACK,
    )


def retry_after(headers: Mapping[str, str], cap: float) -> float | None:
    """Read Retry-After, in seconds or as a date; None where absent, past or senseless.

    A date is compared with the answer's own Date header, so that a wrong clock here does not
    matter.
    """
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), cap)
    when, now = _date(value), _date(headers.get("Date", "")) or datetime.now(timezone.utc)
    if when is None or when <= now:
        return None
    return min((when - now).total_seconds(), cap)


def refuse_content_encoding(headers: Mapping[str, str], url: str) -> None:
    """Refuse a body that something on the way compressed although none was asked for."""
    encoding = headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise BadResponseError(
            f"{redact(url)} answered with Content-Encoding {excerpt(encoding.encode(), 20)}, "
            "which was not asked for",
            hint="a proxy on the way changes answers; try without it",
            retryable=True,
        )


def _date(text: str) -> datetime | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - 10 ms, and hardly ever needed

    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
