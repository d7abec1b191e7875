"""Reading a folder that somebody else filled: which DICOM files are in it, and their hashes.

Names mean nothing here: a file is what its content says.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as AbstractCollection
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, ForeignImageError, NotAvailableError
from tcia_covid.core.models import Series
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.formats.dicom.header import header_of_file
from tcia_covid.operations.adopt.result import DamagedFile, ForeignSeries, OtherFiles, Reason
from tcia_covid.selection.lists import SeriesLister

_HEAD = 64 * 1024
"""Bytes that nearly every header fits into."""
_PIECE = 256 * 1024
_PREAMBLE = 132
OnProgress = Callable[[int, int], None]
"""Hears of bytes and images as they are read, in the caller's thread."""


class FoundFile(NamedTuple):
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


class EntryKind(Enum):
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


class Entry(NamedTuple):
    """One entry of the folder."""

    kind: EntryKind
    folder: str
    name: str
    detail: str = ""
    series: str = ""
    found: FoundFile | None = None


@dataclass(slots=True)
class Inventory:
    """Everything that is in a folder."""

    series: dict[str, list[FoundFile]] = field(default_factory=lambda: defaultdict(list))
    """By SeriesInstanceUID."""
    damaged: list[DamagedFile] = field(default_factory=list)
    files: OtherFiles = field(default_factory=OtherFiles)
    images: int = 0
    ours: bool = False
    """Whether a tree of this program is among it."""

    def add(self, sight: Entry) -> None:
        """Count an entry."""
        files = self.files
        if sight.found is not None:
            self.images += 1
            self.series[sight.series].append(sight.found)
        elif sight.kind is EntryKind.DAMAGED:
            file = _join(sight.folder, sight.name)
            self.damaged.append(DamagedFile(file, Reason.UNREADABLE, sight.detail))
        elif sight.kind is EntryKind.ZIP:
            files.zips.append(_join(sight.folder, sight.name))
        self.ours = self.ours or sight.kind is EntryKind.OURS
        files.links += sight.kind is EntryKind.LINK
        files.not_dicom += sight.kind is EntryKind.OTHER


def scan(
    root: Path,
    *,
    skipped: AbstractCollection[Path],
    jobs: int,
    stop: CancelToken,
    on_progress: OnProgress,
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
    for _, sight in parallel_map(reader.look, walk(root, skipped), jobs, stop):
        inventory.add(sight)
        if sight.found is not None:
            on_progress(sight.found.size, 1)
    return inventory


def walk(root: Path, skipped: AbstractCollection[Path]) -> Iterator[Entry]:
    """Name what is below a folder, in a stable order, without opening any file."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        below = []
        for entry in _entries(root, folder):
            if isinstance(entry, Entry):
                yield entry
            elif not entry.is_dir(follow_symlinks=False):
                yield Entry(_kind(entry), folder, entry.name)
            elif entry.name == STATE_FOLDER:
                # What is in staging may be right; what was set aside in quarantine is not.
                yield Entry(EntryKind.OURS, folder, entry.name)
                below.append(_join(folder, f"{STATE_FOLDER}/staging"))
            elif root / folder / entry.name not in skipped:
                below.append(_join(folder, entry.name))
        waiting += reversed(below)


def _entries(root: Path, folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    try:
        with os.scandir(root / folder) as listing:
            # Hidden folders last: where a file is there twice, the one in sight is taken.
            entries = sorted(listing, key=lambda entry: (entry.name.startswith("."), entry.name))
    except FileNotFoundError:
        return
    except OSError as error:
        detail = f"the folder cannot be read: {error.strerror or error}"
        parent, _, name = folder.rpartition("/")
        yield Entry(EntryKind.DAMAGED, parent, name or ".", detail)
        return
    yield from entries


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_symlink():
        return EntryKind.LINK
    # A pipe or a socket would be waited for without end.
    return EntryKind.FILE if entry.is_file(follow_symlinks=False) else EntryKind.OTHER


class _Reader:
    """Looks into files; safe for threads."""

    def __init__(self, root: Path, stop: CancelToken) -> None:
        self._root = root
        self._stop = stop

    def look(self, sight: Entry) -> Entry:
        """Say what a file is; what is none stays as it is."""
        if sight.kind is not EntryKind.FILE:
            return sight
        if sight.name.lower().endswith(".zip"):
            return sight._replace(kind=EntryKind.ZIP)
        try:
            return self._read(sight)
        except OSError as error:
            detail = f"the file cannot be read: {error.strerror or error}"
        except ForeignImageError as error:
            detail = error.message
        return sight._replace(kind=EntryKind.DAMAGED, detail=detail)

    def _read(self, sight: Entry) -> Entry:
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
        found = FoundFile(sight.folder, sight.name, header.sop, size, modified, md5.hexdigest())
        return sight._replace(kind=EntryKind.DICOM, series=header.series, found=found)


def _not_dicom(sight: Entry, head: bytes) -> Entry:
    """A file that is called DICOM and is none was one once, or was meant to be."""
    if not sight.name.lower().endswith(".dcm"):
        return sight._replace(kind=EntryKind.OTHER)
    detail = "the file is not a DICOM file" if head else "the file is empty"
    return sight._replace(kind=EntryKind.DAMAGED, detail=detail)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


@dataclass(slots=True)
class Matches:
    """The series that files were found of."""

    known: list[Series] = field(default_factory=list)
    """As listed."""
    foreign: list[ForeignSeries] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def match(
    found: Mapping[str, Sequence[FoundFile]],
    collection: Collection | None,
    lister: SeriesLister | None,
) -> Matches:
    """Find the archive's series of these files.

    With a collection that the catalog has nothing is sent anywhere; without a collection, the
    archive is asked about the series that the catalog does not know.

    Args:
        found: files by SeriesInstanceUID.
        collection: takes its series alone; None takes all that are known.
        lister: asked about what the catalog does not have; None to ask nobody.

    Raises:
        ArchiveError: the list of the collection could not be had.
    """
    matches = Matches()
    asked = True
    if collection is not None:
        known = _of_collection(collection, lister)
    else:
        known, asked = _of_any(sorted(found), lister, matches)
    matches.known = [known[uid] for uid in sorted(found) if uid in known]
    matches.foreign = _foreign(found, known, asked=asked)
    return matches


def _of_collection(collection: Collection, lister: SeriesLister | None) -> dict[str, Series]:
    if series_catalog.has(collection.name):
        series = series_catalog.load(collection.name)
    elif lister is not None:
        series = lister.list_collection(collection.nbia or collection.name)
    else:
        raise NotAvailableError(
            f"the catalog does not list {collection.name}",
            hint="use --source nbia or auto for it",
        )
    return {one.uid: one for one in series}


def _of_any(
    uids: Sequence[str], lister: SeriesLister | None, matches: Matches
) -> tuple[dict[str, Series], bool]:
    """The known ones among series, and whether all others could be asked about."""
    known = series_catalog.find(uids) if uids else {}
    others = [uid for uid in uids if uid not in known]
    if not others or lister is None:
        return known, True
    try:
        listed = lister.list_series(others)
    except ArchiveError as error:
        matches.notices.append(f"series outside the catalog are left out: {error.message}")
        return known, False
    return known | {one.uid: one for one in listed}, True


def _foreign(
    found: Mapping[str, Sequence[FoundFile]], known: Mapping[str, Series], *, asked: bool
) -> list[ForeignSeries]:
    others = [uid for uid in sorted(found) if uid not in known]
    elsewhere = series_catalog.find(others) if others else {}
    foreign = []
    for uid in others:
        files, of = found[uid], elsewhere.get(uid)
        collection = of.collection if of else ""
        foreign.append(ForeignSeries(uid, len(files), files[0].file, collection, asked))
    return foreign
