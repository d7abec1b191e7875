"""Where NBIA's API is."""

from __future__ import annotations

from tcia_covid.errors import UsageError

DEFAULT_URL = "https://nbia.cancerimagingarchive.net/nbia-api/services/v4"


def check_url(base_url: str) -> None:
    """See that a URL can be gone on from.

    Raises:
        UsageError: it has a query or a fragment.
    """
    if "?" in base_url or "#" in base_url:
        raise UsageError(
            "the URL of NBIA ends in its API's version, without a query",
            hint=f"such as {DEFAULT_URL}",
        )
