"""Moving a file out of the way: bad images into quarantine, other people's files beside it."""

from __future__ import annotations

import os
from pathlib import Path

from tcia_covid.store.disk import Disk

BAD = ".bad"
"""What names of quarantined files end in, so that no program takes them for images."""
MOVED_ASIDE = ".moved-aside"
"""What the name of a file ends in that was in the way and is not this program's."""


def set_aside(disk: Disk, source: Path, quarantine: Path) -> Path:
    """Move a file or a folder of this program into quarantine; return its new path.

    Raises:
        FileNotFoundError: it is gone.
    """
    disk.make_folder(quarantine)
    name = f"{source.name}{BAD}"
    target = quarantine / name
    if os.path.lexists(target):
        target = quarantine / f"{os.urandom(4).hex()}-{name}"
    disk.rename(source, target)
    return target


def move_aside(disk: Disk, source: Path) -> Path:
    """Rename a file or folder that is in the way and not this program's; return its new path.

    It stays in the same folder, where its owner sees it. The caller names it to the user.

    Raises:
        FileNotFoundError: it is gone.
    """
    number = 1
    target = source.with_name(f"{source.name}{MOVED_ASIDE}")
    while os.path.lexists(target):
        number += 1
        target = source.with_name(f"{source.name}{MOVED_ASIDE}-{number}")
    disk.rename(source, target)
    return target
