"""The requests session of a client: its headers, proxies, redirects and certificates.

`tests/unit/http/test_contracts.py` covers what this package uses of urllib3, http.client and
requests without its being documented.
"""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import socket
import threading
from typing import Any
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

import requests
import urllib3
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url, get_environ_proxies, select_proxy

from tcia_covid.core.errors import ConnectionLostError, RedirectError
from tcia_covid.core.redaction import redact
from tcia_covid.core.version import __version__
from tcia_covid.http import direct, errors
from tcia_covid.http.connection import WatchedAdapter
from tcia_covid.http.direct import PlainResponse
from tcia_covid.http.response import Response
from tcia_covid.http.settings import HttpSettings
from tcia_covid.http.watchdog import ActiveRequest

_MAX_REDIRECTS = 5
_METHOD_PRESERVING = frozenset({307, 308})
_ERROR_TEXT_SIZE = 1024
"""Bytes of an error's body that are read for the message."""


class _UrlAuth(AuthBase):
    """Credentials of the URL itself and no others: `~/.netrc` is never read."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user or password else request


class ArchiveSession(requests.Session):
    """Follows redirects only within https (or from http), without credentials.

    Used by many threads at once; at most `connections` to each host are kept open.
    """

    def __init__(self, connections: int) -> None:
        super().__init__()
        user_agent = f"tcia-covid/{__version__}"
        self.headers.update({"User-Agent": user_agent, "Accept-Encoding": "identity"})
        self._direct_headers = {name: str(value) for name, value in self.headers.items()}
        self.auth = _UrlAuth()
        self._environment: dict[tuple[str, str], dict[str, Any]] = {}
        self._pools: dict[str, Any] = {}
        """Connection pools by origin; None where only requests can send what is needed."""
        self._redirecting: set[str] = set()
        """Origins whose last GET was redirected: requests sends the next one."""
        self._lock = threading.Lock()
        self.max_redirects = _MAX_REDIRECTS
        self.mount("http://", WatchedAdapter(connections))
        self.mount("https://", WatchedAdapter(connections))

    def send_watched(
        self,
        active: ActiveRequest,
        method: str,
        url: str,
        params: Any = None,
        form: Any = None,
        headers: Any = None,
    ) -> tuple[PlainResponse | urllib3.response.BaseHTTPResponse, str]:
        """Send a request; returns the response and its URL once its head has arrived.

        Servers close connections that were idle, just when the next request comes. All requests
        of this program only read, so one that a reused connection did not answer is sent again.

        Raises:
            ArchiveError: no response.
            RequestError: the URL, the proxy or the CA bundle cannot be used.
        """
        while True:
            active.is_reused = False
            try:
                with active.activate():
                    raw = None
                    if method == "GET":
                        raw = self._get_directly(active, url, params, headers)
                    if raw is None:
                        return self._send(active.settings, method, url, params, form, headers)
                    return raw, url
            except urllib3.exceptions.ClosedPoolError:
                with self._lock:
                    self._pools.clear()  # requests keeps the pools of the last hosts only
            except (
                requests.RequestException,
                urllib3.exceptions.HTTPError,
                http.client.HTTPException,
                OSError,
                ValueError,
            ) as error:
                # Ends with the pool's last connection: a new one is not a reused one.
                if not (active.is_reused and errors.is_closed_unanswered(error, active)):
                    raise errors.error_from_exception(error, url, active) from error

    def _send(
        self, settings: HttpSettings, method: str, url: str, params: Any, form: Any, headers: Any
    ) -> tuple[urllib3.response.BaseHTTPResponse, str]:
        """Send a request with all that requests does, such as following redirects."""
        timeout = (settings.connect_timeout, settings.first_byte_timeout)
        response = self.request(method, url, params, form, headers, timeout=timeout, stream=True)
        if method == "GET" and not response.history:
            self._redirecting.discard(_origin(url))
        return response.raw, response.url

    def _pool(self, origin: str) -> Any:
        """Look up the connections to an origin; None where requests has to send everything."""
        with self._lock:  # one thread reads the CA bundle for all
            if origin not in self._pools:
                self._pools[origin] = self._new_pool(origin)
            return self._pools[origin]

    def _new_pool(self, origin: str) -> Any:
        request = requests.Request("GET", origin).prepare()
        used = self.merge_environment_settings(origin, {}, stream=True, verify=None, cert=None)
        if "@" in origin or select_proxy(origin, used["proxies"]) is not None:
            return None
        adapter: Any = self.get_adapter(origin)
        pool = adapter.get_connection_with_tls_context(request, used["verify"])
        adapter.cert_verify(pool, origin, used["verify"], None)
        return pool

    def _get_directly(
        self, active: ActiveRequest, url: str, params: Any, headers: Any
    ) -> PlainResponse | urllib3.response.BaseHTTPResponse | None:
        """Send a GET without requests, which spends more time on one than a small image takes.

        None where requests has to use a proxy, to quote the URL or to follow a redirect.
        """
        origin = _origin(url)
        if not url.startswith("/", len(origin)) or "#" in url or origin in self._redirecting:
            return None
        pool = self._pool(origin)
        if pool is None:
            return None
        if params:
            url += f"{'&' if '?' in url else '?'}{urlencode(params)}"
        target, sent = url[len(origin) :], {**self._direct_headers, **(headers or {})}
        raw = direct.get(pool, active, origin.partition("//")[2], target, sent)
        if raw is None or isinstance(raw, PlainResponse) or not raw.get_redirect_location():
            return raw
        raw.close()
        raw.release_conn()
        self._redirecting.add(origin)
        return None

    @staticmethod
    def return_buffer(raw: PlainResponse | urllib3.response.BaseHTTPResponse) -> None:
        """Let other responses have the buffer of one that nobody reads any more."""
        if isinstance(raw, PlainResponse):
            raw.return_buffer()

    @staticmethod
    def check_head(response: Response, settings: HttpSettings) -> None:
        """Raise `StatusError` unless the status is 2xx, and refuse a compressed body."""
        if 200 <= response.status < 300:  # noqa: PLR2004 - HTTP's class of success
            errors.check_content_encoding(response)
            return
        try:
            text = response.read(_ERROR_TEXT_SIZE)
        except ConnectionLostError:
            text = b""
        raise errors.error_from_status(
            response.status, response.url, response.headers, text, settings.retry_after_cap
        )

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Read proxies and the CA bundle from the environment once per host."""
        origin = urlsplit(url)[:2]
        if origin not in self._environment:
            merged = dict(super().merge_environment_settings(url, proxies, stream, verify, cert))
            if merged["verify"] is True:  # requests knows two variables
                merged["verify"] = next(errors.ca_bundles(), (None, True))[1]
            self._environment[origin] = merged
        return self._environment[origin].copy()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the redirect's target, or refuse it.

        Raises:
            RedirectError: it is not https although the redirect came from https, or is no URL, or
                leads from a public host into a private network, or would turn a POST into a GET.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        # The body of a redirect is of no use; it may be endless.
        resp.raw.close()
        source, parts = redact(resp.url), _split_target(resp.url, target)
        if parts is None:
            raise RedirectError(f"{source} redirects to an address that is not an http(s) URL")
        to = f"{source} redirects to {redact(parts.geturl())}"
        hint = "not followed; check the archive's URL and the proxy settings"
        if parts.scheme != "https" and urlsplit(resp.url).scheme.lower() != "http":
            raise RedirectError(f"{to}, which is not protected by TLS", hint=hint)
        if _is_private(parts) and not _is_private(urlsplit(resp.url)):
            raise RedirectError(f"{to}, which is in a private network", hint=hint)
        if resp.request.method == "POST" and resp.status_code not in _METHOD_PRESERVING:
            raise RedirectError(
                f"{to}, which would drop the contents of a form",
                hint="set the archive's URL to the redirect's target",
            )
        return target

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop credentials when a redirect leads to another host; never add others."""
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def _origin(url: str) -> str:
    """Scheme and host of a URL; quicker than parsing it for each request."""
    return "/".join(url.split("/", 3)[:3])


def _split_target(base: str, target: str) -> SplitResult | None:
    """Resolve a redirect's target; None if it is not a usable http(s) URL."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(urljoin(base, target))
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return parts
    return None


def _is_private(url: SplitResult) -> bool:
    """Whether a URL's host is this machine, link-local or in a private network.

    A name is looked up unless a proxy does that; one without an address counts as public.
    """
    host = url.hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    has_proxy = select_proxy(url.geturl(), get_environ_proxies(url.geturl())) is not None
    try:
        flags = socket.AI_NUMERICHOST if has_proxy else 0
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError):
        return False
    addresses = [ipaddress.ip_address(str(address[0])) for *_, address in found]
    addresses = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return any(item.is_private or item.is_link_local or item.is_loopback for item in addresses)
