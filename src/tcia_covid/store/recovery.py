"""Recognizes images on disk, and reuses those of dead runs and of damaged series."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.models import ADOPTED, StoredImage
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.formats.dicom import header_of_file
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import files_in
from tcia_covid.store.layout import Layout
from tcia_covid.store.quarantine import set_aside
from tcia_covid.store.staging import STAGED, ImageOrigins, Staging, is_resumable, is_temporary


class DicomImages:
    """Recognizes DICOM files; a tree of other images replaces this class."""

    suffix = ".dcm"
    has_uids = True
    """Whether images have SOPInstanceUIDs, so that a layout may name their files."""
    stays_in_place = False
    """Whether images of a damaged series stay in its folder, and a replaced one in quarantine."""

    def is_name(self, name: str, series: str) -> bool:  # noqa: ARG002
        """Whether a file of this name may be an image of a series."""
        return name.endswith(self.suffix)

    def read(self, path: Path) -> tuple[str, StoredImage] | None:
        """Hash an image and read its UIDs: that of its series, and the image.

        None if it is not an image or cannot be read.
        """
        try:
            size, md5 = hash_file(path, "md5")
            header = header_of_file(path)
        except (OSError, ForeignImageError):
            return None
        image = StoredImage(header.sop, size, md5, source=ADOPTED, attributes=header.attributes)
        return header.series, image


@dataclass(frozen=True, slots=True)
class StagingRecovery:
    """Fills a staging folder with images of earlier runs and of the tree.

    Each image is hashed. One whose bytes differ from the receipt counts as missing.
    """

    staging: Staging
    """The staging folder; it knows the images that the receipt names."""
    images: DicomImages
    quarantine: Path
    """Gets files that are not images, or differ from their receipt."""

    def fill(self, others: list[Path]) -> None:
        """Move intact images from `others`, which belong to this run alone, into staging."""
        for folder in [self.staging.folder, *others]:
            if folder.is_symlink() or not folder.is_dir():
                self._set_aside(folder)
                continue
            source_of = ImageOrigins(folder, self.staging.disk).read()
            for file in sorted(folder.iterdir()):
                if not is_system_file(file.name):
                    self._recover_file(file, source_of)
            if folder != self.staging.folder:
                self.staging.disk.remove_folder(folder)

    def find_in_place(self, folder: Path, layout: Layout) -> None:
        """Take images of the series that are in its folder, and leave them where they are.

        These are links to the images, images on another file system, and images that no receipt
        names: a tree that was copied without its state, or one whose receipt is lost. A file
        counts where it has the name that the receipt or this program gives it.
        """
        staging, series = self.staging, self.staging.series
        recorded = {image.file: uid for uid, image in staging.recorded.items()}
        found: dict[str, StoredImage] = {}
        named: dict[str, str] = {}
        for name in sorted(files_in(folder)):
            uid = recorded.get(name, name.removesuffix(self.images.suffix))
            if uid in staging.images or not self.images.is_name(name, series.uid):
                continue
            read = self.images.read(folder / name)
            if read is not None and read[0] == series.uid:
                found[name], named[name] = read[1], uid
        attributes = {image.uid: image.attributes for image in found.values()}
        names = layout.file_names(series, attributes) if self.images.has_uids else {}
        for name, image in found.items():
            has_layout_name = names.get(image.uid) == name and image.uid not in staging.recorded
            if image.uid in staging.images or not (image.uid == named[name] or has_layout_name):
                continue
            stored = self._as_recorded(image)
            if stored is not None:
                name_is_uid = name == f"{stored.uid}{stored.suffix}"
                staging.adopt(replace(stored, name="" if name_is_uid else name), folder)

    def _recover_file(self, file: Path, source_of: Callable[[str], str]) -> None:
        staging = self.staging
        if is_resumable(file.name) and not file.is_symlink() and file.is_file():
            if file.parent != staging.folder:
                self.staging.disk.replace(file, staging.folder / file.name)
            return
        if is_temporary(file.name) and not file.is_dir():
            self.staging.disk.remove(file)
            return
        name = file.name.removesuffix(STAGED)
        if file.is_dir() or not self.images.is_name(name, staging.series.uid):
            self._set_aside(file)
            return
        read = None if file.is_symlink() else self.images.read(file)
        image = None
        if read is not None and read[0] == staging.series.uid:
            image = self._as_recorded(replace(read[1], source=source_of(read[1].uid)))
        if image is None or image.uid in staging.images:
            self._drop(file, image)
            return
        target = Path(staging.path(image))
        if file != target:
            self.staging.disk.replace(file, target)
        staging.adopt(image)

    def _drop(self, file: Path, image: StoredImage | None) -> None:
        """Quarantine a bad file of the tree; remove an incomplete file of a dead run."""
        same = image is not None and self.staging.images[image.uid].md5 == image.md5
        if file.is_symlink() or (self.staging.recorded and not same):
            self._set_aside(file)
        else:
            self.staging.disk.remove(file)

    def _set_aside(self, file: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            set_aside(self.staging.disk, file, self.quarantine)
            self.staging.quarantined_files += 1

    def _as_recorded(self, found: StoredImage) -> StoredImage | None:
        """The image as its receipt has it; None if its bytes are not those of the receipt."""
        known = self.staging.recorded.get(found.uid)
        if known is None:
            return found
        if known.md5 != found.md5:
            return None
        # The receipt may have a wrong size.
        return replace(known, size=found.size, attributes=found.attributes)
