"""Checking the files of one series, batch by batch, and finding unexpected ones."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ChecksumError, ForeignImageError
from tcia_covid.core.models import Receipt, StoredImage
from tcia_covid.core.safe_names import STATE_FOLDER, is_system_file
from tcia_covid.formats.dicom.header import header_of_file
from tcia_covid.formats.dicom.validate import validate_file
from tcia_covid.formats.nifti import read_volume
from tcia_covid.operations.verify.result import Reason
from tcia_covid.store.tree import Tree

_BYTES = 8 * 1024 * 1024
"""Bytes of a piece from which on it takes no further image."""
_IMAGES = 64
_BUFFER = 512 * 1024
"""Bytes that are hashed at once."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images of one series, to be hashed one after the other."""

    receipt: Receipt
    folder: Path
    images: tuple[StoredImage, ...]
    faults: tuple[FileProblem, ...]
    """What the names in the folder tell already."""
    inner_folders: tuple[str, ...]
    """Folders in the series' folder, relative to the collection's."""
    last: bool
    """Whether the series has no further piece."""

    @property
    def size(self) -> int:
        """Bytes of the images."""
        return sum(image.size for image in self.images)


def make_batches(tree: Tree, receipt: Receipt) -> Iterator[Batch]:
    """Compare the names in the series' folder with its receipt, and share out the images."""
    folder = tree.path(receipt)
    try:
        present = _entries(folder)
    except OSError as error:
        faults = tuple(_unreachable(receipt, error))
        yield Batch(receipt, folder, (), faults, (), last=True)
        return
    files = {name for name, entry in present.items() if entry.is_file()}
    inner = tuple(
        f"{receipt.folder}/{name}"
        for name, entry in sorted(present.items())
        if entry.is_dir(follow_symlinks=False)
    )
    faults = tuple(_by_name(receipt, folder, present, files))
    groups = list(_groups([image for image in receipt.images if image.file in files])) or [()]
    for number, group in enumerate(groups, start=1):
        yield Batch(receipt, folder, group, faults, inner, last=number == len(groups))
        faults, inner = (), ()


def check_batch(piece: Batch, look: CheckOptions) -> list[FileProblem]:
    """Look at every image of a piece."""
    receipt = piece.receipt
    faults = list(piece.faults)
    folder, buffer = os.path.join(piece.folder, ""), memoryview(bytearray(_BUFFER))  # noqa: PTH118
    for image in piece.images:
        file = f"{receipt.folder}/{image.file}"
        fault = check_image(folder, file, image, receipt.series.uid, look, buffer)
        if fault is not None:
            faults.append(fault)
    return faults


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    """What is in a series' folder, but for the system's own files.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries if not is_system_file(entry.name)}
    except FileNotFoundError:
        return {}


def _unreachable(receipt: Receipt, error: OSError) -> Iterator[FileProblem]:
    """All images of a series whose folder cannot be looked into."""
    for image in receipt.images:
        detail = error.strerror or str(error)
        yield FileProblem(
            f"{receipt.folder}/{image.file}", Reason.UNREADABLE, detail, mendable=False
        )


def _by_name(
    receipt: Receipt, folder: Path, present: Mapping[str, os.DirEntry[str]], files: set[str]
) -> Iterator[FileProblem]:
    """Images that are missing or not a file, and files that the receipt does not name."""
    expected = {image.file for image in receipt.images}
    for name in sorted(expected - files):
        yield FileProblem(f"{receipt.folder}/{name}", *_why_no_file(present.get(name)))
    for name in sorted(present.keys() - expected):
        file = f"{receipt.folder}/{name}"
        if name in files:
            yield check_unexpected(folder / name, file, receipt.series.uid)
        elif not present[name].is_dir(follow_symlinks=False):
            yield FileProblem(file, Reason.UNEXPECTED, "not a regular file", extra=True)


def _why_no_file(entry: os.DirEntry[str] | None) -> tuple[Reason, str]:
    if entry is None:
        return Reason.MISSING, ""
    if entry.is_symlink():
        return Reason.MISSING, "the link leads to no file"
    return Reason.CHANGED, "not a regular file"


def _groups(images: list[StoredImage]) -> Iterator[tuple[StoredImage, ...]]:
    group: list[StoredImage] = []
    size = 0
    for image in images:
        group.append(image)
        size += image.size
        if size >= _BYTES or len(group) >= _IMAGES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One file of a collection that failed verification, or that is not of this program."""

    file: str
    """Relative to the collection's folder, with forward slashes."""
    reason: Reason
    detail: str
    extra: bool = False
    """Whether no receipt names it: then nothing is damaged."""
    mendable: bool = True
    """Whether fetching it again mends it."""
    option: str = ""
    """What the download that does so needs, such as `--update`."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How images are looked at."""

    deep: bool
    """Whether each is read as DICOM, too."""
    stop: CancelToken


def check_image(
    folder: str, file: str, image: StoredImage, series: str, look: CheckOptions, buffer: memoryview
) -> FileProblem | None:
    """Hash one image; None if it is what its receipt says.

    Args:
        folder: where it is, up to its name; joining Paths would take as long as opening it.
        file: what it is called in the fault.
        image: what the receipt says of it.
        series: the SeriesInstanceUID.
        look: how to look.
        buffer: to read into; a new one for each file costs a tenth of hashing it.
    """
    path = folder + image.file
    try:
        size, md5 = _size_and_md5(path, image.size, look.stop, buffer)
    except FileNotFoundError:
        return FileProblem(file, Reason.MISSING, "")
    except OSError as error:
        return FileProblem(file, Reason.UNREADABLE, error.strerror or str(error))
    if size != image.size:
        detail = f"{size} bytes where its receipt says {image.size}"
    elif md5 != image.md5:
        detail = f"MD5 {md5} where its receipt says {image.md5}"
    else:
        return _deep_fault(Path(path), file) if look.deep else None
    other = _other_series(Path(path), series)
    if other:
        return FileProblem(file, Reason.FOREIGN, f"an image of series {other}")
    return FileProblem(file, Reason.CHANGED, detail)


def check_unexpected(path: Path, file: str, series: str) -> FileProblem:
    """Describe a file in the folder of `series` that its receipt does not name."""
    try:
        found = header_of_file(path).series
    except OSError as error:
        detail = f"not readable: {error.strerror or error}"
    except ForeignImageError:
        detail = "not a DICOM file"
    else:
        detail = "an image of this series" if found == series else f"an image of series {found}"
    return FileProblem(file, Reason.UNEXPECTED, detail, extra=True)


def _size_and_md5(
    path: str, expected: int, stop: CancelToken, buffer: memoryview
) -> tuple[int, str]:
    """Size and MD5 of a file; no MD5 where the size tells enough."""
    md5 = hashlib.md5(usedforsecurity=False)
    size = 0
    with FileIO(path) as file:
        there = os.fstat(file.fileno()).st_size
        if there != expected:
            return there, ""
        while count := file.readinto(buffer):
            md5.update(buffer[:count])
            size += count
            stop.check()
    return size, md5.hexdigest()


def _deep_fault(path: Path, file: str) -> FileProblem | None:
    """What reading the whole file finds; its bytes are as they came, so no download mends it."""
    try:
        if file.endswith(".nii.gz"):
            read_volume(path)
        else:
            validate_file(path)
    except (ForeignImageError, ChecksumError) as error:
        return FileProblem(file, Reason.UNREADABLE, error.message, mendable=False)
    except OSError as error:
        return FileProblem(file, Reason.UNREADABLE, error.strerror or str(error))
    return None


def _other_series(path: Path, series: str) -> str:
    """The series that a file is of, where that is another one."""
    try:
        found = header_of_file(path).series
    except (OSError, ForeignImageError):
        return ""
    return found if found != series else ""


def find_unexpected(
    root: Path, known: Set[str], inner_folders: Iterable[str]
) -> Iterator[tuple[str, FileProblem]]:
    """Find the files outside all series folders; yield each with the series that it is of.

    A user's own files next to `metadata.csv` are not listed unless they are DICOM. Links are
    listed and never followed. A hidden folder (`.git`, `.ipynb_checkpoints`) is listed as one
    entry. Files that an operating system makes are not listed.

    Args:
        root: the collection's folder.
        known: the folders of all receipts, relative to `root`.
        inner_folders: folders in series folders, relative to `root`.
    """
    above = {str(parent) for folder in known for parent in PurePosixPath(folder).parents}
    waiting = [*(folder for folder in inner_folders if folder not in known), ""]
    while waiting:
        prefix = waiting.pop()
        if prefix.rpartition("/")[2].startswith("."):
            if "/" in prefix:
                yield "", _unexpected(f"{prefix}/", "a hidden folder")
            continue
        entries, fault = _sorted_entries(root, prefix)
        yield from (("", one) for one in fault)
        for entry in entries:
            file = f"{prefix}/{entry.name}" if prefix else entry.name
            if file in known or file == STATE_FOLDER or is_system_file(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(file)
            elif file not in above:  # else a link that a user put in the place of a moved folder
                yield from _unexpected_entry(entry, file, top=not prefix)


def _sorted_entries(root: Path, folder: str) -> tuple[list[os.DirEntry[str]], list[FileProblem]]:
    """What is in a folder, by name; a fault if it cannot be read."""
    try:
        with os.scandir(root / folder) as listing:
            return sorted(listing, key=lambda entry: entry.name), []
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [FileProblem(folder, Reason.UNREADABLE, error.strerror or str(error))]


def _unexpected_entry(
    entry: os.DirEntry[str], file: str, *, top: bool
) -> Iterator[tuple[str, FileProblem]]:
    series = _series_of(entry)
    if series or not top:
        yield series, _unexpected(file, "no receipt names it")


def _unexpected(file: str, detail: str) -> FileProblem:
    return FileProblem(file, Reason.UNEXPECTED, detail, extra=True, mendable=False)


def _series_of(entry: os.DirEntry[str]) -> str:
    """The series that a file is an image of; empty if it is none."""
    if not entry.is_file(follow_symlinks=False):
        return ""
    try:
        return header_of_file(Path(entry.path)).series
    except (OSError, ForeignImageError):
        return ""
