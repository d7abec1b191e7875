"""Adopting one series: judged first, then brought into staging, then committed if it is whole."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, LockedError, SeriesError, TakenOverError
from tcia_covid.core.models import ADOPTED, Check, Receipt, Series, StoredImage
from tcia_covid.core.safe_names import is_in_hidden_folder
from tcia_covid.formats.dicom.elements import UndecidedError, is_cut
from tcia_covid.formats.dicom.header import DEFLATED, open_dataset
from tcia_covid.operations.adopt.result import DamagedFile, Mode, Reason
from tcia_covid.operations.adopt.scan import FoundFile
from tcia_covid.operations.adopt.verification import HashSources, Verification, verify_files
from tcia_covid.store.disk import Disk, succeeded
from tcia_covid.store.recovery import is_redundant_copy
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.availability import ArchiveAvailability
from tcia_covid.transfer.verification import verify_hashes

_PIECE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """One series, the files that may be its images, and the tree that it belongs into."""

    series: Series
    files: Sequence[FoundFile]
    tree: Tree


@dataclass(slots=True)
class AdoptedSeries:
    """What became of one series."""

    receipt: Receipt | None = None
    """If the series stands in the layout."""
    already: bool = False
    """Whether it stood there before."""
    there: int = 0
    """Files that are images of a series that stood before."""
    reason: Reason | None = None
    """Why it does not stand there."""
    detail: str = ""
    adopted: int = 0
    """Files that stand in the layout now."""
    size: int = 0
    staged: int = 0
    """Files that wait in staging."""
    unproven: int = 0
    """Files that no hash proves, and that stay where they are."""
    not_removed: int = 0
    """Originals of images that stand, which were to be moved and are still there."""
    damaged: list[DamagedFile] = field(default_factory=list)
    doubles: list[tuple[FoundFile, FoundFile]] = field(default_factory=list)
    brought: Counter[str] = field(default_factory=Counter)


class Adopter:
    """Takes series of one folder in; safe for threads.

    Args:
        root: the folder.
        mode: how files are brought; `move` removes originals after the commit.
        hash_sources: the archives whose hashes count.
        unsettled: by tree, the series that need a look although a receipt stands.
        stop: ends the work between two images.
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
        self._panel = hash_sources
        self._unsettled = unsettled
        self._stop = stop

    def stands(self, candidate: Candidate) -> Receipt | None:
        """The receipt of a series that is complete in the layout."""
        uid, tree = candidate.series.uid, candidate.tree
        return None if uid in self._unsettled[tree.root] else tree.committed(uid)

    def take(self, candidate: Candidate) -> AdoptedSeries:
        """Adopt a series, or say why not.

        Raises:
            DestinationError: the disk.
        """
        receipt = self.stands(candidate)
        if receipt is not None:
            return self._compare(candidate, receipt)
        verdict = verify_files(candidate.series, candidate.files, self._panel)
        taken = AdoptedSeries(
            doubles=verdict.doubles, damaged=self._damage(candidate.series, verdict)
        )
        images = _usable(verdict)
        taken.unproven = len(verdict.unproven) - (len(images) - len(verdict.right))
        if not images:
            taken.reason, taken.detail = _why_nothing(verdict)
            return taken
        try:
            self._bring(candidate, verdict, images, taken)
        except (LockedError, SeriesError) as error:
            taken.reason, taken.detail = Reason.HELD, error.message
        if taken.already and taken.receipt is not None:
            return self._compare(candidate, taken.receipt)
        return taken

    def _compare(self, candidate: Candidate, receipt: Receipt) -> AdoptedSeries:
        """Compare files with the images of a series that stands; nobody is asked."""
        taken = AdoptedSeries(receipt, already=True)
        known = {image.uid: image.md5 for image in receipt.images}
        right: dict[str, FoundFile] = {}
        for found in candidate.files:
            if known.get(found.uid) == found.md5:
                right.setdefault(found.uid, found)
        for found in candidate.files:
            self._stop.check()
            first = right.get(found.uid)
            if first is not None and first is not found:
                taken.doubles.append((found, first))
            elif first is None and found.uid in known:
                taken.damaged.append(self._changed(candidate.series, found, "the standing image's"))
            elif first is None:
                taken.damaged.append(_strange(candidate.series, found, "the standing series"))
        taken.there = len(right)
        if self._mode == "move":
            taken.not_removed = self._remove(right.values(), candidate.tree, receipt)
        return taken

    def _remove(self, moved: Iterable[FoundFile], tree: Tree, receipt: Receipt) -> int:
        """Remove originals whose bytes stand in the layout; gives how many could not be."""
        tree.note_moved_from(self._root)
        bringer, folder = FilePlacer(self._root, self._mode, tree.disk), tree.path(receipt)
        return sum(not bringer.remove(found, folder) for found in moved)

    def _bring(
        self,
        candidate: Candidate,
        verdict: Verification,
        images: Mapping[str, tuple[FoundFile, Check]],
        taken: AdoptedSeries,
    ) -> None:
        series, tree = candidate.series, candidate.tree
        bringer = FilePlacer(self._root, self._mode, tree.disk)
        brought = []
        with tree.stage(series, lambda count: None) as staging:
            if isinstance(staging, Receipt):
                taken.receipt, taken.already = staging, True
                return
            for found, check in images.values():
                self._stop.check()
                if way := bringer.bring(found, check, staging):
                    taken.brought[way] += 1
                    brought.append(found)
                else:
                    taken.damaged.append(_vanished(series, found))
            if self._is_whole(series, staging, verdict):
                taken.receipt = tree.commit(staging)
            else:
                taken.staged = len(brought)
                taken.reason, taken.detail = _why_not_whole(series, staging, verdict)
        if taken.receipt is not None:
            taken.adopted, taken.size = len(brought), sum(found.size for found in brought)
            if self._mode == "move":
                taken.not_removed = self._remove(brought, tree, taken.receipt)

    def _is_whole(self, series: Series, staging: Staging, verdict: Verification) -> bool:
        """Whether all images are there and proved, those of earlier runs included."""
        count = series.image_count or (len(verdict.right) if verdict.whole else None)
        if count != len(staging.images):
            return False
        if not staging.unproven():
            return True
        # What a download left in staging is proved as a download does it; that throws away what
        # no hash proves, so not while archives are silent.
        return verdict.answered and verify_hashes(
            series, self._panel.of(series), staging, ArchiveAvailability()
        )

    def _damage(self, series: Series, verdict: Verification) -> list[DamagedFile]:
        return [
            *(self._changed(series, found, "the archive's") for found in verdict.changed),
            *(_strange(series, found, "the archive's series") for found in verdict.strange),
        ]

    def _changed(self, series: Series, found: FoundFile, whose: str) -> DamagedFile:
        if _ends_early(self._root / found.file):
            detail = f"the file is cut: it has {found.size} bytes"
            return DamagedFile(found.file, Reason.CUT, detail, series.uid)
        detail = f"its MD5 {found.md5} is not {whose}"
        return DamagedFile(found.file, Reason.CHANGED, detail, series.uid)


def _usable(verdict: Verification) -> dict[str, tuple[FoundFile, Check]]:
    """The files worth a place in staging: right ones, and those nobody could be asked about."""
    images = dict(verdict.right)
    if not verdict.answered:
        versions = Counter(found.uid for found in verdict.unproven)
        for found in verdict.unproven:
            if versions[found.uid] == 1:
                images[found.uid] = (found, Check.SIZE)
    return images


def _why_nothing(verdict: Verification) -> tuple[Reason, str]:
    if verdict.unproven and not verdict.answered:
        return Reason.UNANSWERED, "no archive could be asked, and its files contradict each other"
    if verdict.unproven:
        count = len(verdict.unproven)
        return Reason.UNPROVEN, f"the archive has no hash that proves its {count} files here"
    return Reason.INCOMPLETE, "none of its files is right"


def _why_not_whole(series: Series, staging: Staging, verdict: Verification) -> tuple[Reason, str]:
    here, count = len(staging.images), series.image_count
    of = f" of {count}" if count else ""
    if verdict.unproven and not verdict.answered:
        return (
            Reason.UNANSWERED,
            f"{here}{of} images wait in staging unproved: no archive could be asked",
        )
    if count == here:
        return Reason.UNPROVEN, f"the archive has no hash that proves all {count} images"
    return Reason.INCOMPLETE, f"{here}{of} images are here and right"


def _strange(series: Series, found: FoundFile, what: str) -> DamagedFile:
    return DamagedFile(found.file, Reason.STRANGE, f"{what} has no such image", series.uid)


def _vanished(series: Series, found: FoundFile) -> DamagedFile:
    detail = "the file changed, or could not be read again, while it was adopted"
    return DamagedFile(found.file, Reason.UNREADABLE, detail, series.uid)


def _ends_early(path: Path) -> bool:
    """Whether a file ends in the middle of an element, as far as that can be told."""
    try:
        dataset = open_dataset(path.read_bytes())
        if dataset.syntax == DEFLATED:
            return False
        return is_cut(dataset.data, dataset.start, dataset.read)
    except (OSError, UndecidedError):
        return False


class FilePlacer:
    """Brings files of one folder.

    Args:
        root: the folder.
        mode: `copy` makes no hard links; `link` and `move` prefer them.
        disk: the seam to the file system.
    """

    def __init__(self, root: Path, mode: Mode, disk: Disk) -> None:
        self._root = root
        self._links = mode != "copy"
        self._disk = disk

    def bring(self, found: FoundFile, check: Check, staging: Staging) -> str:
        """Put a file into a staging folder under its own UID.

        Returns:
            the way it took; `kept` if the image was there already; nothing if the file is no
            longer the one that was hashed.

        Raises:
            DestinationError: the disk.
            TakenOverError: another run took the staging folder.
        """
        here = staging.images.get(found.uid)
        if here is not None and here.md5 == found.md5:
            staging.adopt(replace(here, check=check))
            return "kept"
        if here is not None:
            staging.discard(found.uid)
        way = self._share(found, staging) or self._copy(found, staging)
        if way:
            image = StoredImage(found.uid, found.size, found.md5, check, ADOPTED)
            staging.adopt(image)
        return way

    def remove(self, found: FoundFile, committed: Path) -> bool:
        """Remove an original and the folders that this leaves empty, if its bytes stand elsewhere.

        What is in a hidden folder stays: the objects of git-annex or DVC belong to these.

        Args:
            found: as it was read; it stays if it changed since.
            committed: the folder of its series in the layout; the image there is read.
        """
        file, image = self._root / found.file, committed / f"{found.uid}.dcm"
        if is_in_hidden_folder(PurePosixPath(found.file)):
            return False
        if not (self._is_same(found) and is_redundant_copy(file, image, found.size, found.md5)):
            return False
        if not succeeded(lambda: self._disk.remove(file)):
            return False
        folder = self._root / found.folder
        while folder != self._root and self._root in folder.parents:
            self._disk.remove_empty(folder)
            folder = folder.parent
        return True

    def _share(self, found: FoundFile, staging: Staging) -> str:
        """Have the target share the bytes of the original, where the file system can."""
        image = StoredImage(found.uid, found.size, found.md5)
        source, target = self._root / found.file, Path(staging.path(image))
        way = ""
        if self._may_link(source) and succeeded(lambda: self._disk.link(source, target)):
            way = "link"
        elif succeeded(lambda: self._disk.reflink(source, target)):
            way = "reflink"
        if way and not self._is_same(found):
            self._disk.remove(target)
            way = ""
        return way

    def _may_link(self, source: Path) -> bool:
        """Whether to try: a name of a file that may not be written cannot be synced on commit."""
        return self._links and (not self._disk.durable or os.access(source, os.W_OK))

    def _copy(self, found: FoundFile, staging: Staging) -> str:
        """Copy through the staging folder's own door, which hashes and reads the header again."""
        try:
            stored = staging.receive(self._pieces(found), source=ADOPTED)
        except TakenOverError:
            raise
        except (SeriesError, ArchiveError):
            return ""  # cut, or another file by now
        if (stored.uid, stored.md5) == (found.uid, found.md5):
            return "copy"
        staging.discard(stored.uid)
        return ""

    def _pieces(self, found: FoundFile) -> Iterator[bytes]:
        # What cannot be read ends the file early; its hash tells.
        with (
            contextlib.suppress(OSError),
            (self._root / found.file).open("rb", buffering=0) as file,
        ):
            while piece := file.read(_PIECE):
                yield piece

    def _is_same(self, found: FoundFile) -> bool:
        try:
            now = (self._root / found.file).stat()
        except OSError:
            return False
        return (now.st_size, now.st_mtime_ns) == (found.size, found.modified)
