"""Adopting one series: judged first, then brought into staging, then committed if it is whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.adopt.bring import Bringer
from tcia_covid.adopt.prove import Panel, Verdict, judge
from tcia_covid.adopt.result import Damaged, Mode, Reason
from tcia_covid.adopt.scan import Found
from tcia_covid.dicom.elements import UndecidedError, is_cut
from tcia_covid.dicom.reader import DEFLATED, open_dataset
from tcia_covid.errors import HeldError, SeriesError
from tcia_covid.model import Check, Receipt, Series
from tcia_covid.stop import Stop
from tcia_covid.store import Staging, Tree
from tcia_covid.transfer.health import Health
from tcia_covid.transfer.proof import prove


@dataclass(frozen=True, slots=True)
class Candidate:
    """One series, the files that may be its images, and the tree that it belongs into."""

    series: Series
    files: Sequence[Found]
    tree: Tree


@dataclass(slots=True)
class Taken:
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
    damaged: list[Damaged] = field(default_factory=list)
    doubles: list[tuple[Found, Found]] = field(default_factory=list)
    brought: Counter[str] = field(default_factory=Counter)


class Adopter:
    """Takes series of one folder in; safe for threads.

    Args:
        root: the folder.
        mode: how files are brought; `move` removes originals after the commit.
        panel: the archives whose hashes count.
        unsettled: by tree, the series that need a look although a receipt stands.
        stop: ends the work between two images.
    """

    def __init__(
        self, root: Path, mode: Mode, panel: Panel, unsettled: Mapping[Path, set[str]], stop: Stop
    ) -> None:
        self._root = root
        self._mode = mode
        self._panel = panel
        self._unsettled = unsettled
        self._stop = stop

    def stands(self, candidate: Candidate) -> Receipt | None:
        """The receipt of a series that is complete in the layout."""
        uid, tree = candidate.series.uid, candidate.tree
        return None if uid in self._unsettled[tree.root] else tree.standing(uid)

    def take(self, candidate: Candidate) -> Taken:
        """Adopt a series, or say why not.

        Raises:
            DestinationError: the disk.
        """
        receipt = self.stands(candidate)
        if receipt is not None:
            return self._compare(candidate, receipt)
        verdict = judge(candidate.series, candidate.files, self._panel)
        taken = Taken(doubles=verdict.doubles, damaged=self._damage(candidate.series, verdict))
        images = _usable(verdict)
        taken.unproven = len(verdict.unproven) - (len(images) - len(verdict.right))
        if not images:
            taken.reason, taken.detail = _why_nothing(verdict)
            return taken
        try:
            self._bring(candidate, verdict, images, taken)
        except (HeldError, SeriesError) as error:
            taken.reason, taken.detail = Reason.HELD, error.message
        if taken.already and taken.receipt is not None:
            return self._compare(candidate, taken.receipt)
        return taken

    def _compare(self, candidate: Candidate, receipt: Receipt) -> Taken:
        """Compare files with the images of a series that stands; nobody is asked."""
        taken = Taken(receipt, already=True)
        known = {image.uid: image.md5 for image in receipt.images}
        right: dict[str, Found] = {}
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

    def _remove(self, moved: Iterable[Found], tree: Tree, receipt: Receipt) -> int:
        """Remove originals whose bytes stand in the layout; gives how many could not be."""
        tree.note_moved_from(self._root)
        bringer, folder = Bringer(self._root, self._mode, tree.disk), tree.path(receipt)
        return sum(not bringer.remove(found, folder) for found in moved)

    def _bring(
        self,
        candidate: Candidate,
        verdict: Verdict,
        images: Mapping[str, tuple[Found, Check]],
        taken: Taken,
    ) -> None:
        series, tree = candidate.series, candidate.tree
        bringer = Bringer(self._root, self._mode, tree.disk)
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

    def _is_whole(self, series: Series, staging: Staging, verdict: Verdict) -> bool:
        """Whether all images are there and proved, those of earlier runs included."""
        count = series.image_count or (len(verdict.right) if verdict.whole else None)
        if count != len(staging.images):
            return False
        if not staging.unproven():
            return True
        # What a download left in staging is proved as a download does it; that throws away what
        # no hash proves, so not while archives are silent.
        return verdict.answered and prove(series, self._panel.of(series), staging, Health())

    def _damage(self, series: Series, verdict: Verdict) -> list[Damaged]:
        return [
            *(self._changed(series, found, "the archive's") for found in verdict.changed),
            *(_strange(series, found, "the archive's series") for found in verdict.strange),
        ]

    def _changed(self, series: Series, found: Found, whose: str) -> Damaged:
        if _ends_early(self._root / found.file):
            detail = f"the file is cut: it has {found.size} bytes"
            return Damaged(found.file, Reason.CUT, detail, series.uid)
        detail = f"its MD5 {found.md5} is not {whose}"
        return Damaged(found.file, Reason.CHANGED, detail, series.uid)


def _usable(verdict: Verdict) -> dict[str, tuple[Found, Check]]:
    """The files worth a place in staging: right ones, and those nobody could be asked about."""
    images = dict(verdict.right)
    if not verdict.answered:
        versions = Counter(found.uid for found in verdict.unproven)
        for found in verdict.unproven:
            if versions[found.uid] == 1:
                images[found.uid] = (found, Check.SIZE)
    return images


def _why_nothing(verdict: Verdict) -> tuple[Reason, str]:
    if verdict.unproven and not verdict.answered:
        return Reason.UNANSWERED, "no archive could be asked, and its files contradict each other"
    if verdict.unproven:
        count = len(verdict.unproven)
        return Reason.UNPROVEN, f"the archive has no hash that proves its {count} files here"
    return Reason.INCOMPLETE, "none of its files is right"


def _why_not_whole(series: Series, staging: Staging, verdict: Verdict) -> tuple[Reason, str]:
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


def _strange(series: Series, found: Found, what: str) -> Damaged:
    return Damaged(found.file, Reason.STRANGE, f"{what} has no such image", series.uid)


def _vanished(series: Series, found: Found) -> Damaged:
    detail = "the file changed, or could not be read again, while it was adopted"
    return Damaged(found.file, Reason.UNREADABLE, detail, series.uid)


def _ends_early(path: Path) -> bool:
    """Whether a file ends in the middle of an element, as far as that can be told."""
    try:
        dataset = open_dataset(path.read_bytes())
        if dataset.syntax == DEFLATED:
            return False
        return is_cut(dataset.data, dataset.start, dataset.read)
    except (OSError, UndecidedError):
        return False
