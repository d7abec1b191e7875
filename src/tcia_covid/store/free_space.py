"""Room on the disk: what is there of series that are not complete, and what they still need."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from tcia_covid.core.errors import NoSpaceError
from tcia_covid.core.models import Receipt, Series
from tcia_covid.core.units import format_size
from tcia_covid.store.tree import Tree

_RESERVE = 64 * 1024 * 1024
_A_SHARE = 200
"""Of an image's bytes: what a receipt and a manifest say of it, and half of a last block."""


def space_needed(needed: int) -> int:
    """Bytes that have to be free beside the `needed` ones of images."""
    return _RESERVE + needed // _A_SHARE


def check_space(folder: str, needed: int, what: str, otherwise: str) -> None:
    """See that there is room.

    Args:
        folder: exists.
        needed: bytes that are to be written to it.
        what: the sentence's subject and verb, such as `the download needs`.
        otherwise: what to do instead of making room.

    Raises:
        NoSpaceError: there is none.
    """
    if not needed:
        return
    free = shutil.disk_usage(folder).free
    missing = needed + space_needed(needed) - free
    if missing > 0:
        raise NoSpaceError(
            f"{folder} has {format_size(free)} free, {what} {format_size(needed)} "
            f"and {format_size(space_needed(needed))} to spare",
            hint=f"free {format_size(missing)} more, {otherwise}",
        )


class PartialSeries:
    """What is there of the series of `tree` that are not complete: no image is opened."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._staged = tree.under_way()
        self._filed = set(tree.receipts.uids())

    def of(self, series: Series) -> tuple[int, int]:
        """Images and bytes of `series` that need not be fetched any more."""
        sizes: list[int] = []
        if series.uid in self._staged:
            sizes += self._tree.staged(series.uid)
        filed = self._tree.receipts.read(series.uid) if series.uid in self._filed else None
        if filed is not None and not filed.receipt.differs_from(series):
            sizes += _standing_sizes(self._tree, filed.receipt)
        images, size = len(sizes), sum(sizes)
        return min(images, series.image_count or images), min(size, series.size or size)

    def lacking(self, series: Series) -> int:
        """Bytes of `series` that are still to come."""
        return (series.size or 0) - (self.of(series)[1] if series.size else 0)


def _standing_sizes(tree: Tree, receipt: Receipt) -> Iterator[int]:
    """The sizes of the images in a series' folder that are not known to be damaged."""
    damaged = {str(line.get("file")) for line in tree.damage.read(receipt.series.uid)}
    folder = tree.path(receipt)
    for image in receipt.images:
        with contextlib.suppress(OSError):
            right = (folder / image.file).stat().st_size == image.size
            if right and f"{receipt.folder}/{image.file}" not in damaged:
                yield image.size


def folder_size(folder: Path) -> int:
    """Bytes of all files below a folder that somebody may be writing to."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total
