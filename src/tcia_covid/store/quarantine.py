"""Moving files out of the way: bad images into quarantine, other people's files next to it."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

from tcia_covid.store.disk import Disk

BAD = ".bad"
"""Suffix of quarantined files, so that no program takes them for images."""
MOVED_ASIDE = ".moved-aside"
"""Suffix of files that were in the way and are not this program's."""


def refuse_link(path: Path) -> None:
    """Refuse a symbolic link in place of a folder of the program's own.

    Raises:
        OSError: it is one.
    """
    if path.is_symlink():
        raise OSError(errno.ELOOP, "it is a symbolic link", str(path))


def set_aside(disk: Disk, source: Path, quarantine: Path, name: str = "") -> Path:
    """Move a file or folder of this program into the folder `quarantine`; return its new path.

    It gets the name `name`, if that is given, and a suffix.

    Raises:
        FileNotFoundError: it is gone.
    """
    refuse_link(quarantine)
    disk.make_folder(quarantine)
    name = f"{name or source.name}{BAD}"
    target = quarantine / name
    if os.path.lexists(target):
        target = quarantine / f"{os.urandom(4).hex()}-{name}"
    disk.rename(source, target)
    return target


def move_aside(disk: Disk, path: Path) -> str:
    """Rename a file or folder that is in the way and that this program did not write.

    It stays in its folder, where its owner sees it, under a name that no program takes for an
    image's. A symbolic link itself is renamed.

    Returns:
        The notice for the user, with the new path.

    Raises:
        FileNotFoundError: it is gone.
    """
    target = path.with_name(f"{path.name}{MOVED_ASIDE}")
    for number in itertools.count(2):
        if not os.path.lexists(target):
            break
        target = path.with_name(f"{path.name}{MOVED_ASIDE}-{number}")
    disk.rename(path, target)
    return f"{path} was in the way and may be yours: it is now {target}"
