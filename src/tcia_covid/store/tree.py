"""The folder of one collection: what is in it, and how a series gets there."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from enum import Enum
from pathlib import Path

from tcia_covid.core.errors import ForeignImageError, LockedError, PermissionDeniedError
from tcia_covid.core.files import is_foreign_link, open_regular
from tcia_covid.core.models import (
    Failure,
    ImageAttributes,
    Receipt,
    Series,
    StoredImage,
    shared_headers,
)
from tcia_covid.core.safe_names import (
    MAX_UID,
    STATE_FOLDER,
    is_system_file,
)
from tcia_covid.core.version import PROGRAM
from tcia_covid.formats.dicom import HEAD_SIZE, header_of_file
from tcia_covid.store.commit import Committer, foreign_link, way_to
from tcia_covid.store.disk import (
    Disk,
    contention_errors,
    destination_error,
    destination_errors,
    files_in,
    machine_name,
)
from tcia_covid.store.layout import UID, Layout
from tcia_covid.store.locks import Holder, Lock, holders, locks_work
from tcia_covid.store.quarantine import refuse_link, set_aside
from tcia_covid.store.receipts import Notes, Receipts, StoredReceipt
from tcia_covid.store.recovery import DicomImages, StagingRecovery
from tcia_covid.store.request_record import REQUEST_FILE, recorded_request
from tcia_covid.store.staging import STAGED, Staging, is_temporary, staged_name
from tcia_covid.store.windows import file_in_use


def _read_attributes(path: Path) -> ImageAttributes:
    """The attributes of an image; empty ones where its file cannot be read."""
    try:
        with open(path, "rb", opener=open_regular) as file:
            head = file.read(HEAD_SIZE)
        return header_of_file(path, head).attributes
    except (OSError, ForeignImageError):
        return ImageAttributes()


def is_in_tree(folder: Path) -> bool:
    """Whether a folder is a collection's folder of this program, or below one."""
    return any((above / STATE_FOLDER).is_dir() for above in (folder, *folder.parents))


class Relayout(Enum):
    """What `Tree.relayout` did with a series."""

    RENAMED = "renamed"
    UNCHANGED = "unchanged"
    """It has its names in the layout."""
    INCOMPLETE = "incomplete"
    """Files are missing or damaged: a download repairs it first."""
    LINKED = "linked"
    """Links lead to its files, or they are on another file system: they stay where they are."""


class Tree:
    """One collection's folder.

    Args:
        root: `DIR/<collection>`.
        layout: where new series go.
        disk: all file-system writes.
        images: the kind of images.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout = UID,
        disk: Disk | None = None,
        images: DicomImages | None = None,
        *,
        keep_formulas: bool = False,
    ) -> None:
        self.root = root
        self.layout = layout
        self.disk = disk or Disk()
        self.images = images or DicomImages()
        self.state = root / STATE_FOLDER
        self.temporary = self.state / "tmp"
        """Files on their way into place."""
        self.receipts = Receipts(self.state / "series", self.disk, self.temporary)
        self.damage = Notes(self.state / "damaged", self.disk, self.temporary)
        """What `verify` found wrong, for the next download to replace."""
        self.changed = Notes(self.state / "changed", self.disk, self.temporary)
        """Series of which the archive publishes another hash now, as `verify` found."""
        self.failures = Notes(self.state / "failed", self.disk, self.temporary)
        """Why series could not be completed, for `status`."""
        self.moved = Notes(self.state / "moved", self.disk, self.temporary)
        """Folders that `adopt` moved images from, by a hash of their paths."""
        self.reports_stamp = self.state / "reports.json"
        """The sizes and hashes of the report files; missing while they are out of date."""
        self.reports_begun = self.state / "reports.begun"
        """Becomes the stamp when the reports are written, if no series has changed since."""
        self.staging = self.state / "staging"
        self.quarantine = self.state / "quarantine"
        self.keep_formulas = keep_formulas
        """Whether `metadata.csv` keeps values that a spreadsheet would evaluate."""
        self.notices = self.disk.notices
        """Messages: files that this run moved aside, and what the disk cannot do."""
        self._committer = Committer(
            root,
            self.state,
            layout,
            self.receipts,
            self.disk,
            self.images,
            self.is_taken,
            self.notify,
        )
        self._locks = self.state / "locks"
        self._run = f"{machine_name()[:32]}-{os.getpid()}-{os.urandom(4).hex()}"
        self._numbers = itertools.count()

    def prepare(self) -> None:
        """Make the folders, and check that files can be written.

        Raises:
            DestinationError: they cannot.
        """
        self.check_links()
        try:
            with destination_errors(str(self.root)):
                for folder in (self.receipts.folder, self.staging, self._locks):
                    self.disk.make_lasting_folder(folder)
                self.write_file(self.state / "program", f"{PROGRAM}\n".encode())
                self.disk.remove_abandoned(self.temporary)
        except FileNotFoundError as error:
            raise destination_error(error, str(self.root)) from error

    def check_links(self) -> None:
        """Refuse links that could lead writes out of the tree.

        The collection's folder may be a link that `is_foreign_link` does not refuse; the state
        folder and the folders in it are never links.

        Raises:
            PermissionDeniedError: such a link.
        """
        if is_foreign_link(self.root) and os.path.lexists(self.root):
            raise _link_error(self.root, "another user's symbolic link")
        with contextlib.suppress(FileNotFoundError), destination_errors(str(self.state)):
            if self.state.is_symlink():
                raise _link_error(self.state, "a symbolic link")
            with os.scandir(self.state) as entries:
                links = [Path(entry.path) for entry in entries if entry.is_symlink()]
            for link in links:  # one to a file is replaced by the next write
                if link.is_dir() or not link.exists():
                    raise _link_error(link, "a symbolic link")

    def damaged_files(self, receipt: Receipt) -> set[str]:
        """The names of a series' files that `verify` found damaged."""
        notes = self.damage.read(receipt.series.uid)
        return {str(note.get("file")).removeprefix(f"{receipt.folder}/") for note in notes}

    def note_failure(self, failure: Failure, name: str = "") -> None:
        """Record for `status` why a series, or the package `name`, could not be completed."""
        with contextlib.suppress(OSError):  # the result of the run has it, too
            self.failures.write(name or failure.series, [asdict(failure)])

    def foreign_link(self, receipt: Receipt) -> str:
        """The first link on the way to a series' folder that is not followed; empty if none."""
        return foreign_link(self.root, receipt.folder)

    def write_file(self, path: Path, *content: bytes) -> None:
        """Replace a file as a whole."""
        self.disk.write_file(path, content, self.temporary)

    def notify(self, text: str) -> None:
        """Record a message to the user."""
        self.notices.append(text)

    def invalidate_reports(self) -> None:
        """Record that the report files no longer say which series are in place.

        To be called before such a change, so that a crash leaves it recorded, and after it:
        reports that another run began to write before the change do not count either.
        """
        recorded = [path for path in (self.reports_stamp, self.reports_begun) if path.exists()]
        for path in recorded:
            self.disk.remove(path)
        if recorded:
            self.disk.sync_folder(self.state)

    def note_moved_from(self, folder: Path) -> None:
        """Record that images of `folder` are here, before they are removed there."""
        if not self.has_moved_from(folder):
            self.moved.write(_path_hash(folder), [])
            self.disk.sync_folder(self.state / "moved")

    def has_moved_from(self, folder: Path) -> bool:
        """Whether images were moved here from `folder`."""
        return _path_hash(folder) in self.moved.uids()

    def longest_paths(self, series: Series) -> Iterator[str]:
        """The longest paths that images of a series may have, in staging and in the tree."""
        stored = self.receipts.read(series.uid)
        in_tree = self.layout.longest_path(series)
        folder = stored.receipt.folder if stored else in_tree.parent
        staged = staged_name(StoredImage("0" * MAX_UID, 0, ""))
        for path in (self.root / folder / in_tree.name, self._new_name(series.uid) / staged):
            yield os.path.abspath(path)  # noqa: PTH100 - links are not resolved

    def record_request(
        self, series: Sequence[Series], listed: Sequence[Series], *, shards: int = 1
    ) -> None:
        """Record which series a run was asked for, for `status`.

        Args:
            series: those selected, of all shards.
            listed: all series of the collection; empty if only parts of it were listed.
            shards: how many runs share them.
        """
        with destination_errors(str(self.root)):
            self.write_file(self.state / REQUEST_FILE, recorded_request(series, listed, shards))

    def lock_holders(self) -> list[Holder]:
        """The runs that work in this folder now, one entry per locked series."""
        return holders(self._locks)

    def series_in_staging(self) -> set[str]:
        """The SeriesInstanceUIDs that have something in staging."""
        try:
            names = os.listdir(self.staging)  # noqa: PTH208 - only names are needed
        except FileNotFoundError:
            return set()
        return {name for name in names if not is_system_file(name)}

    def needs_check(self) -> set[str]:
        """The SeriesInstanceUIDs that a run must check even if they have receipts."""
        return self.series_in_staging() | self.damage.uids()

    def activity(self, uid: str) -> int:
        """A number that changes when any run makes progress with a series."""
        total = 0
        with contextlib.suppress(OSError):
            for file in (self.staging / uid).rglob("*"):
                total += file.stat().st_size + 1
        return total

    def staged_sizes(self, uid: str) -> Iterator[int]:
        """The size of each image of a series in staging, which a run may be changing."""
        for folder, _, names in os.walk(self.staging / uid):  # unlike glob, it ignores what is gone
            for name in names:
                with contextlib.suppress(OSError):
                    if not name.startswith("."):
                        yield Path(folder, name).stat().st_size

    def complete_receipt(self, uid: str) -> Receipt | None:
        """The receipt of a series whose folder has all its files, by name; else None.

        Opens the receipt and lists the folder; no image is opened.
        """
        stored = self.receipts.read(uid)
        return stored.receipt if stored and self.has_all_files(stored.receipt) else None

    def has_all_files(self, receipt: Receipt) -> bool:
        """Whether the folder has all files that the receipt names; none is opened."""
        return self._committer.is_complete(receipt)

    def is_half_committed(self, stored: StoredReceipt) -> bool:
        """Whether a commit began and did not end: some images may be of the version before."""
        staged = self.staging / stored.receipt.series.uid / stored.staged
        return bool(stored.staged) and staged.is_dir() and not staged.is_symlink()

    def path(self, receipt: Receipt) -> Path:
        """The folder of a receipt."""
        return self.root / receipt.folder

    def is_taken(self, folder: str, uid: str) -> bool:
        """Whether another series than `uid` owns a folder, or one above or below it.

        A series owns the folder of its receipt while it has an image there. Series folders never
        contain each other: a rename of one would move the other.
        """
        *above, path = way_to(self.root, folder)
        below = (subfolder for subfolder, _, _ in os.walk(path))
        return any(owner != uid for each in (*above, *below) for owner in self._owners(each))

    def _owners(self, folder: str) -> Iterator[str]:
        """The series whose receipts name `folder` and that have an image in it."""
        names = sorted(name for name in files_in(folder) if name.endswith(".dcm"))
        while names:
            try:
                uid = header_of_file(f"{folder}{os.sep}{names.pop(0)}").series
            except (OSError, ForeignImageError):
                continue
            stored = self.receipts.read(uid)
            if stored is None or stored.receipt.path(self.root) != folder:
                continue
            yield uid
            own = {image.file for image in stored.receipt.images}
            names = [name for name in names if name not in own]

    @contextmanager
    def hold(self, series: Series) -> Iterator[Receipt | None]:
        """Lock a series and finish an interrupted commit; yields the receipt if it is complete.

        Raises:
            LockedError: another run works on the series.
            TakenOverError: another run does so although it holds no lock.
            DestinationError: the disk.
        """
        with (
            destination_errors(str(self.root)),
            Lock(self._locks / f"{series.uid}.lock", f"series {series.uid}"),
            contention_errors(series.uid, self.staging / series.uid),
        ):
            yield self._recover(series.uid)

    @contextmanager
    def stage(
        self, series: Series, on_bytes: Callable[[int], None], *, update: bool = False
    ) -> Iterator[Staging | Receipt]:
        """Work on one series: yields its staging folder, or its receipt if it is complete.

        The series is locked. At the end, what is in staging stays for the next attempt.

        Args:
            series: the series, as listed.
            on_bytes: see `Staging`.
            update: whether a complete series is downloaded again while the old version stays.

        Raises the errors of `hold`.
        """
        with self.hold(series) as receipt:
            if receipt is not None and not update:
                self.clear_staging(series)
                yield receipt
                return
            with self.open_staging(series, on_bytes, update=update) as staging:
                yield staging

    @contextmanager
    def open_staging(
        self, series: Series, on_bytes: Callable[[int], None], *, update: bool = False
    ) -> Iterator[Staging]:
        """The staging folder of a series that this run has locked, with all existing images."""
        uid = series.uid
        folder = self.staging / uid / self._run
        staging = Staging(series, folder, self.disk, on_bytes)
        others, receipt = self._gather_leftovers(uid, folder, update=update)
        staging.recorded = {image.uid: image for image in receipt.images} if receipt else {}
        recovery = StagingRecovery(staging, self.images, self.quarantine / uid)
        if others or update:  # otherwise its folder is new
            recovery.fill(others)
        if not update:
            self._find_in_place(staging, receipt, recovery)
        try:
            yield staging
        finally:
            staging.leave()
            self.disk.remove_empty(folder)
            self.disk.remove_empty(folder.parent)

    def commit(self, staging: Staging) -> Receipt:
        """Publish a verified series, inside its `stage`: sync, receipt, rename, in this order.

        Raises:
            TakenOverError: another run took the staging folder.
            DestinationError: the disk.
        """
        uid = staging.series.uid
        with destination_errors(str(self.root)), contention_errors(uid, self.staging / uid):
            self.invalidate_reports()
            try:
                receipt = self._committer.commit(staging)
            finally:
                self.invalidate_reports()
            self._clear_notes(uid)
        return receipt

    def with_headers(self, receipt: Receipt) -> Receipt:
        """A receipt with the attributes of its images, from their files if it has none."""
        if receipt.headers is not None or not receipt.is_dicom or self.foreign_link(receipt):
            return receipt
        folder = self.path(receipt)
        attributes = [_read_attributes(folder / image.file) for image in receipt.images]
        return replace(receipt, headers=shared_headers(attributes))

    def locks_work(self) -> bool:
        """Whether locks exclude other runs on the file system of this folder."""
        return locks_work(self._locks / "probe.lock")

    def relayout(self, series: Series) -> Relayout:
        """Rename the folder and the files of a complete series as this tree's layout does.

        Raises the errors of `hold`.
        """
        with self.hold(series) as complete:
            if complete is None:
                return Relayout.INCOMPLETE
            self.clear_staging(series)
            receipt = self.with_headers(complete)
            outcome = self.relayout_outcome(receipt)
            if outcome is not Relayout.RENAMED:
                return outcome
            self.invalidate_reports()
            try:
                self._committer.relayout(receipt, self._new_name(series.uid))
            finally:
                self.invalidate_reports()
            self.disk.remove_empty(self.staging / series.uid)
        return Relayout.RENAMED

    def relayout_outcome(self, receipt: Receipt) -> Relayout:
        """What `relayout` does with the series of a receipt with headers; no image is opened.

        Renames take images to their new folder only on one file system, and not through links.
        """
        if receipt.series.uid in self.damage.uids() or not self.has_all_files(receipt):
            return Relayout.INCOMPLETE
        if self.is_in_layout(receipt):
            return Relayout.UNCHANGED
        folder, target = self.path(receipt), self.root / self.path_in_layout(receipt)
        statuses = [(folder / image.file).lstat() for image in receipt.images]
        if foreign_link(self.root, self.path_in_layout(receipt)) or any(
            stat.S_ISLNK(status.st_mode) for status in statuses
        ):
            return Relayout.LINKED
        existing = next(path for path in (target, *target.parents) if path.is_dir())
        if len({path.stat().st_dev for path in (folder, existing, self.staging)}) > 1:
            return Relayout.LINKED
        if [status.st_size for status in statuses] != [image.size for image in receipt.images]:
            return Relayout.INCOMPLETE
        return Relayout.RENAMED

    def is_in_layout(self, receipt: Receipt) -> bool:
        """Whether the series of a receipt with headers has the names that the layout gives it."""
        folder, images = self._committer.in_layout(receipt)
        return (folder, images) == (receipt.folder, receipt.images)

    def path_in_layout(self, receipt: Receipt) -> str:
        """The folder of a series as the layout names it, relative to the collection's folder."""
        return self._committer.in_layout(receipt)[0]

    def may_be_in_layout(self, receipt: Receipt) -> bool:
        """The same by the folder and the kind of names only; quicker for many series."""
        has_names = any(image.name for image in receipt.images)
        return has_names == bool(self.layout.file) and self.layout.has_folder(
            receipt.folder, receipt.series, receipt.study_id
        )

    def record_headers(self, receipt: Receipt) -> None:
        """Store the attributes that `with_headers` read, unless another run has the series."""
        uid = receipt.series.uid
        with contextlib.suppress(LockedError), Lock(self._locks / f"{uid}.lock", f"series {uid}"):
            stored = self.receipts.read(uid)
            if stored is not None and stored.receipt == receipt:
                self.receipts.write(replace(stored, receipt=receipt))

    def clear_staging(self, series: Series) -> None:
        """Remove what earlier runs left in staging of a series that is complete."""
        parent = self.staging / series.uid
        refuse_link(parent)
        with contextlib.suppress(FileNotFoundError):
            for folder in sorted(parent.iterdir()):
                # Renamed first: a run without a lock must not publish part of a folder.
                taken = self._new_name(series.uid)
                self.disk.rename(folder, taken)
                # Where locks do not work, another run may have moved the images in there.
                if self.complete_receipt(series.uid) is None:
                    return
                self._remove_staged(taken, series)
        self.disk.remove_empty(parent)

    def _recover(self, uid: str) -> Receipt | None:
        """Finish a commit that was interrupted; give the receipt if the series is complete."""
        stored = self.receipts.read(uid)
        if stored is None:
            return None
        receipt = self._committer.finish(stored)
        if receipt is not None:
            self._clear_notes(uid)
        receipt = receipt or stored.receipt
        return receipt if self.has_all_files(receipt) and uid not in self.damage.uids() else None

    def _gather_leftovers(
        self, uid: str, folder: Path, *, update: bool
    ) -> tuple[list[Path], Receipt | None]:
        """Take over the existing folders of a series; return them, and its receipt."""
        refuse_link(folder.parent)
        is_new = self.disk.make_folder(folder.parent)
        stored = self.receipts.read(uid)
        receipt = stored.receipt if stored else None
        others: list[Path] = []
        if receipt is not None and not update and not self.images.stays_in_place:
            others += self._move_to_staging(receipt)
        for other in () if is_new else sorted(folder.parent.iterdir()):
            if is_system_file(other.name) or other in others:
                continue
            # One rename takes over the folder of a dead run. If that run still works (locks have no
            # effect), it notices that the folder is missing, and tries the series again later.
            taken = self._new_name(uid)
            with contextlib.suppress(FileNotFoundError):
                self.disk.rename(other, taken)
                others.append(taken)
        self.disk.make_folder(folder)
        if update and receipt is not None:
            self._link_old(receipt, folder)
        return others, None if update else receipt

    def _new_name(self, uid: str) -> Path:
        """A new name in staging for a folder that this run takes over."""
        return self.staging / uid / f"{self._run}~{next(self._numbers)}"

    def _move_to_staging(self, receipt: Receipt) -> list[Path]:
        """Take the images of a damaged series out of the tree; return their new folder.

        Only files that the receipt names are moved; links to images, images on another file
        system, and those that another program has open stay as well.
        """
        self.invalidate_reports()
        folder = self.path(receipt)
        if not folder.is_dir() or self.foreign_link(receipt):
            return []
        taken = self._new_name(receipt.series.uid)
        for image in receipt.images:
            path = folder / image.file
            if path.is_symlink() or not path.is_file():
                continue
            self.disk.make_folder(taken)
            try:
                self.disk.rename(path, taken / image.file)
            except OSError as error:
                stays = error.errno in (errno.EXDEV, errno.ENOENT) or file_in_use(error)
                if not stays:
                    raise
        self.disk.remove_empty(folder)
        return [taken] if taken.is_dir() else []

    def _find_in_place(
        self, staging: Staging, receipt: Receipt | None, recovery: StagingRecovery
    ) -> None:
        """Take images that are in the series' folder and stay there."""
        for folder in self._committer.folders(staging.series, receipt):
            path = way_to(self.root, folder)[-1]
            if not os.path.isdir(path) or foreign_link(self.root, folder):  # noqa: PTH112 - a text
                continue
            if not self.is_taken(folder, staging.series.uid):
                recovery.find_in_place(Path(path), self.layout)
            if staging.in_place:
                return

    def _link_old(self, receipt: Receipt, folder: Path) -> None:
        """Start an update with hard links to the old images, where the file system has them."""
        old = self.path(receipt)
        for name in set() if self.foreign_link(receipt) else files_in(old):
            if name.endswith(".dcm") and not (old / name).is_symlink():
                with contextlib.suppress(OSError):
                    self.disk.link(old / name, folder / f"{name}{STAGED}")

    def _clear_notes(self, uid: str) -> None:
        for notes in (self.damage, self.changed, self.failures):
            notes.clear(uid)

    def _remove_staged(self, path: Path, series: Series) -> None:
        """Remove images that a run left in staging; what is not this program's stays visible."""
        if path.is_symlink() or not path.is_dir():
            self.disk.remove(path)
            return
        for file in sorted(path.iterdir()):
            is_image = self.images.is_name(file.name.removesuffix(STAGED), series.uid)
            is_own = (is_image or is_temporary(file.name)) and not file.is_dir()
            if not (is_own or is_system_file(file.name)):
                set_aside(self.disk, file, self.quarantine / series.uid)
        self.disk.remove_folder(path)


def _link_error(path: Path, what: str) -> PermissionDeniedError:
    return PermissionDeniedError(
        f"{path} is {what}: it is not followed",
        hint="remove the link, or use another --output; SECURITY.md says which links are followed",
    )


def _path_hash(folder: Path) -> str:
    path = os.path.realpath(folder)
    return hashlib.md5(os.fsencode(path), usedforsecurity=False).hexdigest()
