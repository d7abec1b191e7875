"""Licenses: what they permit, and the check that refuses a commercial use."""

from __future__ import annotations

import re
from typing import NamedTuple

from tcia_covid.core.errors import LicenseRefusedError

_CREATIVE_COMMONS = re.compile(r"CC BY(?P<nc>-NC)? \d+(?:\.\d+)*")


class License(NamedTuple):
    """The terms under which a collection is published."""

    name: str
    """As the archives spell it, `CC BY 4.0`."""
    commercial_use: bool
    url: str | None = None

    @classmethod
    def named(cls, name: str, url: str | None = None) -> License:
        """The license that an archive names; what it permits is read from the name."""
        words = name.casefold().replace("-", " ").replace("noncommercial", "non commercial")
        is_non_commercial = "non commercial" in words or " nc" in words
        return cls(name, commercial_use=not is_non_commercial, url=url)

    def __str__(self) -> str:
        use = "commercial use allowed" if self.commercial_use else "no commercial use"
        return ", ".join(filter(None, (f"{self.name} ({use})", self.url)))

    @property
    def permission(self) -> str:
        """What the license permits, in one sentence."""
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
    if not license.commercial_use:
        raise LicenseRefusedError(
            f"the license of {collection} ({license.name}) forbids commercial use",
            hint="leave the collection out, or omit --commercial-use if the use is not commercial",
        )
