"""Free space: the bytes that incomplete series have on disk, and those that they need."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from tcia_covid.core.errors import NoSpaceError
from tcia_covid.core.models import Receipt, Series
from tcia_covid.core.units import format_size
from tcia_covid.store.disk import destination_error
from tcia_covid.store.tree import Tree

_RESERVE = 64 * 1024 * 1024
_A_SHARE = 200
"""Part of an image's bytes: its lines in receipt and manifest, and half of its last block."""


def reserve_of(needed: int) -> int:
    """Bytes that must be free in addition to the `needed` bytes of images."""
    return _RESERVE + needed // _A_SHARE


def free_bytes(folder: str | Path) -> int | None:
    """The free space of a folder's file system.

    None if unknown: on FUSE file systems, such as mounted clouds, statvfs may fail or say 0 blocks.
    """
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return None
    return usage.free if usage.total else None


def existing_folder(output: Path) -> Path | None:
    """The folder itself, or the one above it in which it would be created; None if unknown.

    Raises:
        DestinationError: a file is in its place.
    """
    for folder in (output.absolute(), *output.absolute().parents):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(folder.stat().st_mode):
                return folder
            reason = os.strerror(errno.ENOTDIR)
            raise destination_error(
                NotADirectoryError(errno.ENOTDIR, reason, str(output)), str(output)
            )
    return None


def check_space(
    folder: str, needed: int, what: str, otherwise: str, notify: Callable[[str], None]
) -> None:
    """Check that there is enough free space, where it is known.

    Args:
        folder: exists.
        needed: bytes to be written to it.
        what: the sentence's subject and verb, such as `the download needs`.
        otherwise: what to do instead of freeing space.
        notify: receives a notice where the free space is unknown.

    Raises:
        NoSpaceError: there is not.
    """
    if not needed:
        return
    free = free_bytes(folder)
    if free is None:
        notify(
            f"the free space of {folder} is unknown: its file system does not report it; "
            f"{what} {format_size(needed)}"
        )
        return
    missing = needed + reserve_of(needed) - free
    if missing > 0:
        raise NoSpaceError(
            f"{folder} has {format_size(free)} free, {what} {format_size(needed)}, "
            f"and {format_size(reserve_of(needed))} must stay free",
            hint=f"free {format_size(missing)} more, {otherwise}; --no-space-check ignores this",
        )


class BytesOnDisk:
    """The images of incomplete series that are on disk; no image is opened."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._staged = tree.series_in_staging()
        self._recorded = tree.receipts.uids()

    def of(self, series: Series) -> tuple[int, int]:
        """Images and bytes of `series` that are on disk."""
        sizes: list[int] = []
        if series.uid in self._staged:
            sizes += self._tree.staged_sizes(series.uid)
        stored = self._tree.receipts.read(series.uid) if series.uid in self._recorded else None
        if stored is not None and not stored.receipt.differs_from(series):
            sizes += self._intact_sizes(stored.receipt)
        images, size = len(sizes), sum(sizes)
        return min(images, series.image_count or images), min(size, series.size or size)

    def missing_bytes(self, series: Series) -> int:
        """Bytes of `series` that are still to download."""
        return series.size - self.of(series)[1] if series.size else 0

    def _intact_sizes(self, receipt: Receipt) -> Iterator[int]:
        """The sizes of the images in a series' folder that are not known to be damaged."""
        damaged, folder = self._tree.damaged_files(receipt), self._tree.path(receipt)
        for image in receipt.images:
            with contextlib.suppress(OSError):
                is_whole = (folder / image.file).stat().st_size == image.size
                if is_whole and image.file not in damaged:
                    yield image.size


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder that a run may be writing to."""
    total = 0
    for parent, _, names in os.walk(folder):  # unlike rglob, it ignores what is gone
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).stat().st_size
    return total
