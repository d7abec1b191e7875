"""Adopt one series: verify its files, place them in staging, commit them if it is complete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, LockedError, NotAvailableError, SeriesError
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import Check, Receipt, RemoteImage, Series, archive_label
from tcia_covid.formats.dicom import is_truncated
from tcia_covid.formats.hashes import same_md5
from tcia_covid.operations.adopt_scan import DamagedFile, DuplicateFile, Reason
from tcia_covid.store.placement import FilePlacer, FoundFile, Mode, PlacementMethod
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import hash_matches, verify_hashes

_MAX_BLANK_HASHES = 3
"""After so many images without a hash, the archive counts as having none of the series."""


@dataclass(slots=True)
class HashSources:
    """The archives that provide hashes; one that is not responding is skipped."""

    archives: Sequence[Archive]
    """In order of preference."""
    emit: Emit
    """Receives a notice when an archive is skipped from now on."""
    stop: CancelToken
    availability: ArchiveAvailability = field(default_factory=ArchiveAvailability)

    def of(self, series: Series) -> list[Archive]:
        """The archives that may have a series."""
        return [archive for archive in self.archives if archive.has(series)]

    def ask(self, archive: Archive, request: Callable[[Archive], object]) -> bool:
        """Call `request`; False if the archive did not respond or is skipped.

        An archive that reports that it does not have the series has responded.
        """
        if self.availability.is_down(archive):
            return False
        try:
            request(archive)
        except NotAvailableError:
            pass
        except ArchiveError as error:
            self.stop.check()
            if self.availability.failed(archive, error) is not None:
                self.emit(
                    Notice(f"{archive_label(archive.name)} is not used any more: {error.message}")
                )
            return False
        self.availability.worked(archive)
        return True


def verify_files(
    series: Series, files: Sequence[FoundFile], hash_sources: HashSources
) -> Verification:
    """Verify the files of one series, by one hash of the whole series if possible."""
    verification = Verification(series, files)
    comparisons = [verification.compare_each]
    if verification.matches_listing():
        comparisons.insert(0, verification.compare_with_series_hash)
    for compare in comparisons:
        for archive in hash_sources.of(series):
            if verification.remaining():
                verification.responded &= hash_sources.ask(archive, compare)
    return verification


class Verification:
    """The files of one series, and what the archives' hashes say about them."""

    def __init__(self, series: Series, files: Sequence[FoundFile]) -> None:
        self.verified: dict[str, tuple[FoundFile, Check]] = {}
        """By SOPInstanceUID."""
        self.responded = True
        """Whether every archive that was asked responded."""
        self._series = series
        self._files = files
        self._versions: dict[str, list[FoundFile]] = {}
        """The first file of each content of an image, by SOPInstanceUID."""
        for file in files:
            versions = self._versions.setdefault(file.uid, [])
            if all(file.md5 != other.md5 for other in versions):
                versions.append(file)
        self._changed: set[str] = set()
        self._not_listed: set[str] = set()
        self._expected = series.image_count

    @property
    def complete(self) -> bool:
        """Whether every image that the archive has is verified."""
        return len(self.verified) == self._expected

    @property
    def changed(self) -> list[FoundFile]:
        """The files whose bytes differ from the archive's."""
        return self._remaining_files(self._changed - self._not_listed)

    @property
    def not_in_series(self) -> list[FoundFile]:
        """The files that are not images of the archive's series."""
        return self._remaining_files(self._not_listed)

    @property
    def unverified(self) -> list[FoundFile]:
        """The files of which the archive has no hash."""
        return self._remaining_files(self._versions.keys() - self._not_listed - self._changed)

    @property
    def duplicates(self) -> list[DuplicateFile]:
        """Further files of an image; the verified file is used, else the first of its bytes."""
        pairs = ((file, self._used(file)) for file in self._files)
        return [_duplicate(file, used) for file, used in pairs if file is not used]

    def _used(self, file: FoundFile) -> FoundFile:
        if file.uid in self.verified:
            return self.verified[file.uid][0]
        return next(other for other in self._versions[file.uid] if other.md5 == file.md5)

    def remaining(self) -> list[str]:
        """The images that are not verified yet."""
        return [uid for uid in self._versions if uid not in self.verified]

    def _remaining_files(self, uids: Set[str]) -> list[FoundFile]:
        return [file for uid in self.remaining() if uid in uids for file in self._versions[uid]]

    def matches_listing(self) -> bool:
        """Whether there is one version of each image, and the listed number of images and bytes."""
        series = self._series
        single = [versions[0] for versions in self._versions.values() if len(versions) == 1]
        return (
            len(single) == len(self._versions)
            and series.image_count in (None, len(single))
            and series.size in (None, sum(file.size for file in single))
        )

    def compare_with_series_hash(self, archive: Archive) -> None:
        """Compare all files at once with the archive's hash of the series."""
        series_hash = archive.series_md5(self._series)
        computed = [versions[0].md5 for versions in self._versions.values()]
        if series_hash and hash_matches(series_hash, [None] * len(computed), computed):
            for uid, versions in self._versions.items():
                self.verified[uid] = (versions[0], Check.SERIES_MD5)
            self._expected = len(self._versions)

    def compare_each(self, archive: Archive) -> None:
        """Compare each file with the archive's hash of that image."""
        remote = archive.images(self._series)
        self._expected = self._expected or len(remote) or None
        if any(image.md5 for image in remote):
            self._compare_with_listed_hashes(remote)
        if any(image.uid for image in remote):
            self._request_each_hash(archive, {image.uid for image in remote})

    def _compare_with_listed_hashes(self, remote: Sequence[RemoteImage]) -> None:
        """IDC lists hashes without the SOPInstanceUIDs, so any of them may match."""
        hashes = {image.md5 for image in remote}
        for uid in self.remaining():
            matching = [file for file in self._versions[uid] if file.md5 in hashes]
            if matching:
                self.verified[uid] = (matching[0], Check.MD5)
            elif None not in hashes:
                self._changed.add(uid)

    def _request_each_hash(self, archive: Archive, listed: set[str | None]) -> None:
        blank = 0
        for uid in self.remaining():
            if uid not in listed:
                self._not_listed.add(uid)
                continue
            stored = archive.image_md5(self._series, uid) or ""
            if not stored.strip():
                blank += 1
                if blank >= _MAX_BLANK_HASHES:
                    return
                continue
            matching = [file for file in self._versions[uid] if same_md5(stored, file.md5)]
            if matching:
                self.verified[uid] = (matching[0], Check.MD5)
            else:
                self._changed.add(uid)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A series, the files that may be its images, and the tree that it belongs to."""

    series: Series
    files: Sequence[FoundFile]
    tree: Tree


@dataclass(slots=True)
class AdoptedSeries:
    """What happened to the files of one series."""

    receipt: Receipt | None = None
    """None if the series is not complete in the layout."""
    already_complete: int | None = None
    """The number of images that are among the files, if the series was complete before."""
    reason: Reason = Reason.INCOMPLETE
    """Why it is not complete."""
    detail: str = ""
    unverified: int = 0
    """Not adopted: the archive has no hash of them."""
    not_removed: int = 0
    """Originals of committed images that `move` did not remove."""
    damaged: list[DamagedFile] = field(default_factory=list)
    duplicates: list[DuplicateFile] = field(default_factory=list)
    placed: dict[FoundFile, PlacementMethod] = field(default_factory=dict)
    """In staging; committed if there is a receipt."""


@dataclass(frozen=True, slots=True)
class Adopter:
    """Adopts the series of one folder; safe for threads."""

    root: Path
    """The folder."""
    mode: Mode
    """`move` removes originals after the commit."""
    hash_sources: HashSources
    unsettled: Mapping[Path, set[str]]
    """By tree, the series that are not complete even if they have a receipt."""
    stop: CancelToken

    def committed(self, candidate: Candidate) -> Receipt | None:
        """The receipt of a series that is complete in the layout."""
        uid, tree = candidate.series.uid, candidate.tree
        return None if uid in self.unsettled[tree.root] else tree.complete_receipt(uid)

    def adopt(self, candidate: Candidate) -> AdoptedSeries:
        """Adopt the correct files of a series.

        Raises:
            DestinationError: the disk.
        """
        receipt = self.committed(candidate)
        if receipt is not None:
            return self._compare(candidate, receipt)
        series = candidate.series
        verification = verify_files(series, candidate.files, self.hash_sources)
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
            receipt = self._place(candidate, verification, images, result)
        except (LockedError, SeriesError) as error:
            result.reason, result.detail = Reason.LOCKED, error.message
        return self._compare(candidate, receipt) if receipt else result

    def _compare(self, candidate: Candidate, receipt: Receipt) -> AdoptedSeries:
        """Compare files with the images of a complete series; no archive is asked."""
        series = candidate.series
        known = {image.uid: image.md5 for image in receipt.images}
        correct: dict[str, FoundFile] = {}
        for file in candidate.files:
            if known.get(file.uid) == file.md5:
                correct.setdefault(file.uid, file)
        result = AdoptedSeries(receipt, already_complete=len(correct))
        for file in candidate.files:
            self.stop.check()
            used = correct.get(file.uid)
            if used is None and file.uid in known:
                result.damaged.append(self._changed(series, file, "that of the image in place"))
            elif used is None:
                result.damaged.append(_not_in_series(series, file, "the series in place"))
            elif used is not file:
                result.duplicates.append(_duplicate(file, used))
        if self.mode == "move":
            result.not_removed = self._remove(correct.values(), candidate.tree, receipt)
        return result

    def _place(
        self,
        candidate: Candidate,
        verification: Verification,
        images: Mapping[str, tuple[FoundFile, Check]],
        result: AdoptedSeries,
    ) -> Receipt | None:
        """Place images in staging, and commit the series if it is complete.

        Returns:
            the receipt of a series that another run completed meanwhile.
        """
        series, tree = candidate.series, candidate.tree
        placer = FilePlacer(self.root, self.mode, tree.disk)
        with tree.stage(series, lambda count: None) as staging:
            if isinstance(staging, Receipt):
                return staging
            for file, check in images.values():
                self.stop.check()
                if method := placer.place(file, check, staging):
                    result.placed[file] = method
                else:
                    detail = "the file changed or became unreadable while it was adopted"
                    result.damaged.append(
                        DamagedFile(file.file, Reason.UNREADABLE, detail, series.uid)
                    )
            if self._is_complete(series, staging, verification):
                result.receipt = tree.commit(staging)
            else:
                result.reason, result.detail = _why_incomplete(series, staging, verification)
        if result.receipt is not None and self.mode == "move":
            result.not_removed = self._remove(result.placed, tree, result.receipt)
        return None

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
            self.hash_sources.of(series), staging, self.hash_sources.availability
        )

    def _remove(self, files: Iterable[FoundFile], tree: Tree, receipt: Receipt) -> int:
        """Remove originals whose bytes are in the layout; return how many were not removed."""
        tree.note_moved_from(self.root)
        placer, folder = FilePlacer(self.root, self.mode, tree.disk), tree.path(receipt)
        images = {image.uid: folder / image.file for image in receipt.images}
        return sum(not placer.remove(file, images[file.uid]) for file in files)

    def _changed(self, series: Series, file: FoundFile, expected: str) -> DamagedFile:
        reason, detail = Reason.CHANGED, f"its MD5 {file.md5} is not {expected}"
        if _is_truncated(self.root / file.file):
            reason, detail = Reason.TRUNCATED, f"the file is truncated: it has {file.size} bytes"
        return DamagedFile(file.file, reason, detail, series.uid)


def _duplicate(file: FoundFile, used: FoundFile) -> DuplicateFile:
    return DuplicateFile(file.file, used.file, same_bytes=file.md5 == used.md5)


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
    try:
        with FileIO(path, opener=open_regular) as file:
            return is_truncated(file.readall())
    except OSError:
        return False
