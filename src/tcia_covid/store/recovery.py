"""Taking over images that are on disk already: each is hashed and its header read."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from pathlib import Path

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.models import ADOPTED, Receipt, StoredImage
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.formats.dicom.header import header_of_file
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import Disk, set_aside
from tcia_covid.store.notes import ImageOrigins
from tcia_covid.store.ownership import files_in
from tcia_covid.store.staging import STAGED, Staging, is_temporary


@dataclass(frozen=True, slots=True)
class FoundImage:
    """A DICOM file on disk."""

    uid: str
    series: str
    size: int
    md5: str


def is_redundant_copy(path: Path, other: Path, size: int, md5: str) -> bool:
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


class StagingRecovery:
    """Fills a staging folder from folders that earlier runs, or the tree itself, left.

    Args:
        disk: all changes of the file system.
        quarantine: where files go that differ from their receipt or do not belong in staging.
    """

    def __init__(self, disk: Disk, quarantine: Path) -> None:
        self._disk = disk
        self._quarantine = quarantine

    def fill(self, staging: Staging, others: list[Path], receipt: Receipt | None) -> None:
        """Move intact images from `others` into the staging folder.

        Args:
            staging: what is filled.
            others: folders that belong to this run alone.
            receipt: what is known of the images, if the series was complete before.
        """
        known = {image.uid: image for image in receipt.images} if receipt else {}
        staging.known = known
        for folder in [staging.folder, *others]:
            if folder.is_symlink() or not folder.is_dir():
                self._quarantine_file(staging, folder)
                continue
            origins = ImageOrigins(folder, self._disk).read()
            for file in sorted(folder.iterdir()):
                if not is_system_file(file.name):
                    self._take(staging, file, known, origins)
            if folder != staging.folder:
                self._disk.remove_folder(folder)

    def find_in_place(self, staging: Staging, folder: Path) -> None:
        """Take images of the series that are in its folder, and leave them where they are.

        These are links to the images, images on another file system, and images that no receipt
        names: a tree that was copied without its state, or one whose receipt is lost. A file
        counts where it has the name that this program gives it.

        Args:
            staging: knows the images that the receipt names, and those that are in staging.
            folder: the folder of the series in the tree.
        """
        for name in sorted(files_in(folder)):
            uid = name.removesuffix(".dcm")
            if uid == name or uid in staging.images:
                continue
            found = hash_image(folder / name)
            if found is None or (found.series, found.uid) != (staging.series.uid, uid):
                continue
            image = _as_recorded(found, staging.known, ADOPTED)
            if image is not None:
                staging.adopt(image, folder)

    def _take(
        self,
        staging: Staging,
        file: Path,
        known: dict[str, StoredImage],
        origins: dict[str, str],
    ) -> None:
        if is_temporary(file.name) and not file.is_dir():
            self._disk.remove(file)
            return
        if not file.name.endswith((".dcm", f".dcm{STAGED}")):
            self._quarantine_file(staging, file)
            return
        found = hash_image(file) if file.is_file() and not file.is_symlink() else None
        image = None
        if found is not None and found.series == staging.series.uid:
            image = _as_recorded(found, known, origins.get(found.uid, ADOPTED))
        if image is None or image.uid in staging.images:
            self._drop(staging, file, was_complete=bool(known))
            return
        target = Path(staging.path(image))
        if file != target:
            self._disk.replace(file, target)
        staging.adopt(image)

    def _drop(self, staging: Staging, file: Path, *, was_complete: bool) -> None:
        """Keep what was in the tree for inspection; remove what a dead run left half-way."""
        if was_complete or not file.is_file():
            self._quarantine_file(staging, file)
        else:
            self._disk.remove(file)

    def _quarantine_file(self, staging: Staging, file: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            set_aside(self._disk, file, self._quarantine)
            staging.set_aside_files += 1


def _as_recorded(
    found: FoundImage, known: dict[str, StoredImage], source: str
) -> StoredImage | None:
    """The image as its receipt has it; None if its bytes are not those of the receipt."""
    was = known.get(found.uid)
    image = StoredImage(found.uid, found.size, found.md5, source=source)
    if was is None:
        return image
    return replace(image, check=was.check, source=was.source) if was.md5 == found.md5 else None
