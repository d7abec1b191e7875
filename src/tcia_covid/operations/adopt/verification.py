"""Judging files by the archives' own hashes, before anything is done with them."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tcia_covid.archives.base import Archive
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, NotAvailableError
from tcia_covid.core.events import Emit, Notice
from tcia_covid.core.models import Check, RemoteImage, Series
from tcia_covid.formats.hashes import same_md5
from tcia_covid.operations.adopt.scan import FoundFile
from tcia_covid.transfer.verification import hash_matches

_GIVE_UP = 2
"""Series in a row that an archive does not answer for before it is left alone."""
_BLANKS_TELL = 3
"""Images without a hash after which the others are taken to have none either."""


@dataclass(slots=True)
class Verification:
    """What the archives' hashes say of the files of one series, by SOPInstanceUID."""

    right: dict[str, tuple[FoundFile, Check]] = field(default_factory=dict)
    changed: list[FoundFile] = field(default_factory=list)
    """Their bytes are not the archive's."""
    strange: list[FoundFile] = field(default_factory=list)
    """The archive's series has no such image."""
    unproven: list[FoundFile] = field(default_factory=list)
    """One file an image; no hash tells whether it is right."""
    doubles: list[tuple[FoundFile, FoundFile]] = field(default_factory=list)
    """Further files of an image, each with the one that stands for it."""
    answered: bool = True
    """Whether every archive that was asked gave an answer."""
    whole: bool = False
    """Whether all images that the archive has are among the right ones."""


class HashSources:
    """The archives whose hashes count; one that does not answer is not waited for every time.

    Args:
        archives: the first choice first.
        emit: hears when an archive is given up.
        stop: ends the waiting.
    """

    def __init__(self, archives: Sequence[Archive], emit: Emit, stop: CancelToken) -> None:
        self._archives = archives
        self._emit = emit
        self._stop = stop
        self._lock = threading.Lock()
        self._silent: Counter[str] = Counter()

    def of(self, series: Series) -> list[Archive]:
        """The archives that may have a series."""
        return [archive for archive in self._archives if archive.holds(series)]

    @contextmanager
    def asking(self, archive: Archive, verdict: Verification) -> Iterator[bool]:
        """Ask an archive inside; gives False if it was given up already.

        An archive that does not have the series has answered; any other of its errors is noted
        in the verdict.
        """
        if self._silent[archive.name] >= _GIVE_UP:
            verdict.answered = False
            yield False
            return
        try:
            yield True
        except NotAvailableError:
            self._heard(archive)
        except ArchiveError as error:
            self._stop.check()
            verdict.answered = False
            self._unheard(archive, error)
        else:
            self._heard(archive)

    def _heard(self, archive: Archive) -> None:
        with self._lock:
            self._silent[archive.name] = 0

    def _unheard(self, archive: Archive, error: ArchiveError) -> None:
        with self._lock:
            self._silent[archive.name] += 1
            gave_up = self._silent[archive.name] == _GIVE_UP
        if gave_up:
            self._emit(Notice(f"{archive.name} is not asked any more: {error.message}"))


def verify_files(
    series: Series, files: Sequence[FoundFile], hash_sources: HashSources
) -> Verification:
    """Prove the files of one series, by one hash of the whole where that is possible.

    Args:
        series: as listed.
        files: those whose headers name it.
        hash_sources: the archives to ask.
    """
    case = _SeriesFiles(series, files)
    archives = hash_sources.of(series)
    if case.adds_up():
        for archive in archives:
            with hash_sources.asking(archive, case.verdict) as listens:
                if listens and case.prove_whole(archive):
                    return case.close()
    for archive in archives:
        with hash_sources.asking(archive, case.verdict) as listens:
            if listens:
                case.prove_each(archive)
        if not case.open():
            break
    return case.close()


class _SeriesFiles:
    """The files of one series while they are judged."""

    def __init__(self, series: Series, files: Sequence[FoundFile]) -> None:
        self.verdict = Verification()
        self._series = series
        self._files = files
        self._versions: dict[str, list[FoundFile]] = {}
        """Files of one image whose bytes differ, by SOPInstanceUID."""
        for found in files:
            versions = self._versions.setdefault(found.uid, [])
            if all(found.md5 != other.md5 for other in versions):
                versions.append(found)
        self._denied: set[str] = set()
        self._unnamed: set[str] = set()
        self._named = series.image_count
        """Images that the archive has, where it says so."""

    def adds_up(self) -> bool:
        """Whether there is one version of each image, and as many images and bytes as listed."""
        series = self._series
        single = [versions[0] for versions in self._versions.values() if len(versions) == 1]
        return (
            len(single) == len(self._versions)
            and series.image_count in (None, len(single))
            and series.size in (None, sum(found.size for found in single))
        )

    def open(self) -> list[str]:
        """The images that nothing has proved right yet."""
        return [uid for uid in self._versions if uid not in self.verdict.right]

    def prove_whole(self, archive: Archive) -> bool:
        """Compare all files at once with the archive's hash of the series."""
        said = archive.series_md5(self._series)
        computed = [versions[0].md5 for versions in self._versions.values()]
        if said is None or not hash_matches(said, [None] * len(computed), computed):
            return False
        for uid, versions in self._versions.items():
            self.verdict.right[uid] = (versions[0], Check.SERIES_MD5)
        self._named = len(self._versions)
        return True

    def prove_each(self, archive: Archive) -> None:
        """Compare each file with the archive's hash of that image."""
        remote = archive.images(self._series)
        self._named = self._named or len(remote) or None
        if any(image.md5 for image in remote):
            self._compare_with_list(remote)
        if any(image.uid for image in remote):
            self._ask_for_each(archive, {image.uid for image in remote})

    def _compare_with_list(self, remote: Sequence[RemoteImage]) -> None:
        """IDC lists hashes without saying of which image; the header says that."""
        hashes = {image.md5 for image in remote}
        for uid in self.open():
            fitting = [found for found in self._versions[uid] if found.md5 in hashes]
            if fitting:
                self.verdict.right[uid] = (fitting[0], Check.MD5)
            elif None not in hashes:
                self._denied.add(uid)

    def _ask_for_each(self, archive: Archive, named: set[str | None]) -> None:
        blanks = 0
        for uid in self.open():
            if uid not in named:
                self._unnamed.add(uid)
                continue
            said = archive.image_md5(self._series, uid)
            if not said or not said.strip():
                blanks += 1
                if blanks >= _BLANKS_TELL:
                    return
                continue
            self._compare(uid, said)

    def _compare(self, uid: str, said: str) -> None:
        for found in self._versions[uid]:
            if same_md5(said, found.md5):
                self.verdict.right[uid] = (found, Check.MD5)
                return
        self._denied.add(uid)

    def close(self) -> Verification:
        """Sort the files by what was found out."""
        verdict = self.verdict
        for uid in self.open():
            versions = self._versions[uid]
            if uid in self._unnamed:
                verdict.strange += versions
            elif uid in self._denied:
                verdict.changed += versions
            else:
                verdict.unproven += versions
        stands = {uid: found for uid, (found, _) in verdict.right.items()}
        for found in self._files:
            first = stands.get(found.uid) or self._first_like(found)
            if found is not first:
                verdict.doubles.append((found, first))
        verdict.whole = len(stands) == self._named
        return verdict

    def _first_like(self, found: FoundFile) -> FoundFile:
        """The first file of the same image with the same bytes."""
        return next(other for other in self._versions[found.uid] if other.md5 == found.md5)
