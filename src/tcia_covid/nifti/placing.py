"""Bringing a file from where it is to where it belongs: second name, rename or copy."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import Literal

from tcia_covid.errors import ChecksumError
from tcia_covid.nifti.volume import Volume
from tcia_covid.store import Disk

Mode = Literal["link", "move", "copy"]
MODES: tuple[Mode, ...] = ("link", "move", "copy")

_PIECE = 256 * 1024
_CLONE = 0x40049409
"""FICLONE of Linux: share the blocks of another file until one of the two is written to."""
_ELSEWHERE = frozenset(
    {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS}
)
"""What says that a file cannot have a second name, or another one, there."""


def place(
    volume: Volume, target: Path, mode: Mode, disk: Disk, tick: Callable[[int], None]
) -> bool:
    """Have the bytes of a volume stand at `target`, as they were when it was read.

    Where a second name or a rename is not possible, they are copied.

    Args:
        volume: as it was read.
        target: a name that is free.
        mode: how.
        disk: the seam to the file system.
        tick: hears of bytes copied; what it raises ends the copying.

    Returns:
        Whether the file still stands where it was although it was to be moved.

    Raises:
        ChecksumError: it changed since it was read.
        OSError: the disk.
    """
    # Forcing a file to the disk needs the right to write to it.
    if mode != "copy" and os.access(volume.path, os.W_OK):
        act = disk.link if mode == "link" else disk.replace
        try:
            act(volume.path, target)
        except OSError as error:
            if error.errno not in _ELSEWHERE:
                raise
        else:
            return False
    if not _cloned(volume.path, target, disk):
        _copy(volume, target, disk, tick)
    return mode == "move"


def _cloned(source: Path, target: Path, disk: Disk) -> bool:
    """Share the blocks of `source`, where the file system can."""
    with FileIO(source) as old, disk.create(target) as new:
        try:
            import fcntl  # noqa: PLC0415 - not everywhere

            fcntl.ioctl(new.fileno(), _CLONE, old.fileno())
        except (ImportError, OSError):
            disk.remove(target)
            return False
    return True


def _copy(volume: Volume, target: Path, disk: Disk, tick: Callable[[int], None]) -> None:
    md5 = hashlib.md5(usedforsecurity=False)
    with FileIO(volume.path) as old, disk.create(target) as new:
        while piece := old.read(_PIECE):
            disk.write(new, piece)
            md5.update(piece)
            tick(len(piece))
    if md5.hexdigest() != volume.md5:
        disk.remove(target)
        raise ChecksumError(f"{volume.path.name} changed while it was copied")
