"""Adopt one series: verify its files, place them in staging, commit them if it is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import LockedError, SeriesError
from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.formats.dicom.elements import UndecidedError, is_truncated
from tcia_covid.formats.dicom.header import DEFLATED, open_dataset
from tcia_covid.operations.adopt.result import DamagedFile, Mode, Reason
from tcia_covid.operations.adopt.scan import FoundFile
from tcia_covid.operations.adopt.verification import HashSources, Verification, verify_files
from tcia_covid.store.placement import FilePlacer
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.verification import verify_hashes


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series, the files that may be its images, and the tree that it belongs to."""

    series: Series
    files: Sequence[FoundFile]
    tree: Tree


@dataclass(slots=True)
class AdoptedSeries:
    """What happened to one series; numbers are numbers of files."""

    receipt: Receipt | None = None
    """None if the series is not complete in the layout."""
    already_complete: bool = False
    """Whether it was complete before."""
    images_already_complete: int = 0
    reason: Reason | None = None
    """Why it is not complete."""
    detail: str = ""
    adopted: int = 0
    size: int = 0
    """Bytes of the adopted files."""
    staged: int = 0
    unverified: int = 0
    """Not adopted: the archive has no hash of them."""
    not_removed: int = 0
    """Originals of committed images that `move` did not remove."""
    damaged: list[DamagedFile] = field(default_factory=list)
    duplicates: list[tuple[FoundFile, FoundFile]] = field(default_factory=list)
    """Each with the file that is used."""
    placed: Counter[str] = field(default_factory=Counter)
    """By method."""


class Adopter:
    """Adopts the series of one folder; safe for threads.

    Args:
        root: the folder.
        mode: how files are placed; `move` removes originals after the commit.
        hash_sources: the archives that are asked for hashes.
        unsettled: by tree, the series that are not complete even if they have a receipt.
        stop: cancels the work between two images.
    """

    def __init__(
        self,
        root: Path,
        mode: Mode,
        hash_sources: HashSources,
        unsettled: Mapping[Path, set[str]],
        stop: CancelToken,
    ) -> None:
        self._root = root
        self._mode = mode
        self._hash_sources = hash_sources
        self._unsettled = unsettled
        self._stop = stop

    def committed(self, candidate: Candidate) -> Receipt | None:
        """The receipt of a series that is complete in the layout."""
        uid, tree = candidate.series.uid, candidate.tree
        return None if uid in self._unsettled[tree.root] else tree.complete_receipt(uid)

    def adopt(self, candidate: Candidate) -> AdoptedSeries:
        """Adopt a series as far as its files are correct.

        Raises:
            DestinationError: the disk.
        """
        receipt = self.committed(candidate)
        if receipt is not None:
            return self._compare(candidate, receipt)
        series = candidate.series
        verification = verify_files(series, candidate.files, self._hash_sources)
        result = AdoptedSeries(duplicates=verification.duplicates)
        for file in verification.changed:
            result.damaged.append(self._changed(series, file, "the archive's"))
        for file in verification.not_in_series:
            result.damaged.append(_not_in_series(series, file, "the archive's series"))
        images = _usable(verification)
        staged_unverified = len(images) - len(verification.verified)
        result.unverified = len(verification.unverified) - staged_unverified
        if not images:
            result.reason, result.detail = _why_nothing_usable(verification)
            return result
        try:
            self._place(candidate, verification, images, result)
        except (LockedError, SeriesError) as error:
            result.reason, result.detail = Reason.LOCKED, error.message
        if result.already_complete and result.receipt is not None:
            return self._compare(candidate, result.receipt)
        return result

    def _compare(self, candidate: Candidate, receipt: Receipt) -> AdoptedSeries:
        """Compare files with the images of a complete series; no archive is asked."""
        series = candidate.series
        result = AdoptedSeries(receipt, already_complete=True)
        known = {image.uid: image.md5 for image in receipt.images}
        correct: dict[str, FoundFile] = {}
        for file in candidate.files:
            if known.get(file.uid) == file.md5:
                correct.setdefault(file.uid, file)
        for file in candidate.files:
            self._stop.check()
            used = correct.get(file.uid)
            if used is None and file.uid in known:
                result.damaged.append(self._changed(series, file, "that of the image in place"))
            elif used is None:
                result.damaged.append(_not_in_series(series, file, "the series in place"))
            elif used is not file:
                result.duplicates.append((file, used))
        result.images_already_complete = len(correct)
        if self._mode == "move":
            result.not_removed = self._remove(correct.values(), candidate.tree, receipt)
        return result

    def _place(
        self,
        candidate: Candidate,
        verification: Verification,
        images: Mapping[str, tuple[FoundFile, Check]],
        result: AdoptedSeries,
    ) -> None:
        """Place images in staging, and commit the series if it is complete."""
        series, tree = candidate.series, candidate.tree
        placer = FilePlacer(self._root, self._mode, tree.disk)
        placed = []
        with tree.stage(series, lambda count: None) as staging:
            if isinstance(staging, Receipt):
                result.receipt, result.already_complete = staging, True
                return
            for file, check in images.values():
                self._stop.check()
                if method := placer.bring(file, check, staging):
                    result.placed[method] += 1
                    placed.append(file)
                else:
                    detail = "the file changed or became unreadable while it was adopted"
                    result.damaged.append(
                        DamagedFile(file.file, Reason.UNREADABLE, detail, series.uid)
                    )
            if self._is_complete(series, staging, verification):
                result.receipt = tree.commit(staging)
            else:
                result.staged = len(placed)
                result.reason, result.detail = _why_incomplete(series, staging, verification)
        if result.receipt is not None:
            result.adopted, result.size = len(placed), sum(file.size for file in placed)
            if self._mode == "move":
                result.not_removed = self._remove(placed, tree, result.receipt)

    def _is_complete(self, series: Series, staging: Staging, verification: Verification) -> bool:
        """Whether all images are in staging and verified, those of earlier runs included."""
        listed = len(verification.verified) if verification.complete else None
        if (series.image_count or listed) != len(staging.images):
            return False
        if not staging.unproven():
            return True
        # Images that a download left in staging are verified as a download does it. That discards
        # the ones without a hash, so not while an archive does not respond.
        return verification.responded and verify_hashes(
            series, self._hash_sources.of(series), staging, self._hash_sources.availability
        )

    def _remove(self, files: Iterable[FoundFile], tree: Tree, receipt: Receipt) -> int:
        """Remove originals whose bytes are in the layout; return how many were not removed."""
        tree.note_moved_from(self._root)
        placer, folder = FilePlacer(self._root, self._mode, tree.disk), tree.path(receipt)
        return sum(not placer.remove(file, folder) for file in files)

    def _changed(self, series: Series, file: FoundFile, expected: str) -> DamagedFile:
        reason, detail = Reason.CHANGED, f"its MD5 {file.md5} is not {expected}"
        if _is_truncated(self._root / file.file):
            reason, detail = Reason.TRUNCATED, f"the file is truncated: it has {file.size} bytes"
        return DamagedFile(file.file, reason, detail, series.uid)


def _not_in_series(series: Series, file: FoundFile, subject: str) -> DamagedFile:
    detail = f"{subject} has no such image"
    return DamagedFile(file.file, Reason.NOT_IN_SERIES, detail, series.uid)


def _usable(verification: Verification) -> dict[str, tuple[FoundFile, Check]]:
    """The files to place: the verified ones, and those that no archive could be asked about."""
    images = dict(verification.verified)
    if not verification.responded:
        versions = Counter(file.uid for file in verification.unverified)
        for file in verification.unverified:
            if versions[file.uid] == 1:
                images[file.uid] = (file, Check.SIZE)
    return images


def _why_nothing_usable(verification: Verification) -> tuple[Reason, str]:
    if not verification.unverified:
        return Reason.INCOMPLETE, "none of its files is correct"
    if verification.responded:
        files = len(verification.unverified)
        return Reason.NO_HASH, f"the archive has no hash to verify its {files} files"
    return Reason.NO_RESPONSE, "no archive responded, and there are two versions of each image"


def _why_incomplete(
    series: Series, staging: Staging, verification: Verification
) -> tuple[Reason, str]:
    expected = series.image_count
    images = f"{len(staging.images)}{f' of {expected}' if expected else ''} images"
    if verification.unverified and not verification.responded:
        return Reason.NO_RESPONSE, f"{images} are in staging, not verified: no archive responded"
    if expected == len(staging.images):
        return Reason.NO_HASH, f"the archive has no hash that verifies all {expected} images"
    return Reason.INCOMPLETE, f"{images} are here and correct"


def _is_truncated(path: Path) -> bool:
    """Whether a file ends in the middle of a data element, as far as can be determined."""
    try:
        dataset = open_dataset(path.read_bytes())
        if dataset.syntax == DEFLATED:
            return False
        return is_truncated(dataset.data, dataset.start, dataset.read)
    except (OSError, UndecidedError):
        return False
