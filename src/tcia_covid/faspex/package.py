"""A package as TCIA's site names it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Package:
    """An Aspera Faspex package."""

    key: str
    """Tells it from the collection's other packages; harmless as a file's name."""
    title: str
    url: str
    """Its public link. A passcode is part of it, so it goes into no log, error or file name."""
    size: int | None = None
    """Bytes, as rounded on the collection's page."""

    @property
    def is_public_link(self) -> bool:
        """Whether `ascli` knows its link as a public one; older ones it takes for a login's."""
        return "?context=" in self.url
