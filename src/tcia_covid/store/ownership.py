"""Whose folder stands at a place of the tree: some layouts give one name to several series."""

from __future__ import annotations

import os
from pathlib import Path

from tcia_covid.dicom import header_of_file
from tcia_covid.errors import ForeignImageError
from tcia_covid.model import Receipt
from tcia_covid.names import is_system_file
from tcia_covid.store.disk import Disk


def names_in(folder: Path) -> list[str]:
    """What stands in a folder, but for the system's own files; nothing where it is none."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone are wanted
    except OSError:
        return []
    return [name for name in names if not is_system_file(name)]


def series_in(folder: Path) -> str | None:
    """The series of the first image in a folder; None where it has none that can be read."""
    for name in sorted(names_in(folder)):
        try:
            return header_of_file(folder / name).series
        except (OSError, ForeignImageError):
            continue
    return None


def move_own(disk: Disk, receipt: Receipt, folder: Path, target: Path) -> bool:
    """Rename the folder that stands in a series' place, unless it is another series'.

    Args:
        disk: the seam to the file system.
        receipt: of the series.
        folder: what stands there, sound or not.
        target: a new name.

    Returns:
        whether it was renamed; another series' folder is left where it is.
    """
    if is_of_another(folder, receipt):
        return False
    disk.rename(folder, target)
    if not is_of_another(target, receipt):
        return True
    # It came there in between, for a lock held nothing.
    disk.rename(target, folder)
    return False


def is_of_another(folder: Path, receipt: Receipt) -> bool:
    """Whether another series' images are in a folder, and none that the receipt names."""
    if not {image.file for image in receipt.images}.isdisjoint(names_in(folder)):
        return False
    return series_in(folder) not in (None, receipt.series.uid)
