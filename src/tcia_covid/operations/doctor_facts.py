"""The facts that `doctor` checks: each has a name, and what was seen."""

from __future__ import annotations

import contextlib
import platform
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from importlib import metadata
from pathlib import Path

from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import TciaCovidError
from tcia_covid.core.redaction import printable, scrub
from tcia_covid.core.version import PROGRAM
from tcia_covid.formats.inflate import DEFAULT

_PACKAGES = ("requests", "urllib3", "click", "pydicom", "pyyaml")
_SHORTEST_HOME = 4
"""Characters: `/` or `C:\\` as a home folder says nothing of the user."""


class FactOutcome(str, Enum):
    """Whether a fact is true."""

    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not-checked"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that this program relies on."""

    name: str
    """The group and the fact: `nbia.zip`."""
    outcome: FactOutcome
    seen: str
    """What was seen, or why it was not checked."""
    hint: str = ""
    """What the user can do next, where it failed."""
    optional: bool = False
    """Whether the program works without it, in another way."""

    @property
    def group(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    @property
    def matters(self) -> bool:
        """Whether it failed and the program needs it."""
        return self.outcome is FactOutcome.FAILED and not self.optional


class FactError(TciaCovidError):
    """Something else was seen than the program relies on."""


class NotCheckedError(Exception):
    """The fact cannot be checked here, or does not apply."""


@dataclass(slots=True)
class FactList:
    """Checks facts of one group, one after the other.

    Attributes:
        group: the first part of their names.
        facts: those checked so far.
    """

    group: str
    facts: list[Fact] = field(default_factory=list)

    def check(
        self,
        name: str,
        look: Callable[[], str],
        *,
        needs: Sequence[str] = (),
        optional: bool = False,
    ) -> bool:
        """Check a fact; return whether it is true.

        Args:
            name: without the group.
            look: gives what was seen; raises a `TciaCovidError` where the fact does not hold, or
                a `NotCheckedError` with the reason.
            needs: facts of this group without which there is nothing to look at.
            optional: see `Fact`.
        """
        missing = next((needed for needed in needs if not self.holds(needed)), None)
        if missing is not None:
            return self.add(name, FactOutcome.NOT_CHECKED, f"needs {self.group}.{missing}")
        try:
            seen = look()
        except NotCheckedError as reason:
            return self.add(name, FactOutcome.NOT_CHECKED, str(reason))
        except TciaCovidError as error:
            return self.add(
                name, FactOutcome.FAILED, error.message, hint=error.hint, optional=optional
            )
        return self.add(name, FactOutcome.OK, seen)

    def add(
        self,
        name: str,
        outcome: FactOutcome,
        seen: str,
        *,
        hint: str = "",
        optional: bool = False,
    ) -> bool:
        """Add a fact; return whether it is true."""
        fact = Fact(f"{self.group}.{name}", outcome, anonymous(seen), anonymous(hint), optional)
        self.facts.append(fact)
        return outcome is FactOutcome.OK

    def holds(self, name: str) -> bool:
        """Whether a fact was checked and is true."""
        full = f"{self.group}.{name}"
        return any(fact.name == full and fact.outcome is FactOutcome.OK for fact in self.facts)


def anonymous(text: str) -> str:
    """Remove credentials and the name of the home folder, for reports that are published."""
    text = printable(scrub(text))
    with contextlib.suppress(RuntimeError):
        home = str(Path.home())
        if len(home) >= _SHORTEST_HOME:
            text = text.replace(home, "~")
    return text


def program_details() -> dict[str, str]:
    """The versions that a bug report should name."""
    info = series_catalog.info()
    return {
        "catalog": f"idc-index-data {info.version}, IDC {info.idc_version}, built {info.built}",
        "inflate": DEFAULT.name,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "tls": ssl.OPENSSL_VERSION,
        **{name: _version(name) for name in _PACKAGES},
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # in a bundle, or where its files may not be read
        return "unknown"


def program_name() -> str:
    """The name and version of this program."""
    return PROGRAM
