"""Names for files that come from outside, safe on every file system and still readable."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from tcia_covid.names import PathComponent, safe_name

_UNREADABLE = re.compile(r"[^A-Za-z0-9._+-]+")
_ENDING = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}\Z")
_LONGEST = 120
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,118}[A-Za-z0-9_+-])?")
_DEVICES = re.compile(r"(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?:\..*)?", re.IGNORECASE)


def safe_file_name(original: str) -> PathComponent:
    """A file's name without blanks and other trouble, its ending kept.

    `Clinical Data Jan 13 2021 .xlsx` becomes `Clinical_Data_Jan_13_2021.xlsx`. Not made to be
    unique: see `unlike`.
    """
    if _SAFE.fullmatch(original):
        name = original
    else:
        plain = _UNREADABLE.sub("_", original.strip()).lstrip("._-")
        found = _ENDING.search(plain)
        ending = found[0] if found else ""
        stem = plain[: len(plain) - len(ending)].strip("._-") or "unnamed"
        name = f"{stem[: _LONGEST - len(ending)]}{ending}"
    return PathComponent(f"_{name}" if _DEVICES.fullmatch(name) else name)


def unlike(name: str, original: str, taken: set[str]) -> PathComponent:
    """Give `name`, or one that is not in `taken` in any case, for a file called `original`."""
    if name.casefold() not in taken:
        return PathComponent(name)
    ending = "".join(PurePosixPath(name).suffixes[-2:])
    tagged = safe_name(f"{original}\0")
    return PathComponent(f"{tagged}{ending if _ENDING.fullmatch(ending) else ''}")


def same_file(one: str, other: str) -> bool:
    """Whether two names mean one file: WordPress puts hyphens in place of what it does not like."""
    return _letters(one) == _letters(other) != ""


def _letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())
