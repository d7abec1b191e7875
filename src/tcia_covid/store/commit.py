"""Putting a series into the tree, and finishing what a crash left half-done."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tcia_covid.core.errors import IncompleteSeriesError, TakenOverError
from tcia_covid.core.models import Receipt, Series, StoredImage
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.core.version import __version__
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import Disk, move_aside, moved_aside, set_aside
from tcia_covid.store.layout import Layout
from tcia_covid.store.ownership import Ownership, files_in, path_of
from tcia_covid.store.receipts import Receipts, StoredReceipt
from tcia_covid.store.staging import Staging, is_temporary, staged_name


class Commit:
    """The way from staging into the tree.

    A series whose folder does not exist yet reaches the tree by one rename. Where the folder
    exists, because other people's files or links to images are in it, the images are renamed into
    it one by one, and the receipt names the staging folder until the last one is there.

    Args:
        root: the collection's folder.
        state: the program's own folder in it.
        layout: where new series go.
        receipts: written before a series is published.
        disk: all changes of the file system.
        notices: takes what was moved aside because it was in the way, with its new path.
    """

    def __init__(
        self,
        root: Path,
        state: Path,
        layout: Layout,
        receipts: Receipts,
        disk: Disk,
        notices: list[str],
    ) -> None:
        self._root = root
        self._layout = layout
        self._staging = state / "staging"
        self._quarantine = state / "quarantine"
        self._receipts = receipts
        self._disk = disk
        self._ownership = Ownership(root, receipts)
        self._one_at_a_time = threading.Lock()
        self._notices = notices

    def path(self, receipt: Receipt) -> Path:
        """The folder of a receipt."""
        return path_of(self._root, receipt)

    def places(self, series: Series, receipt: Receipt | None) -> list[str]:
        """The folders where images of a series may be, its receipt's first."""
        layout = [str(folder) for folder in self._layout.folders(series)]
        return list(dict.fromkeys([*([receipt.folder] if receipt else []), *layout]))

    def is_taken(self, folder: str, uid: str) -> bool:
        """Whether another series than `uid` owns a folder, or one above or below it."""
        return self._ownership.is_taken(self._root.joinpath(*PurePosixPath(folder).parts), uid)

    def is_complete(self, receipt: Receipt) -> bool:
        """Whether the folder has all files that the receipt names; none is opened."""
        files = {image.file for image in receipt.images}
        return bool(files) and files <= files_in(self.path(receipt))

    def commit(self, staging: Staging) -> Receipt:
        """Publish a complete and verified series: sync, receipt, rename, in this order.

        Raises:
            FileNotFoundError: another run took the staging folder.
            TakenOverError: another run, whose lock held nothing, publishes the series.
            IncompleteSeriesError: there is no image, or one changed since it was written.
        """
        if not staging.images:
            raise IncompleteSeriesError(f"series {staging.series.uid} has no image")
        self._check_names(staging)
        for image in staging.staged():
            self._disk.sync_file(staging.path(image))
        for image in staging.staged():
            if staged_name(image.file) != image.file:
                self._disk.replace(staging.path(image), staging.folder / image.file)
        self._disk.sync_folder(staging.folder)
        old = self._receipts.read(staging.series.uid)
        if old is not None and self._is_same(old.receipt, staging):
            self._disk.remove_folder(staging.folder)
            return old.receipt
        places = self.places(staging.series, old.receipt if old else None)
        if staging.in_place and staging.place is not None:
            places = [staging.place.relative_to(self._root).as_posix()]
        receipt = _receipt(staging, places[0])
        replaces = _names(old.receipt) if old and old.receipt.folder == places[0] else frozenset()
        self._receipts.write(StoredReceipt(receipt, staging.folder.name, replaces))
        return self._publish(staging.folder, receipt, replaces, places[1:])

    def finish(self, filed: StoredReceipt) -> Receipt | None:
        """Finish a commit that was cut short; its receipt, or None if there is none to finish."""
        receipt = filed.receipt
        staged = self._staging / receipt.series.uid / filed.staged
        if not filed.staged or not staged.is_dir():
            return None
        here, there = _sizes(staged), self.path(receipt)
        placed = [image for image in receipt.images if here.get(image.file) != image.size]
        if not all(_has_size(there / image.file, image.size) for image in placed):
            return None
        others = [] if placed else self.places(receipt.series, receipt)[1:]
        return self._publish(staged, receipt, filed.replaces, others)

    def _is_same(self, receipt: Receipt, staging: Staging) -> bool:
        """Whether another run published the very same images first: its lock held nothing."""
        here = {image.uid: image.md5 for image in staging.images.values()}
        same = here == {one.uid: one.md5 for one in receipt.images}
        return same and receipt.series == staging.series and self.is_complete(receipt)

    def _check_names(self, staging: Staging) -> None:
        """Check that the images are in staging as they were written, and nothing else is."""
        sizes = _sizes(staging.folder)
        for name in sizes.keys() - {staged_name(image.file) for image in staging.staged()}:
            path = staging.folder / name
            if is_temporary(name) and not path.is_dir():
                self._disk.remove(path)
            else:
                set_aside(self._disk, path, self._quarantine / staging.series.uid)
        for image in staging.staged():
            size = sizes.get(staged_name(image.file))
            if size is None:
                raise FileNotFoundError(staging.path(image))
            if size != image.size:
                raise _changed(image, staging.series)
        for uid in staging.in_place:
            image = staging.images[uid]
            if staging.place is None or not _has_size(staging.place / image.file, image.size):
                raise _changed(image, staging.series)

    def _publish(
        self, staged: Path, receipt: Receipt, replaces: frozenset[str], others: list[str]
    ) -> Receipt:
        """Bring a series into its folder, or into the first of `others` if that is another's."""
        uid = receipt.series.uid
        while not self._place(staged, receipt, replaces):
            if not others:
                raise IncompleteSeriesError(
                    f"series {uid} has no folder of its own: another series is in {receipt.folder}",
                    hint="use another --output or --layout",
                )
            receipt, replaces = replace(receipt, folder=others.pop(0)), frozenset()
            self._receipts.write(StoredReceipt(receipt, staged.name))
        filed = self._receipts.read(uid)
        moved = filed is not None and filed.receipt.folder != receipt.folder
        if moved or not self.is_complete(receipt):
            raise TakenOverError(uid)
        return receipt

    def _place(self, staged: Path, receipt: Receipt, replaces: frozenset[str]) -> bool:
        """Move a series into its folder; False, and nothing changed, if another series owns it."""
        target = self.path(receipt)
        with self._one_at_a_time:
            self._clear_way(target)
            self._disk.make_lasting_folder(target.parent)
            if self.is_taken(receipt.folder, receipt.series.uid):
                return False
            if not target.is_dir():
                # A folder that appears at this moment is one to place files in.
                with contextlib.suppress(FileExistsError):
                    self._disk.rename(staged, target)
                    self._disk.sync_folder(target.parent)
                    return True
        if self.is_taken(receipt.folder, receipt.series.uid):
            return False
        self._place_files(staged, receipt, replaces)
        return True

    def _place_files(self, staged: Path, receipt: Receipt, replaces: frozenset[str]) -> None:
        """Move images one by one into a folder that has other files, too."""
        folder = self.path(receipt)
        waiting = _sizes(staged)
        for image in receipt.images:
            if image.file in waiting:
                self._place_file(staged / image.file, folder / image.file, image, replaces)
        for name in replaces - {image.file for image in receipt.images}:
            self._disk.remove(folder / name)
        self._disk.sync_folder(folder)
        self._disk.remove_folder(staged)

    def _place_file(
        self, source: Path, target: Path, image: StoredImage, replaces: frozenset[str]
    ) -> None:
        is_known = image.file in replaces and (target.is_symlink() or not target.is_dir())
        if os.path.lexists(target) and not is_known:
            if _has_bytes(target, image):
                return
            self._note_moved(target, move_aside(self._disk, target))
        self._disk.replace(source, target)

    def _clear_way(self, target: Path) -> None:
        """Rename a file that is where the series' folder, or one above it, has to be."""
        for folder in (*reversed(target.parents), target):
            inside, is_link = self._root in folder.parents, folder.is_symlink()
            if inside and not is_link and folder.exists() and not folder.is_dir():
                self._note_moved(folder, move_aside(self._disk, folder))

    def _note_moved(self, path: Path, now: Path) -> None:
        self._notices.append(moved_aside(path, now))


def _names(receipt: Receipt) -> frozenset[str]:
    return frozenset(image.file for image in receipt.images)


def _receipt(staging: Staging, folder: str) -> Receipt:
    return Receipt(
        series=staging.series,
        folder=folder,
        images=tuple(image for _, image in sorted(staging.images.items())),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        program=f"tcia-covid {__version__}",
    )


def _changed(image: StoredImage, series: Series) -> IncompleteSeriesError:
    return IncompleteSeriesError(
        f"image {image.uid} of series {series.uid} changed on disk while the series was fetched",
        hint="run the same command again; if this happens again, check the disk",
        missing=(image.uid,),
    )


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.is_file() and path.stat().st_size == size
    except OSError:
        return False


def _has_bytes(path: Path, image: StoredImage) -> bool:
    if not _has_size(path, image.size):
        return False
    with contextlib.suppress(OSError):
        return hash_file(path, "md5") == (image.size, image.md5)
    return False


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of all that is in a folder, without files of the operating system."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if not is_system_file(entry.name)
        }
