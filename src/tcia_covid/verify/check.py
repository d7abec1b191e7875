"""The story of a check: every series of every collection, then what stands beside them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.archives.base import Archive
from tcia_covid.errors import HeldError
from tcia_covid.events import DamageFound, Emit, Notice, discard
from tcia_covid.model import Check, Receipt
from tcia_covid.names import is_uid
from tcia_covid.report.files import MANIFEST
from tcia_covid.report.stale import manifest_was_changed, outdated_reports, reports_are_stale
from tcia_covid.stop import Stop
from tcia_covid.store import Tree
from tcia_covid.store.locks import Lock
from tcia_covid.store.trees import readable, trees_in, unchecked_in
from tcia_covid.supporting import FOLDER as SUPPORTING
from tcia_covid.verify.ahead import ahead
from tcia_covid.verify.faults import Fault, Look
from tcia_covid.verify.pieces import Piece, check, pieces
from tcia_covid.verify.result import Damage, Reason, UnexpectedFile, Verdict, VerifyResult
from tcia_covid.verify.strays import strays

if TYPE_CHECKING:
    from tcia_covid.verify.online import OnlineCheck

_OTHER_HASH = "the archive has another hash of the series by now"
OnProgress = Callable[[int, int], None]
"""Hears of bytes and images that were checked, piece by piece, in the caller's thread."""


def verify(
    directory: Path,
    *,
    deep: bool = False,
    strict: bool = False,
    archive: Archive | None = None,
    jobs: int | None = None,
    emit: Emit = discard,
    stop: Stop | None = None,
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
    stop = stop or Stop()
    jobs = jobs or min(8, 2 * (os.cpu_count() or 1))
    result = VerifyResult(str(directory), strict=strict)
    online = _online(archive, jobs, emit, stop) if archive else None
    for tree in trees_in(directory):
        with readable(directory):
            prefix, look = _prefix(tree, directory), Look(deep, stop)
            tree_check = _TreeCheck(tree, prefix, result, look, emit)
            tree_check.check_files(jobs, on_progress)
            tree_check.find_strays()
            tree_check.check_supporting()
            tree_check.check_reports()
            if online is not None:
                tree_check.compare(online)
                result.online = online.online
    with readable(directory):
        result.unchecked = unchecked_in(directory)
    if not result.noted:
        emit(Notice(f"{directory} cannot be written: the next download does not know of damage"))
    result.seconds = time.monotonic() - started
    return result


def _online(archive: Archive, jobs: int, emit: Emit, stop: Stop) -> OnlineCheck:
    from tcia_covid.verify.online import OnlineCheck  # noqa: PLC0415 - brings all of HTTP along

    return OnlineCheck(archive, jobs, emit, stop)


def _prefix(tree: Tree, directory: Path) -> str:
    return "" if tree.root == directory else f"{tree.root.name}/"


class _TreeCheck:
    """The check of one collection's folder; adds what it finds to a result."""

    def __init__(
        self, tree: Tree, prefix: str, result: VerifyResult, look: Look, emit: Emit
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
        faults: list[Fault] = []
        for piece, found in ahead(self._check, self._pieces(), jobs, self._look.stop):
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
        for stray in strays(self._tree.root, known, self._inner_folders):
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
        from tcia_covid.supporting.receipts import FileReceipts  # noqa: PLC0415 - few have any

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
            self._add("", Fault(MANIFEST, Reason.CHANGED, "it is not what the receipts say"))
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
            fault = Fault(receipt.folder, Reason.CHANGED, _OTHER_HASH, option="--update")
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

    def _pieces(self) -> Iterator[Piece]:
        for uid in self._tree.receipts.uids():
            filed = self._tree.receipts.read(uid)
            if filed is None or filed.receipt.series.uid != uid:
                self._broken_receipt(uid)
                continue
            self._folders[uid] = filed.receipt.folder
            yield from pieces(self._tree, filed.receipt)

    def _check(self, piece: Piece) -> list[Fault]:
        return check(piece, self._look)

    def _check_now(self, receipt: Receipt) -> list[Fault]:
        return [fault for piece in pieces(self._tree, receipt) for fault in self._check(piece)]

    def _broken_receipt(self, uid: str) -> None:
        path = self._tree.receipts.path(uid)
        if not path.exists():
            return
        self._doubtful.add(uid)
        file = path.relative_to(self._tree.root).as_posix()
        series = uid if is_uid(uid) else ""
        self._add(series, Fault(file, Reason.UNREADABLE, "the receipt cannot be read"))
        self._result.series.checked += bool(series)
        self._result.series.damaged += bool(series)

    def _settle(self, receipt: Receipt, faults: list[Fault]) -> None:
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
        except HeldError:
            self._result.under_way += 1
            return
        except OSError:
            self._result.noted = False
        self._count(receipt, faults)

    def _look_again(self, receipt: Receipt, faults: list[Fault]) -> tuple[Receipt, list[Fault]]:
        """Check a series anew if a download published it while it was being checked."""
        filed = self._tree.receipts.read(receipt.series.uid)
        if filed is None or filed.receipt == receipt:
            return receipt, faults
        return filed.receipt, self._check_now(filed.receipt)

    def _note(self, uid: str, faults: list[Fault]) -> None:
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

    def _count(self, receipt: Receipt, faults: list[Fault]) -> None:
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

    def _add(self, series: str, fault: Fault) -> None:
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
