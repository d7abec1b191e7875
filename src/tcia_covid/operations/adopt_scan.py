"""Find the DICOM files in a folder, hash them, and look up their series.

File names do not matter, except that a damaged file is reported only if its name ends in `.dcm`.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Collection as AbstractCollection
from dataclasses import dataclass, field
from enum import Enum, auto
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, ForeignImageError, NotAvailableError
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import Series
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.formats.dicom import header_of_file
from tcia_covid.selection.listing import SeriesLister

_HEAD_SIZE = 64 * 1024
"""Nearly every header fits into it."""
_CHUNK_SIZE = 256 * 1024
_PREAMBLE = 132
OnProgress = Callable[[int, int], None]
"""Receives bytes and images as they are read, in the caller's thread."""


class Reason(str, Enum):
    """Why a file or a series is not adopted."""

    CHANGED = "changed"
    """The bytes differ from the archive's, or from those of the image in the layout."""
    TRUNCATED = "truncated"
    """As `changed`, and the file ends in the middle of a data element."""
    UNREADABLE = "unreadable"
    """I/O error, or the file is not DICOM despite its name."""
    NOT_IN_SERIES = "not-in-series"
    """The archive's series, or the series in the layout, has no such SOPInstanceUID."""
    INCOMPLETE = "incomplete"
    """Images are missing or wrong: the next download fetches them."""
    NO_HASH = "no-hash"
    """The archive has no hash of some images, so these cannot be verified."""
    NO_RESPONSE = "no-response"
    """No archive responded."""
    LOCKED = "locked"
    """Another run works on the series."""


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file that was not adopted."""

    file: str
    """Relative to the folder, with forward slashes."""
    reason: Reason
    detail: str
    series: str = ""
    """SeriesInstanceUID; empty if the file has none."""


@dataclass(frozen=True, slots=True)
class ForeignSeries:
    """A series of another collection, or one that no archive knows."""

    series: str
    images: int
    example: str
    """One of its files."""
    collection: str = ""
    """Empty if not known."""
    looked_up: bool = True
    """Whether an archive could be asked about it."""


@dataclass(slots=True)
class OtherFiles:
    """What else is in the folder; none of it is changed."""

    not_dicom: int = 0
    symlinks: int = 0
    """Never followed."""
    zip_files: list[str] = field(default_factory=list)
    """Never opened."""


class FoundFile(NamedTuple):
    """A DICOM file in the folder; a tuple saves memory, there may be half a million."""

    folder: str
    """Relative to the folder that is adopted."""
    name: str
    uid: str
    """SOPInstanceUID."""
    size: int
    modified: int
    """Its `st_mtime_ns` before it was hashed."""
    md5: str

    @property
    def file(self) -> str:
        """Its path relative to the folder that is adopted."""
        return _join(self.folder, self.name)


class EntryKind(Enum):
    """What a directory entry is."""

    FILE = auto()
    """Not read yet."""
    DICOM = auto()
    DAMAGED = auto()
    ZIP = auto()
    SYMLINK = auto()
    STATE_FOLDER = auto()
    """The state folder of a tree of this program."""
    OTHER = auto()


class Entry(NamedTuple):
    """One directory entry."""

    kind: EntryKind
    folder: str
    name: str
    detail: str = ""
    series: str = ""
    file: FoundFile | None = None


@dataclass(slots=True)
class Inventory:
    """Everything in a folder."""

    series: dict[str, list[FoundFile]] = field(default_factory=lambda: defaultdict(list))
    """By SeriesInstanceUID."""
    damaged: list[DamagedFile] = field(default_factory=list)
    files: OtherFiles = field(default_factory=OtherFiles)
    images: int = 0
    has_tree: bool = False
    """Whether a tree of this program is in it."""

    def add(self, entry: Entry) -> None:
        """Count an entry."""
        if entry.file is not None:
            self.images += 1
            self.series[entry.series].append(entry.file)
        elif entry.kind is EntryKind.DAMAGED:
            path = _join(entry.folder, entry.name)
            self.damaged.append(DamagedFile(path, Reason.UNREADABLE, entry.detail))
        elif entry.kind is EntryKind.ZIP:
            self.files.zip_files.append(_join(entry.folder, entry.name))
        self.has_tree |= entry.kind is EntryKind.STATE_FOLDER
        self.files.symlinks += entry.kind is EntryKind.SYMLINK
        self.files.not_dicom += entry.kind is EntryKind.OTHER


def scan(
    root: Path,
    *,
    skipped: AbstractCollection[Path],
    jobs: int,
    stop: CancelToken,
    on_progress: OnProgress,
) -> Inventory:
    """Read and hash every DICOM file below `root`, in `jobs` threads.

    Symbolic links are not followed, and the folders in `skipped` are left out.

    Raises:
        TciaCovidError: the scan was cancelled.
    """
    inventory = Inventory()

    def read(entry: Entry) -> Entry:
        return _read(root, entry, stop) if entry.kind is EntryKind.FILE else entry

    for _, entry in parallel_map(read, walk(root, skipped), jobs, stop):
        inventory.add(entry)
        if entry.file is not None:
            on_progress(entry.file.size, 1)
    return inventory


def walk(root: Path, skipped: AbstractCollection[Path]) -> Iterator[Entry]:
    """List what is below a folder, in a stable order, without opening any file."""
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        subfolders = []
        for entry in _list_folder(root, folder):
            if isinstance(entry, Entry):
                yield entry
            elif not entry.is_dir(follow_symlinks=False):
                yield Entry(_kind(entry), folder, entry.name)
            elif entry.name == STATE_FOLDER:
                # Files in staging may be correct; those in quarantine are not.
                yield Entry(EntryKind.STATE_FOLDER, folder, entry.name)
                subfolders.append(_join(folder, f"{STATE_FOLDER}/staging"))
            elif root / folder / entry.name not in skipped:
                subfolders.append(_join(folder, entry.name))
        waiting += reversed(subfolders)


def _list_folder(root: Path, folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    try:
        with os.scandir(root / folder) as entries:
            # Hidden folders last: of two equal files, the visible one is used.
            yield from sorted(entries, key=lambda entry: (entry.name.startswith("."), entry.name))
    except FileNotFoundError:
        return
    except OSError as error:
        parent, _, name = folder.rpartition("/")
        detail = f"the folder cannot be read: {error.strerror or error}"
        yield Entry(EntryKind.DAMAGED, parent, name or ".", detail)


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_symlink():
        return EntryKind.SYMLINK
    if not entry.is_file(follow_symlinks=False):
        return EntryKind.OTHER  # opening a pipe or a socket would block
    return EntryKind.ZIP if entry.name.lower().endswith(".zip") else EntryKind.FILE


def _read(root: Path, entry: Entry, stop: CancelToken) -> Entry:
    """Find out what a file is, and hash it if it is DICOM; called in several threads."""
    path = root / entry.folder / entry.name
    try:
        with FileIO(path, opener=open_regular) as stream:
            head = stream.read(_HEAD_SIZE)
            if head[128:_PREAMBLE] != b"DICM":
                return _not_dicom(entry, head)
            modified = os.fstat(stream.fileno()).st_mtime_ns
            md5 = hashlib.md5(head, usedforsecurity=False)
            size = len(head)
            while chunk := stream.read(_CHUNK_SIZE):
                stop.check()
                md5.update(chunk)
                size += len(chunk)
        header = header_of_file(path, head)
    except OSError as error:
        detail = f"the file cannot be read: {error.strerror or error}"
        return entry._replace(kind=EntryKind.DAMAGED, detail=detail)
    except ForeignImageError as error:
        return entry._replace(kind=EntryKind.DAMAGED, detail=error.message)
    file = FoundFile(entry.folder, entry.name, header.sop, size, modified, md5.hexdigest())
    return entry._replace(kind=EntryKind.DICOM, series=header.series, file=file)


def _not_dicom(entry: Entry, head: bytes) -> Entry:
    if not entry.name.lower().endswith(".dcm"):
        return entry._replace(kind=EntryKind.OTHER)
    detail = "the file is not a DICOM file" if head else "the file is empty"
    return entry._replace(kind=EntryKind.DAMAGED, detail=detail)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


@dataclass(slots=True)
class Matches:
    """The series of the files."""

    known: list[Series] = field(default_factory=list)
    """As listed."""
    foreign: list[ForeignSeries] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def match(
    files: Mapping[str, Sequence[FoundFile]],
    collection: Collection | None,
    lister: SeriesLister | None,
) -> Matches:
    """Look up the series of the files.

    For a collection of the catalog, no request is sent. Without a collection, the archive is asked
    about the series that are not in the catalog.

    Args:
        files: by SeriesInstanceUID.
        collection: match only its series; None for every known series.
        lister: asked about series that are not in the catalog; None to send no request.

    Raises:
        ArchiveError: the collection could not be listed.
    """
    matches = Matches()
    uids = sorted(files)
    if collection is not None:
        known, looked_up = _series_of(collection, lister), True
    else:
        known, looked_up = _look_up(uids, lister, matches)
    matches.known = [known[uid] for uid in uids if uid in known]
    others = [uid for uid in uids if uid not in known]
    elsewhere = series_catalog.find(others) if others else {}
    for uid in others:
        name = elsewhere[uid].collection if uid in elsewhere else ""
        example = files[uid][0].file
        matches.foreign.append(ForeignSeries(uid, len(files[uid]), example, name, looked_up))
    return matches


def _series_of(collection: Collection, lister: SeriesLister | None) -> dict[str, Series]:
    if series_catalog.has(collection.name):
        listed = series_catalog.load(collection.name)
    elif lister is not None:
        listed = lister.list_collection(collection.nbia or collection.name)
    else:
        raise NotAvailableError(
            f"the catalog does not list {collection.name}",
            hint="use --source nbia or --source auto for it",
        )
    return {series.uid: series for series in listed}


def _look_up(
    uids: Sequence[str], lister: SeriesLister | None, matches: Matches
) -> tuple[dict[str, Series], bool]:
    """The known series, and whether the archive could be asked about the others."""
    known = series_catalog.find(uids) if uids else {}
    others = [uid for uid in uids if uid not in known]
    if not others or lister is None:
        return known, True
    try:
        listed = lister.list_series(others)
    except ArchiveError as error:
        matches.notices.append(f"series that are not in the catalog are skipped: {error.message}")
        return known, False
    return known | {series.uid: series for series in listed}, True
