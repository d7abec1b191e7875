"""Bringing a volume from where it is into the tree: second name, shared blocks, or a copy."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Literal

from tcia_covid.errors import ChecksumError
from tcia_covid.store import Disk
from tcia_covid.volumes.volume import Volume

Mode = Literal["link", "move", "copy"]
Way = Literal["link", "rename", "reflink", "copy"]

_PIECE = 256 * 1024
_FICLONE = 0x40049409
"""ioctl_ficlone(2); Python has no name for it."""

if sys.platform == "linux":
    import fcntl

    def _clone(source: int, target: int) -> None:
        fcntl.ioctl(target, _FICLONE, source)

else:

    def _clone(_source: int, _target: int) -> None:
        raise OSError


def place(volume: Volume, target: Path, mode: Mode, disk: Disk, tick: Callable[[int], None]) -> Way:
    """Have the bytes of a volume stand at `target`, as they were when it was read.

    Args:
        volume: as it was read.
        target: a name that is free.
        mode: `link` makes a hard link where that is possible, else shares blocks, else copies;
            `copy` makes no hard link; `move` is `link`, with a rename as its second choice. The
            caller removes the original.
        disk: the seam to the file system.
        tick: hears of bytes copied; what it raises ends the copying.

    Raises:
        ChecksumError: it changed since it was read.
        OSError: the disk.
    """
    _check_unchanged(volume)
    # A name of a file that may not be written cannot be forced to the disk on commit.
    writable = os.access(volume.path, os.W_OK)
    if mode != "copy" and writable and _done(lambda: disk.link(volume.path, target)):
        return "link"
    if mode == "move" and writable and _done(lambda: disk.replace(volume.path, target)):
        return "rename"
    if _done(lambda: _reflink(volume.path, target, disk)):
        return "reflink"
    _copy(volume, target, disk, tick)
    return "copy"


def _check_unchanged(volume: Volume) -> None:
    status = volume.path.stat()
    if (status.st_size, status.st_mtime_ns) != (volume.size, volume.modified):
        raise _changed(volume)


def _changed(volume: Volume) -> ChecksumError:
    return ChecksumError(f"{volume.path.name} changed since it was read")


def _done(act: Callable[[], None]) -> bool:
    try:
        act()
    except OSError:
        return False  # the next way finds out whether the disk or this way is at fault
    return True


def _reflink(source: Path, target: Path, disk: Disk) -> None:
    """Share the blocks of `source` until one of the two files is written to."""
    with FileIO(source) as old, disk.create(target) as new:
        try:
            _clone(old.fileno(), new.fileno())
        except OSError:
            disk.remove(target)
            raise


def _copy(volume: Volume, target: Path, disk: Disk, tick: Callable[[int], None]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    with FileIO(volume.path) as old, disk.create(target) as new:
        while piece := old.read(_PIECE):
            disk.write(new, piece)
            md5.update(piece)
            tick(len(piece))
    if md5.hexdigest() != volume.md5:
        disk.remove(target)
        raise _changed(volume)
