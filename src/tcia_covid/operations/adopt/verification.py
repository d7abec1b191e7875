"""Verify files against the archives' hashes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, NotAvailableError
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.models import Check, RemoteImage, Series
from tcia_covid.formats.hashes import same_md5
from tcia_covid.operations.adopt.scan import FoundFile
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import hash_matches

_MAX_BLANK_HASHES = 3
"""Images without a hash after which the archive is taken to have none of the series."""


@dataclass(slots=True)
class Verification:
    """What the archives' hashes say about the files of one series."""

    verified: dict[str, tuple[FoundFile, Check]] = field(default_factory=dict)
    """By SOPInstanceUID."""
    changed: list[FoundFile] = field(default_factory=list)
    """Their bytes differ from the archive's."""
    not_in_series: list[FoundFile] = field(default_factory=list)
    """The archive's series has no such image."""
    unverified: list[FoundFile] = field(default_factory=list)
    """The archive has no hash of the image."""
    duplicates: list[tuple[FoundFile, FoundFile]] = field(default_factory=list)
    """Further files of an image, each with the one that is used."""
    responded: bool = True
    """Whether every archive that was asked responded."""
    complete: bool = False
    """Whether every image that the archive has is verified."""


class HashSources:
    """The archives that are asked for hashes; one that is not responding is skipped.

    Args:
        archives: in order of preference.
        emit: receives a notice when an archive is skipped from now on.
        stop: cancels the run.
    """

    def __init__(self, archives: Sequence[Archive], emit: Emit, stop: CancelToken) -> None:
        self.availability = ArchiveAvailability()
        self._archives = archives
        self._emit = emit
        self._stop = stop

    def of(self, series: Series) -> list[Archive]:
        """The archives that may have a series."""
        return [archive for archive in self._archives if archive.holds(series)]

    def ask(self, archive: Archive, request: Callable[[Archive], object]) -> bool:
        """Call `request`; False if the archive did not respond or is skipped.

        An archive that says it does not have the series has responded.
        """
        if self.availability.is_down(archive):
            return False
        try:
            request(archive)
        except NotAvailableError:
            pass
        except ArchiveError as error:
            self._stop.check()
            if self.availability.failed(archive, error) is not None:
                self._emit(Notice(f"{archive.name} is not asked any more: {error.message}"))
            return False
        self.availability.worked(archive)
        return True


def verify_files(
    series: Series, files: Sequence[FoundFile], hash_sources: HashSources
) -> Verification:
    """Verify the files of one series, by one hash of the whole series if possible.

    Args:
        series: as listed.
        files: those whose headers name the series.
        hash_sources: the archives to ask.
    """
    verifier = _Verifier(series, files)
    archives = hash_sources.of(series)
    responded = True
    if verifier.matches_listing():
        for archive in archives:
            responded &= hash_sources.ask(archive, verifier.compare_with_series_hash)
            if not verifier.remaining():
                break
    for archive in archives:
        if not verifier.remaining():
            break
        responded &= hash_sources.ask(archive, verifier.compare_each)
    return verifier.result(responded=responded)


class _Verifier:
    """The files of one series while they are compared with the archives' hashes."""

    def __init__(self, series: Series, files: Sequence[FoundFile]) -> None:
        self._series = series
        self._files = files
        self._versions: dict[str, list[FoundFile]] = {}
        """The first file of each content of an image, by SOPInstanceUID."""
        for file in files:
            versions = self._versions.setdefault(file.uid, [])
            if all(file.md5 != other.md5 for other in versions):
                versions.append(file)
        self._verified: dict[str, tuple[FoundFile, Check]] = {}
        self._changed: set[str] = set()
        self._not_listed: set[str] = set()
        self._expected = series.image_count

    def matches_listing(self) -> bool:
        """Whether there is one version of each image, and the listed number of images and bytes."""
        series = self._series
        single = [versions[0] for versions in self._versions.values() if len(versions) == 1]
        return (
            len(single) == len(self._versions)
            and series.image_count in (None, len(single))
            and series.size in (None, sum(file.size for file in single))
        )

    def remaining(self) -> list[str]:
        """The images that are not verified yet."""
        return [uid for uid in self._versions if uid not in self._verified]

    def compare_with_series_hash(self, archive: Archive) -> None:
        """Compare all files at once with the archive's hash of the series."""
        series_hash = archive.series_md5(self._series)
        computed = [versions[0].md5 for versions in self._versions.values()]
        if series_hash and hash_matches(series_hash, [None] * len(computed), computed):
            for uid, versions in self._versions.items():
                self._verified[uid] = (versions[0], Check.SERIES_MD5)
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
                self._verified[uid] = (matching[0], Check.MD5)
            elif None not in hashes:
                self._changed.add(uid)

    def _request_each_hash(self, archive: Archive, listed: set[str | None]) -> None:
        blank = 0
        for uid in self.remaining():
            if uid not in listed:
                self._not_listed.add(uid)
                continue
            stored = archive.image_md5(self._series, uid)
            if stored and stored.strip():
                self._compare(uid, stored)
                continue
            blank += 1
            if blank >= _MAX_BLANK_HASHES:
                return

    def _compare(self, uid: str, stored: str) -> None:
        for file in self._versions[uid]:
            if same_md5(stored, file.md5):
                self._verified[uid] = (file, Check.MD5)
                return
        self._changed.add(uid)

    def result(self, *, responded: bool) -> Verification:
        """Sort the files by what the archives said."""
        result = Verification(self._verified, responded=responded)
        for uid in self.remaining():
            if uid in self._not_listed:
                result.not_in_series += self._versions[uid]
            elif uid in self._changed:
                result.changed += self._versions[uid]
            else:
                result.unverified += self._versions[uid]
        for file in self._files:
            used = self._used(file)
            if file is not used:
                result.duplicates.append((file, used))
        result.complete = len(self._verified) == self._expected
        return result

    def _used(self, file: FoundFile) -> FoundFile:
        """The verified file of the same image, else the first one with the same bytes."""
        if file.uid in self._verified:
            return self._verified[file.uid][0]
        return next(other for other in self._versions[file.uid] if other.md5 == file.md5)
