"""One file: is it the image that its receipt names, and if not, what is it?"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tcia_covid.dicom import check_file_deep, header_of_file
from tcia_covid.errors import ChecksumError, ForeignImageError
from tcia_covid.model import StoredImage
from tcia_covid.stop import Stop
from tcia_covid.verify.result import Reason


@dataclass(frozen=True, slots=True)
class Fault:
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
class Look:
    """How images are looked at."""

    deep: bool
    """Whether each is read as DICOM, too."""
    stop: Stop


def image_fault(
    folder: str, file: str, image: StoredImage, series: str, look: Look, buffer: memoryview
) -> Fault | None:
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
        return Fault(file, Reason.MISSING, "")
    except OSError as error:
        return Fault(file, Reason.UNREADABLE, error.strerror or str(error))
    if size != image.size:
        detail = f"{size} bytes where its receipt says {image.size}"
    elif md5 != image.md5:
        detail = f"MD5 {md5} where its receipt says {image.md5}"
    else:
        return _deep_fault(Path(path), file) if look.deep else None
    other = _other_series(Path(path), series)
    if other:
        return Fault(file, Reason.FOREIGN, f"an image of series {other}")
    return Fault(file, Reason.CHANGED, detail)


def extra_fault(path: Path, file: str, series: str) -> Fault:
    """Describe a file in the folder of `series` that its receipt does not name."""
    try:
        found = header_of_file(path).series
    except OSError as error:
        detail = f"not readable: {error.strerror or error}"
    except ForeignImageError:
        detail = "not a DICOM file"
    else:
        detail = "an image of this series" if found == series else f"an image of series {found}"
    return Fault(file, Reason.UNEXPECTED, detail, extra=True)


def _size_and_md5(path: str, expected: int, stop: Stop, buffer: memoryview) -> tuple[int, str]:
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


def _deep_fault(path: Path, file: str) -> Fault | None:
    """What reading the whole file finds; its bytes are as they came, so no download mends it."""
    try:
        if file.endswith(".nii.gz"):
            from tcia_covid.volumes import read_volume  # noqa: PLC0415 - one collection has volumes

            read_volume(path)
        else:
            check_file_deep(path)
    except (ForeignImageError, ChecksumError) as error:
        return Fault(file, Reason.UNREADABLE, error.message, mendable=False)
    except OSError as error:
        return Fault(file, Reason.UNREADABLE, error.strerror or str(error))
    return None


def _other_series(path: Path, series: str) -> str:
    """The series that a file is of, where that is another one."""
    try:
        found = header_of_file(path).series
    except (OSError, ForeignImageError):
        return ""
    return found if found != series else ""
