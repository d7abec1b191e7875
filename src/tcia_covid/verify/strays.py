"""Unexpected files: those in a collection's folder that no receipt names."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Set
from pathlib import Path, PurePosixPath

from tcia_covid.dicom import header_of_file
from tcia_covid.errors import ForeignImageError
from tcia_covid.names import STATE, is_system_file
from tcia_covid.verify.faults import Fault
from tcia_covid.verify.result import Reason


def strays(
    root: Path, known: Set[str], inner_folders: Iterable[str]
) -> Iterator[tuple[str, Fault]]:
    """Find the files outside all series folders; yield each with the series that it is of.

    A user's own files next to `metadata.csv` are not listed unless they are DICOM. Links are
    listed and never followed. A hidden folder (`.git`, `.ipynb_checkpoints`) is listed as one
    entry. Files that an operating system makes are not listed.

    Args:
        root: the collection's folder.
        known: the folders of all receipts, relative to `root`.
        inner_folders: folders in series folders, relative to `root`.
    """
    above = {str(parent) for folder in known for parent in PurePosixPath(folder).parents}
    waiting = [*(folder for folder in inner_folders if folder not in known), ""]
    while waiting:
        prefix = waiting.pop()
        if prefix.rpartition("/")[2].startswith("."):
            if "/" in prefix:
                yield "", _unexpected(f"{prefix}/", "a hidden folder")
            continue
        entries, fault = _entries(root, prefix)
        yield from (("", one) for one in fault)
        for entry in entries:
            file = f"{prefix}/{entry.name}" if prefix else entry.name
            if file in known or file == STATE or is_system_file(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(file)
            elif file not in above:  # else a link that a user put in the place of a moved folder
                yield from _stray(entry, file, top=not prefix)


def _entries(root: Path, folder: str) -> tuple[list[os.DirEntry[str]], list[Fault]]:
    """What is in a folder, by name; a fault if it cannot be read."""
    try:
        with os.scandir(root / folder) as listing:
            return sorted(listing, key=lambda entry: entry.name), []
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [Fault(folder, Reason.UNREADABLE, error.strerror or str(error))]


def _stray(entry: os.DirEntry[str], file: str, *, top: bool) -> Iterator[tuple[str, Fault]]:
    series = _series_of(entry)
    if series or not top:
        yield series, _unexpected(file, "no receipt names it")


def _unexpected(file: str, detail: str) -> Fault:
    return Fault(file, Reason.UNEXPECTED, detail, extra=True, mendable=False)


def _series_of(entry: os.DirEntry[str]) -> str:
    """The series that a file is an image of; empty if it is none."""
    if not entry.is_file(follow_symlinks=False):
        return ""
    try:
        return header_of_file(Path(entry.path)).series
    except (OSError, ForeignImageError):
        return ""
