"""Getting a file from where it is into a staging folder, without touching the original.

Three ways, the cheapest first: a second name of the same file (hard link), a second file that
shares its blocks until one of them is written to (reflink, on Btrfs, XFS and others), a copy.
Moving is bringing, and removing the original once the whole series stands in the layout.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tcia_covid.adopt.result import Mode
from tcia_covid.adopt.scan import Found
from tcia_covid.errors import ArchiveError, SeriesError, TakenOverError
from tcia_covid.model import ADOPTED, Check, StoredImage
from tcia_covid.names import is_in_hidden_folder
from tcia_covid.store import Disk, Staging
from tcia_covid.store.adoption import is_second
from tcia_covid.store.disk import worked

_PIECE = 256 * 1024


class Bringer:
    """Brings files of one folder.

    Args:
        root: the folder.
        mode: `copy` makes no hard links; `link` and `move` prefer them.
        disk: the seam to the file system.
    """

    def __init__(self, root: Path, mode: Mode, disk: Disk) -> None:
        self._root = root
        self._links = mode != "copy"
        self._disk = disk

    def bring(self, found: Found, check: Check, staging: Staging) -> str:
        """Put a file into a staging folder under its own UID.

        Returns:
            the way it took; `kept` if the image was there already; nothing if the file is no
            longer the one that was hashed.

        Raises:
            DestinationError: the disk.
            TakenOverError: another run took the staging folder.
        """
        here = staging.images.get(found.uid)
        if here is not None and here.md5 == found.md5:
            staging.adopt(replace(here, check=check))
            return "kept"
        if here is not None:
            staging.discard(found.uid)
        way = self._share(found, staging) or self._copy(found, staging)
        if way:
            image = StoredImage(found.uid, found.size, found.md5, check, ADOPTED)
            staging.adopt(image)
        return way

    def remove(self, found: Found, standing: Path) -> bool:
        """Remove an original and the folders that this leaves empty, if its bytes stand elsewhere.

        What is in a hidden folder stays: the objects of git-annex or DVC belong to these.

        Args:
            found: as it was read; it stays if it changed since.
            standing: the folder of its series in the layout; the image there is read.
        """
        file, image = self._root / found.file, standing / f"{found.uid}.dcm"
        if is_in_hidden_folder(PurePosixPath(found.file)):
            return False
        if not (self._is_same(found) and is_second(file, image, found.size, found.md5)):
            return False
        if not worked(lambda: self._disk.remove(file)):
            return False
        folder = self._root / found.folder
        while folder != self._root and self._root in folder.parents:
            self._disk.remove_empty(folder)
            folder = folder.parent
        return True

    def _share(self, found: Found, staging: Staging) -> str:
        """Have the target share the bytes of the original, where the file system can."""
        image = StoredImage(found.uid, found.size, found.md5)
        source, target = self._root / found.file, Path(staging.path(image))
        way = ""
        if self._may_link(source) and worked(lambda: self._disk.link(source, target)):
            way = "link"
        elif worked(lambda: self._disk.reflink(source, target)):
            way = "reflink"
        if way and not self._is_same(found):
            self._disk.remove(target)
            way = ""
        return way

    def _may_link(self, source: Path) -> bool:
        """Whether to try: a name of a file that may not be written cannot be synced on commit."""
        return self._links and (not self._disk.durable or os.access(source, os.W_OK))

    def _copy(self, found: Found, staging: Staging) -> str:
        """Copy through the staging folder's own door, which hashes and reads the header again."""
        try:
            stored = staging.receive(self._pieces(found), source=ADOPTED)
        except TakenOverError:
            raise
        except (SeriesError, ArchiveError):
            return ""  # cut, or another file by now
        if (stored.uid, stored.md5) == (found.uid, found.md5):
            return "copy"
        staging.discard(stored.uid)
        return ""

    def _pieces(self, found: Found) -> Iterator[bytes]:
        # What cannot be read ends the file early; its hash tells.
        with (
            contextlib.suppress(OSError),
            (self._root / found.file).open("rb", buffering=0) as file,
        ):
            while piece := file.read(_PIECE):
                yield piece

    def _is_same(self, found: Found) -> bool:
        try:
            now = (self._root / found.file).stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (found.size, found.modified)
