"""What stands in a collection's folder although no receipt names it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Set
from pathlib import Path, PurePosixPath

from tcia_covid.dicom import header_of_file
from tcia_covid.errors import ForeignImageError
from tcia_covid.names import STATE, is_system_file
from tcia_covid.verify.faults import Fault
from tcia_covid.verify.result import Reason


def strays(root: Path, known: Set[str]) -> Iterator[tuple[str, Fault]]:
    """Find the files outside of all series' folders; gives each with the series that it is of.

    A user's own files beside `metadata.csv` are nobody's business, unless they are DICOM: below
    that level the tree holds nothing but DICOM. Links are named, never followed; files that
    an operating system makes on its own are not even named.

    Args:
        root: the collection's folder.
        known: the folders of all receipts, relative to `root`.
    """
    above = {str(parent) for folder in known for parent in PurePosixPath(folder).parents}
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root / prefix) as listing:
                entries = sorted(listing, key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield "", Fault(prefix, Reason.UNREADABLE, error.strerror or str(error), extra=True)
            continue
        for entry in entries:
            file = f"{prefix}/{entry.name}" if prefix else entry.name
            if file in known or file == STATE or is_system_file(entry.name):
                continue
            if entry.is_dir(follow_symlinks=False):
                waiting.append(file)
            elif file not in above:  # else a link that a user put in the place of a moved folder
                yield from _stray(entry, file, top=not prefix)


def _stray(entry: os.DirEntry[str], file: str, *, top: bool) -> Iterator[tuple[str, Fault]]:
    series = _series_of(entry)
    if series or not top:
        yield (
            series,
            Fault(file, Reason.UNEXPECTED, "no receipt names it", extra=True, mendable=False),
        )


def _series_of(entry: os.DirEntry[str]) -> str:
    """The series that a file is an image of; empty if it is none."""
    if not entry.is_file(follow_symlinks=False):
        return ""
    try:
        return header_of_file(Path(entry.path)).series
    except (OSError, ForeignImageError):
        return ""
