"""Getting out of the way what does not belong where it is."""

from __future__ import annotations

import itertools
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


def move_aside_visibly(disk: Disk, path: Path, folder: Path | None = None) -> Path:
    """Rename a file or folder that is in the way and that this program did not write.

    It stays in its folder, under its name with `.moved-aside` behind it: in sight of its owner,
    and with an ending that no reader of images takes for an image's. A symbolic link is renamed
    itself; what it leads to is not touched.

    Args:
        disk: the seam to the file system.
        path: what is in the way.
        folder: where it goes, if not to the folder that it is in.

    Returns:
        where it is now.

    Raises:
        FileNotFoundError: it is gone.
    """
    folder = folder or path.parent
    target = folder / f"{path.name}.moved-aside"
    for number in itertools.count(2):
        if not os.path.lexists(target):
            break
        target = folder / f"{path.name}.moved-aside-{number}"
    disk.rename(path, target)
    return target


def moved_aside(path: Path, target: Path) -> str:
    """The sentence that tells the user where something was moved to."""
    return f"{path} was in the way and may be yours: it is now {target}"


def discard(disk: Disk, path: Path) -> None:
    """Remove a file, or a folder with all its content; it may be gone already."""
    if path.is_dir() and not path.is_symlink():
        disk.remove_folder(path)
    else:
        disk.remove(path)
