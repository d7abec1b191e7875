"""Putting a series into the tree by one rename, and finishing what a crash left half-done."""

from __future__ import annotations

import os
import time
from pathlib import Path, PurePosixPath

from tcia_covid import __version__
from tcia_covid.errors import IncompleteSeriesError, TakenOverError
from tcia_covid.model import Receipt
from tcia_covid.store.disk import Disk
from tcia_covid.store.receipts import Filed, Receipts
from tcia_covid.store.staging import Staging


class Publication:
    """The way from staging into the tree.

    Args:
        root: the collection's folder.
        state: the program's own folder in it.
        receipts: written before a series is published.
        disk: the seam to the file system.
    """

    def __init__(self, root: Path, state: Path, receipts: Receipts, disk: Disk) -> None:
        self._root = root
        self._staging = state / "staging"
        self._replaced = state / "replaced"
        self._receipts = receipts
        self._disk = disk

    def path(self, receipt: Receipt) -> Path:
        """Where the folder of a receipt stands."""
        return self._root.joinpath(*PurePosixPath(receipt.folder).parts)

    def stands(self, receipt: Receipt) -> bool:
        """Whether the folder has exactly the files that the receipt names; none is opened."""
        files = {image.file for image in receipt.images}
        return bool(files) and files == set(_names(self.path(receipt)))

    def commit(self, staging: Staging, folder: str) -> Receipt:
        """Publish what is in staging: sync, receipt, rename, in this order.

        Args:
            staging: complete and proved.
            folder: relative to the collection's folder, with forward slashes.

        Raises:
            FileNotFoundError: another run took the staging folder.
            TakenOverError: another run publishes the series.
            IncompleteSeriesError: a file is not what it was when it was written.
        """
        self._check_names(staging)
        for image in staging.images.values():
            self._disk.sync_file(staging.folder / image.file)
        self._disk.sync_folder(staging.folder)
        old = self._receipts.read(staging.series.uid)
        if old is not None and self._same(old.receipt, staging):
            self._disk.remove_folder(staging.folder)
            return old.receipt
        receipt = _receipt(staging, folder)
        self._receipts.write(Filed(receipt, staging.folder.name))
        self._publish(staging.folder, receipt)
        return receipt

    def finish(self, filed: Filed) -> bool:
        """Finish a commit that was cut short, if `filed` is of such; True if it was."""
        staged = self._staging / filed.receipt.series.uid / filed.staged
        expected = {image.file: image.size for image in filed.receipt.images}
        if not filed.staged or not staged.is_dir() or _sizes(staged) != expected:
            return False
        self._publish(staged, filed.receipt)
        return True

    def _same(self, receipt: Receipt, staging: Staging) -> bool:
        """Whether another run published the very same images first: its lock held nothing."""
        here = {image.uid: image.md5 for image in staging.images.values()}
        same = here == {one.uid: one.md5 for one in receipt.images}
        return same and receipt.series == staging.series and self.stands(receipt)

    def _check_names(self, staging: Staging) -> None:
        sizes = _sizes(staging.folder)
        for name in sizes.keys() - {image.file for image in staging.images.values()}:
            self._disk.remove(staging.folder / name)
        for image in staging.images.values():
            if image.file not in sizes:
                raise FileNotFoundError(str(staging.folder / image.file))
            if sizes[image.file] != image.size:
                raise IncompleteSeriesError(
                    f"image {image.uid} changed on disk while its series was fetched",
                    hint="run the same command again; if it stays, check the disk",
                    missing=(image.uid,),
                )

    def _publish(self, staged: Path, receipt: Receipt) -> None:
        target = self.path(receipt)
        self._disk.make_lasting_folder(target.parent)
        if target.is_dir():
            self._disk.make_folder(self._replaced)
            aside = f"{receipt.series.uid}~{os.urandom(8).hex()}"
            self._disk.rename(target, self._replaced / aside)
        try:
            self._disk.rename(staged, target)
        except FileExistsError as error:  # put there by a run whose lock held nothing
            raise TakenOverError(receipt.series.uid) from error
        self._disk.sync_folder(target.parent)
        self.clear_replaced(receipt.series.uid)

    def replaced_uids(self) -> set[str]:
        """The series of which a replaced version is still on disk."""
        return {name.partition("~")[0] for name in _names(self._replaced)}

    def clear_replaced(self, uid: str) -> None:
        """Remove the versions that the standing one of a series replaced."""
        for name in _names(self._replaced):
            if name.partition("~")[0] == uid:
                self._disk.remove_folder(self._replaced / name)


def _receipt(staging: Staging, folder: str) -> Receipt:
    return Receipt(
        series=staging.series,
        folder=folder,
        images=tuple(image for _, image in sorted(staging.images.items())),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        program=f"tcia-covid {__version__}",
    )


def _names(folder: Path) -> list[str]:
    """What stands in a folder; nothing where it is none."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - names alone are wanted
    except OSError:
        return []


def _sizes(folder: Path) -> dict[str, int]:
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries}
