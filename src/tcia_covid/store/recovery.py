"""Taking over images that are on disk already: those of dead runs, and those in the tree."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from tcia_covid.core.models import ADOPTED, StoredImage
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.store.disk import Disk, files_in
from tcia_covid.store.images import DicomImages, FoundImage
from tcia_covid.store.quarantine import set_aside
from tcia_covid.store.staging import STAGED, ImageOrigins, Staging, is_resumable, is_temporary


class StagingRecovery:
    """Fills a staging folder from folders that earlier runs, or the tree itself, left.

    Each image is hashed. One whose bytes differ from the receipt counts as missing.

    Args:
        staging: what is filled; knows the images that the receipt names.
        disk: all file-system writes.
        images: the kind of images.
        quarantine: where images go that differ from their receipt.
        on_unexpected: takes a file that is not an image out of staging.
    """

    def __init__(
        self,
        staging: Staging,
        disk: Disk,
        images: DicomImages,
        quarantine: Path,
        on_unexpected: Callable[[Path], None],
    ) -> None:
        self._staging = staging
        self._disk = disk
        self._images = images
        self._quarantine = quarantine
        self._on_unexpected = on_unexpected

    def fill(self, others: list[Path]) -> None:
        """Move intact images from `others`, which belong to this run alone, into staging."""
        for folder in [self._staging.folder, *others]:
            if folder.is_symlink() or not folder.is_dir():
                self._set_aside(folder)
                continue
            origins = ImageOrigins(folder, self._disk).read()
            for file in sorted(folder.iterdir()):
                if not is_system_file(file.name):
                    self._take(file, origins)
            if folder != self._staging.folder:
                self._disk.remove_folder(folder)

    def find_in_place(self, folder: Path) -> None:
        """Take images of the series that are in its folder, and leave them where they are.

        These are links to the images, images on another file system, and images that no receipt
        names: a tree that was copied without its state, or one whose receipt is lost. A file
        counts where it has the name that this program gives it.
        """
        series = self._staging.series.uid
        for name in sorted(files_in(folder)):
            uid = name.removesuffix(self._images.suffix)
            if uid in self._staging.images or not self._images.is_name(name, series):
                continue
            found = self._images.read(folder / name)
            if found is not None and (found.series, found.uid) == (series, uid):
                image = self._as_recorded(found, ADOPTED)
                if image is not None:
                    self._staging.adopt(image, folder)

    def _take(self, file: Path, origins: dict[str, str]) -> None:
        staging = self._staging
        if is_resumable(file.name) and not file.is_symlink() and file.is_file():
            if file.parent != staging.folder:
                self._disk.replace(file, staging.folder / file.name)
            return
        if is_temporary(file.name) and not file.is_dir():
            self._disk.remove(file)
            return
        name = file.name.removesuffix(STAGED)
        if file.is_dir() or not self._images.is_name(name, staging.series.uid):
            with contextlib.suppress(FileNotFoundError):
                self._on_unexpected(file)
                staging.set_aside_files += 1
            return
        found = None if file.is_symlink() else self._images.read(file)
        image = None
        if found is not None and found.series == staging.series.uid:
            image = self._as_recorded(found, origins.get(found.uid, ADOPTED))
        if image is None or image.uid in staging.images:
            self._drop(file, image)
            return
        target = Path(staging.path(image))
        if file != target:
            self._disk.replace(file, target)
        staging.adopt(image)

    def _drop(self, file: Path, image: StoredImage | None) -> None:
        """Keep what was in the tree for inspection; remove what a dead run left half-way."""
        same = image is not None and self._staging.images[image.uid].md5 == image.md5
        if file.is_symlink() or (self._staging.known and not same):
            self._set_aside(file)
        else:
            self._disk.remove(file)

    def _set_aside(self, file: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            set_aside(self._disk, file, self._quarantine)
            self._staging.set_aside_files += 1

    def _as_recorded(self, found: FoundImage, source: str) -> StoredImage | None:
        """The image as its receipt has it; None if its bytes are not those of the receipt."""
        image, known = self._images.stored(found, source), self._staging.known.get(found.uid)
        if known is None:
            return image
        if known.md5 != image.md5:
            return None
        return replace(image, check=known.check, source=known.source)
