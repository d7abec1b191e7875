"""Finding files of other programs, placing them in staging, removing originals that were moved."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import ADOPTED, Check, ImageAttributes, StoredImage
from tcia_covid.core.safe_names import STATE_FOLDER, is_in_hidden_folder
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import Disk, succeeded
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import is_in_tree

Mode = Literal["link", "copy", "move", "take"]
PlacementMethod = Literal["link", "rename", "reflink", "copy", "staged", "existing"]
"""`staged`, `existing`: the same bytes were in staging, or in the layout, already."""
_PIECE = 256 * 1024


class EntryKind(Enum):
    """What a directory entry is."""

    FILE = auto()
    SYMLINK = auto()
    """Never followed."""
    OTHER = auto()
    """A pipe, a socket, a device: opening it would block."""
    STATE_FOLDER = auto()
    """The state folder of a tree of this program."""
    UNREADABLE = auto()
    """A folder that cannot be listed."""


class Entry(NamedTuple):
    """An entry of a folder that is not a folder to descend into."""

    kind: EntryKind
    folder: str
    """Relative to the folder that is searched, with forward slashes."""
    name: str
    detail: str = ""

    @property
    def file(self) -> str:
        """Its path relative to the folder that is searched."""
        return _join(self.folder, self.name)


class FoundFile(NamedTuple):
    """A file as it was when it was hashed; a tuple saves memory, there may be half a million."""

    folder: str
    """Relative to the folder that is adopted, with forward slashes."""
    name: str
    uid: str
    """Of the image."""
    size: int
    modified: int
    """Its `st_mtime_ns` before it was hashed."""
    md5: str
    attributes: ImageAttributes | None = None
    """From its header; None of a file that is not DICOM."""

    @property
    def file(self) -> str:
        """Its path relative to the folder that is adopted."""
        return _join(self.folder, self.name)


def walk(root: Path, skipped: Collection[Path], *, in_staging: bool = True) -> Iterator[Entry]:
    """List what is below a folder, in a stable order, without opening any file.

    Args:
        root: the folder.
        skipped: absolute paths of folders that are left out.
        in_staging: whether to list files that this program has in staging; they may be correct,
            those in quarantine are not.
    """
    top, waiting = Path(os.path.realpath(root)), [""]
    while waiting:
        folder = waiting.pop()
        subfolders = []
        for entry in _list_folder(top, folder):
            if isinstance(entry, Entry):
                yield entry
            elif not entry.is_dir(follow_symlinks=False):
                yield Entry(_kind(entry), folder, entry.name)
            elif entry.name == STATE_FOLDER:
                yield Entry(EntryKind.STATE_FOLDER, folder, entry.name)
                subfolders += [_join(folder, f"{STATE_FOLDER}/staging")] * in_staging
            elif top / folder / entry.name not in skipped:
                subfolders.append(_join(folder, entry.name))
        waiting += reversed(subfolders)


def _list_folder(top: Path, folder: str) -> Iterator[os.DirEntry[str] | Entry]:
    try:
        with os.scandir(top / folder) as entries:
            # Hidden folders last: of two equal files, the visible one is used.
            yield from sorted(entries, key=lambda entry: (entry.name.startswith("."), entry.name))
    except FileNotFoundError:
        return
    except OSError as error:
        parent, _, name = folder.rpartition("/")
        detail = f"the folder cannot be read: {error.strerror or error}"
        yield Entry(EntryKind.UNREADABLE, parent, name or ".", detail)


def _kind(entry: os.DirEntry[str]) -> EntryKind:
    if entry.is_symlink():
        return EntryKind.SYMLINK
    return EntryKind.FILE if entry.is_file(follow_symlinks=False) else EntryKind.OTHER


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def refuse_own_folder(folder: Path, roots: Collection[Path]) -> None:
    """Check that a folder to adopt exists and is not in a collection's folder of the output.

    Raises:
        RequestError: one of these is not true.
    """
    if not folder.is_dir():
        raise RequestError(f"there is no folder {folder}", hint="give the folder to adopt")
    for root in roots:
        if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(root)):
            raise RequestError(
                f"{folder} is one of this program's own folders in {root.parent}",
                hint="'verify' checks it, 'download' completes it",
            )


def check_move(folder: Path, *, has_tree: bool) -> None:
    """Check that no receipt needs the files that `move` would take out of a folder.

    `has_tree` says whether a tree of this program is in it.

    Raises:
        UsageError: it belongs to a tree of this program.
    """
    if has_tree or is_in_tree(folder.resolve()):
        raise UsageError(
            f"{folder} contains files that this program has receipts of: "
            "--move would leave receipts without files",
            hint="use --link or --copy",
        )


@dataclass(frozen=True, slots=True)
class FilePlacer:
    """Places files of one folder."""

    root: Path
    """The folder."""
    mode: Mode
    """`link` and `move` make a hard link where that is possible, else share blocks, else copy;
    `copy` makes no hard link; `take` renames where it cannot link, for files that can be
    downloaded again. Only `remove` removes originals."""
    disk: Disk
    source: str = ADOPTED
    """Recorded as the source of images."""
    suffix: str = ".dcm"
    """What images' names end in."""
    on_bytes: Callable[[int], None] = lambda count: None
    """Called with the number of bytes copied; what it raises ends the copy."""

    def place(
        self, found: FoundFile, check: Check, staging: Staging
    ) -> PlacementMethod | Literal[""]:
        """Put a file into a staging folder under its own UID.

        Returns:
            the method; empty if the file is no longer the one that was hashed.

        Raises:
            OSError: the disk.
        """
        staged = staging.images.get(found.uid)
        if staged is not None and staged.md5 == found.md5:
            staging.adopt(replace(staged, check=staged.check if check is Check.SIZE else check))
            return "existing" if found.uid in staging.in_place else "staged"
        if staged is not None:
            staging.discard(found.uid)
        image = StoredImage(
            found.uid, found.size, found.md5, check, self.source, self.suffix, found.attributes
        )
        method = self._place(found, Path(staging.path(image)))
        if method:
            staging.adopt(image)
        return method

    def remove(self, found: FoundFile, image: Path) -> bool:
        """Remove an original and the folders that this leaves empty, if its bytes are elsewhere.

        What is in a hidden folder stays: the objects of git-annex or DVC belong to these.

        Args:
            found: as it was hashed; it stays if it changed since.
            image: the same image in the layout, which is read.
        """
        file = self.root / found.file
        if self.mode != "take" and is_in_hidden_folder(PurePosixPath(found.file)):
            return False
        if not (self._is_same(found) and is_redundant_copy(file, image, found.size, found.md5)):
            return False
        if not succeeded(lambda: self.disk.remove(file)):
            return False
        folder = file.parent
        while folder != self.root and self.root in folder.parents:
            self.disk.remove_empty(folder)
            folder = folder.parent
        return True

    def _place(self, found: FoundFile, target: Path) -> PlacementMethod | Literal[""]:
        source, disk = self.root / found.file, self.disk
        if not self._is_same(found):
            return ""
        # A name of a file that may not be written cannot be synced on commit.
        may_link = not disk.durable or os.access(source, os.W_OK)
        method: PlacementMethod
        if may_link and self.mode != "copy" and succeeded(lambda: disk.link(source, target)):
            method = "link"
        elif may_link and self.mode == "take" and succeeded(lambda: disk.replace(source, target)):
            return "rename"
        elif succeeded(lambda: disk.reflink(source, target)):
            method = "reflink"
        else:
            return self._copy(found, source, target)
        if self._is_same(found):
            return method
        self.disk.remove(target)
        return ""

    def _copy(self, found: FoundFile, source: Path, target: Path) -> Literal["copy", ""]:
        md5 = hashlib.md5(usedforsecurity=False)
        part = target.with_name(f".{target.name}.part")
        try:
            with self.disk.create(part) as file:
                for piece in _pieces(source):
                    self.disk.write(file, piece)
                    md5.update(piece)
                    self.on_bytes(len(piece))
            if md5.hexdigest() == found.md5:
                self.disk.replace(part, target)
                return "copy"
            self.disk.remove(part)
        except BaseException:
            with contextlib.suppress(OSError):
                self.disk.remove(part)
            raise
        return ""

    def _is_same(self, found: FoundFile) -> bool:
        try:
            now = (self.root / found.file).stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (found.size, found.modified)


def _pieces(path: Path) -> Iterator[bytes]:
    # A file that cannot be read ends early; its hash shows that.
    with contextlib.suppress(OSError), open(path, "rb", buffering=0, opener=open_regular) as file:
        while piece := file.read(_PIECE):
            yield piece


def is_redundant_copy(path: Path, other: Path, size: int, md5: str) -> bool:
    """Whether a file of this size and MD5 may be removed: another one, which is read, equals it."""
    try:
        if os.path.realpath(path) == os.path.realpath(other):
            return False  # one name, reached through a symbolic link
        status = path.stat()
        if os.path.samestat(status, other.stat()):
            return status.st_nlink > 1  # else both are one name, seen through two mounts
        return hash_file(other, "md5") == (size, md5)
    except OSError:
        return False
