"""Whose folder stands at a place of the tree: some layouts give one name to several series."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
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


def is_of_another(folder: Path, receipt: Receipt) -> bool:
    """Whether another series' images are in a folder, and none that the receipt names."""
    if not {image.file for image in receipt.images}.isdisjoint(names_in(folder)):
        return False
    return series_in(folder) not in (None, receipt.series.uid)


def move_own(disk: Disk, folder: Path, target: Path, is_own: Callable[[Path], bool]) -> bool:
    """Rename the folder that stands in a series' place, if it is the series' own.

    Args:
        disk: the seam to the file system.
        folder: what stands there, sound or not.
        target: a new name.
        is_own: tells by what is in a folder.

    Returns:
        whether it was renamed; another series' folder is left where it is.
    """
    if not is_own(folder):
        return False
    disk.rename(folder, target)
    if is_own(target):
        return True
    # Another series came there in between, for a lock held nothing: it gets its place back,
    # unless it has been brought there anew.
    with contextlib.suppress(FileExistsError):
        disk.rename(target, folder)
    return False
