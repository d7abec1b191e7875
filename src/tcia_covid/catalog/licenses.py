"""Licenses: what they permit, and the check that refuses a commercial use."""

from __future__ import annotations

import re
from typing import NamedTuple

from tcia_covid.core.errors import LicenseRefusedError

_CREATIVE_COMMONS = re.compile(r"CC BY(?P<nc>-NC)? \d+(?:\.\d+)*")
_ATTRIBUTION = re.compile(
    r"(?:CC BY|Creative Commons Attribution)(?P<nc>[ -]?NC|[ -]Non-?Commercial)?"
    r" (?P<version>\d\.\d)(?: International| Unported)?(?: Licen[cs]e)?",
    re.IGNORECASE,
)
"""How NBIA and IDC spell the two licenses of TCIA's public collections."""
_NON_COMMERCIAL = re.compile(r"\b(?:non? ?commercial|nc)\b", re.IGNORECASE)


class License(NamedTuple):
    """The terms under which a collection is published."""

    name: str
    """`CC BY 4.0`, or as the archive spells it."""
    commercial_use: bool | None
    """Whether it is allowed; None if that is not known."""
    url: str | None = None

    @classmethod
    def named(cls, name: str, url: str | None = None) -> License:
        """The license that an archive names; what it permits is known only if the name says so."""
        name = name.strip()
        if known := _ATTRIBUTION.fullmatch(name):
            short = f"CC BY{'-NC' if known['nc'] else ''} {known['version']}"
            return cls(short, commercial_use=not known["nc"], url=url)
        is_forbidden = _NON_COMMERCIAL.search(name.replace("-", " ")) is not None
        return cls(name, commercial_use=False if is_forbidden else None, url=url)

    def __str__(self) -> str:
        uses = {True: " (commercial use allowed)", False: " (no commercial use)", None: ""}
        return ", ".join(filter(None, (f"{self.name}{uses[self.commercial_use]}", self.url)))

    @property
    def permission(self) -> str:
        """What the license permits, as far as that is known, in one sentence."""
        if self.commercial_use is None:
            return "The license's own text has all conditions."
        known = _CREATIVE_COMMONS.fullmatch(self.name)
        if known is None:
            use = "permits" if self.commercial_use else "forbids"
            return f"The license {use} commercial use; its own text has all conditions."
        if known["nc"]:
            return (
                "You may share and adapt these data if you give credit, link to the license and "
                "say what you changed, but not for commercial purposes."
            )
        return (
            "You may share and adapt these data for any purpose, even commercially, if you give "
            "credit, link to the license and say what you changed."
        )


def check_license(
    collection: str, license: License | str | None, *, commercial_use: bool = True
) -> None:
    """Refuse a use that the license forbids; an unknown license forbids nothing.

    `license` is as the registry has it, or its name as an archive lists it.

    Raises:
        LicenseRefusedError: the use is commercial, and the license does not allow that.
    """
    if not commercial_use or license is None:
        return
    if isinstance(license, str):
        license = License.named(license)
    if license.commercial_use is False:
        raise LicenseRefusedError(
            f"the license of {collection} ({license.name}) forbids commercial use",
            hint="leave the collection out, or omit --commercial-use if the use is not commercial",
        )
