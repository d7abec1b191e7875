"""Putting a series into the tree by one rename, and finishing what a crash left half-done."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import replace
from pathlib import Path, PurePosixPath

from tcia_covid import __version__
from tcia_covid.errors import IncompleteSeriesError, TakenOverError
from tcia_covid.model import Receipt, Series
from tcia_covid.names import is_system_file
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout
from tcia_covid.store.ownership import is_of_another, move_own, names_in, series_in
from tcia_covid.store.quarantine import discard, set_aside
from tcia_covid.store.receipts import Filed, Receipts
from tcia_covid.store.staging import Staging


class Publication:
    """The way from staging into the tree.

    Args:
        root: the collection's folder.
        state: the program's own folder in it.
        layout: where new series go.
        receipts: written before a series is published.
        disk: the seam to the file system.
    """

    def __init__(
        self, root: Path, state: Path, layout: Layout, receipts: Receipts, disk: Disk
    ) -> None:
        self._root = root
        self._layout = layout
        self._staging = state / "staging"
        self._replaced = state / "replaced"
        self._quarantine = state / "quarantine"
        self._receipts = receipts
        self._disk = disk

    def path(self, receipt: Receipt) -> Path:
        """Where the folder of a receipt stands."""
        return self._root.joinpath(*PurePosixPath(receipt.folder).parts)

    def places(self, series: Series) -> tuple[Path, Path]:
        """Where a series stands by the layout: its plain name, and that with its whole UID."""
        return self._root / self._layout.folder(series), self._root / self._whole(series)

    def stands(self, receipt: Receipt) -> bool:
        """Whether the folder has exactly the files that the receipt names; none is opened."""
        files = {image.file for image in receipt.images}
        return bool(files) and files == set(names_in(self.path(receipt)))

    def commit(self, staging: Staging) -> Receipt:
        """Publish what is in staging, complete and proved: sync, receipt, rename, in this order.

        Raises:
            FileNotFoundError: another run took the staging folder.
            TakenOverError: another run, whose lock held nothing, publishes the series.
            IncompleteSeriesError: there is no image, or one is not what it was when it was written.
        """
        if not staging.images:
            raise IncompleteSeriesError(f"series {staging.series.uid} has no image")
        self._check_names(staging)
        for image in staging.images.values():
            self._disk.sync_file(staging.path(image))
        self._disk.sync_folder(staging.folder)
        old = self._receipts.read(staging.series.uid)
        if old is not None and self._same(old.receipt, staging):
            self._disk.remove_folder(staging.folder)
            return old.receipt
        receipt = _receipt(staging, old.receipt.folder if old else self._free(staging.series))
        self._receipts.write(Filed(receipt, staging.folder.name))
        return self._publish(staging.folder, receipt)

    def finish(self, filed: Filed) -> Receipt | None:
        """Finish a commit that was cut short; its receipt, or None if `filed` is of no such."""
        staged = self._staging / filed.receipt.series.uid / filed.staged
        expected = {image.file: image.size for image in filed.receipt.images}
        if not filed.staged or not staged.is_dir() or _sizes(staged) != expected:
            return None
        return self._publish(staged, filed.receipt)

    def _same(self, receipt: Receipt, staging: Staging) -> bool:
        """Whether another run published the very same images first: its lock held nothing."""
        here = {image.uid: image.md5 for image in staging.images.values()}
        same = here == {one.uid: one.md5 for one in receipt.images}
        return same and receipt.series == staging.series and self.stands(receipt)

    def _check_names(self, staging: Staging) -> None:
        sizes = _sizes(staging.folder)
        for name in sizes.keys() - {image.file for image in staging.images.values()}:
            discard(self._disk, staging.folder / name)
        for image in staging.images.values():
            if image.file not in sizes:
                raise FileNotFoundError(str(staging.folder / image.file))
            if sizes[image.file] != image.size:
                raise IncompleteSeriesError(
                    f"image {image.uid} changed on disk while its series was fetched",
                    hint="run the same command again; if it stays, check the disk",
                    missing=(image.uid,),
                )

    def _free(self, series: Series) -> str:
        """The series' folder by the layout; with its whole UID where that name is taken."""
        plain = self._layout.folder(series)
        place = self._root / plain
        # Its own folder is there if another run, whose lock held nothing, has just published it.
        taken = place.exists() and series_in(place) != series.uid
        return str(self._whole(series) if taken else plain)

    def _whole(self, series: Series) -> PurePosixPath:
        return self._layout.folder(series, whole_uid=True)

    def _publish(self, staged: Path, receipt: Receipt) -> Receipt:
        """Bring a series into the tree; under its whole UID where its place is another series'."""
        if not self._place(staged, receipt):
            receipt = replace(receipt, folder=str(self._whole(receipt.series)))
            self._receipts.write(Filed(receipt, staged.name))
            if not self._place(staged, receipt):
                taken = str(self.path(receipt))
                raise FileExistsError(errno.EEXIST, "another series stands in its place", taken)
        self._disk.sync_folder(self.path(receipt).parent)
        filed = self._receipts.read(receipt.series.uid)
        if filed is not None and filed.receipt.folder != receipt.folder:
            raise TakenOverError(receipt.series.uid)
        self.clear_others(receipt)
        return receipt

    def _place(self, staged: Path, receipt: Receipt) -> bool:
        """Rename a folder into its place; False, and nothing changed, if that is another series'.

        Raises:
            TakenOverError: another run, whose lock held nothing, publishes the series.
        """
        target = self.path(receipt)
        self._disk.make_lasting_folder(target.parent)
        if target.is_dir() and not self._make_way(target, receipt):
            return False
        try:
            self._disk.rename(staged, target)
        except FileExistsError as error:
            if is_of_another(target, receipt):
                return False
            raise TakenOverError(receipt.series.uid) from error
        return True

    def _make_way(self, target: Path, receipt: Receipt) -> bool:
        """Move the version aside that is replaced; False if it is another series' folder."""
        self._disk.make_folder(self._replaced)
        aside = self._replaced / f"{receipt.series.uid}~{os.urandom(8).hex()}"
        return move_own(
            self._disk, target, aside, lambda folder: not is_of_another(folder, receipt)
        )

    def replaced_uids(self) -> set[str]:
        """The series of which a replaced version is still on disk."""
        return {name.partition("~")[0] for name in names_in(self._replaced)}

    def clear_others(self, receipt: Receipt) -> None:
        """Remove what a series that stands replaced; set aside what stands of it a second time."""
        uid = receipt.series.uid
        for place in self.places(receipt.series):
            if place != self.path(receipt) and series_in(place) == uid:
                with contextlib.suppress(FileNotFoundError):
                    set_aside(self._disk, place, self._quarantine / uid)
        for name in names_in(self._replaced):
            if name.partition("~")[0] == uid:
                # A program that shows an image may keep its file: the next run tries again.
                with contextlib.suppress(OSError):
                    self._disk.remove_folder(self._replaced / name)


def _receipt(staging: Staging, folder: str) -> Receipt:
    return Receipt(
        series=staging.series,
        folder=folder,
        images=tuple(image for _, image in sorted(staging.images.items())),
        finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        program=f"tcia-covid {__version__}",
    )


def _sizes(folder: Path) -> dict[str, int]:
    """The bytes of all that is in a folder, but for the system's own files."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if not is_system_file(entry.name)
        }
