"""The names of volumes: which belong to a collection, and whose they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

SUFFIX = ".nii.gz"

_TOKEN = re.compile(r"N{2,}|D{2,}|\[[^\]]*\]|.", re.DOTALL)
_HARMLESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}")


@dataclass(frozen=True, slots=True, order=True)
class VolumeName:
    """What the name of a volume's file tells."""

    subject: str
    """What the names of all volumes of one patient begin with: `volume-covid19-A-0001`."""
    stem: str
    """The file's name without its ending: `volume-covid19-A-0001_day003`."""
    patient: str
    """The patient's number: `0001`."""

    @property
    def file(self) -> str:
        """The file's name."""
        return f"{self.stem}{SUFFIX}"


class VolumePattern:
    """How the files of a collection are called.

    Args:
        pattern: as in the registry: `NNNN` stands for the digits of the patient's number, another
            run of `N` or `D` for as many digits, `[a|b]` for one of these or nothing, the rest
            for itself. None: any name is taken, and each volume for a patient of its own.
    """

    def __init__(self, pattern: str | None) -> None:
        self.text = pattern or f"*{SUFFIX}"
        self._pattern = re.compile(_translated(pattern)) if pattern else None

    def read(self, file: str) -> VolumeName | None:
        """What `file` tells by its name; None if it is no volume of the collection."""
        stem = file.removesuffix(SUFFIX)
        if stem == file or not _HARMLESS.fullmatch(stem):
            return None
        if self._pattern is None:
            return VolumeName(stem, stem, stem)
        found = self._pattern.fullmatch(file)
        if found is None:
            return None
        if "patient" not in found.groupdict():
            return VolumeName(stem, stem, stem)
        return VolumeName(file[: found.end("patient")], stem, found["patient"])


def _translated(pattern: str) -> str:
    """The pattern as a regular expression."""
    pieces: list[str] = []
    for token in _TOKEN.findall(pattern):
        if token[0] == "[" and len(token) > 1:
            options = "|".join(_translated(one) for one in token[1:-1].split("|"))
            pieces.append(f"(?:{options})?")
        elif len(token) > 1:
            named = token[0] == "N" and not any("patient" in piece for piece in pieces)
            pieces.append(f"(?P<patient>[0-9]{{{len(token)}}})" if named else _digits(token))
        else:
            pieces.append(re.escape(token))
    return "".join(pieces)


def _digits(token: str) -> str:
    return f"[0-9]{{{len(token)}}}"
