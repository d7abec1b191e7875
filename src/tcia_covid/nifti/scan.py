"""Finding a collection's volumes below a folder."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.core.errors import RequestError
from tcia_covid.core.files import open_regular
from tcia_covid.core.safe_names import STATE_FOLDER

_UNFINISHED = (".aspx", ".partial", ".aspera-ckpt")
"""The suffixes of files that Aspera has not completely received."""
_SUMS = ".sums"
SUFFIX = ".nii.gz"
_TOKEN = re.compile(r"N{2,}|D{2,}|\[[^\]]*\]|.", re.DOTALL)
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}")
ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
"""By the number of hex digits."""
_HEX = r"(?P<hash>[0-9A-Fa-f]{32,128})"
_LINES = (
    re.compile(rf"\\?{_HEX}[ \t]+[*]?(?P<path>\S.*)"),
    re.compile(rf"[A-Z0-9-]+ \((?P<path>.+)\) = {_HEX}"),
)
"""The formats of md5sum, and of md5sum --tag and BSD."""
_MAX_LINE = 4096
_MAX_BYTES = 512 * 1024 * 1024
"""Bytes of a file that are read: that of a package of 400,000 files has 50 million."""


@dataclass(frozen=True, slots=True)
class RejectedFile:
    """A file that is not installed."""

    file: str
    """Relative to the scanned folder, with forward slashes."""
    reason: str
    """`foreign`, `duplicate`, `conflict`, `damaged`, `unreadable` or `unfinished`."""
    detail: str


@dataclass(slots=True)
class ScanResult:
    """The files below a folder."""

    top: Path
    sums: Checksums
    volumes: dict[VolumeName, list[Path]] = field(default_factory=lambda: defaultdict(list))
    """The files by name; several where a name is in several folders."""
    rejected: list[RejectedFile] = field(default_factory=list)
    has_tree: bool = False
    """Whether a tree of this program is below the folder."""

    def subjects(self) -> dict[str, list[VolumeName]]:
        """The volumes' names by patient, sorted."""
        grouped: dict[str, list[VolumeName]] = defaultdict(list)
        for name in sorted(self.volumes):
            grouped[name.subject].append(name)
        return dict(grouped)

    def shown(self, path: Path) -> str:
        """The path of a file in reports."""
        return path.relative_to(self.top).as_posix()


def find_volumes(top: Path, pattern: VolumePattern, *, skipped: Path | None = None) -> ScanResult:
    """Scan a folder and all folders below it; links to folders are not followed.

    Args:
        top: the folder.
        pattern: of the volumes' names.
        skipped: a folder that is left out if it is below.

    Raises:
        RequestError: there is no such folder.
    """
    if not top.is_dir():
        raise RequestError(f"there is no folder {top}", hint="name the folder that has the files")
    result = ScanResult(top, Checksums(pattern))
    for path in _files(top, result, skipped):
        name = pattern.read(path.name)
        if path.is_symlink() or not path.is_file():
            result.rejected.append(RejectedFile(result.shown(path), "foreign", "not a plain file"))
        elif name is not None:
            result.volumes[name].append(path)
        elif path.name.lower().endswith(_SUMS):
            try:
                result.sums.read(path)
            except OSError as error:
                detail = error.strerror or str(error)
                result.rejected.append(RejectedFile(result.shown(path), "unreadable", detail))
        elif path.name[0] != ".":
            result.rejected.append(_rejected(path, result, pattern))
    return result


def _files(top: Path, result: ScanResult, skipped: Path | None) -> Iterator[Path]:
    """Every file below a folder, in order, without the state folder of this program."""

    def unreadable(error: OSError) -> None:
        file = result.shown(Path(error.filename)) if error.filename else "."
        result.rejected.append(RejectedFile(file, "unreadable", error.strerror or str(error)))

    left_out = os.path.realpath(skipped) if skipped is not None else ""
    for folder, folders, files in os.walk(top, onerror=unreadable):
        result.has_tree = result.has_tree or STATE_FOLDER in folders
        folders[:] = sorted(
            (
                name
                for name in folders
                if name != STATE_FOLDER and os.path.realpath(Path(folder, name)) != left_out
            ),
            key=lambda name: (name.startswith("."), name),
        )
        yield from (Path(folder) / file for file in sorted(files))


def _rejected(path: Path, result: ScanResult, pattern: VolumePattern) -> RejectedFile:
    if path.name.endswith(_UNFINISHED):
        return RejectedFile(result.shown(path), "unfinished", "its transfer is not complete")
    if pattern.read(f"{path.name}.gz") is not None:
        detail = "an uncompressed copy: published volumes end in .nii.gz"
        return RejectedFile(result.shown(path), "foreign", detail)
    return RejectedFile(
        result.shown(path), "foreign", "its name is not that of a volume of the collection"
    )


@dataclass(frozen=True, slots=True, order=True)
class VolumeName:
    """The parts of the name of a volume's file."""

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
    """The names of the files of a collection.

    Args:
        pattern: as in the registry: `NNNN` means the digits of the patient's number, another
            run of `N` or `D` for as many digits, `[a|b]` for one of these or nothing, the rest
            for itself. None: any name is taken, and each volume for a patient of its own.
    """

    def __init__(self, pattern: str | None) -> None:
        self.text = pattern or f"*{SUFFIX}"
        self._pattern = re.compile(_translated(pattern)) if pattern else None

    def read(self, file: str) -> VolumeName | None:
        """The parts of a file's name; None if it is not a volume of the collection."""
        stem = file.removesuffix(SUFFIX)
        if stem == file or not _SAFE.fullmatch(stem):
            return None
        if self._pattern is None:
            return VolumeName(stem, stem, stem)
        match = self._pattern.fullmatch(file)
        if match is None:
            return None
        if "patient" not in match.groupdict():
            return VolumeName(stem, stem, stem)
        return VolumeName(file[: match.end("patient")], stem, match["patient"])


def _translated(pattern: str) -> str:
    """The pattern as a regular expression."""
    pieces: list[str] = []
    for token in _TOKEN.findall(pattern):
        if token[0] == "[" and len(token) > 1:
            options = "|".join(_translated(option) for option in token[1:-1].split("|"))
            pieces.append(f"(?:{options})?")
        elif len(token) > 1:
            digits = f"[0-9]{{{len(token)}}}"
            is_patient = token[0] == "N" and not any("patient" in piece for piece in pieces)
            pieces.append(f"(?P<patient>{digits})" if is_patient else digits)
        else:
            pieces.append(re.escape(token))
    return "".join(pieces)


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

    def read(self, path: Path) -> int:
        """Read a `.sums` file; return how many of its lines are about volumes.

        Raises:
            OSError: it cannot be read.
        """
        count = 0
        for line in _lines(path):
            match = next((hit for form in _LINES if (hit := form.fullmatch(line))), None)
            if match is None or len(match["hash"]) not in ALGORITHMS:
                continue
            name = re.split(r"[/\\]", match["path"])[-1]
            if self._pattern.read(name) is not None:
                self._hashes[name].add(match["hash"].lower())
                count += 1
        return count

    def algorithms(self, file: str) -> set[str]:
        """The algorithms of the published hashes of a volume."""
        return {ALGORITHMS[len(digest)] for digest in self._hashes.get(file, ())}

    def agree(self, file: str, digests: Mapping[str, str]) -> bool | None:
        """Whether a volume has one of its published hashes.

        Args:
            file: the volume's name.
            digests: its hashes, by algorithm.

        Returns:
            None where no hash of these algorithms is published.
        """
        by_name = [(ALGORITHMS[len(digest)], digest) for digest in self._hashes.get(file, ())]
        known = [(digests[name], digest) for name, digest in by_name if name in digests]
        return any(computed == published for computed, published in known) if known else None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, up to a maximum length and number of bytes."""
    left = _MAX_BYTES
    with open(path, "rb", opener=open_regular) as file:
        while left > 0 and (line := file.readline(_MAX_LINE)):
            left -= len(line)
            yield line.decode("utf-8", "replace").lstrip("\ufeff").strip()
