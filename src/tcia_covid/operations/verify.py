"""Re-check every file of a download against its receipt, and on request against the archive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_ARCHIVE, EXIT_OK, EXIT_PARTIAL, ArchiveError, LockedError
from tcia_covid.core.events import DamageFound, Emit, ImagesChecked, Notice, discard
from tcia_covid.core.limits import processors
from tcia_covid.core.models import Check, Receipt, archive_label
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import is_uid
from tcia_covid.formats.hashes import same_md5
from tcia_covid.operations.verify_files import (
    Batch,
    Damage,
    Problem,
    Reason,
    UnexpectedFile,
    check_batch,
    find_unexpected,
    make_batches,
)
from tcia_covid.store.discovery import (
    UncheckedFolder,
    find_trees,
    find_unchecked_folders,
    listing_errors,
)
from tcia_covid.store.locks import Lock
from tcia_covid.store.report_page import FOLDER, is_own_folder
from tcia_covid.store.reports import (
    MANIFEST,
    manifest_was_changed,
    outdated_reports,
)
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FOLDER as SUPPORTING
from tcia_covid.supporting.receipts import FileReceipts
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import hash_matches

if TYPE_CHECKING:  # imports half of the program, which a run without targets does not need
    from tcia_covid.operations.verify_against import SeriesCheck, TargetComparison, VolumeCheck


@dataclass(slots=True)
class ImageCounts:
    """Numbers of images that are in receipts."""

    checked: int = 0
    intact: int = 0
    damaged: int = 0


@dataclass(slots=True)
class SeriesCounts(ImageCounts):
    """Numbers of series that have receipts."""

    unverified: int = 0
    """Intact series with images that no hash of an archive ever verified."""
    in_progress: int = 0
    """Not checked, because another run works on them."""


@dataclass(slots=True)
class OnlineCounts:
    """Numbers of intact series by what the archive's hash says."""

    verified: int = 0
    changed: int = 0
    no_hash: int = 0
    """The archive has no hash of the series, or none that covers every image."""
    no_response: int = 0


@dataclass(slots=True, repr=False)
class VerifyResult:
    """What `verify` found."""

    output: str
    """The folder that was checked."""
    strict: bool = False
    """Whether unexpected files give exit code 1."""
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: ImageCounts = field(default_factory=ImageCounts)
    size: int = 0
    """Bytes of the images, by the receipts."""
    read: int = 0
    """Bytes of those that exist."""
    damage: list[Damage] = field(default_factory=list)
    unexpected: list[UnexpectedFile] = field(default_factory=list)
    unchecked: list[UncheckedFolder] = field(default_factory=list)
    """Folders with images that are in no receipt."""
    outdated_reports: list[str] = field(default_factory=list)
    """Report files that are missing or out of date; no damage, because the images are intact."""
    online: OnlineCounts | None = None
    """None if the archive was not asked."""
    against: TargetComparison | None = None
    """How the folder compares with targets; None if none were given."""
    recorded: bool = True
    """Whether the damage is recorded in the tree, so that the next download repairs it."""
    seconds: float = 0.0

    def __repr__(self) -> str:
        problems = f", {len(self.damage):,} damaged files" if self.damage else ""
        if self.against is not None and (different := len(self.against.mismatches)):
            problems += f", {different:,} series missing, changed or extra"
        return (
            f"<Verify: {self.images.intact:,} of {self.images.checked:,} images intact in "
            f"{self.output}{problems}; exit code {self.exit_code}>"
        )

    @property
    def exit_code(self) -> int:
        """0, or 1 if files are damaged or not covered by receipts (`strict`: or unexpected).

        Also 1 if the folder is not what the targets name.
        Else 3 if the archive responded for no series, 1 if not for all.
        """
        if self.damage or self.unchecked or (self.strict and self.unexpected):
            return EXIT_PARTIAL
        if self.against is not None and self.against.mismatches:
            return EXIT_PARTIAL
        if self.online is None or not self.online.no_response:
            return EXIT_OK
        return EXIT_PARTIAL if self.online.verified + self.online.no_hash else EXIT_ARCHIVE


def verify_directory(
    directory: Path,
    *,
    deep: bool = False,
    strict: bool = False,
    archive: Archive | None = None,
    against: SeriesCheck | VolumeCheck | None = None,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> VerifyResult:
    """Compare every file of a download with its receipt, and record damage for the next download.

    The arguments and errors are those of `tcia_covid.verify`; `archive` is asked for the hashes of
    intact series, and `against` compares what the folder has with targets.

    Raises:
        DestinationError: the program's own files in the folder cannot be read.
    """
    started = time.monotonic()
    stop = stop or CancelToken()
    jobs = jobs or min(8, 2 * processors())
    result = VerifyResult(str(directory), strict=strict)
    online = OnlineCheck(archive, jobs, emit, stop) if archive else None
    for tree in find_trees(directory):
        with listing_errors(directory):
            prefix = "" if tree.root == directory else f"{tree.root.name}/"
            check = _TreeCheck(tree, prefix, result, deep, emit, stop, against)
            check.check_series(jobs)
            check.find_unexpected()
            check.check_supporting()
            check.check_reports()
            if online is not None:
                check.compare_online(online)
                result.online = OnlineCounts(**online.compared)
    with listing_errors(directory):
        result.unchecked = find_unchecked_folders(directory)
    if against is not None:
        result.against = against.finish()
    if not result.recorded:
        emit(Notice(f"{directory} is not writable: the next download cannot repair the damage"))
    result.seconds = round(time.monotonic() - started, 3)
    return result


@dataclass(slots=True)
class _TreeCheck:
    """Checks one collection's folder; adds to a result."""

    tree: Tree
    prefix: str
    """Of the paths in the result."""
    result: VerifyResult
    deep: bool
    emit: Emit
    stop: CancelToken
    against: SeriesCheck | VolumeCheck | None
    subfolders: list[str] = field(default_factory=list)
    """Folders in series folders."""
    folders: dict[str, str] = field(default_factory=dict)
    """Of every receipt, by SeriesInstanceUID."""
    not_intact: set[str] = field(default_factory=set)
    """SeriesInstanceUIDs."""
    recorded_damage: set[str] = field(init=False)

    def __post_init__(self) -> None:
        self.recorded_damage = self.tree.damage.uids()

    def check_series(self, jobs: int) -> None:
        """Hash every image that is in a receipt, and count each series."""
        problems: list[Problem] = []
        check = partial(check_batch, deep=self.deep, stop=self.stop)
        for batch, batch_problems in parallel_map(check, self._batches(), jobs, self.stop):
            problems += batch_problems
            self.subfolders += batch.subfolders
            self.emit(ImagesChecked(batch.size, len(batch.images)))
            if batch.is_last:
                self._finish(batch.receipt, problems)
                problems = []

    def _batches(self) -> Iterator[Batch]:
        for uid in sorted(self.tree.receipts.uids()):
            stored = self.tree.receipts.read(uid)
            if stored is None:
                self._add_broken_receipt(uid)
                continue
            self.folders[uid] = stored.receipt.folder
            yield from make_batches(self.tree, stored.receipt)

    def _add_broken_receipt(self, uid: str) -> None:
        path = self.tree.receipts.path(uid)
        if not path.exists():
            return
        self.not_intact.add(uid)
        file = path.relative_to(self.tree.root).as_posix()
        series = uid if is_uid(uid) else ""
        self._add(Damage(series, file, Reason.UNREADABLE, "the receipt cannot be read"))
        self.result.series.checked += bool(series)
        self.result.series.damaged += bool(series)

    def _finish(self, receipt: Receipt, problems: list[Problem]) -> None:
        """Count a series, and record whether it is damaged."""
        uid = receipt.series.uid
        if not any(isinstance(problem, Damage) for problem in problems):
            if uid in self.recorded_damage:
                with self._noting_failure():
                    self.tree.damage.clear(uid)
            self._count(receipt, problems)
            return
        self.not_intact.add(uid)
        locks = self.tree.state / "locks"
        try:
            with self._noting_failure():
                self.tree.disk.make_folder(locks)
                with Lock(locks / f"{uid}.lock", f"series {uid}"):
                    receipt, problems = self._check_again(receipt, problems)
                    self._record(uid, problems)
        except LockedError:
            self.result.series.in_progress += 1
            return
        self._count(receipt, problems)

    def _check_again(
        self, receipt: Receipt, problems: list[Problem]
    ) -> tuple[Receipt, list[Problem]]:
        """Check a series again if a download committed it during the check."""
        stored = self.tree.receipts.read(receipt.series.uid)
        if stored is None or stored.receipt == receipt:
            return receipt, problems
        problems = []
        for batch in make_batches(self.tree, stored.receipt):
            problems += check_batch(batch, deep=self.deep, stop=self.stop)
        return stored.receipt, problems

    def _record(self, uid: str, problems: list[Problem]) -> None:
        lines = [
            {"file": problem.file, "reason": problem.reason.value, "detail": problem.detail}
            for problem in problems
            if isinstance(problem, Damage) and problem.repairable
        ]
        if lines:
            self.tree.damage.write(uid, lines)
        else:
            self.tree.damage.clear(uid)

    @contextmanager
    def _noting_failure(self) -> Iterator[None]:
        """Note in the result that the folder is not writable."""
        try:
            yield
        except OSError:
            self.result.recorded = False

    def _count(self, receipt: Receipt, problems: list[Problem]) -> None:
        result, images = self.result, len(receipt.images)
        damage = [problem for problem in problems if isinstance(problem, Damage)]
        damaged = len({problem.file for problem in damage})
        result.series.checked += 1
        result.series.intact += not damaged
        result.series.damaged += bool(damaged)
        result.series.unverified += not damaged and receipt.check is Check.SIZE
        result.images.checked += images
        result.images.intact += images - damaged
        result.images.damaged += damaged
        result.size += receipt.size
        missing = {Path(each.file).name for each in damage if each.reason is Reason.MISSING}
        result.read += sum(image.size for image in receipt.images if image.file not in missing)
        if self.against is not None:
            self.against.compare(receipt, damage)
        for problem in problems:
            self._add(problem)

    def _add(self, problem: Problem) -> None:
        problem = replace(problem, file=self.prefix + problem.file)
        if isinstance(problem, Damage):
            self.result.damage.append(problem)
            reason = problem.reason.value
            self.emit(DamageFound(problem.series, problem.file, reason, problem.detail))
        else:
            self.result.unexpected.append(problem)

    def find_unexpected(self) -> None:
        """Find files that are in no receipt, except of series committed since the check began."""
        problems = []
        known = {*self.folders.values(), SUPPORTING}
        if is_own_folder(self.tree.root / FOLDER):
            known.add(FOLDER)
        for problem in find_unexpected(self.tree.root, known, self.subfolders):
            self.stop.check()
            problems.append(problem)
        if not problems:
            return
        new = self.tree.receipts.uids() - self.folders.keys() - self.not_intact
        new_folders = tuple(f"{receipt.folder}/" for receipt in self._receipts(new))
        for problem in problems:
            if not problem.file.startswith(new_folders):
                self._add(problem)

    def check_supporting(self) -> None:
        """Compare the collection's supporting files with their receipts."""
        if not (self.tree.state / SUPPORTING).is_dir():
            return
        receipts = FileReceipts(self.tree)
        for receipt in receipts.all():
            self.stop.check()
            for difference in receipts.differing(receipt):
                reason = Reason.MISSING if difference.is_missing else Reason.CHANGED
                self._add(
                    Damage("", difference.file, reason, difference.detail, option="--supporting")
                )

    def check_reports(self) -> None:
        """Compare the report files with what was written, and the manifest with the receipts.

        A manifest that contradicts the receipts is damage, provided that all receipts are
        readable. Other changes, and missing files, are only listed.
        """
        damaged = self.not_intact <= self.folders.keys() and manifest_was_changed(self.tree)
        if damaged:
            self._add(Damage("", MANIFEST, Reason.CHANGED, "it contradicts the receipts"))
        outdated = outdated_reports(self.tree, by_hash=True)
        self.result.outdated_reports += [
            self.prefix + name for name in outdated if not (damaged and name == MANIFEST)
        ]
        # A download does not compare the content, so it has to be recorded.
        if (damaged or outdated) and not outdated_reports(self.tree):
            with self._noting_failure():
                self.tree.invalidate_reports()

    def compare_online(self, online: OnlineCheck) -> None:
        """Compare every intact series with the archive's hash; record which ones changed there."""
        intact = self._receipts(sorted(self.folders.keys() - self.not_intact))
        for receipt, comparison in online.compare(intact):
            uid, detail = receipt.series.uid, "the archive has another hash of the series now"
            if comparison is HashComparison.VERIFIED:
                with self._noting_failure():
                    self.tree.changed.clear(uid)
            elif comparison is HashComparison.CHANGED:
                with self._noting_failure():
                    self.tree.changed.write(uid, [{"detail": detail}])
                self._add(Damage(uid, receipt.folder, Reason.CHANGED, detail, option="--update"))
                self.result.series.intact -= 1
                self.result.series.damaged += 1

    def _receipts(self, uids: Iterable[str]) -> Iterator[Receipt]:
        for uid in uids:
            stored = self.tree.receipts.read(uid)
            if stored is not None:
                yield stored.receipt


class HashComparison(str, Enum):
    """The result of comparing a series with an archive's hash; a field of `OnlineCounts`."""

    VERIFIED = "verified"
    CHANGED = "changed"
    NO_HASH = "no_hash"
    NO_RESPONSE = "no_response"


@dataclass(slots=True)
class OnlineCheck:
    """Compares series with one archive's hashes."""

    archive: Archive
    jobs: int
    """Simultaneous requests."""
    emit: Emit
    """Receives a notice when the archive is not responding."""
    stop: CancelToken
    compared: Counter[str] = field(default_factory=Counter)
    """Series compared so far."""
    availability: ArchiveAvailability = field(default_factory=ArchiveAvailability)

    def compare(self, receipts: Iterable[Receipt]) -> Iterator[tuple[Receipt, HashComparison]]:
        """Compare and count series."""
        for receipt, comparison in parallel_map(self._compare, receipts, self.jobs, self.stop):
            self.compared[comparison.value] += 1
            yield receipt, comparison

    def _compare(self, receipt: Receipt) -> HashComparison:
        if not receipt.is_dicom:
            return HashComparison.NO_HASH  # and no request: the archive has only DICOM series
        if self.availability.is_down(self.archive):
            return HashComparison.NO_RESPONSE
        try:
            comparison = _compare(receipt, self.archive)
        except ArchiveError as error:
            if self.availability.failed(self.archive, error) is not None:
                name = archive_label(self.archive.name)
                self.emit(Notice(f"{name} is not responding: the other series are not compared"))
            return HashComparison.NO_RESPONSE
        self.availability.worked(self.archive)
        return comparison


def _compare(receipt: Receipt, archive: Archive) -> HashComparison:
    """Compare with the hash of the series, and if that is ambiguous with hashes of images."""
    series_hash = archive.series_md5(receipt.series)
    if not series_hash:
        return HashComparison.NO_HASH
    computed = [image.md5 for image in receipt.images]
    if hash_matches(series_hash, [None] * len(computed), computed):
        return HashComparison.VERIFIED
    spellings: list[str | None] = []
    for image in receipt.images:
        unverified = image.check is Check.SIZE
        if not unverified and not image.md5.startswith("0"):
            spellings.append(None)
            continue
        stored = archive.image_md5(receipt.series, image.uid)
        if stored is None and unverified:
            return HashComparison.NO_HASH
        if stored is None or not same_md5(stored, image.md5):
            return HashComparison.CHANGED
        spellings.append(stored)  # the archive may omit leading zeros of some hashes only
    matches = hash_matches(series_hash, spellings, computed)
    return HashComparison.VERIFIED if matches else HashComparison.CHANGED
