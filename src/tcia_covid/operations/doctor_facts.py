"""The facts that `doctor` checks: each has a name, and what was seen."""

from __future__ import annotations

import contextlib
import platform
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import TciaCovidError
from tcia_covid.core.redaction import printable, scrub
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


class FactError(TciaCovidError):
    """The fact is not true."""


class NotCheckedError(Exception):
    """The fact cannot be checked here, or does not apply."""


@dataclass(frozen=True, slots=True)
class Look:
    """How `Checks` determines whether one fact is true."""

    name: str
    look: Callable[[Any], str]
    needs: str
    optional: bool


def fact(
    name: str, *, needs: str = "", optional: bool = False
) -> Callable[[Callable[[Any], str]], Look]:
    """Decorate a method of `Checks` that gives what was seen of a fact.

    The method raises a `TciaCovidError` where the fact is not true, or a `NotCheckedError`.

    Args:
        name: without the group.
        needs: the fact of the same group that must be true before this one can be checked.
        optional: see `Fact`.
    """
    return lambda look: Look(name, look, needs, optional)


class Checks:
    """Checks the facts of one group: those of the base class first, in the order of the source.

    Attributes:
        group: the first part of their names.
        facts: those checked so far.
    """

    def __init__(self, group: str) -> None:
        self.group = group
        self.facts: list[Fact] = []

    def run(self) -> list[Fact]:
        """Check every fact."""
        for kind in reversed(type(self).__mro__):
            for each in vars(kind).values():
                if isinstance(each, Look):
                    name, look = f"{self.group}.{each.name}", partial(self.seen, each)
                    self.facts.append(check(name, look, optional=each.optional))
        return self.facts

    def seen(self, each: Look) -> str:
        """Check one fact, and return what was seen."""
        if each.needs:
            self.need(each.needs)
        return each.look(self)

    def need(self, name: str) -> None:
        """Raise `NotCheckedError` unless the fact `name` of this group was found to be true."""
        full = f"{self.group}.{name}"
        if full not in {each.name for each in self.facts if each.outcome is FactOutcome.OK}:
            raise NotCheckedError(f"needs {full}")


def check(name: str, look: Callable[[], str], *, optional: bool = False) -> Fact:
    """Check one fact; `look` is as described at `fact`."""
    try:
        outcome, seen, hint = FactOutcome.OK, look(), ""
    except NotCheckedError as reason:
        outcome, seen, hint = FactOutcome.NOT_CHECKED, str(reason), ""
    except TciaCovidError as error:
        outcome, seen, hint = FactOutcome.FAILED, error.message, error.hint
    return Fact(name, outcome, anonymous(seen), anonymous(hint), optional)


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
