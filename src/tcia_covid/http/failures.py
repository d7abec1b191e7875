"""From what requests raises, and from HTTP statuses, to this program's errors."""

from __future__ import annotations

import email.utils
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from urllib.parse import urlsplit

import requests
import urllib3

from tcia_covid.errors import (
    ArchiveError,
    BadAnswerError,
    ConnectionLostError,
    RedirectError,
    StatusError,
    TlsError,
    UnreachableError,
    UsageError,
)
from tcia_covid.http.redact import excerpt, redact
from tcia_covid.http.settings import HttpSettings

_PUSH_BACK = frozenset({429, 502, 503, 504})
_RETRYABLE = _PUSH_BACK | {408, 425, 500, 522, 524}


def from_exception(error: Exception, url: str, settings: HttpSettings) -> ArchiveError | UsageError:
    """Turn an exception of sending a request into an error with a sentence for the user."""
    host = urlsplit(redact(url)).netloc or "the archive"
    causes = list(_chain(error))
    if isinstance(error, _UNUSABLE_URL):
        return UsageError(
            f"{redact(url)!r} is no usable http(s) URL", hint="check the archive's URL option"
        )
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return RedirectError(f"{host} redirects in a circle")
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy(host)
    if _any(causes, ssl.SSLError) or isinstance(error, requests.exceptions.SSLError):
        return _tls(host, causes)
    return _silence(error, host, causes, settings) or _connection(host, causes)


_UNUSABLE_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
)


def _proxy(host: str) -> UnreachableError:
    return UnreachableError(
        f"the proxy towards {host} refused or did not answer",
        hint="check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        retryable=True,
    )


def _silence(
    error: Exception, host: str, causes: list[BaseException], settings: HttpSettings
) -> ArchiveError | None:
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return UnreachableError(
            f"{host} accepted no connection within {settings.connect_timeout:g} s",
            hint="check the network, a firewall or proxy, or try again later",
            retryable=True,
            push_back=True,
        )
    if _any(causes, urllib3.exceptions.ReadTimeoutError) or _any(causes, TimeoutError):
        return ConnectionLostError(
            f"{host} sent nothing within {settings.first_byte_timeout:g} s of the request",
            hint="raise --first-byte-timeout if the archive is known to be slow",
            retryable=True,
            push_back=True,
        )
    return None


def _connection(host: str, causes: list[BaseException]) -> ArchiveError:
    if _any(causes, urllib3.exceptions.NameResolutionError):
        return UnreachableError(
            f"the name {host} cannot be resolved",
            hint="check the network connection, DNS and the archive's URL",
            retryable=True,
        )
    if _any(causes, ConnectionRefusedError):
        return UnreachableError(
            f"{host} refused the connection",
            hint="check the archive's URL, or try again later",
            retryable=True,
        )
    if _any(causes, urllib3.exceptions.NewConnectionError):
        return UnreachableError(
            f"no route to {host}",
            hint="check the network connection and the proxy settings",
            retryable=True,
        )
    if _any(causes, FileNotFoundError) or "CA certificate bundle" in str(causes[0]):
        return TlsError(
            "the CA bundle named by REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE does not exist",
            hint="point the variable at a PEM file, or unset it",
        )
    return ConnectionLostError(f"{host} closed the connection before it answered", retryable=True)


def _tls(host: str, causes: list[BaseException]) -> TlsError:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message or "the certificate was not accepted"
            return TlsError(
                f"the certificate of {host} cannot be trusted: {why}",
                hint="behind an inspecting proxy set REQUESTS_CA_BUNDLE to its CA file; "
                "check the computer's clock; TLS checks cannot be switched off",
            )
    return TlsError(
        f"the TLS connection to {host} failed",
        hint="check proxy settings; a server that speaks plain http needs an http:// URL",
        retryable=True,
    )


def from_status(
    status: int, url: str, headers: Mapping[str, str], body: bytes, settings: HttpSettings
) -> StatusError:
    """Turn an HTTP error status into an error; says whether asking again may help."""
    text = excerpt(body)
    said = f": {text}" if text else ""
    return StatusError(
        f"{redact(url)} answered with HTTP {status}{said}",
        status=status,
        body=text,
        hint=_STATUS_HINTS.get(status, ""),
        retryable=status in _RETRYABLE,
        retry_after=retry_after(headers, settings.retry_after_cap),
        push_back=status in _PUSH_BACK,
    )


_STATUS_HINTS = {
    401: "the archive asks for a login; public TCIA data needs none: check the URL",
    403: "the archive or a proxy on the way refuses; check the URL and the network's rules",
    404: "check the archive's URL",
    407: "the proxy asks for a login: set it in HTTPS_PROXY",
}


def retry_after(headers: Mapping[str, str], cap: float) -> float | None:
    """Read Retry-After, in seconds or as a date; None where absent, past or senseless.

    A date is compared with the answer's own Date header, so that a wrong clock here does not
    matter.
    """
    value = headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return min(float(value), cap)
    when, now = _date(value), _date(headers.get("Date", "")) or datetime.now(timezone.utc)
    if when is None or when <= now:
        return None
    return min((when - now).total_seconds(), cap)


def refuse_encoded(headers: Mapping[str, str], url: str) -> None:
    """Refuse a body that something on the way compressed although none was asked for."""
    encoding = headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("", "identity"):
        raise BadAnswerError(
            f"{redact(url)} answered with Content-Encoding {excerpt(encoding.encode(), 20)}",
            hint="a proxy on the way changes answers; try without it",
            retryable=True,
        )


def _date(text: str) -> datetime | None:
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk to the innermost cause: requests wraps urllib3, which wraps the socket's error."""
    seen: list[BaseException] = []
    queue: list[BaseException] = [error]
    while queue:
        current = queue.pop(0)
        if any(current is known for known in seen):
            continue
        seen.append(current)
        yield current
        nested = [current.__cause__, current.__context__, getattr(current, "reason", None)]
        queue += [n for n in (*nested, *current.args) if isinstance(n, BaseException)]


def _any(causes: list[BaseException], kind: type[BaseException]) -> bool:
    return any(isinstance(cause, kind) for cause in causes)
