"""One series, as pieces of work that are small enough to share among threads."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tcia_covid.model import Receipt, StoredImage
from tcia_covid.names import is_system_file
from tcia_covid.store import Tree
from tcia_covid.verify.faults import Fault, Look, extra_fault, image_fault
from tcia_covid.verify.result import Reason

_BYTES = 8 * 1024 * 1024
"""Bytes of a piece from which on it takes no further image."""
_IMAGES = 64
_BUFFER = 512 * 1024
"""Bytes that are hashed at once."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Some images of one series, to be hashed one after the other."""

    receipt: Receipt
    folder: Path
    images: tuple[StoredImage, ...]
    faults: tuple[Fault, ...]
    """What the names in the folder tell already."""
    inner_folders: tuple[str, ...]
    """Folders in the series' folder, relative to the collection's."""
    last: bool
    """Whether the series has no further piece."""

    @property
    def size(self) -> int:
        """Bytes of the images."""
        return sum(image.size for image in self.images)


def pieces(tree: Tree, receipt: Receipt) -> Iterator[Piece]:
    """Compare the names in the series' folder with its receipt, and share out the images."""
    folder = tree.path(receipt)
    try:
        present = _entries(folder)
    except OSError as error:
        faults = tuple(_unreachable(receipt, error))
        yield Piece(receipt, folder, (), faults, (), last=True)
        return
    files = {name for name, entry in present.items() if entry.is_file()}
    inner = tuple(
        f"{receipt.folder}/{name}"
        for name, entry in sorted(present.items())
        if entry.is_dir(follow_symlinks=False)
    )
    faults = tuple(_by_name(receipt, folder, present, files))
    groups = list(_groups([image for image in receipt.images if image.file in files])) or [()]
    for number, group in enumerate(groups, start=1):
        yield Piece(receipt, folder, group, faults, inner, last=number == len(groups))
        faults, inner = (), ()


def check(piece: Piece, look: Look) -> list[Fault]:
    """Look at every image of a piece."""
    receipt = piece.receipt
    faults = list(piece.faults)
    folder, buffer = os.path.join(piece.folder, ""), memoryview(bytearray(_BUFFER))  # noqa: PTH118
    for image in piece.images:
        file = f"{receipt.folder}/{image.file}"
        fault = image_fault(folder, file, image, receipt.series.uid, look, buffer)
        if fault is not None:
            faults.append(fault)
    return faults


def _entries(folder: Path) -> dict[str, os.DirEntry[str]]:
    """What is in a series' folder, but for the system's own files.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry for entry in entries if not is_system_file(entry.name)}
    except FileNotFoundError:
        return {}


def _unreachable(receipt: Receipt, error: OSError) -> Iterator[Fault]:
    """All images of a series whose folder cannot be looked into."""
    for image in receipt.images:
        detail = error.strerror or str(error)
        yield Fault(f"{receipt.folder}/{image.file}", Reason.UNREADABLE, detail, mendable=False)


def _by_name(
    receipt: Receipt, folder: Path, present: Mapping[str, os.DirEntry[str]], files: set[str]
) -> Iterator[Fault]:
    """Images that are missing or not a file, and files that the receipt does not name."""
    expected = {image.file for image in receipt.images}
    for name in sorted(expected - files):
        yield Fault(f"{receipt.folder}/{name}", *_why_no_file(present.get(name)))
    for name in sorted(present.keys() - expected):
        file = f"{receipt.folder}/{name}"
        if name in files:
            yield extra_fault(folder / name, file, receipt.series.uid)
        elif not present[name].is_dir(follow_symlinks=False):
            yield Fault(file, Reason.UNEXPECTED, "not a regular file", extra=True)


def _why_no_file(entry: os.DirEntry[str] | None) -> tuple[Reason, str]:
    if entry is None:
        return Reason.MISSING, ""
    if entry.is_symlink():
        return Reason.MISSING, "the link leads to no file"
    return Reason.CHANGED, "not a regular file"


def _groups(images: list[StoredImage]) -> Iterator[tuple[StoredImage, ...]]:
    group: list[StoredImage] = []
    size = 0
    for image in images:
        group.append(image)
        size += image.size
        if size >= _BYTES or len(group) >= _IMAGES:
            yield tuple(group)
            group, size = [], 0
    if group:
        yield tuple(group)
