"""Check the files of one series, in batches, and find unexpected files."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ChecksumError, ForeignImageError
from tcia_covid.core.models import Receipt, StoredImage
from tcia_covid.core.safe_names import STATE_FOLDER, is_system_file
from tcia_covid.formats.dicom import header_of_file, validate_file
from tcia_covid.formats.hashes import hash_file, new_buffer
from tcia_covid.formats.nifti import read_volume
from tcia_covid.store.disk import is_missing
from tcia_covid.store.tree import Tree

_BATCH_SIZE = 8 * 1024 * 1024
"""A batch of at least so many bytes gets no further image."""
_BATCH_IMAGES = 64


class Reason(str, Enum):
    """What is wrong with a file."""

    MISSING = "missing"
    """It is in a receipt, but does not exist."""
    CHANGED = "changed"
    """Its bytes differ from its receipt, or the archive has another version now."""
    UNREADABLE = "unreadable"
    """I/O error, or not a valid DICOM file."""
    WRONG_SERIES = "wrong-series"
    """An image of another series under the name of an image of this one."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A file that failed verification."""

    series: str
    """SeriesInstanceUID; empty for a file that belongs to no series."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    reason: Reason
    detail: str = ""
    repairable: bool = True
    """Whether the next download repairs it."""
    option: str = ""
    """What that download needs for it: `--supporting`, `--update`, or nothing."""


@dataclass(frozen=True, slots=True)
class UnexpectedFile:
    """A file that is in no receipt: not this program's, and no damage."""

    series: str
    """SeriesInstanceUID if it is an image, else empty."""
    file: str
    """Relative to the folder that was checked, with forward slashes."""
    detail: str


Problem = Damage | UnexpectedFile
"""Its file name is relative to the collection's folder."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some images of one series, for one thread."""

    receipt: Receipt
    folder: Path
    images: tuple[StoredImage, ...]
    problems: tuple[Problem, ...]
    """Those that the names in the folder show."""
    subfolders: tuple[str, ...]
    """Folders in the series' folder, relative to the collection's."""
    is_last: bool
    """Whether it is the last batch of the series."""

    @property
    def size(self) -> int:
        """Bytes of the images."""
        return sum(image.size for image in self.images)


def make_batches(tree: Tree, receipt: Receipt) -> Iterator[Batch]:
    """Compare the names in the series' folder with its receipt, and divide the images."""
    folder = tree.path(receipt)
    try:
        entries = _spell_as(receipt, folder, _entries(folder, tree.foreign_link(receipt)))
    except OSError as error:
        uid, failure = receipt.series.uid, _io_error(error)
        problems: tuple[Problem, ...] = tuple(
            Damage(uid, f"{receipt.folder}/{image.file}", *failure, repairable=False)
            for image in receipt.images
        )
        yield Batch(receipt, folder, (), problems, (), is_last=True)
        return
    files = {name for name, entry in entries.items() if entry.is_file()}
    subfolders = tuple(
        f"{receipt.folder}/{name}"
        for name, entry in entries.items()
        if entry.is_dir(follow_symlinks=False)
    )
    problems = tuple(_compare_names(receipt, folder, entries, files))
    groups = list(_groups([image for image in receipt.images if image.file in files])) or [()]
    for number, group in enumerate(groups, start=1):
        yield Batch(receipt, folder, group, problems, subfolders, is_last=number == len(groups))
        problems, subfolders = (), ()


def check_batch(batch: Batch, *, deep: bool, stop: CancelToken) -> list[Problem]:
    """Check every image of a batch; `deep` also parses each file."""
    receipt, problems = batch.receipt, list(batch.problems)
    # Joining Paths would take as long as opening the file, and a new buffer for each file a tenth
    # of the time to hash it.
    folder = os.path.join(batch.folder, "")  # noqa: PTH118
    buffer = new_buffer()
    for image in batch.images:
        failure = _check_image(folder + image.file, image, receipt.series.uid, stop, buffer)
        repairable = True
        if failure is None and deep:
            failure, repairable = _parse(Path(folder, image.file))
        if failure is not None:
            file = f"{receipt.folder}/{image.file}"
            problems.append(Damage(receipt.series.uid, file, *failure, repairable=repairable))
    return problems


def _entries(folder: Path, foreign_link: str = "") -> dict[str, os.DirEntry[str]]:
    """What is in a folder, sorted by name, without files that the operating system makes.

    Raises:
        OSError: it cannot be read, or is behind a link that is not followed.
    """
    if foreign_link:
        raise OSError(errno.ELOOP, "behind another user's symbolic link", foreign_link)
    try:
        with os.scandir(folder) as entries:
            by_name = {entry.name: entry for entry in entries}
    except FileNotFoundError:
        return {}
    return {name: entry for name, entry in sorted(by_name.items()) if not is_system_file(name)}


def _spell_as(
    receipt: Receipt, folder: Path, entries: dict[str, os.DirEntry[str]]
) -> dict[str, os.DirEntry[str]]:
    """Entries by the names that the receipt has, where the file system ignores case."""
    expected = {image.file for image in receipt.images}
    if expected <= entries.keys():
        return entries
    spellings = _by_lower_case(expected - entries.keys())
    return {
        name if name in expected else _spelling(folder, name, spellings): entry
        for name, entry in entries.items()
    }


def _by_lower_case(names: Iterable[str]) -> dict[str, str]:
    return {name.casefold(): name for name in names}


def _spelling(root: Path, name: str, spellings: Mapping[str, str]) -> str:
    """The spelling that receipts have of a name, where the file system ignores case."""
    other = spellings.get(name.casefold(), name)
    if other != name:
        with contextlib.suppress(OSError):
            if (root / other).samefile(root / name):
                return other
    return name


def _compare_names(
    receipt: Receipt, folder: Path, entries: Mapping[str, os.DirEntry[str]], files: set[str]
) -> Iterator[Problem]:
    series = receipt.series.uid
    expected = {image.file for image in receipt.images}
    for name in sorted(expected - files):
        yield Damage(series, f"{receipt.folder}/{name}", *_why_not_file(entries.get(name)))
    for name in sorted(entries.keys() - expected):
        file = f"{receipt.folder}/{name}"
        if name in files:
            yield UnexpectedFile(series, file, _describe(folder / name, series))
        elif not entries[name].is_dir(follow_symlinks=False):
            yield UnexpectedFile(series, file, "not a regular file")


def _why_not_file(entry: os.DirEntry[str] | None) -> tuple[Reason, str]:
    if entry is None:
        return Reason.MISSING, ""
    if entry.is_symlink():
        return Reason.MISSING, "a broken symbolic link"
    return Reason.CHANGED, "not a regular file"


def _describe(path: Path, series: str) -> str:
    """Describe an unexpected file in the folder of `series`."""
    try:
        actual = header_of_file(path).series
    except OSError as error:
        return f"not readable: {error.strerror or error}"
    except ForeignImageError:
        return "not a DICOM file"
    return "an image of this series" if actual == series else f"an image of series {actual}"


def _groups(images: list[StoredImage]) -> Iterator[tuple[StoredImage, ...]]:
    group: list[StoredImage] = []
    size = 0
    for image in images:
        group.append(image)
        size += image.size
        if size >= _BATCH_SIZE or len(group) >= _BATCH_IMAGES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)


def _check_image(
    path: str, image: StoredImage, series: str, stop: CancelToken, buffer: memoryview
) -> tuple[Reason, str] | None:
    """Compare one file with its receipt; None if it is intact."""
    try:
        size, md5 = os.stat(path).st_size, ""  # noqa: PTH116 - joining Paths is slow
        if size == image.size:
            size, md5 = hash_file(path, "md5", buffer=buffer, on_block=stop.check)
    except OSError as error:
        return (Reason.MISSING, "") if is_missing(error) else _io_error(error)
    if (size, md5) == (image.size, image.md5):
        return None
    actual = _series_of(Path(path))
    if actual not in ("", series):
        return Reason.WRONG_SERIES, f"an image of series {actual}"
    if size != image.size:
        return Reason.CHANGED, f"{size} bytes, its receipt says {image.size}"
    return Reason.CHANGED, f"MD5 {md5}, its receipt says {image.md5}"


def _parse(path: Path) -> tuple[tuple[Reason, str] | None, bool]:
    """Read a whole file; what is wrong with it, and whether a download repairs that.

    An invalid file is as the archive has it: its MD5 is correct.
    """
    try:
        if path.name.endswith(".nii.gz"):
            read_volume(path)
        else:
            validate_file(path)
    except (ForeignImageError, ChecksumError) as error:
        return (Reason.UNREADABLE, error.message), False
    except OSError as error:
        return _io_error(error), True
    return None, True


def _io_error(error: OSError) -> tuple[Reason, str]:
    if isinstance(error, FileNotFoundError):
        return Reason.UNREADABLE, "its path is longer than programs on this system can open"
    return Reason.UNREADABLE, error.strerror or str(error)


def _series_of(path: Path) -> str:
    """The SeriesInstanceUID of an image; empty if the file is none."""
    try:
        return header_of_file(path).series
    except (OSError, ForeignImageError):
        return ""


def find_unexpected(root: Path, known: Set[str], subfolders: Iterable[str]) -> Iterator[Problem]:
    """Find the files that are in no series folder.

    A user's own files next to `metadata.csv` are listed only if they are DICOM. Symbolic links are
    listed, never followed. A hidden folder (`.git`, `.ipynb_checkpoints`) is listed as one entry.
    Files that an operating system makes are not listed. `known` are the folders of all receipts,
    `subfolders` those in series folders, both relative to `root`.
    """
    parents = {str(parent) for folder in known for parent in PurePosixPath(folder).parents}
    spellings = _by_lower_case({*known, *parents, STATE_FOLDER})
    waiting = [*(folder for folder in subfolders if folder not in known), ""]
    while waiting:
        for item in _look_into(root, waiting.pop(), known, parents, spellings):
            if isinstance(item, str):
                waiting.append(item)
            else:
                yield item


def _look_into(
    root: Path, folder: str, known: Set[str], parents: Set[str], spellings: Mapping[str, str]
) -> Iterator[Problem | str]:
    """The unexpected files in a folder, and its subfolders."""
    if folder.rpartition("/")[2].startswith("."):
        if "/" in folder:
            yield UnexpectedFile("", f"{folder}/", "a hidden folder")
        return
    try:
        entries = _entries(root / folder)
    except OSError as error:
        yield Damage("", folder, *_io_error(error))
        return
    for name, entry in entries.items():
        file = _spelling(root, f"{folder}/{name}".lstrip("/"), spellings)
        if file in known or file == STATE_FOLDER:
            continue
        series = _series_of(Path(entry.path)) if entry.is_file(follow_symlinks=False) else ""
        if entry.is_dir(follow_symlinks=False):
            yield file
        elif file not in parents and (series or folder):  # a parent: the user's link to a folder
            yield UnexpectedFile(series, file, "in no receipt")
