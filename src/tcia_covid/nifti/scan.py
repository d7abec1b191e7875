"""Finding a collection's volumes below a folder."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.core.errors import RequestError
from tcia_covid.core.safe_names import STATE_FOLDER

_UNFINISHED = (".aspx", ".partial", ".aspera-ckpt")
"""How Aspera calls what it has not received to the end."""
_SUMS = ".sums"
SUFFIX = ".nii.gz"
_TOKEN = re.compile(r"N{2,}|D{2,}|\[[^\]]*\]|.", re.DOTALL)
_HARMLESS = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}")
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the number of hex digits."""
_HEX = r"(?P<hash>[0-9A-Fa-f]{32,128})"
_LINES = (
    re.compile(rf"\\?{_HEX}[ \t]+[*]?(?P<path>\S.*)"),
    re.compile(rf"[A-Z0-9-]+ \((?P<path>.+)\) = {_HEX}"),
)
"""As md5sum and the like write them, and with `--tag` or on BSD."""
_LONGEST = 4096
_MOST = 512 * 1024 * 1024
"""Bytes of a file that are read: one of a package of 400,000 files has 50 million."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that was not taken in."""

    file: str
    """Relative to the folder that was looked at, with forward slashes."""
    reason: str
    """`foreign`, `duplicate`, `conflict`, `damaged`, `unreadable` or `unfinished`."""
    detail: str


@dataclass(slots=True)
class ScanResult:
    """What stands below a folder."""

    top: Path
    sums: Checksums
    volumes: dict[VolumeName, list[Path]] = field(default_factory=lambda: defaultdict(list))
    """The files by what their names tell; several where a name stands in several folders."""
    unfit: list[RejectedFile] = field(default_factory=list)
    ours: bool = False
    """Whether a tree of this program is among it."""

    def subjects(self) -> dict[str, list[VolumeName]]:
        """The volumes' names by patient, sorted."""
        grouped: dict[str, list[VolumeName]] = defaultdict(list)
        for name in sorted(self.volumes):
            grouped[name.subject].append(name)
        return dict(grouped)

    def shown(self, path: Path) -> str:
        """What a file is called in reports."""
        return path.relative_to(self.top).as_posix()


def find_volumes(top: Path, pattern: VolumePattern, *, skipped: Path | None = None) -> ScanResult:
    """Look through a folder and all below it; links to folders are not followed.

    Args:
        top: the folder.
        pattern: how the volumes are called.
        skipped: a folder that is left out, should it be below.

    Raises:
        RequestError: there is no such folder.
    """
    if not top.is_dir():
        raise RequestError(f"there is no folder {top}", hint="name the folder that has the files")
    finds = ScanResult(top, Checksums(pattern))
    for path in _files(top, finds, skipped):
        name = pattern.read(path.name)
        if path.is_symlink() or not path.is_file():
            finds.unfit.append(RejectedFile(finds.shown(path), "foreign", "not a plain file"))
        elif name is not None:
            finds.volumes[name].append(path)
        elif path.name.lower().endswith(_SUMS):
            _take_sums(path, finds)
        elif path.name[0] != ".":
            finds.unfit.append(_unfit(path, finds, pattern))
    return finds


def _files(top: Path, finds: ScanResult, skipped: Path | None) -> Iterator[Path]:
    """Every file below a folder, in order, but for what this program keeps for itself."""

    def unreadable(error: OSError) -> None:
        file = finds.shown(Path(error.filename)) if error.filename else "."
        finds.unfit.append(RejectedFile(file, "unreadable", error.strerror or str(error)))

    left_out = os.path.realpath(skipped) if skipped is not None else ""
    for folder, folders, files in os.walk(top, onerror=unreadable):
        finds.ours = finds.ours or STATE_FOLDER in folders
        folders[:] = sorted(
            (
                one
                for one in folders
                if one != STATE_FOLDER and os.path.realpath(Path(folder, one)) != left_out
            ),
            key=lambda name: (name.startswith("."), name),
        )
        yield from (Path(folder) / file for file in sorted(files))


def _take_sums(path: Path, finds: ScanResult) -> None:
    try:
        finds.sums.take(path)
    except OSError as error:
        finds.unfit.append(
            RejectedFile(finds.shown(path), "unreadable", error.strerror or str(error))
        )


def _unfit(path: Path, finds: ScanResult, pattern: VolumePattern) -> RejectedFile:
    if path.name.endswith(_UNFINISHED):
        return RejectedFile(
            finds.shown(path), "unfinished", "a transfer of it did not come to its end"
        )
    if pattern.read(f"{path.name}.gz") is not None:
        detail = "an uncompressed copy: what is published ends in .nii.gz"
        return RejectedFile(finds.shown(path), "foreign", detail)
    return RejectedFile(finds.shown(path), "foreign", "not called as the collection's volumes are")


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


class Checksums:
    """The hashes that packages publish of their volumes, by file name."""

    def __init__(self, pattern: VolumePattern) -> None:
        self._pattern = pattern
        self._hashes: dict[str, set[str]] = defaultdict(set)

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def files(self) -> set[str]:
        """The names of all volumes that are listed."""
        return set(self._hashes)

    def take(self, path: Path) -> int:
        """Read a `.sums` file; gives how many lines of it are about volumes.

        Raises:
            OSError: it cannot be read.
        """
        count = 0
        for line in _lines(path):
            found = next((match for form in _LINES if (match := form.fullmatch(line))), None)
            if found is None or len(found["hash"]) not in ALGORITHMS:
                continue
            name = re.split(r"[/\\]", found["path"])[-1]
            if self._pattern.read(name) is not None:
                self._hashes[name].add(found["hash"].lower())
                count += 1
        return count

    def algorithms(self, file: str) -> set[str]:
        """The kinds of hashes that are published of a volume."""
        return {ALGORITHMS[len(one)] for one in self._hashes.get(file, ())}

    def agree(self, file: str, digests: Mapping[str, str]) -> bool | None:
        """Whether a volume has a hash that is published of it.

        Args:
            file: the volume's name.
            digests: its hashes, by algorithm.

        Returns:
            None where no hash of these algorithms is published.
        """
        named = [(ALGORITHMS[len(one)], one) for one in self._hashes.get(file, ())]
        known = [(digests[name], one) for name, one in named if name in digests]
        return any(has == one for has, one in known) if known else None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a text, without what is too long or too much."""
    left = _MOST
    with path.open("rb") as file:
        while left > 0 and (line := file.readline(_LONGEST)):
            left -= len(line)
            yield line.decode("utf-8", "replace").lstrip("\ufeff").strip()
