"""Which series owns a folder of the tree, and which files in it are whose."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.models import Receipt
from tcia_covid.formats.dicom.header import header_of_file
from tcia_covid.store.receipts import Receipts


def files_in(folder: str | Path) -> set[str]:
    """The names of the files in a folder; a link counts where it leads to a file.

    Empty where there is no such folder, or it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_file()}
    except OSError:
        return set()


def path_of(root: Path, receipt: Receipt) -> Path:
    """The folder of a receipt."""
    return root.joinpath(*PurePosixPath(receipt.folder).parts)


class Ownership:
    """Finds the series that own a folder: those with images and a receipt there.

    Args:
        root: the collection's folder.
        receipts: of all series in it.
    """

    def __init__(self, root: Path, receipts: Receipts) -> None:
        self._root = root
        self._receipts = receipts

    def is_taken(self, folder: Path, uid: str) -> bool:
        """Whether another series than `uid` owns the folder, one above it or one below it.

        Series folders never contain each other: a rename of one would move the other.
        """
        above = [parent for parent in folder.parents if self._root in parent.parents]
        return any(owner != uid for one in (*above, *_and_below(folder)) for owner in self._of(one))

    def _of(self, folder: Path) -> Iterator[str]:
        """The series whose receipts name `folder` and that have an image in it."""
        left = sorted(name for name in files_in(folder) if name.endswith(".dcm"))
        while left:
            try:
                uid = header_of_file(folder / left.pop(0)).series
            except (OSError, ForeignImageError):
                continue
            filed = self._receipts.read(uid)
            if filed is None or path_of(self._root, filed.receipt) != folder:
                continue
            yield uid
            own = {image.file for image in filed.receipt.images}
            left = [name for name in left if name not in own]


def _and_below(folder: Path) -> Iterator[Path]:
    for path, _, _ in os.walk(folder):
        yield Path(path)
