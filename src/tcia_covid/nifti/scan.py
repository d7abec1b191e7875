"""Finding a collection's volumes below a folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.core.files import open_regular
from tcia_covid.store.placement import Entry, EntryKind, walk

_UNFINISHED = (".aspx", ".partial", ".aspera-ckpt")
"""The suffixes of files that Aspera has not completely received."""
_SUMS = ".sums"
SUFFIX = ".nii.gz"
_TOKEN = re.compile(r"N{2,}|D{2,}|\[[^\]]*\]|.", re.DOTALL)
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.)){0,79}")
_ALGORITHMS = {32: "md5", 40: "sha1", 64: "sha256", 128: "sha512"}
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
    """The files below a folder; their paths are relative to it, with forward slashes."""

    top: Path
    sums: Checksums
    volumes: dict[VolumeName, list[str]] = field(default_factory=lambda: defaultdict(list))
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


def find_volumes(
    top: Path, pattern: VolumePattern, *, skipped: Collection[Path] = ()
) -> ScanResult:
    """Scan a folder and all folders below it, but no links, and none of the absolute `skipped`."""
    result = ScanResult(top, Checksums(pattern))
    for entry in walk(top, skipped, in_staging=False):
        name = pattern.read(entry.name)
        if entry.kind is EntryKind.STATE_FOLDER:
            result.has_tree = True
        elif entry.kind is EntryKind.FILE and name is not None:
            result.volumes[name].append(entry.file)
        elif entry.kind is EntryKind.FILE and entry.name.lower().endswith(_SUMS):
            try:
                result.sums.read(top / entry.file)
            except OSError as error:
                detail = error.strerror or str(error)
                result.rejected.append(RejectedFile(entry.file, "unreadable", detail))
        elif entry.kind is not EntryKind.FILE or not entry.name.startswith("."):
            result.rejected.append(RejectedFile(entry.file, *_why_rejected(entry, pattern)))
    return result


def _why_rejected(entry: Entry, pattern: VolumePattern) -> tuple[str, str]:
    if entry.kind is EntryKind.UNREADABLE:
        return "unreadable", entry.detail
    if entry.kind is not EntryKind.FILE:
        return "foreign", "not a plain file"
    if entry.name.endswith(_UNFINISHED):
        return "unfinished", "its transfer is not complete"
    if pattern.read(f"{entry.name}.gz") is not None:
        return "foreign", "an uncompressed copy: published volumes end in .nii.gz"
    return "foreign", "its name is not that of a volume of the collection"


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
        """The file's whole name."""
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
        match = self._pattern.fullmatch(file) if self._pattern else None
        if self._pattern and match is None:
            return None
        if match is None or "patient" not in match.groupdict():
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
        self._hashes: dict[str, set[tuple[str, str]]] = defaultdict(set)
        """Each hash with its algorithm."""

    @property
    def files(self) -> set[str]:
        """The names of all volumes that are listed."""
        return set(self._hashes)

    def read(self, path: Path) -> None:
        """Add the hashes of a `.sums` file.

        Raises:
            OSError: it cannot be read.
        """
        for line in _lines(path):
            match = next((hit for form in _LINES if (hit := form.fullmatch(line))), None)
            if match is None or len(match["hash"]) not in _ALGORITHMS:
                continue
            name = re.split(r"[/\\]", match["path"])[-1]
            if self._pattern.read(name) is not None:
                algorithm = _ALGORITHMS[len(match["hash"])]
                self._hashes[name].add((algorithm, match["hash"].lower()))

    def algorithms(self, file: str) -> set[str]:
        """The algorithms of the published hashes of a volume."""
        return {algorithm for algorithm, _ in self._hashes.get(file, ())}

    def agree(self, file: str, digests: Mapping[str, str]) -> bool | None:
        """Whether a volume with these hashes, by algorithm, has one of the published ones.

        None where no hash of these algorithms is published.
        """
        matches = [
            digests[algorithm] == published
            for algorithm, published in self._hashes.get(file, ())
            if algorithm in digests
        ]
        return any(matches) if matches else None


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file, up to a maximum length and number of bytes."""
    left = _MAX_BYTES
    with open(path, "rb", opener=open_regular) as file:
        while left > 0 and (line := file.readline(_MAX_LINE)):
            left -= len(line)
            yield line.decode("utf-8", "replace").lstrip("\ufeff").strip()
