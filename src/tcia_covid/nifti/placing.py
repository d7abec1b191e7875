"""Bringing a volume from where it is into the tree: second name, shared blocks, or a copy."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Literal

from tcia_covid.errors import ChecksumError
from tcia_covid.store import Disk
from tcia_covid.store.disk import worked
from tcia_covid.volumes.volume import Volume

Mode = Literal["link", "move", "copy", "take"]
Way = Literal["link", "rename", "reflink", "copy", "kept"]
"""`kept`: the same bytes were there already."""

_PIECE = 256 * 1024


def place(volume: Volume, target: Path, mode: Mode, disk: Disk, tick: Callable[[int], None]) -> Way:
    """Have the bytes of a volume stand at `target`, as they were when it was read.

    Args:
        volume: as it was read.
        target: a name that is free.
        mode: `link` and `move` make a hard link where that is possible, else share blocks, else
            copy; `copy` makes no hard link; `take` has a rename as its second choice, for files
            that can be had again. The caller removes the original.
        disk: the seam to the file system.
        tick: hears of bytes copied; what it raises ends the copying.

    Raises:
        ChecksumError: it changed since it was read.
        OSError: the disk.
    """
    if not volume.is_unchanged:
        raise _changed(volume)
    # A name of a file that may not be written cannot be forced to the disk on commit.
    writable = os.access(volume.path, os.W_OK)
    if mode != "copy" and writable and worked(lambda: disk.link(volume.path, target)):
        return "link"
    if mode == "take" and writable and worked(lambda: disk.replace(volume.path, target)):
        return "rename"
    if worked(lambda: disk.reflink(volume.path, target)):
        return "reflink"
    _copy(volume, target, disk, tick)
    return "copy"


def _changed(volume: Volume) -> ChecksumError:
    return ChecksumError(f"{volume.path.name} changed since it was read")


def _copy(volume: Volume, target: Path, disk: Disk, tick: Callable[[int], None]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    part = target.with_name(f".{target.name}.part")
    disk.remove(part)
    with FileIO(volume.path) as old, disk.create(part) as new:
        while piece := old.read(_PIECE):
            disk.write(new, piece)
            md5.update(piece)
            tick(len(piece))
    if md5.hexdigest() != volume.md5:
        disk.remove(part)
        raise _changed(volume)
    disk.replace(part, target)
