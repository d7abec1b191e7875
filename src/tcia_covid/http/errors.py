"""From what requests raises while a request is sent to this program's errors."""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
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
    ResponseTimeoutError,
    TlsError,
    UnreachableError,
    UsageError,
)
from tcia_covid.core.redaction import redact
from tcia_covid.http.watchdog import AbortReason, ActiveRequest

_UNUSABLE_URL = (
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationParseError,
)
_NOT_HTTP = (
    http.client.BadStatusLine,
    http.client.LineTooLong,
    requests.exceptions.InvalidHeader,
)
_PROXY_VARIABLES = "HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY"
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})")


def error_from_exception(
    error: Exception, url: str, call: ActiveRequest
) -> ArchiveError | RequestError:
    """Turn an exception of sending a request into an error with a sentence for the user.

    Args:
        error: what requests raised.
        url: what was asked for; a redirect may have led elsewhere.
        call: the request under way.
    """
    url = getattr(getattr(error, "request", None), "url", None) or url
    host = urlsplit(redact(url)).netloc or "the archive"
    causes = list(_chain(error))
    if isinstance(error, _UNUSABLE_URL):
        return _unusable(url)
    if _is_ca_bundle(error, causes):
        return ConfigError(
            "the CA bundle that REQUESTS_CA_BUNDLE or CURL_CA_BUNDLE names cannot be read",
            hint="point the variable at a PEM file with certificates, or unset it",
        )
    if isinstance(error, requests.exceptions.TooManyRedirects):
        return RedirectError(f"{host} redirects in a circle", hint="check the archive's URL")
    if isinstance(error, requests.exceptions.ProxyError):
        return _proxy(host, url, causes)
    return (
        _unreachable(host, causes, call)
        or _silence(host, causes, call)
        or _tls(host, causes)
        or _broken(host, causes)
    )


def _unusable(url: str) -> RequestError:
    proxy = _proxy_towards(url)
    if proxy and _is_usable(url):
        socks = proxy.lower().startswith("socks")
        return ConfigError(
            f"the proxy {redact(proxy)} that the environment names cannot be used",
            hint="a SOCKS proxy needs the package PySocks: pip install pysocks"
            if socks
            else f"it should look like http://host:port; check {_PROXY_VARIABLES}",
        )
    return UsageError(
        f"{redact(url)!r} is no usable http(s) URL", hint="check the archive's URL option"
    )


def _is_usable(url: str) -> bool:
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.host)


def _is_ca_bundle(error: Exception, causes: list[BaseException]) -> bool:
    # requests raises a bare OSError for a file that is not there; OpenSSL tells of one that holds
    # no certificate.
    if type(error) is OSError and "CA certificate bundle" in str(error):
        return True
    return any(isinstance(c, ssl.SSLError) and "NO_CERTIFICATE" in str(c) for c in causes)


def _proxy(host: str, url: str, causes: list[BaseException]) -> UnreachableError:
    proxy = urlsplit(redact(_proxy_towards(url))).netloc
    name = f"the proxy {proxy} towards {host}" if proxy else f"the proxy towards {host}"
    status = next(filter(None, (_TUNNEL_STATUS.search(str(cause)) for cause in causes)), None)
    if status is None:
        said = "cannot be reached" if _any(causes, _NO_CONNECTION) else "did not answer"
        return UnreachableError(f"{name} {said}", hint=f"check {_PROXY_VARIABLES}", retryable=True)
    code = int(status[1])
    asks = code == http.client.PROXY_AUTHENTICATION_REQUIRED
    return UnreachableError(
        f"{name} refused the connection with status {code}",
        hint="put user and password into HTTPS_PROXY" if asks else f"check {_PROXY_VARIABLES}",
        retryable=code >= http.client.INTERNAL_SERVER_ERROR,
    )


_NO_CONNECTION = (
    urllib3.exceptions.NameResolutionError,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.ConnectTimeoutError,
)
_SILENT = (urllib3.exceptions.ConnectTimeoutError, urllib3.exceptions.ReadTimeoutError)


def _unreachable(
    host: str, causes: list[BaseException], call: ActiveRequest
) -> ArchiveError | None:
    """No connection came about; `None` if one did."""
    seconds = f"{call.settings.connect_timeout:g} s"
    if _any(causes, urllib3.exceptions.NameResolutionError):
        what, hint = f"the name {host} cannot be resolved", "the network connection and DNS"
    elif _any(causes, ConnectionRefusedError):
        what, hint = f"{host} refused the connection", "that the archive is not down"
    elif _any(causes, urllib3.exceptions.NewConnectionError):
        what, hint = f"there is no route to {host}", "the network connection"
    elif not call.asked and (_any(causes, _SILENT) or call.broken is AbortReason.LATE):
        what, hint = f"{host} accepted no connection within {seconds}", "firewall and proxy"
    else:
        return None
    return UnreachableError(what, hint=f"check {hint}, and the archive's URL", retryable=True)


def _silence(
    host: str, causes: list[BaseException], call: ActiveRequest
) -> ResponseTimeoutError | None:
    late = call.broken is AbortReason.LATE
    if not late and not _any(causes, urllib3.exceptions.ReadTimeoutError):
        return None
    what = "no complete answer head" if call.received else "nothing"
    return ResponseTimeoutError(
        f"{host} sent {what} within {call.settings.first_byte_timeout:g} s of the request",
        hint="raise --first-byte-timeout if the archive is known to be slow",
        retryable=True,
        push_back=True,
    )


_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNSUPPORTED_PROTOCOL"})


def _tls(host: str, causes: list[BaseException]) -> TlsError | None:
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            why = cause.verify_message or "the certificate was not accepted"
            return TlsError(
                f"the certificate of {host} cannot be trusted: {why}",
                hint="behind an inspecting proxy set REQUESTS_CA_BUNDLE to its CA file; "
                "check the computer's clock; TLS checks cannot be switched off",
            )
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            why = (cause.reason or "unknown reason").replace("_", " ").lower()
            return TlsError(
                f"the TLS connection to {host} failed: {why}",
                hint="a server that speaks plain http needs an http:// URL; check the proxy",
                retryable=cause.reason not in _NOT_TLS,
            )
    return None


def _broken(host: str, causes: list[BaseException]) -> ArchiveError:
    gone = _any(causes, (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError))
    if not gone and (_any(causes, _NOT_HTTP) or type(causes[-1]) is http.client.HTTPException):
        return BadResponseError(
            f"{host} answered with something that is not HTTP",
            hint="check the archive's URL and its port, and the proxy",
            retryable=True,
        )
    return ConnectionLostError(
        f"{host} closed the connection before it answered",
        hint="check the network, or try again later",
        retryable=True,
    )


def _proxy_towards(url: str) -> str:
    """The proxy that the environment names for `url`, with its credentials; empty if none."""
    try:
        return select_proxy(url, get_environ_proxies(url)) or ""
    except ValueError:
        return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Walk to the innermost cause: requests wraps urllib3, which wraps the socket's error.

    Not along `__context__`, which may lead to an error of an earlier request.
    """
    seen: list[BaseException] = []
    queue: list[BaseException] = [error]
    while queue:
        current = queue.pop(0)
        if any(current is known for known in seen):
            continue
        seen.append(current)
        yield current
        nested = [*current.args, getattr(current, "reason", None), current.__cause__]
        queue += [n for n in nested if isinstance(n, BaseException)]


def _any(
    causes: list[BaseException], kind: type[BaseException] | tuple[type[BaseException], ...]
) -> bool:
    return any(isinstance(cause, kind) for cause in causes)
