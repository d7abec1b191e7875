"""Recognizing images on disk: which series a file belongs to, and its hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.models import StoredImage
from tcia_covid.formats.dicom import header_of_file
from tcia_covid.formats.hashes import hash_file


def has_content(path: Path, size: int, md5: str) -> bool:
    """Whether a file can be read and has these bytes."""
    try:
        if not path.is_file() or path.stat().st_size != size:
            return False
        return hash_file(path, "md5") == (size, md5)
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image on disk, hashed."""

    uid: str
    series: str
    size: int
    md5: str


class DicomImages:
    """Recognizes DICOM files; a tree of other images replaces this class."""

    suffix = ".dcm"
    stays_in_place = False
    """Whether images of a damaged series stay in its folder, and a replaced one in quarantine."""

    def is_name(self, name: str, series: str) -> bool:  # noqa: ARG002
        """Whether a file of this name may be an image of a series."""
        return name.endswith(self.suffix)

    def read(self, path: Path) -> FoundImage | None:
        """Hash an image and read its UIDs; None if it is not an image or cannot be read."""
        try:
            size, md5 = hash_file(path, "md5")
            header = header_of_file(path)
        except (OSError, ForeignImageError):
            return None
        return FoundImage(header.sop, header.series, size, md5)

    def stored(self, found: FoundImage, source: str) -> StoredImage:
        """An image as receipts record it; nothing but its size is checked yet."""
        return StoredImage(found.uid, found.size, found.md5, source=source, suffix=self.suffix)
