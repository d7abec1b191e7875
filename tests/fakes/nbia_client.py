"""A plain client of the archive, for tests of the archive itself."""

from __future__ import annotations

from typing import Any

import requests


class Client:
    """Asks one generation of the archive: `base` is its base URL."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.session = requests.Session()
        self.session.trust_env = False

    def get(self, endpoint: str, **params: str) -> requests.Response:
        """GET with query parameters."""
        return self.session.get(f"{self.base}/{endpoint}", params=params, timeout=30)

    def post(self, endpoint: str, **form: str) -> requests.Response:
        """POST with a form."""
        return self.session.post(f"{self.base}/{endpoint}", data=form, timeout=30)

    def rows(self, endpoint: str, **params: str) -> list[dict[str, Any]]:
        """The rows of a list."""
        rows: list[dict[str, Any]] = self.get(endpoint, **params).json()
        return rows

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *exception: object) -> None:
        self.session.close()
