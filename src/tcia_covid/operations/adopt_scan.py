"""Find the DICOM files in a folder, hash them, and look up their series.

File names do not matter, except that a damaged file is reported only if its name ends in `.dcm`.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Collection as AbstractCollection
from dataclasses import dataclass, field
from enum import Enum
from io import FileIO
from pathlib import Path

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, ForeignImageError
from tcia_covid.core.events import Emit, ImagesChecked
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import Series
from tcia_covid.core.parallel import parallel_map
from tcia_covid.formats.dicom import HEAD_SIZE, header_of_file, is_dicom
from tcia_covid.selection.listing import ArchiveSource, CatalogSource, SeriesLister
from tcia_covid.store.placement import Entry, EntryKind, FoundFile, walk

_CHUNK_SIZE = 256 * 1024


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
class DuplicateFile:
    """A second file of an image."""

    file: str
    duplicate_of: str
    """The file that was used."""
    same_bytes: bool


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


DicomFile = tuple[str, FoundFile]
"""The SeriesInstanceUID in a file, and the file."""


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

    def add(self, entry: Entry, content: DicomFile | DamagedFile | None) -> None:
        """Count an entry."""
        if isinstance(content, tuple):
            series, file = content
            self.images += 1
            self.series[series].append(file)
        elif isinstance(content, DamagedFile):
            self.damaged.append(content)
        elif entry.kind is EntryKind.STATE_FOLDER:
            self.has_tree = True
        elif entry.kind is EntryKind.SYMLINK:
            self.files.symlinks += 1
        elif _is_zip(entry):
            self.files.zip_files.append(entry.file)
        else:
            self.files.not_dicom += 1


def scan(
    root: Path,
    *,
    skipped: AbstractCollection[Path],
    jobs: int,
    stop: CancelToken,
    emit: Emit,
) -> Inventory:
    """Read and hash every DICOM file below `root`, in `jobs` threads.

    Symbolic links are not followed, and the folders in `skipped` are left out.

    Raises:
        TciaCovidError: the scan was canceled.
    """
    inventory = Inventory()
    for entry, content in parallel_map(
        lambda entry: _read(root, entry, stop), walk(root, skipped), jobs, stop
    ):
        inventory.add(entry, content)
        if isinstance(content, tuple):
            emit(ImagesChecked(content[1].size, 1))
    return inventory


def _is_zip(entry: Entry) -> bool:
    return entry.kind is EntryKind.FILE and entry.name.lower().endswith(".zip")


def _read(root: Path, entry: Entry, stop: CancelToken) -> DicomFile | DamagedFile | None:
    """Find out what a file is, and hash it if it is DICOM; called in several threads."""
    if entry.kind is EntryKind.UNREADABLE:
        return DamagedFile(entry.file, Reason.UNREADABLE, entry.detail)
    if entry.kind is not EntryKind.FILE or _is_zip(entry):
        return None
    path = root / entry.file
    try:
        with FileIO(path, opener=open_regular) as stream:
            head = stream.read(HEAD_SIZE)
            if not is_dicom(head):
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
        return DamagedFile(entry.file, Reason.UNREADABLE, detail)
    except ForeignImageError as error:
        return DamagedFile(entry.file, Reason.UNREADABLE, error.message)
    identity = (header.sop, size, modified, md5.hexdigest())
    return header.series, FoundFile(entry.folder, entry.name, *identity, header.attributes)


def _not_dicom(entry: Entry, head: bytes) -> DamagedFile | None:
    if not entry.name.lower().endswith(".dcm"):
        return None
    detail = "the file is not a DICOM file" if head else "the file is empty"
    return DamagedFile(entry.file, Reason.UNREADABLE, detail)


def match(
    files: Mapping[str, Sequence[FoundFile]],
    collection: Collection | None,
    lister: SeriesLister | None,
    notify: Callable[[str], None],
) -> tuple[list[Series], list[ForeignSeries]]:
    """Look up the series of the files: those to adopt, as listed, and the others.

    For a collection of the catalog, no request is sent. Without a collection, the archive is asked
    about the series that are not in the catalog.

    Args:
        files: by SeriesInstanceUID.
        collection: match only its series; None for every known series.
        lister: asked about series that are not in the catalog; None to send no request.
        notify: called where the archive did not respond.

    Raises:
        ArchiveError: the collection could not be listed.
    """
    uids, looked_up = sorted(files), True
    cataloged = series_catalog.find(uids) if uids else {}
    if collection is not None and uids:
        online = ArchiveSource(lister, accept_listed=True, quick=None) if lister else None
        listed = CatalogSource(online).collection(collection).series
        known = {series.uid: series for series in listed}
    else:
        known = dict(cataloged)
        others = [uid for uid in uids if uid not in known]
        if others and lister is not None:
            try:
                known |= {series.uid: series for series in lister.list_series(others)}
            except ArchiveError as error:
                notify(f"series that are not in the catalog are skipped: {error.message}")
                looked_up = False
    foreign = [
        ForeignSeries(
            series=uid,
            images=len(files[uid]),
            example=files[uid][0].file,
            collection=cataloged[uid].collection if uid in cataloged else "",
            looked_up=looked_up,
        )
        for uid in uids
        if uid not in known
    ]
    return [known[uid] for uid in uids if uid in known], foreign
