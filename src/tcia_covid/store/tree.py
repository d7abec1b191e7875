"""The folder of one collection: what stands in it, and how a series gets there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.core.models import Receipt, Series
from tcia_covid.core.safe_names import STATE_FOLDER, is_system_file, safe_name
from tcia_covid.core.version import __version__
from tcia_covid.store.commit import Commit
from tcia_covid.store.disk import (
    Disk,
    destination_error,
    destination_errors,
    machine_name,
    missing_means_taken_over,
    remove_abandoned,
    set_aside,
)
from tcia_covid.store.layout import UID, Layout
from tcia_covid.store.locks import Lock
from tcia_covid.store.notes import Notes
from tcia_covid.store.ownership import files_in
from tcia_covid.store.receipts import Receipts, StoredReceipt
from tcia_covid.store.recovery import StagingRecovery
from tcia_covid.store.staging import Staging, staged_name

_PLAIN_COLLECTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._()-]{0,62}[A-Za-z0-9)]")


def collection_folder(name: str) -> str:
    """Give the folder name of a collection: its own name where that is safe everywhere."""
    return name if _PLAIN_COLLECTION.fullmatch(name) else str(safe_name(name))


def _hash_of(folder: Path) -> str:
    path = os.path.realpath(folder)
    return hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()


def is_in_tree(folder: Path) -> bool:
    """Whether a folder is a collection's folder of this program, or below one."""
    return any((one / STATE_FOLDER).is_dir() for one in (folder, *folder.parents))


class Tree:
    """One collection's folder.

    Args:
        root: `DIR/<collection>`.
        layout: where new series go.
        disk: the seam to the file system.
    """

    def __init__(self, root: Path, layout: Layout = UID, disk: Disk | None = None) -> None:
        self.root = root
        self.layout = layout
        self.disk = disk or Disk()
        self.state = root / STATE_FOLDER
        self.temporary = self.state / "tmp"
        """Files on their way into place."""
        self.receipts = Receipts(self.state / "series", self.disk, self.temporary)
        self.damage = Notes(self.state / "damaged", self.disk, self.temporary)
        """What `verify` found wrong, for the next download to mend."""
        self.changed = Notes(self.state / "changed", self.disk, self.temporary)
        """Series that the archive has another hash of by now, as `verify` learned."""
        self.failures = Notes(self.state / "failed", self.disk, self.temporary)
        """Why series could not be completed, for `status`."""
        self.moved = Notes(self.state / "moved", self.disk, self.temporary)
        """Folders that `adopt` moved images from, by a hash of their paths."""
        self.reports_stamp = self.state / "reports.json"
        """What the report files were when they were written; gone while they are out of date."""
        self.reports_begun = self.state / "reports.begun"
        """Becomes the stamp once the reports are written, if no series changed meanwhile."""
        self.staging = self.state / "staging"
        self.quarantine = self.state / "quarantine"
        self.notices: list[str] = []
        """What this run moved aside because it was in the way, with its new path."""
        self._publication = Commit(root, self.state, layout, self.receipts, self.disk, self.notices)
        self._locks = self.state / "locks"
        self._run = f"{machine_name()[:32]}-{os.getpid()}-{os.urandom(4).hex()}"
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folders, and see that files can be written.

        Raises:
            DestinationError: they cannot.
        """
        try:
            with destination_errors(str(self.root)):
                for folder in (self.receipts.folder, self.staging, self._locks):
                    self.disk.make_lasting_folder(folder)
                self.write_file(self.state / "program", f"tcia-covid {__version__}\n".encode())
                remove_abandoned(self.temporary, self.disk.remove)
        except FileNotFoundError as error:
            raise destination_error(error, str(self.root)) from error

    def write_file(self, path: Path, *content: bytes) -> None:
        """Put a file in place, whole."""
        self.disk.write_file(path, content, self.temporary)

    def owe_reports(self) -> None:
        """Record that the report files no longer say which series are in place.

        To be called before such a change, so that a crash leaves it recorded, and after it:
        reports that somebody began to write before the change do not count either.
        """
        owed = [path for path in (self.reports_stamp, self.reports_begun) if path.exists()]
        for path in owed:
            self.disk.remove(path)
        if owed:
            self.disk.sync_folder(self.state)

    @contextmanager
    def _owing_reports(self) -> Iterator[None]:
        self.owe_reports()
        try:
            yield
        finally:
            self.owe_reports()

    def note_moved_from(self, folder: Path) -> None:
        """Record that images of `folder` are here, before they are removed there."""
        if not self.has_moved_from(folder):
            self.moved.write(_hash_of(folder), [])
            self.disk.sync_folder(self.state / "moved")

    def has_moved_from(self, folder: Path) -> bool:
        """Whether images were moved here from `folder`."""
        return _hash_of(folder) in self.moved.uids()

    def note_asked(self, series: int) -> None:
        """Leave a note of how many series a run is asked for, so that `status` can tell."""
        with destination_errors(str(self.root)):
            self.write_file(self.state / "asked.json", json.dumps({"series": series}).encode())

    def asked(self) -> int | None:
        """How many series the last run was asked for; None where that is not known."""
        try:
            return int(json.loads((self.state / "asked.json").read_bytes())["series"])
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def under_way(self) -> set[str]:
        """The SeriesInstanceUIDs that have something in staging."""
        try:
            names = os.listdir(self.staging)  # noqa: PTH208 - names alone are wanted
        except FileNotFoundError:
            return set()
        return {name for name in names if not is_system_file(name)}

    def unsettled(self) -> set[str]:
        """The SeriesInstanceUIDs that need a look whatever their receipt says."""
        return self.under_way() | self.damage.uids()

    def activity(self, uid: str) -> int:
        """A number that changes while any run gets on with a series."""
        total = 0
        with contextlib.suppress(OSError):
            for file in (self.staging / uid).rglob("*"):
                total += file.stat().st_size + 1
        return total

    def kept(self, uids: Iterable[str]) -> int:
        """Bytes of all images of these series in staging."""
        return sum(size for uid in uids for size in self.staged(uid))

    def staged(self, uid: str) -> Iterator[int]:
        """The size of each image of a series in staging, which a run may be changing."""
        for file in (self.staging / uid).glob("*/[!.]*"):
            with contextlib.suppress(OSError):
                yield file.stat().st_size

    def committed(self, uid: str) -> Receipt | None:
        """The receipt of a series whose folder has all its files, by name; else None.

        Opens the receipt and lists the folder; no image is opened.
        """
        filed = self.receipts.read(uid)
        if filed is None or not self._publication.is_complete(filed.receipt):
            return None
        return filed.receipt

    def has_all_files(self, receipt: Receipt) -> bool:
        """Whether the folder has all files that the receipt names; none is opened."""
        return self._publication.is_complete(receipt)

    def is_being_committed(self, filed: StoredReceipt) -> bool:
        """Whether a commit began and did not end: some images may be of the version before."""
        return (
            bool(filed.staged) and (self.staging / filed.receipt.series.uid / filed.staged).is_dir()
        )

    def path(self, receipt: Receipt) -> Path:
        """The folder of a receipt."""
        return self._publication.path(receipt)

    @contextmanager
    def stage(
        self, series: Series, on_bytes: Callable[[int], None], *, update: bool = False
    ) -> Iterator[Staging | Receipt]:
        """Work on one series: its staging folder, or its receipt if nothing is left to do.

        Holds the series' lock. On leaving, what is in staging stays for the next attempt.

        Args:
            series: the series, as listed.
            on_bytes: see `Staging`.
            update: whether a complete series is to be fetched anew beside the old version.

        Raises:
            HeldError: another run works on the series.
            TakenOverError: another run does so although it holds no lock.
            DestinationError: the disk.
        """
        with (
            destination_errors(str(self.root)),
            Lock(self._locks / f"{series.uid}.lock", f"series {series.uid}"),
            missing_means_taken_over(series.uid),
        ):
            receipt = self._recover(series.uid)
            if receipt is not None and not update:
                with contextlib.suppress(FileNotFoundError):
                    self._clear_staging(series.uid)
                yield receipt
                return
            folder = self.staging / series.uid / self._run
            staging = Staging(series, folder, self.disk, on_bytes)
            adoption = StagingRecovery(self.disk, self.quarantine / series.uid)
            others, receipt = self._leftovers(series, folder, update=update)
            adoption.fill(staging, others, receipt)
            if not update:
                self._find_in_place(staging, receipt, adoption)
            try:
                yield staging
            finally:
                staging.leave()
                self._leave(series.uid)

    def commit(self, staging: Staging) -> Receipt:
        """Publish a proved series, inside its `stage`: sync, receipt, rename, in this order.

        Raises:
            TakenOverError: another run took the staging folder.
            DestinationError: the disk.
        """
        uid = staging.series.uid
        with (
            destination_errors(str(self.root)),
            missing_means_taken_over(uid),
            self._owing_reports(),
        ):
            receipt = self._publication.commit(staging)
            self._clear_notes(uid)
        return receipt

    def _recover(self, uid: str) -> Receipt | None:
        """Finish a commit that was cut short; give the receipt if the series stands."""
        filed = self.receipts.read(uid)
        if filed is None:
            return None
        receipt = self._publication.finish(filed)
        if receipt is None:
            receipt = filed.receipt
        else:
            self._clear_notes(uid)
        if not self._publication.is_complete(receipt) or uid in self.damage.uids():
            return None
        return receipt

    def _leftovers(
        self, series: Series, folder: Path, *, update: bool
    ) -> tuple[list[Path], Receipt | None]:
        """Gather in `folder` what there is of a series already; return old folders and receipt."""
        self.disk.make_folder(folder.parent)
        filed = self.receipts.read(series.uid)
        receipt = filed.receipt if filed else None
        others = []
        if receipt is not None and not update:
            others += self._take_back(receipt)
        for other in [*sorted(folder.parent.iterdir()), *self._replaced(series.uid)]:
            if is_system_file(other.name) or other in others:
                continue
            # One rename takes a dead run's folder over whole; a run that is alive after all
            # (its lock locked nothing) finds it gone, and looks at the series again later.
            mine = self._taken(series.uid)
            with contextlib.suppress(FileNotFoundError):
                self.disk.rename(other, mine)
                others.append(mine)
        self.disk.make_folder(folder)
        if update and receipt is not None:
            self._link_old(receipt, folder)
        return others, None if update else receipt

    def _taken(self, uid: str) -> Path:
        """A new name in staging for a folder that this run takes over."""
        return self.staging / uid / f"{self._run}~{next(self._numbers)}"

    def _take_back(self, receipt: Receipt) -> list[Path]:
        """Take the images of a damaged series out of the tree; return their new folder.

        Only files that the receipt names are moved; links to images, and images on another file
        system, stay as well.
        """
        self.owe_reports()
        folder = self.path(receipt)
        if not folder.is_dir():
            return []
        taken = self._taken(receipt.series.uid)
        for image in receipt.images:
            path = folder / image.file
            if path.is_symlink() or not path.is_file():
                continue
            self.disk.make_folder(taken)
            try:
                self.disk.rename(path, taken / image.file)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.ENOENT):
                    raise
        self.disk.remove_empty(folder)
        return [taken] if taken.is_dir() else []

    def _find_in_place(
        self, staging: Staging, receipt: Receipt | None, adoption: StagingRecovery
    ) -> None:
        """Take images that are in the series' folder and stay there."""
        for folder in self._publication.places(staging.series, receipt):
            path = self.root / folder
            if path.is_dir() and not self._publication.is_taken(folder, staging.series.uid):
                adoption.find_in_place(staging, path)
            if staging.in_place:
                return

    def _replaced(self, uid: str) -> list[Path]:
        """Folders of replaced versions that a version before 0.1.0 of this program left."""
        return sorted((self.state / "replaced").glob(f"{uid}~*"))

    def _link_old(self, receipt: Receipt, folder: Path) -> None:
        """Start an update from second names of the old images, where the file system has such."""
        old = self.path(receipt)
        for name in files_in(old):
            if name.endswith(".dcm") and not (old / name).is_symlink():
                with contextlib.suppress(OSError):
                    self.disk.link(old / name, folder / staged_name(name))

    def _clear_notes(self, uid: str) -> None:
        self.damage.clear(uid)
        self.changed.clear(uid)
        self.failures.clear(uid)

    def _leave(self, uid: str) -> None:
        """Remove this run's staging folder if nothing is in it."""
        parent = self.staging / uid
        self.disk.remove_empty(parent / self._run)
        self.disk.remove_empty(parent)

    def _clear_staging(self, uid: str) -> None:
        """Remove what earlier runs left in staging of a series that stands."""
        parent = self.staging / uid
        if not parent.is_dir():
            return
        for folder in sorted(parent.iterdir()):
            # Renamed first: a run whose lock held nothing must not publish half a folder.
            mine = self._taken(uid)
            self.disk.rename(folder, mine)
            self._dispose(mine, uid)
        self.disk.remove_empty(parent)

    def _dispose(self, path: Path, uid: str) -> None:
        """Remove what a run left in staging; what is not this program's goes to quarantine."""
        if not path.is_dir():
            self.disk.remove(path)
            return
        for file in sorted(path.iterdir()):
            if file.is_dir() and not is_system_file(file.name):
                set_aside(self.disk, file, self.quarantine / uid)
        self.disk.remove_folder(path)
