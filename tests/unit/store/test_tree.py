"""One collection's folder: series that share a folder name, and what is in a series' place."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import IncompleteSeriesError, TakenOverError, UnreachableError
from tcia_covid.core.models import ADOPTED, Series, State
from tcia_covid.core.safe_names import is_reserved
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk, StrPath
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.layout import Layout, collection_folder
from tcia_covid.store.staging import ImageOrigins, Staging
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.series import fetch_series
from tests.fakes.crashing_disk import PausingDisk
from tests.unit.transfer.helpers import IMAGES, SETTINGS, FakeArchive, Run, listed, raising
from tests.unit.trees import NAME, ROOT, files, grow, image_of, new_tree, series_of

LAYOUT = Layout.parse("{patient}/{series_tail}")


def same_tail(first: str, tail: int = 12345) -> Series:
    """A series of one patient whose UID ends as those of others do."""
    facts = {"uid": f"{ROOT}.{first}.{tail}", "patient": "P", "study": f"{ROOT}.77"}
    series = replace(listed(1), **facts)
    return replace(series, size=sum(len(image_of(series, n)) for n in range(1, IMAGES + 1)))


def tree_of(directory: Path, layout: Layout = LAYOUT) -> Tree:
    tree = Tree(directory / NAME, layout, Disk(durable=False))
    tree.prepare()
    return tree


def fetched(tree: Tree, series: Series, *, update: bool = False) -> State:
    """What became of a series."""
    context = TransferContext(CancelToken(), SETTINGS, lambda event: None)
    return fetch_series(series, [FakeArchive()], tree, context, update=update).state


def folders(tree: Tree, series: Sequence[Series]) -> list[str | None]:
    """The folders of series, each with exactly its images."""
    found = [tree.complete_receipt(item.uid) for item in series]
    return [receipt.folder if receipt else None for receipt in found]


def test_series_with_the_same_folder_name_that_end_together_are_all_complete(
    tmp_path: Path,
) -> None:
    tree = Tree(tmp_path / NAME, LAYOUT, PausingDisk(random.Random(1)))
    tree.prepare()
    series = [same_tail(f"{n}.{first}", 10000 + n) for n in range(40) for first in (1, 2)]
    run = Run(tree, FakeArchive(), workers=8)(series)
    assert set(run.states.values()) == {State.COMPLETE}
    committed = folders(tree, series)
    assert None not in committed
    assert len(set(committed)) == len(series)
    again = Run(tree_of(tmp_path), FakeArchive())(series)
    assert set(again.states.values()) == {State.ALREADY}


def test_a_series_whose_folder_was_taken_during_its_repair_gets_its_full_uid(
    tmp_path: Path,
) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    receipt = tree.complete_receipt(one.uid)
    assert receipt is not None
    files(tree, receipt)[0].unlink()
    Run(tree, FakeArchive(raising(UnreachableError("down"), one.uid)))([one])
    Run(tree, FakeArchive())([other])
    Run(tree_of(tmp_path), FakeArchive())([one])
    assert folders(tree, [one, other]) == [f"P/12345-{one.uid}", "P/12345"]
    assert not tree.quarantine.exists()
    assert tree.needs_check() == set()


def test_an_interrupted_commit_does_not_touch_a_series_that_took_its_folder(
    tmp_path: Path,
) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    filed = tree.receipts.read(one.uid)
    assert filed is not None
    staged = tree.staging / one.uid / filed.staged
    staged.parent.mkdir()
    tree.path(filed.receipt).rename(staged)
    Run(tree, FakeArchive())([other])
    archive = FakeArchive()
    run = Run(tree_of(tmp_path), archive)([one, other])
    assert set(run.states.values()) == {State.ALREADY}
    assert archive.asked == []
    assert folders(tree, [one, other]) == [f"P/12345-{one.uid}", "P/12345"]


def test_two_series_with_images_in_one_folder_get_a_folder_each(tmp_path: Path) -> None:
    """Runs whose locks lock nothing meet like this: half of a commit is done, and both own it."""
    series, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([series])
    stored = tree.receipts.read(series.uid)
    assert stored is not None
    folder = tree.path(stored.receipt)
    staged = tree.staging / series.uid / stored.staged
    staged.mkdir(parents=True)
    for image in stored.receipt.images[1:]:
        (folder / image.file).rename(staged / image.file)
    elsewhere = tree_of(tmp_path / "elsewhere")
    Run(elsewhere, FakeArchive())([other])
    others = elsewhere.receipts.read(other.uid)
    assert others is not None
    tree.receipts.write(replace(others, staged=""))
    for image in others.receipt.images:
        shutil.copy(elsewhere.path(others.receipt) / image.file, folder)
    run = Run(tree_of(tmp_path), FakeArchive())([series, other])
    assert State.FAILED not in run.states.values()
    assert sorted(map(str, folders(tree, [series, other]))) == ["P/12345", f"P/12345-{series.uid}"]
    assert tree.needs_check() == set()


def test_a_series_under_its_full_uid_is_found_again_without_its_receipt(tmp_path: Path) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    Run(tree, FakeArchive())([other])
    tree.receipts.path(other.uid).unlink()
    archive = FakeArchive()
    Run(tree, archive)([other])
    assert archive.asked == []
    assert folders(tree, [one, other]) == ["P/12345", f"P/12345-{other.uid}"]


def test_a_damaged_series_is_repaired_in_place_although_its_name_is_shared(tmp_path: Path) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    Run(tree, FakeArchive())([other])
    before = folders(tree, [one, other])
    for series in (one, other):
        receipt = tree.complete_receipt(series.uid)
        assert receipt is not None
        files(tree, receipt)[0].unlink()
    run = Run(tree, FakeArchive())([one, other])
    assert set(run.states.values()) == {State.COMPLETE}
    assert folders(tree, [one, other]) == before


class LateDisk(Disk):
    """Has another run do something at the last moment before a file of a folder is renamed."""

    def __init__(self, folder: Path, happens: Callable[[], object]) -> None:
        super().__init__(durable=False)
        self._folder = folder
        self._happens = [happens]

    def rename(self, source: Path, target: Path) -> None:
        self._look_at(source, target)
        super().rename(source, target)

    def replace(self, source: StrPath, target: StrPath) -> None:
        self._look_at(Path(source), Path(target))
        super().replace(source, target)

    def _look_at(self, source: Path, target: Path) -> None:
        if self._folder in (source.parent, target.parent) and self._happens:
            self._happens.pop()()


@pytest.mark.parametrize("receipt_is_lost", [False, True])
def test_a_series_that_takes_anothers_folder_at_the_last_moment_keeps_it(
    tmp_path: Path, receipt_is_lost: bool
) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    receipt = tree.complete_receipt(one.uid)
    assert receipt is not None
    place = tree.path(receipt)
    files(tree, receipt)[0].unlink()
    if receipt_is_lost:
        tree.receipts.path(one.uid).unlink()

    def swap() -> None:
        place.rename(tmp_path / "taken by another run")
        Run(tree_of(tmp_path), FakeArchive())([other])

    late = Tree(tmp_path / NAME, LAYOUT, LateDisk(place, swap))
    Run(late, FakeArchive())([one])
    Run(tree_of(tmp_path), FakeArchive())([one])
    assert folders(tree, [one, other]) == [f"P/12345-{one.uid}", "P/12345"]
    assert verify_directory(tree.root).damage == []


def test_a_series_that_another_run_has_just_published_is_not_published_twice(
    tmp_path: Path,
) -> None:
    series, tree = same_tail("1"), tree_of(tmp_path)
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for number in range(1, IMAGES + 1):
            staging.receive([image_of(series, number)], source="nbia")
        published = tree.root / "P" / "12345"
        shutil.copytree(staging.folder, published)
        for file in published.glob("*.staged"):
            file.rename(file.with_suffix(""))
        assert tree.commit(staging).folder == "P/12345"
    assert len(list(tree.root.rglob("*.dcm"))) == IMAGES


def test_an_image_in_place_that_another_run_takes_is_no_fault_of_the_series(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    series = series_of(1)
    receipt = grow(tree, series)
    tree.receipts.path(series.uid).unlink()
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        assert len(staging.in_place) == 3
        (tree.path(receipt) / receipt.images[0].file).unlink()
        with pytest.raises(TakenOverError):
            tree.commit(staging)


def test_a_copy_of_a_series_folder_stays_and_is_listed_as_unexpected(tmp_path: Path) -> None:
    series, tree = same_tail("1"), tree_of(tmp_path)
    Run(tree, FakeArchive())([series])
    receipt = tree.complete_receipt(series.uid)
    assert receipt is not None
    place = tree.path(receipt)
    copy = place.with_name(f"{place.name}-{series.uid}")
    shutil.copytree(place, copy)
    assert Run(tree, FakeArchive())([series]).states == {series.uid: State.ALREADY}
    found = verify_directory(tree.root)
    assert (found.exit_code, found.damage) == (0, [])
    assert len(found.unexpected) == IMAGES == len(list(copy.iterdir()))
    assert folders(tree, [series]) == ["P/12345"]


def test_a_folder_of_the_user_in_a_series_folder_stays_where_it_is(tmp_path: Path) -> None:
    tree, one, other = tree_of(tmp_path), listed(1), listed(2)
    Run(tree, FakeArchive())([one])
    receipt = tree.complete_receipt(one.uid)
    assert receipt is not None
    notes = tree.path(receipt) / "measured" / "notes.txt"
    notes.parent.mkdir()
    notes.write_text("by hand")
    run = Run(tree, FakeArchive())([one, other])
    assert run.states == {one.uid: State.ALREADY, other.uid: State.COMPLETE}
    assert notes.read_text() == "by hand"


def test_a_folder_that_appears_in_staging_does_not_end_the_run(tmp_path: Path) -> None:
    tree, series = tree_of(tmp_path), listed(1)

    def litter(series: Series) -> None:
        for name in ("@eaDir", "measured"):
            (next((tree.staging / series.uid).iterdir()) / name).mkdir()
        (tree.staging / series.uid / ".DS_Store").write_text("x")

    run = Run(tree, FakeArchive(litter))([series])
    assert set(run.states.values()) == {State.COMPLETE}
    assert Run(tree, FakeArchive())([series]).states == {series.uid: State.ALREADY}
    assert tree.needs_check() == set()


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._1.dcm", ".nfs0001"])
def test_files_of_the_operating_system_are_ignored(tmp_path: Path, name: str) -> None:
    tree, series = tree_of(tmp_path), listed(1)
    Run(tree, FakeArchive())([series])
    receipt = tree.complete_receipt(series.uid)
    assert receipt is not None
    (tree.path(receipt) / name).write_text("x")
    (tree.path(receipt) / "@eaDir").mkdir()
    (tree.root / series.patient / name).write_text("x")
    assert tree.complete_receipt(series.uid) == receipt
    assert verify_directory(tree.root).damage == []
    (tree.path(receipt) / f"{series.uid}.1.dcm").unlink()
    archive = FakeArchive()
    assert Run(tree, archive)([series]).states == {series.uid: State.COMPLETE}
    assert (tree.path(receipt) / name).read_text() == "x"
    assert (tree.path(receipt) / "@eaDir").is_dir()
    assert not tree.quarantine.exists()


def test_a_file_of_the_user_stays_where_it_is_when_the_receipt_is_lost(tmp_path: Path) -> None:
    tree, series = tree_of(tmp_path), listed(1)
    Run(tree, FakeArchive())([series])
    receipt = tree.complete_receipt(series.uid)
    assert receipt is not None
    (tree.path(receipt) / "notes.txt").write_text("by hand")
    tree.receipts.path(series.uid).unlink()
    assert Run(tree, FakeArchive())([series]).states == {series.uid: State.COMPLETE}
    assert (tree.path(receipt) / "notes.txt").read_text() == "by hand"
    assert not tree.quarantine.exists()


def test_a_series_without_an_image_is_never_complete(tmp_path: Path) -> None:
    tree = tree_of(tmp_path)
    series = replace(listed(1), image_count=0, size=0)
    run = Run(tree, FakeArchive())([series])
    assert set(run.states.values()) == {State.FAILED}
    assert tree.receipts.uids() == set()
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        with pytest.raises(IncompleteSeriesError, match="no image"):
            tree.commit(staging)


def test_an_update_moves_a_file_aside_that_the_user_put_in_place_of_an_image(
    tmp_path: Path,
) -> None:
    """Only bytes that the receipt names are replaced."""
    tree, series = tree_of(tmp_path), same_tail("1")
    assert fetched(tree, series) is State.COMPLETE
    receipt = tree.complete_receipt(series.uid)
    assert receipt is not None
    image = files(tree, receipt)[0]
    image.unlink()
    image.write_bytes(b"mine")
    assert fetched(tree, series, update=True) is State.COMPLETE
    aside = image.with_name(f"{image.name}.moved-aside")
    assert aside.read_bytes() == b"mine"
    assert [str(aside) in notice for notice in tree.notices] == [True]
    assert image.read_bytes() == image_of(series, 1)


@pytest.mark.parametrize("name", ["CON", "nul", "Com1", "LPT1.x"])
def test_a_collection_with_the_name_of_a_device_gets_another_folder(name: str) -> None:
    assert not is_reserved(collection_folder(name))


@pytest.mark.parametrize("first", ["idc", ADOPTED])
def test_the_source_of_the_first_image_is_recorded_for_all(tmp_path: Path, first: str) -> None:
    origins = ImageOrigins(tmp_path, Disk())
    for number in range(20):
        origins.note(f"1.2.{number}", first)
    origins.note("1.2.3", "nbia")
    origins.note("1.2.4", "nbia")
    origins.note("1.2.4", first)
    source_of = ImageOrigins(tmp_path, Disk()).read()
    sources = {uid: source_of(uid) for uid in (f"1.2.{number}" for number in range(20))}
    assert sources == dict.fromkeys(sources, first) | {"1.2.3": "nbia"}
    (record,) = tmp_path.iterdir()
    assert len(record.read_text().splitlines()) <= 4


@pytest.mark.parametrize(
    "measure", [lambda tree: sum(tree.staged_sizes("1.2")), lambda tree: folder_size(tree.staging)]
)
def test_a_folder_that_another_run_removes_while_it_is_measured_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, measure: Callable[[Tree], int]
) -> None:
    tree = Tree(tmp_path)
    for name in ("goes", "stays"):
        folder = tree.staging / "1.2" / name
        folder.mkdir(parents=True)
        (folder / "image").write_bytes(b"four")
    scandir, removed = os.scandir, []

    def remove_first(path: Any) -> Any:
        if str(path).endswith("goes") and not removed:
            removed.append(path)
            shutil.rmtree(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", remove_first)
    assert measure(tree) == 4
