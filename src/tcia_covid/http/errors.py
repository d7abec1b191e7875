"""Typed errors from the exceptions of requests, and from the head of a response."""

from __future__ import annotations

import http.client
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
import urllib3
from requests.utils import get_environ_proxies, select_proxy

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConfigError,
    ConnectionLostError,
    RedirectError,
    RequestError,
    ResourceLimitError,
    ResponseTimeoutError,
    StatusError,
    TlsError,
    UnreachableError,
    UsageError,
)
from tcia_covid.core.limits import limit_error
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.http.response import Response, parse_s3_error
from tcia_covid.http.watchdog import AbortReason, ActiveRequest

_INVALID_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationParseError,
)
_NO_CONNECTION = (
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
_TIMEOUT = (
    urllib3.exceptions.ConnectTimeoutError,
    urllib3.exceptions.ReadTimeoutError,
    TimeoutError,
)
_CLOSED = (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError)
_NOT_HTTP = (
    http.client.BadStatusLine,
    http.client.LineTooLong,
    requests.exceptions.InvalidHeader,
    urllib3.exceptions.InvalidHeader,
)
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL"})
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
_PROXY_VARIABLES = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})")
_PUSH_BACK = frozenset({429, 502, 503, 504})
_RETRYABLE = _PUSH_BACK | {408, 425, 500, 522, 524}
_STATUS_HINTS = {
    401: "the archive asks for a login; public TCIA data needs none: check the URL",
    403: "the archive or a proxy refuses access; check the URL and the network's rules",
    407: "the proxy asks for a login: put user and password into HTTPS_PROXY",
}


def ca_bundles() -> Iterator[tuple[str, str]]:
    """The variables of the environment that name CA bundles, with their values; the first counts.

    requests reads the first two, OpenSSL and other programs the others.
    """
    for name in CA_VARIABLES:
        if value := os.environ.get(name):
            yield name, value


def error_from_exception(
    error: Exception, url: str, active: ActiveRequest
) -> ArchiveError | RequestError | ResourceLimitError:
    """Turn what requests raised while sending `active` to `url` into a typed error."""
    url = getattr(getattr(error, "request", None), "url", None) or url  # after a redirect
    host = urlsplit(redact(url)).netloc or "the archive"
    causes = list(_causes(error))
    if limit := next(filter(None, map(limit_error, causes)), None):
        return limit
    if isinstance(error, _INVALID_URL):
        return _invalid_url_error(url)
    # requests raises a bare OSError for a missing file; OpenSSL reports one without certificates.
    is_missing_bundle = type(error) is OSError and "CA certificate bundle" in str(error)
    if is_missing_bundle or any(
        isinstance(cause, ssl.SSLError) and "NO_CERTIFICATE" in str(cause) for cause in causes
    ):
        return ConfigError(
            f"the CA bundle named by {next(ca_bundles(), CA_VARIABLES)[0]} cannot be read",
            hint="set the variable to a PEM file with certificates, or unset it",
        )
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return RedirectError(f"{host} redirects in a circle", hint="check the archive's URL")
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy_error(host, url, causes)
    return (
        _unreachable_error(host, causes, active)
        or _timeout_error(host, causes, active)
        or _tls_error(host, causes)
        or _no_response_error(host, causes)
    )


def is_closed_unanswered(error: Exception, active: ActiveRequest) -> bool:
    """Whether the server closed the connection before it sent a byte of its response."""
    is_untouched = not active.received and active.abort_reason is None
    return is_untouched and _has(list(_causes(error)), _CLOSED)


def _invalid_url_error(url: str) -> RequestError:
    proxy = proxy_for(url)
    try:
        parts = urllib3.util.parse_url(url)
        is_http = parts.scheme in ("http", "https") and bool(parts.host)
    except urllib3.exceptions.LocationParseError:
        is_http = False
    if proxy and is_http:
        hint = f"it should look like http://host:port; check {_PROXY_VARIABLES}"
        if proxy.lower().startswith("socks"):
            hint = "a SOCKS proxy needs the package PySocks: pip install pysocks"
        return ConfigError(
            f"the proxy {redact(proxy)} set in the environment cannot be used", hint=hint
        )
    return UsageError(
        f"{redact(url)!r} is not a usable http(s) URL", hint="check the archive's URL option"
    )


def _proxy_error(host: str, url: str, causes: list[BaseException]) -> UnreachableError:
    proxy = urlsplit(redact(proxy_for(url))).netloc
    name = f"the proxy {proxy} for {host}" if proxy else f"the proxy for {host}"
    status = next(filter(None, (_TUNNEL_STATUS.search(str(cause)) for cause in causes)), None)
    if status is None:
        what = "cannot be reached" if _has(causes, _NO_CONNECTION) else "did not respond"
        return UnreachableError(f"{name} {what}", hint=f"check {_PROXY_VARIABLES}", retryable=True)
    code = int(status[1])
    needs_login = code == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    return UnreachableError(
        f"{name} refused the connection with status {code}",
        hint=_STATUS_HINTS[code] if needs_login else f"check {_PROXY_VARIABLES}",
        retryable=code >= HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def _unreachable_error(
    host: str, causes: list[BaseException], active: ActiveRequest
) -> ArchiveError | None:
    """The error where no connection was made; None if there was one."""
    seconds = f"{active.settings.connect_timeout:g} s"
    if _has(causes, urllib3.exceptions.NameResolutionError):
        what, hint = f"the name {host} cannot be resolved", "the network connection and DNS"
    elif _has(causes, ConnectionRefusedError):
        what, hint = f"{host} refused the connection", "that the archive is not down"
    elif _has(causes, urllib3.exceptions.NewConnectionError):
        what, hint = f"there is no route to {host}", "the network connection"
    elif not active.is_sent and (_has(causes, _TIMEOUT) or active.abort_reason is AbortReason.LATE):
        accepted = f"{host} accepted the connection, but did not finish the TLS handshake"
        what = accepted if active.is_accepted else f"{host} accepted no connection"
        what, hint = f"{what} within {seconds}", "firewall and proxy"
    else:
        return None
    return UnreachableError(what, hint=f"check {hint}, and the archive's URL", retryable=True)


def _timeout_error(
    host: str, causes: list[BaseException], active: ActiveRequest
) -> ResponseTimeoutError | None:
    is_late = active.abort_reason is AbortReason.LATE
    if not is_late and not _has(causes, _TIMEOUT):
        return None
    what = "no complete response head" if active.received else "nothing"
    return ResponseTimeoutError(
        f"{host} sent {what} within {active.settings.first_byte_timeout:g} s of the request",
        hint="raise --first-byte-timeout if the archive is known to be slow",
        retryable=True,
        push_back=True,
    )


def _tls_error(host: str, causes: list[BaseException]) -> TlsError | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            reason = cause.verify_message or "the certificate was not accepted"
            return TlsError(
                f"the certificate of {host} cannot be trusted: {reason}",
                hint="behind an inspecting proxy set REQUESTS_CA_BUNDLE or SSL_CERT_FILE to its CA "
                "file, or use the system's store: pip install 'tcia-covid[truststore]'; "
                "check the computer's clock; TLS checks cannot be switched off",
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            reason = (cause.reason or "unknown reason").replace("_", " ").lower()
            return TlsError(
                f"the TLS connection to {host} failed: {reason}",
                hint="a server that speaks plain http needs an http:// URL; check the proxy",
                retryable=cause.reason not in _NOT_TLS,
            )
    return None


def _no_response_error(host: str, causes: list[BaseException]) -> ArchiveError:
    is_not_http = _has(causes, _NOT_HTTP) or type(causes[-1]) is http.client.HTTPException
    if is_not_http and not _has(causes, _CLOSED):
        return BadResponseError(
            f"{host} sent a response that is not HTTP",
            hint="check the archive's URL and its port, and the proxy",
            retryable=True,
        )
    return ConnectionLostError(
        f"{host} closed the connection before it responded",
        hint="check the network, or try again later",
        retryable=True,
    )


def proxy_for(url: str) -> str:
    """The proxy that the environment sets for `url`, with its credentials; empty if none."""
    try:
        return select_proxy(url, get_environ_proxies(url)) or ""
    except ValueError:
        return ""


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Walk to the innermost cause: requests wraps urllib3, which wraps the socket's error.

    Not along `__context__`, which may lead to an error of an earlier request.
    """
    causes = [error]
    for cause in causes:  # which grows
        yield cause
        nested = [*cause.args, getattr(cause, "reason", None), cause.__cause__]
        causes += [
            item
            for item in nested
            if isinstance(item, BaseException) and not any(item is known for known in causes)
        ]


def _has(
    causes: list[BaseException], kind: type[BaseException] | tuple[type[BaseException], ...]
) -> bool:
    return any(isinstance(cause, kind) for cause in causes)


def error_from_status(
    status: int, url: str, headers: Mapping[str, str], body: bytes, retry_after_cap: float
) -> StatusError:
    """Turn an HTTP status other than 2xx into an error that says whether a retry may help."""
    text = str(parse_s3_error(body) or excerpt(body))
    retryable = status in _RETRYABLE
    hint = "try again later" if retryable else "check the archive's URL"
    return StatusError(
        f"{redact(url)} returned HTTP {status}{f': {text}' if text else ''}",
        status=status,
        body=text,
        hint=_STATUS_HINTS.get(status, hint),
        retryable=retryable,
        retry_after=retry_after(headers, retry_after_cap) if retryable else None,
        push_back=status in _PUSH_BACK,
    )


def retry_after(headers: Mapping[str, str], cap: float) -> float | None:
    """Read Retry-After, in seconds or as a date; None where absent, past or invalid."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return min(float(value), cap)
    when = parse_date(value)
    # Compared with the response's own date: the clock here may be wrong.
    now = parse_date(headers.get("Date", "")) or datetime.now(timezone.utc)
    if when is None or when <= now:
        return None
    return min((when - now).total_seconds(), cap)


def parse_date(text: str) -> datetime | None:
    """Parse a date of a response's head; None if it is none."""
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)


def check_content_encoding(response: Response) -> None:
    """Raise `BadResponseError` if a body is compressed although `identity` was requested."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise BadResponseError(
            f"{response.url} uses Content-Encoding {excerpt(encoding.encode(), 20)}, "
            "which was not requested",
            hint="a proxy changes responses; try without it",
            retryable=True,
        )
