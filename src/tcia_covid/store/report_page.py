"""The place of the page of `report`; a user's file or folder there is never replaced.

A page of this program begins with the MD5 of the rest of it, so a page that was changed is
recognized, too. A folder of this program has an empty file of the name `MARKER`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from tcia_covid.core.errors import RequestError
from tcia_covid.core.files import open_regular
from tcia_covid.store.disk import Disk, destination_errors, read_state, succeeded

FOLDER, FILE = "report", "report.html"
"""The default names, in the folder that the report is about."""
MARKER = ".tcia-covid-report"
INDEX = "index.html"
THUMBNAILS = "thumbnails"
_START = re.compile(rb"<!doctype html>\n<!-- tcia-covid report ([0-9a-f]{32}) -->\n")
_SUFFIXES = {".html", ".htm"}


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A page: one file with everything, or a folder with `index.html` and thumbnails.

    Attributes:
        path: the file, or the folder.
        is_folder: whether it is a folder.
        disk: all file-system writes.
    """

    path: Path
    is_folder: bool
    disk: Disk

    @classmethod
    def at(cls, target: Path, disk: Disk) -> ReportPage:
        """The page at a path: a file if its name ends in .html."""
        return cls(target, target.suffix.lower() not in _SUFFIXES, disk)

    @property
    def file(self) -> Path:
        """The file to open."""
        return self.path / INDEX if self.is_folder else self.path

    def check(self) -> None:
        """Check that no file of the user is in the way.

        Raises:
            RequestError: one is.
        """
        is_foreign = os.path.lexists(self.file) and not is_own_page(self.file)
        place = self.file
        if self.is_folder and os.path.lexists(self.path) and not is_own_folder(self.path):
            is_foreign, place = is_foreign or not _is_empty_folder(self.path), self.path
        elif self.is_folder and (self.path / THUMBNAILS).is_symlink():
            is_foreign, place = True, self.path / THUMBNAILS
        if is_foreign:
            raise RequestError(
                f"{place} exists, and this program did not write it, or it was changed since",
                hint="move it away, or write the page elsewhere with --to",
            )

    def write(self, body: str, thumbnails: dict[str, Path]) -> None:
        """Write the page; a folder's `index.html` comes last.

        `body` is what follows the document type. `thumbnails` are the files for a folder, by name.

        Raises:
            RequestError: a file of the user is in the way.
            DestinationError: it cannot be written.
        """
        self.check()
        content = body.encode()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        start = f"<!doctype html>\n<!-- tcia-covid report {md5} -->\n".encode()
        with destination_errors(str(self.path)):
            self.disk.make_folder(self.file.parent)
            if self.is_folder:
                with contextlib.suppress(FileExistsError):
                    self.disk.create(self.path / MARKER).close()
                self._place(thumbnails)
            self.disk.write_file(self.file, [start, content], self.file.parent)

    def _place(self, thumbnails: dict[str, Path]) -> None:
        """Link or copy thumbnails; names are hashes, so existing files have the same content."""
        folder = self.path / THUMBNAILS
        self.disk.make_folder(folder)
        present = set(os.listdir(folder))  # noqa: PTH208 - only names are needed
        for name, source in thumbnails.items():
            target = folder / name
            if name not in present and not succeeded(lambda: self.disk.link(source, target)):  # noqa: B023
                self.disk.write_file(target, [read_state(source)], folder)

    def remove(self) -> None:
        """Remove the page, if it is this program's and unchanged; thumbnails stay."""
        if is_own_page(self.file):
            self.disk.remove(self.file)


def is_own_page(path: Path) -> bool:
    """Whether a file is a page that this program wrote and that is unchanged."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            content = file.read()
    except OSError:
        return False
    start = _START.match(content)
    if start is None or path.is_symlink():
        return False
    md5 = hashlib.md5(memoryview(content)[start.end() :], usedforsecurity=False).hexdigest()
    return md5.encode() == start[1]


def is_own_folder(path: Path) -> bool:
    """Whether a folder is a report of this program."""
    return path.is_dir() and not path.is_symlink() and (path / MARKER).is_file()


def _is_empty_folder(path: Path) -> bool:
    try:
        return path.is_dir() and not path.is_symlink() and not any(path.iterdir())
    except OSError:
        return False
