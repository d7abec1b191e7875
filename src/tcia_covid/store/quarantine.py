"""Getting out of the way what does not belong where it is."""

from __future__ import annotations

import os
from pathlib import Path

from tcia_covid.store.disk import Disk


def set_aside(disk: Disk, source: Path, quarantine: Path) -> Path:
    """Move a file or a folder into quarantine, beside what is there already; gives where to.

    Raises:
        FileNotFoundError: it is gone.
    """
    disk.make_folder(quarantine)
    target = quarantine / source.name
    if os.path.lexists(target):
        target = quarantine / f"{os.urandom(4).hex()}-{source.name}"
    disk.rename(source, target)
    return target


def discard(disk: Disk, path: Path) -> None:
    """Remove a file, or a folder with all its content; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        disk.remove_folder(path)
    else:
        disk.remove(path)
