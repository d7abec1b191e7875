"""Reading a folder that somebody else filled: which DICOM files are in it, and their hashes.

Names mean nothing here: a file is what its content says.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from tcia_covid.adopt.result import Damaged, OtherFiles, Reason
from tcia_covid.dicom import header_of_file
from tcia_covid.errors import ForeignImageError
from tcia_covid.names import STATE
from tcia_covid.stop import Stop
from tcia_covid.verify.ahead import ahead

_HEAD = 64 * 1024
"""Bytes that nearly every header fits into."""
_PIECE = 256 * 1024
_PREAMBLE = 132

OnProgress = Callable[[int, int], None]
"""Hears of bytes and images as they are read, in the caller's thread."""


class Found(NamedTuple):
    """A DICOM file in the folder; small, for there may be half a million of them."""

    folder: str
    """Relative to the folder that is adopted, shared by all files in it."""
    name: str
    uid: str
    """SOPInstanceUID."""
    size: int
    modified: int
    """When it was last written, in nanoseconds, before it was hashed."""
    md5: str

    @property
    def file(self) -> str:
        """Relative to the folder that is adopted."""
        return _join(self.folder, self.name)


class Kind(Enum):
    """What stands under a name."""

    FILE = auto()
    """Not looked into yet."""
    DICOM = auto()
    DAMAGED = auto()
    ZIP = auto()
    LINK = auto()
    OTHER = auto()
    OURS = auto()
    """The state folder of a tree of this program."""


class Sight(NamedTuple):
    """One entry of the folder."""

    kind: Kind
    folder: str
    name: str
    detail: str = ""
    series: str = ""
    found: Found | None = None


@dataclass(slots=True)
class Inventory:
    """Everything that is in a folder."""

    series: dict[str, list[Found]] = field(default_factory=lambda: defaultdict(list))
    """By SeriesInstanceUID."""
    damaged: list[Damaged] = field(default_factory=list)
    files: OtherFiles = field(default_factory=OtherFiles)
    images: int = 0
    ours: bool = False
    """Whether a tree of this program is among it."""

    def add(self, sight: Sight) -> None:
        """Count an entry."""
        files = self.files
        if sight.found is not None:
            self.images += 1
            self.series[sight.series].append(sight.found)
        elif sight.kind is Kind.DAMAGED:
            file = _join(sight.folder, sight.name)
            self.damaged.append(Damaged(file, Reason.UNREADABLE, sight.detail))
        elif sight.kind is Kind.ZIP:
            files.zips.append(_join(sight.folder, sight.name))
        self.ours = self.ours or sight.kind is Kind.OURS
        files.links += sight.kind is Kind.LINK
        files.not_dicom += sight.kind is Kind.OTHER


def scan(
    root: Path, *, skipped: Collection[Path], jobs: int, stop: Stop, on_progress: OnProgress
) -> Inventory:
    """Read and hash every DICOM file below a folder.

    Args:
        root: the folder; no link below it is followed.
        skipped: folders that are left out.
        jobs: threads.
        stop: ends it early.
        on_progress: hears how far it is.

    Raises:
        TciaCovidError: it was stopped.
    """
    inventory = Inventory()
    reader = _Reader(root, stop)
    for _, sight in ahead(reader.look, walk(root, skipped), jobs, stop):
        inventory.add(sight)
        if sight.found is not None:
            on_progress(sight.found.size, 1)
    return inventory


def walk(root: Path, skipped: Collection[Path]) -> Iterator[Sight]:
    """Name what is below a folder, in a stable order, without opening any file."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        below = []
        for entry in _entries(root, folder):
            if isinstance(entry, Sight):
                yield entry
            elif not entry.is_dir(follow_symlinks=False):
                yield Sight(_kind(entry), folder, entry.name)
            elif entry.name == STATE:
                # What is in staging may be right; what was set aside in quarantine is not.
                yield Sight(Kind.OURS, folder, entry.name)
                below.append(_join(folder, f"{STATE}/staging"))
            elif root / folder / entry.name not in skipped:
                below.append(_join(folder, entry.name))
        waiting += reversed(below)


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str] | Sight]:
    try:
        with os.scandir(root / folder) as listing:
            # Hidden folders last: where a file is there twice, the one in sight is taken.
            entries = sorted(listing, key=lambda entry: (entry.name.startswith("."), entry.name))
    except FileNotFoundError:
        return
    except OSError as error:
        detail = f"the folder cannot be read: {error.strerror or error}"
        parent, _, name = folder.rpartition("/")
        yield Sight(Kind.DAMAGED, parent, name or ".", detail)
        return
    yield from entries


def _kind(entry: os.DirEntry[str]) -> Kind:
    if entry.is_symlink():
        return Kind.LINK
    # A pipe or a socket would be waited for without end.
    return Kind.FILE if entry.is_file(follow_symlinks=False) else Kind.OTHER


class _Reader:
    """Looks into files; safe for threads."""

    def __init__(self, root: Path, stop: Stop) -> None:
        self._root = root
        self._stop = stop

    def look(self, sight: Sight) -> Sight:
        """Say what a file is; what is none stays as it is."""
        if sight.kind is not Kind.FILE:
            return sight
        if sight.name.lower().endswith(".zip"):
            return sight._replace(kind=Kind.ZIP)
        try:
            return self._read(sight)
        except OSError as error:
            detail = f"the file cannot be read: {error.strerror or error}"
        except ForeignImageError as error:
            detail = error.message
        return sight._replace(kind=Kind.DAMAGED, detail=detail)

    def _read(self, sight: Sight) -> Sight:
        path = self._root / sight.folder / sight.name
        with path.open("rb", buffering=0) as file:
            head = file.read(_HEAD)
            if head[128:_PREAMBLE] != b"DICM":
                return _not_dicom(sight, head)
            modified = os.fstat(file.fileno()).st_mtime_ns
            md5 = hashlib.md5(head, usedforsecurity=False)
            size = len(head)
            while piece := file.read(_PIECE):
                self._stop.check()
                md5.update(piece)
                size += len(piece)
        header = header_of_file(path, head)
        found = Found(sight.folder, sight.name, header.sop, size, modified, md5.hexdigest())
        return sight._replace(kind=Kind.DICOM, series=header.series, found=found)


def _not_dicom(sight: Sight, head: bytes) -> Sight:
    """A file that is called DICOM and is none was one once, or was meant to be."""
    if not sight.name.lower().endswith(".dcm"):
        return sight._replace(kind=Kind.OTHER)
    detail = "the file is not a DICOM file" if head else "the file is empty"
    return sight._replace(kind=Kind.DAMAGED, detail=detail)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
