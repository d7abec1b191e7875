"""A crash at any side effect leaves a state from which the next run ends as a clean one."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import DestinationError, UnreachableError
from tcia_covid.core.models import Series
from tcia_covid.store.disk import Disk, StrPath
from tcia_covid.store.layout import Layout
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.series import fetch_series
from tests.fakes.crashing_disk import CountingDisk, Crash, PowerLossDisk
from tests.unit.archive_helpers import files_of
from tests.unit.transfer.helpers import SETTINGS, FakeArchive, listed, raising
from tests.unit.trees import files, image_of, md5_of

LAYOUT = Layout.parse("{patient}/{series_tail}")


def of_one_name(first: int, images: int = 2, study: str = "1.2") -> Series:
    """A series of a patient with others that the layout gives the same folder name."""
    like = listed(1)
    series = replace(like, uid=f"{like.uid}.{first}.12345", study=study, image_count=images)
    return replace(series, size=sum(map(len, contents(series).values())))


def contents(series: Series) -> dict[str, bytes]:
    """The images of a series by file name."""
    numbers = range(1, (series.image_count or 0) + 1)
    return {f"{series.uid}.{number}.dcm": image_of(series, number) for number in numbers}


ONE, OTHER = of_one_name(1), of_one_name(2)
NEWER = of_one_name(1, images=3, study="1.3")
PLAIN = f"{ONE.patient}/12345"


def fetch(
    root: Path, *series: Series, disk: Disk | None = None, archive: FakeArchive | None = None
) -> Tree:
    """Fetch series, or update those of which another version is on file."""
    tree = Tree(root, LAYOUT, disk or Disk(durable=False))
    tree.prepare()
    context = TransferContext(CancelToken(), SETTINGS, lambda event: None)
    for item in series:
        filed = tree.receipts.read(item.uid)
        update = filed is not None and filed.receipt.differs_from(item)
        fetch_series(item, [archive or FakeArchive()], tree, context, update=update)
    return tree


def nothing(root: Path) -> None:
    root.mkdir()


def is_complete(root: Path) -> None:
    fetch(root, ONE)


USERS_FILES = {"notes.txt": b"by hand", ".cache/view.json": b"{}", "mask.dcm": image_of(OTHER, 9)}


def is_damaged(root: Path) -> None:
    """An image is gone, another one is known to have changed, and a user has files there."""
    tree = fetch(root, ONE)
    receipt = tree.complete_receipt(ONE.uid)
    assert receipt is not None
    first, second = files(tree, receipt)
    first.unlink()
    second.write_bytes(b"damaged")
    add_users_files(first.parent)
    tree.damage.write(ONE.uid, [{"file": second.name}])


def add_users_files(folder: Path) -> None:
    for name, content in USERS_FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)


def has_users_files(root: Path) -> None:
    """A complete series, and a user's files in its folder."""
    is_complete(root)
    add_users_files(root / PLAIN)


def has_no_receipt(root: Path) -> None:
    """A series with a user's files in its folder, whose receipt is lost and one image, too."""
    has_users_files(root)
    Tree(root, LAYOUT).receipts.path(ONE.uid).unlink()
    next((root / PLAIN).glob(f"{ONE.uid}*")).unlink()


def is_linked(root: Path) -> None:
    """A series one image of which is a link to the right bytes, and another is missing."""
    is_damaged(root)
    tree = Tree(root, LAYOUT)
    tree.damage.clear(ONE.uid)
    second = root / PLAIN / f"{ONE.uid}.2.dcm"
    annex = root.parent / f"annex of {root.name}"
    annex.write_bytes(contents(ONE)[second.name])
    second.unlink()
    second.symlink_to(annex)


def has_lost_its_name(root: Path) -> None:
    """The series was taken out of the tree for a repair, and another one took its name."""
    is_damaged(root)
    with contextlib.suppress(UnreachableError):
        fetch(root, ONE, archive=FakeArchive(raising(UnreachableError("down"))))
    fetch(root, OTHER)


@dataclass(frozen=True)
class Story:
    """What a run finds, what it downloads, and where that must be in the end."""

    before: Callable[[Path], None]
    series: tuple[Series, ...]
    places: dict[str, Series]
    users_files: str = ""
    """The folder in which the files of a user stay."""

    def effects(self, root: Path) -> range:
        """The side effects of a clean run."""
        self.before(root)
        disk = CountingDisk()
        fetch(root, *self.series, disk=disk)
        assert files_of(root) == self.expected
        return range(disk.count)

    def states(self, directory: Path) -> Iterator[tuple[int, Path]]:
        """For each side effect of a clean run, its number and a folder that it is to happen in."""
        for number in self.effects(directory / "clean"):
            root = directory / str(number)
            self.before(root)
            yield number, root

    @property
    def expected(self) -> dict[str, str]:
        return {
            f"{place}/{file}": md5_of(content)
            for place, series in self.places.items()
            for file, content in contents(series).items()
        } | {
            f"{self.users_files}/{name}": md5_of(content)
            for name, content in USERS_FILES.items()
            if self.users_files
        }

    def finish(self, root: Path, found: set[tuple[str, str]]) -> int:
        """Nothing new but correct files is in the tree; the next run ends as a clean one.

        Gives how often an archive was asked for images.
        """
        assert set(files_of(root).items()) <= found | set(self.expected.items())
        archive = FakeArchive()
        tree = fetch(root, *self.series, archive=archive)
        assert files_of(root) == self.expected
        for series in self.series:  # what an update downloaded is checked again
            fetch(root, series)
        assert tree.needs_check() == set()
        assert all(tree.complete_receipt(item.uid) for item in self.places.values())
        parts = [part for part in tree.state.rglob("*.part") if part.parent != tree.temporary]
        assert parts == []
        return len(archive.asked) + len(archive.asked_images)


STORIES = {
    "new": Story(nothing, (ONE,), {PLAIN: ONE}),
    "damaged": Story(is_damaged, (ONE,), {PLAIN: ONE}, PLAIN),
    "no receipt": Story(has_no_receipt, (ONE,), {PLAIN: ONE}, PLAIN),
    "linked": Story(is_linked, (ONE,), {PLAIN: ONE}, PLAIN),
    "update": Story(is_complete, (NEWER,), {PLAIN: NEWER}),
    "update among users' files": Story(has_users_files, (NEWER,), {PLAIN: NEWER}, PLAIN),
    "two of one name": Story(nothing, (ONE, OTHER), {PLAIN: ONE, f"{PLAIN}-{OTHER.uid}": OTHER}),
    "lost its name": Story(
        has_lost_its_name, (ONE,), {PLAIN: OTHER, f"{PLAIN}-{ONE.uid}": ONE}, PLAIN
    ),
}
each_story = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
UNLINKED = {name: story for name, story in STORIES.items() if name != "linked"}
each_unlinked_story = pytest.mark.parametrize("story", UNLINKED.values(), ids=UNLINKED)
"""The disk that loses what was not synced knows files by their inodes, not by links to them."""


@each_story
@pytest.mark.parametrize("halfway", [False, True])
def test_fault_21_a_crash_at_every_side_effect_is_recovered_from(
    tmp_path: Path, story: Story, halfway: bool
) -> None:
    for number, root in story.states(tmp_path):
        found = set(files_of(root).items())
        with contextlib.suppress(Crash):
            fetch(root, *story.series, disk=CountingDisk(number, halfway=halfway))
        kept = found <= set(files_of(root).items())
        asked = story.finish(root, found)
        assert kept or story.before is not is_complete or asked == 0


@each_story
@pytest.mark.parametrize("error", [28, 5, 13], ids=["ENOSPC", "EIO", "EACCES"])
def test_fault_20_a_disk_error_at_every_side_effect_is_reported_and_recovered_from(
    tmp_path: Path, story: Story, error: int
) -> None:
    for number, root in story.states(tmp_path):
        found = set(files_of(root).items())
        with contextlib.suppress(DestinationError):
            fetch(root, *story.series, disk=CountingDisk(number, error))
        story.finish(root, found)


@each_unlinked_story
def test_fault_21_after_a_power_cut_only_synced_data_counts(tmp_path: Path, story: Story) -> None:
    for number, root in story.states(tmp_path):
        found = set(files_of(root).items())
        disk = PowerLossDisk(root, number)
        with contextlib.suppress(Crash):
            fetch(root, *story.series, disk=disk)
        disk.cut_power()
        whole = story.expected.items() <= files_of(root).items()
        asked = story.finish(root, found)
        assert asked == 0 or not whole


@each_unlinked_story
def test_fault_21_what_a_run_downloaded_survives_a_power_cut(tmp_path: Path, story: Story) -> None:
    root = tmp_path / "tree"
    story.before(root)
    disk = PowerLossDisk(root)
    fetch(root, *story.series, disk=disk)
    disk.cut_power()
    assert files_of(root) == story.expected
    assert story.finish(root, set()) == 0


class StuckDisk(PowerLossDisk):
    """Syncs a folder in one thread only once another one has ended its work, and crashes then."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.is_stuck = threading.Event()
        self.others_have_ended = threading.Event()
        self.has_waited_in_vain = False

    def sync_folder(self, path: StrPath) -> None:
        if Path(path) == self._root and threading.current_thread() is not threading.main_thread():
            self.is_stuck.set()
            self.has_waited_in_vain = not self.others_have_ended.wait(10)
            raise Crash
        super().sync_folder(path)


def test_fault_21_a_series_is_safe_in_a_folder_that_another_commit_made_and_still_syncs(
    tmp_path: Path,
) -> None:
    root = tmp_path / "tree"
    root.mkdir()
    disk = StuckDisk(root)
    tree = fetch(root, disk=disk)

    def fetch_one() -> None:
        context = TransferContext(CancelToken(), SETTINGS, lambda event: None)
        with contextlib.suppress(Crash):
            fetch_series(ONE, [FakeArchive()], tree, context)

    thread = threading.Thread(target=fetch_one)
    thread.start()
    assert disk.is_stuck.wait(10)
    context = TransferContext(CancelToken(), SETTINGS, lambda event: None)
    fetch_series(OTHER, [FakeArchive()], tree, context)
    disk.others_have_ended.set()
    thread.join()
    assert not disk.has_waited_in_vain
    disk.cut_power()
    expected = Story(nothing, (OTHER,), {f"{PLAIN}-{OTHER.uid}": OTHER}).expected
    assert expected.items() <= files_of(root).items()
