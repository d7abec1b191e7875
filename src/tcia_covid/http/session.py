"""The requests session of one thread, with the pitfalls taken out."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from tcia_covid import __version__
from tcia_covid.errors import RedirectError
from tcia_covid.http.connection import WatchedAdapter
from tcia_covid.redact import redact

USER_AGENT = f"tcia-covid/{__version__}"
_MAX_REDIRECTS = 5
_KEEP_THE_FORM = frozenset({307, 308})


class _UrlAuth(AuthBase):
    """Credentials of the URL itself and no others: `~/.netrc` is never asked."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user or password else request


class ArchiveSession(requests.Session):
    """Follows redirects only within https (or from http), and takes no credential along."""

    def __init__(self) -> None:
        super().__init__()
        self.headers.update(
            {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        self.auth = _UrlAuth()
        self._environment: dict[tuple[str, str], dict[str, Any]] = {}
        self.max_redirects = _MAX_REDIRECTS
        self.mount("http://", WatchedAdapter())
        self.mount("https://", WatchedAdapter())

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Give what requests finds in the environment, which it would search for every request."""
        origin = urlsplit(url)[:2]
        if origin not in self._environment:
            found = super().merge_environment_settings(url, proxies, stream, verify, cert)
            self._environment[origin] = dict(found)
        return self._environment[origin].copy()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give the redirect's target, or refuse it.

        Raises:
            RedirectError: it leads from https to something else, or nowhere, or would turn a POST
                into a GET.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        # The body of a redirect is of no use; it may be endless.
        resp.raw.close()
        here, there = redact(resp.url), _split(resp.url, target)
        if there is None:
            raise RedirectError(f"{here} redirects to an address that is no http(s) URL")
        shown = redact(there.geturl())
        if there.scheme != "https" and urlsplit(resp.url).scheme.lower() != "http":
            raise RedirectError(
                f"{here} redirects to {shown}, which is not protected by TLS",
                hint="not followed; check the archive's URL and the proxy settings",
            )
        if resp.request.method == "POST" and resp.status_code not in _KEEP_THE_FORM:
            raise RedirectError(
                f"{here} redirects a form to {shown}, which would lose what the form says",
                hint="set the archive's URL to where it redirects to",
            )
        return target

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop credentials on the way to another host; never look for others."""
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)


def _split(base: str, target: str) -> SplitResult | None:
    """Give the address that `target` means; None if it is no usable http(s) URL."""
    try:
        parts = urlsplit(urljoin(base, target))
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        return None
    return parts if usable else None
