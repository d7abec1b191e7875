"""The story of a check: every series of every collection, then what stands beside them."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, LockedError
from tcia_covid.core.events import DamageFound, Emit, Notice, discard
from tcia_covid.core.models import Check, Receipt
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import is_uid
from tcia_covid.formats.hashes import same_md5
from tcia_covid.operations.verify.files import (
    Batch,
    CheckOptions,
    FileProblem,
    check_batch,
    find_unexpected,
    make_batches,
)
from tcia_covid.operations.verify.result import (
    Damage,
    OnlineCounts,
    Reason,
    UnexpectedFile,
    Verdict,
    VerifyResult,
)
from tcia_covid.store.discovery import find_trees, find_unchecked_folders, listing_errors
from tcia_covid.store.locks import Lock
from tcia_covid.store.reports.state import (
    MANIFEST,
    manifest_was_changed,
    outdated_reports,
    reports_are_stale,
)
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FOLDER as SUPPORTING
from tcia_covid.supporting.receipts import FileReceipts
from tcia_covid.transfer.verification import hash_matches

_OTHER_HASH = "the archive has another hash of the series by now"
OnProgress = Callable[[int, int], None]
"""Hears of bytes and images that were checked, piece by piece, in the caller's thread."""
_GIVE_UP = 4
"""Series in a row, a thread, that an archive does not answer for before it is left alone."""


def verify_directory(
    directory: Path,
    *,
    deep: bool = False,
    strict: bool = False,
    archive: Archive | None = None,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: OnProgress = lambda size, images: None,
) -> VerifyResult:
    """Compare every file of a download with its receipt, and note damage for the next download.

    Args:
        directory: an output folder, or one collection's folder in it.
        deep: also read each file as DICOM.
        strict: unexpected files give exit code 1.
        archive: compare intact series with this archive's own hashes, too.
        jobs: threads; by default twice the processors, eight at most.
        emit: hears of damage, and of what else is worth a line.
        stop: ends the check early.
        on_progress: hears how far it is.

    Raises:
        RequestError: the folder is not one of this program's.
        DestinationError: the program's own files in it cannot be read.
        TciaCovidError: the check was stopped.
    """
    started = time.monotonic()
    stop = stop or CancelToken()
    jobs = jobs or min(8, 2 * (os.cpu_count() or 1))
    result = VerifyResult(str(directory), strict=strict)
    online = _online(archive, jobs, emit, stop) if archive else None
    for tree in find_trees(directory):
        with listing_errors(directory):
            prefix, look = _prefix(tree, directory), CheckOptions(deep, stop)
            tree_check = _TreeCheck(tree, prefix, result, look, emit)
            tree_check.check_files(jobs, on_progress)
            tree_check.find_strays()
            tree_check.check_supporting()
            tree_check.check_reports()
            if online is not None:
                tree_check.compare(online)
                result.online = online.online
    with listing_errors(directory):
        result.unchecked = find_unchecked_folders(directory)
    if not result.noted:
        emit(Notice(f"{directory} cannot be written: the next download does not know of damage"))
    result.seconds = time.monotonic() - started
    return result


def _online(archive: Archive, jobs: int, emit: Emit, stop: CancelToken) -> OnlineCheck:
    return OnlineCheck(archive, jobs, emit, stop)


def _prefix(tree: Tree, directory: Path) -> str:
    return "" if tree.root == directory else f"{tree.root.name}/"


class _TreeCheck:
    """The check of one collection's folder; adds what it finds to a result."""

    def __init__(
        self, tree: Tree, prefix: str, result: VerifyResult, look: CheckOptions, emit: Emit
    ) -> None:
        self._tree = tree
        self._prefix = prefix
        self._result = result
        self._look = look
        self._emit = emit
        self._noted = tree.damage.uids()
        self._inner_folders: list[str] = []
        """Folders in series folders."""
        self._folders: dict[str, str] = {}
        """Of every receipt, by SeriesInstanceUID."""
        self._doubtful: set[str] = set()
        """Series that the archive need not be asked about."""

    def check_files(self, jobs: int, on_progress: OnProgress) -> None:
        """Hash every image that a receipt names, and settle each series in turn."""
        faults: list[FileProblem] = []
        for piece, found in parallel_map(self._check, self._pieces(), jobs, self._look.stop):
            faults += found
            self._inner_folders += piece.inner_folders
            on_progress(piece.size, len(piece.images))
            if piece.last:
                self._settle(piece.receipt, faults)
                faults = []

    def find_strays(self) -> None:
        """Name what no receipt names; a series may have been published in the meantime."""
        found = []
        known = {*self._folders.values(), SUPPORTING}
        for stray in find_unexpected(self._tree.root, known, self._inner_folders):
            self._look.stop.check()
            found.append(stray)
        if not found:
            return
        fresh = self._fresh_folders()
        for series, fault in found:
            if not fault.file.startswith(fresh):
                self._add(series, fault)

    def check_supporting(self) -> None:
        """Compare the collection's supporting files with their receipts."""
        if not (self._tree.state / SUPPORTING).is_dir():
            return
        receipts = FileReceipts(self._tree)
        for receipt in receipts.all():
            self._look.stop.check()
            for found in receipts.differing(receipt):
                reason = Reason.MISSING if found.is_missing else Reason.CHANGED
                file = self._prefix + found.file
                self._result.damage.append(
                    Damage("", file, reason, found.detail, option="--supporting")
                )

    def check_reports(self) -> None:
        """Compare the report files with what was written, and the manifest with the receipts.

        A manifest that contradicts the receipts is damage; other changes, and files that are gone,
        are named. All receipts have to be readable for that judgment.
        """
        damaged = self._doubtful <= self._folders.keys() and manifest_was_changed(self._tree)
        if damaged:
            self._add("", FileProblem(MANIFEST, Reason.CHANGED, "it is not what the receipts say"))
        outdated = outdated_reports(self._tree, by_hash=True)
        self._result.outdated_reports += [
            self._prefix + name for name in outdated if not (damaged and name == MANIFEST)
        ]
        # What only the content shows has to be noted for the next download.
        if (damaged or outdated) and not reports_are_stale(self._tree):
            try:
                self._tree.owe_reports()
            except OSError:
                self._result.noted = False

    def compare(self, online: OnlineCheck) -> None:
        """Ask the archive about every series that is intact on disk."""
        for receipt, verdict in online.judge(self._intact()):
            uid = receipt.series.uid
            self._note_verdict(uid, verdict)
            if verdict is not Verdict.DIFFERING:
                continue
            fault = FileProblem(receipt.folder, Reason.CHANGED, _OTHER_HASH, option="--update")
            self._add(uid, fault)
            self._result.series.intact -= 1
            self._result.series.damaged += 1

    def _note_verdict(self, uid: str, verdict: Verdict) -> None:
        """Let the next download know which series the archive has other bytes of."""
        try:
            if verdict is Verdict.DIFFERING:
                self._tree.changed.write(uid, [{"detail": _OTHER_HASH}])
            elif verdict is Verdict.PROVED:
                self._tree.changed.clear(uid)
        except OSError:
            self._result.noted = False

    def _pieces(self) -> Iterator[Batch]:
        for uid in self._tree.receipts.uids():
            filed = self._tree.receipts.read(uid)
            if filed is None or filed.receipt.series.uid != uid:
                self._broken_receipt(uid)
                continue
            self._folders[uid] = filed.receipt.folder
            yield from make_batches(self._tree, filed.receipt)

    def _check(self, piece: Batch) -> list[FileProblem]:
        return check_batch(piece, self._look)

    def _check_now(self, receipt: Receipt) -> list[FileProblem]:
        return [
            fault for piece in make_batches(self._tree, receipt) for fault in self._check(piece)
        ]

    def _broken_receipt(self, uid: str) -> None:
        path = self._tree.receipts.path(uid)
        if not path.exists():
            return
        self._doubtful.add(uid)
        file = path.relative_to(self._tree.root).as_posix()
        series = uid if is_uid(uid) else ""
        self._add(series, FileProblem(file, Reason.UNREADABLE, "the receipt cannot be read"))
        self._result.series.checked += bool(series)
        self._result.series.damaged += bool(series)

    def _settle(self, receipt: Receipt, faults: list[FileProblem]) -> None:
        """Count a series, and note its damage or that there is none."""
        uid = receipt.series.uid
        if all(fault.extra for fault in faults):
            if uid in self._noted:
                self._note(uid, [])
            self._count(receipt, faults)
            return
        self._doubtful.add(uid)
        locks = self._tree.state / "locks"
        try:
            self._tree.disk.make_folder(locks)
            with Lock(locks / f"{uid}.lock", f"series {uid}"):
                receipt, faults = self._look_again(receipt, faults)
                self._note(uid, faults)
        except LockedError:
            self._result.under_way += 1
            return
        except OSError:
            self._result.noted = False
        self._count(receipt, faults)

    def _look_again(
        self, receipt: Receipt, faults: list[FileProblem]
    ) -> tuple[Receipt, list[FileProblem]]:
        """Check a series anew if a download published it while it was being checked."""
        filed = self._tree.receipts.read(receipt.series.uid)
        if filed is None or filed.receipt == receipt:
            return receipt, faults
        return filed.receipt, self._check_now(filed.receipt)

    def _note(self, uid: str, faults: list[FileProblem]) -> None:
        lines = [
            {"file": fault.file, "reason": fault.reason.value, "detail": fault.detail}
            for fault in faults
            if fault.mendable and not fault.extra
        ]
        try:
            if lines:
                self._tree.damage.write(uid, lines)
            else:
                self._tree.damage.clear(uid)
        except OSError:
            self._result.noted = False

    def _count(self, receipt: Receipt, faults: list[FileProblem]) -> None:
        result, images = self._result, len(receipt.images)
        damaged = len({fault.file for fault in faults if not fault.extra})
        result.series.checked += 1
        result.series.intact += not damaged
        result.series.damaged += bool(damaged)
        result.images.checked += images
        result.images.intact += images - damaged
        result.images.damaged += damaged
        result.size += receipt.size
        result.unproven += not damaged and receipt.check is Check.SIZE
        for fault in faults:
            self._add(receipt.series.uid, fault)

    def _add(self, series: str, fault: FileProblem) -> None:
        file = self._prefix + fault.file
        if fault.extra:
            self._result.unexpected.append(UnexpectedFile(series, file, fault.detail))
            return
        damage = Damage(series, file, fault.reason, fault.detail, fault.mendable, fault.option)
        self._result.damage.append(damage)
        self._emit(DamageFound(series, file, fault.reason.value, fault.detail))

    def _fresh_folders(self) -> tuple[str, ...]:
        """Folders of receipts that were written since the check began, as prefixes."""
        fresh = set(self._tree.receipts.uids()) - self._folders.keys() - self._doubtful
        filed = [self._tree.receipts.read(uid) for uid in fresh]
        return tuple(f"{one.receipt.folder}/" for one in filed if one is not None)

    def _intact(self) -> Iterator[Receipt]:
        for uid in sorted(self._folders.keys() - self._doubtful):
            filed = self._tree.receipts.read(uid)
            if filed is not None:
                yield filed.receipt


class OnlineCheck:
    """Asks one archive for the hashes of many series.

    Args:
        archive: whom to ask.
        jobs: requests at once.
        emit: hears when the archive is given up.
        stop: the flag that ends the run.
    """

    def __init__(self, archive: Archive, jobs: int, emit: Emit, stop: CancelToken) -> None:
        self._counts: Counter[Verdict] = Counter()
        self._archive = archive
        self._jobs = jobs
        self._emit = emit
        self._stop = stop
        self._silent = 0

    @property
    def online(self) -> OnlineCounts:
        """What the archive said so far."""
        return OnlineCounts(
            proved=self._counts[Verdict.PROVED],
            differing=self._counts[Verdict.DIFFERING],
            without_hash=self._counts[Verdict.WITHOUT_HASH],
            unanswered=self._counts[Verdict.UNANSWERED],
        )

    def judge(self, receipts: Iterable[Receipt]) -> Iterator[tuple[Receipt, Verdict]]:
        """Compare series with the archive, and count what it says."""
        for receipt, verdict in parallel_map(self._ask, receipts, self._jobs, self._stop):
            self._count(verdict)
            yield receipt, verdict

    def _count(self, verdict: Verdict) -> None:
        self._counts[verdict] += 1
        self._silent = self._silent + 1 if verdict is Verdict.UNANSWERED else 0
        if self._silent == _GIVE_UP * self._jobs:
            self._emit(
                Notice(f"{self._archive.name} does not answer: the other series are not compared")
            )

    def _ask(self, receipt: Receipt) -> Verdict:
        if not receipt.is_dicom:
            return Verdict.WITHOUT_HASH  # and no request: the archive has series alone
        if self._silent >= _GIVE_UP * self._jobs:
            return Verdict.UNANSWERED
        try:
            said = self._archive.series_md5(receipt.series)
            return _judge(receipt, said, self._archive) if said else Verdict.WITHOUT_HASH
        except ArchiveError:
            return Verdict.UNANSWERED


def _judge(receipt: Receipt, said: str, archive: Archive) -> Verdict:
    """Compare with the hash of the series; with hashes of images where that leaves a doubt."""
    computed = [image.md5 for image in receipt.images]
    if hash_matches(said, [None] * len(computed), computed):
        return Verdict.PROVED
    spelled: list[str | None] = []
    for image in receipt.images:
        unproven = image.check is Check.SIZE
        if not unproven and not image.md5.startswith("0"):
            spelled.append(None)
            continue
        stored = archive.image_md5(receipt.series, image.uid)
        if stored is None and unproven:
            return Verdict.WITHOUT_HASH
        if stored is None or not same_md5(stored, image.md5):
            return Verdict.DIFFERING
        spelled.append(stored)  # its leading zeros may lack, and those of others not
    return Verdict.PROVED if hash_matches(said, spelled, computed) else Verdict.DIFFERING
