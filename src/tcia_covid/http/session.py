"""The requests session of one thread, with the pitfalls taken out."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from requests.utils import get_auth_from_url

from tcia_covid import __version__
from tcia_covid.errors import RedirectError
from tcia_covid.http.call import AttachingAdapter
from tcia_covid.http.redact import redact

USER_AGENT = f"tcia-covid/{__version__}"
_MAX_REDIRECTS = 5


class _UrlAuth(AuthBase):
    """Credentials of the URL itself and no others: `~/.netrc` is never asked."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        user, password = get_auth_from_url(request.url or "")
        return HTTPBasicAuth(user, password)(request) if user else request


class ArchiveSession(requests.Session):
    """Follows redirects only within https (or from http), and takes no credential along."""

    def __init__(self) -> None:
        super().__init__()
        self.headers.update(
            {"User-Agent": USER_AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        )
        self.auth = _UrlAuth()
        self.max_redirects = _MAX_REDIRECTS
        self.mount("http://", AttachingAdapter())
        self.mount("https://", AttachingAdapter())

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Give the redirect's target, or refuse it.

        Raises:
            RedirectError: it leads from https to something else.
        """
        target: str | None = super().get_redirect_target(resp)
        if target is None:
            return None
        absolute = urljoin(resp.url, target)
        scheme = urlsplit(absolute).scheme.lower()
        was = urlsplit(resp.url).scheme.lower()
        if scheme == "https" or scheme == was == "http":
            return target
        resp.close()
        raise RedirectError(
            f"{redact(resp.url)} redirects to {redact(absolute)}, which is not protected by TLS",
            hint="not followed; check the archive's URL and the proxy settings",
        )

    def rebuild_auth(
        self, prepared_request: requests.PreparedRequest, response: requests.Response
    ) -> None:
        """Drop credentials on the way to another host; never look for others."""
        before, after = response.request.url or "", prepared_request.url or ""
        if self.should_strip_auth(before, after):  # type: ignore[no-untyped-call]
            prepared_request.headers.pop("Authorization", None)
