"""Taking over images that are on disk already: each is hashed and read, none is trusted."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tcia_covid.dicom import header_of_file
from tcia_covid.errors import ForeignImageError
from tcia_covid.model import ADOPTED, Receipt, StoredImage
from tcia_covid.names import is_system_file
from tcia_covid.store.disk import Disk
from tcia_covid.store.origins import Origins
from tcia_covid.store.quarantine import discard, set_aside
from tcia_covid.store.staging import Staging

_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A DICOM file on disk."""

    uid: str
    series: str
    size: int
    md5: str


def hash_file(path: Path, algorithm: Literal["md5", "sha256"]) -> tuple[int, str]:
    """Give a file's size and its hash in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    size = 0
    with path.open("rb", buffering=0) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def is_second(path: Path, other: Path, size: int, md5: str) -> bool:
    """Whether a file may go because another one has the same bytes, which is read to tell.

    Args:
        path: the file, of `size` bytes and this MD5.
        other: what stays.
        size: bytes.
        md5: 32 hex digits.
    """
    try:
        if os.path.realpath(path) == os.path.realpath(other):
            return False  # one name, reached through a symbolic link
        mine = path.stat()
        if os.path.samestat(mine, other.stat()):
            return mine.st_nlink > 1  # else both are one name, seen through two mounts
        return hash_file(other, "md5") == (size, md5)
    except OSError:
        return False


def hash_image(path: Path) -> FoundImage | None:
    """Hash a DICOM file and read its UIDs; None if it is none, or cannot be read."""
    try:
        size, md5 = hash_file(path, "md5")
        header = header_of_file(path)
    except (OSError, ForeignImageError):
        return None
    return FoundImage(header.sop, header.series, size, md5)


class Adoption:
    """Fills a staging folder from folders that earlier runs, or the tree itself, left.

    Args:
        disk: the seam to the file system.
        quarantine: where files go that differ from their receipt or do not belong there.
    """

    def __init__(self, disk: Disk, quarantine: Path) -> None:
        self._disk = disk
        self._quarantine = quarantine

    def fill(self, staging: Staging, others: list[Path], receipt: Receipt | None) -> None:
        """Move what is right from `others` into the staging folder, and take it in.

        Args:
            staging: what is filled.
            others: folders that belong to this run alone.
            receipt: what is known of the images, if the series stood in the tree before.
        """
        known = {image.uid: image for image in receipt.images} if receipt else {}
        staging.known = known
        for folder in [staging.folder, *others]:
            if folder.is_symlink() or not folder.is_dir():
                self._drop(staging, folder, known)
                continue
            origins = Origins(folder, self._disk).read()
            for file in sorted(folder.iterdir()):
                self._take(staging, file, known, origins)
            if folder != staging.folder:
                self._disk.remove_folder(folder)

    def _take(
        self,
        staging: Staging,
        file: Path,
        known: dict[str, StoredImage],
        origins: dict[str, str],
    ) -> None:
        if is_system_file(file.name):
            self._carry(staging, file)
            return
        if file.name.startswith("."):
            discard(self._disk, file)
            return
        found = hash_image(file) if file.is_file() and not file.is_symlink() else None
        if found is None or found.series != staging.series.uid or found.uid in staging.images:
            self._drop(staging, file, known)
            return
        source = origins.get(found.uid, ADOPTED)
        image = StoredImage(found.uid, found.size, found.md5, source=source)
        was = known.get(found.uid)
        if was is not None and was.md5 != found.md5:
            self._drop(staging, file, known)
            return
        if was is not None:
            image = replace(image, check=was.check, source=was.source)
        target = staging.folder / image.file
        if file != target:
            self._disk.replace(file, target)
        staging.adopt(image)

    def _carry(self, staging: Staging, file: Path) -> None:
        """Let the system's own files stay beside the images, where that needs no thought."""
        target = staging.folder / file.name
        if file != target and not os.path.lexists(target):
            with contextlib.suppress(OSError):
                self._disk.rename(file, target)

    def _drop(self, staging: Staging, file: Path, known: dict[str, StoredImage]) -> None:
        """Set aside what stood in the tree; a stub of a dead run is just removed."""
        if not known and file.suffix == ".dcm":
            discard(self._disk, file)
            return
        with contextlib.suppress(FileNotFoundError):
            set_aside(self._disk, file, self._quarantine)
            staging.set_aside_files += 1
