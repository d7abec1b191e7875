"""Gets manifests from the web."""

from __future__ import annotations

from http import HTTPStatus

from tcia_covid.core.errors import ManifestError, StatusError
from tcia_covid.core.redaction import redact
from tcia_covid.http.client import Client
from tcia_covid.http.settings import is_safe_address

MAX_DOWNLOAD = 128 * 1024**2
"""Bytes of a manifest that is received."""
_NOT_PROVIDED = frozenset(
    {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, HTTPStatus.GONE}
)


class WebManifests:
    """Gets the content of https addresses. The client follows redirects to https only.

    Args:
        client: sends the requests.
        allow_http: whether http is allowed on this machine, as it is where TCIA's site is there.
    """

    def __init__(self, client: Client, *, allow_http: bool = False) -> None:
        self._client = client
        self._allow_http = allow_http

    def __call__(self, url: str) -> bytes:
        """Get the content of an address.

        Raises:
            ManifestError: the address cannot be used, or the server does not provide it.
            ArchiveError: the server did not respond, or sent too much.
        """
        if not is_safe_address(url, allow_http=self._allow_http):
            raise ManifestError(
                f"{redact(url)} is not an https address",
                hint="download the manifest, and give the file",
            )
        try:
            return self._client.fetch(url, lambda response: response.read_all(MAX_DOWNLOAD))
        except StatusError as error:
            if error.status not in _NOT_PROVIDED:
                raise
            raise ManifestError(
                f"the server does not provide {redact(url)} (HTTP {error.status})",
                hint="check the address; if it needs a login, download the file with a browser",
            ) from error
