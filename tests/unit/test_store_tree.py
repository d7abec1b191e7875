"""One collection's folder: series that share a folder name, and what stands in a series' place."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tcia_covid.errors import UnreachableError
from tcia_covid.model import Series, State
from tcia_covid.store import Disk, Layout, Tree
from tests.fakes.crash import PausingDisk
from tests.unit.running import IMAGES, FakeArchive, Run, listed, raising
from tests.unit.trees import NAME, ROOT, files, image_of

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


def folders(tree: Tree, series: Sequence[Series]) -> list[str | None]:
    """Where series stand, each with exactly its images."""
    found = [tree.standing(one.uid) for one in series]
    return [receipt.folder if receipt else None for receipt in found]


def test_series_of_one_folder_name_that_end_together_all_stand(tmp_path: Path) -> None:
    tree = Tree(tmp_path / NAME, LAYOUT, PausingDisk(random.Random(1)))
    tree.prepare()
    series = [same_tail(f"{n}.{first}", 10000 + n) for n in range(40) for first in (1, 2)]
    run = Run(tree, FakeArchive(), workers=8)(series)
    assert set(run.states.values()) == {State.COMPLETE}
    standing = folders(tree, series)
    assert None not in standing
    assert len(set(standing)) == len(series)
    again = Run(tree_of(tmp_path), FakeArchive())(series)
    assert set(again.states.values()) == {State.ALREADY}


def test_a_series_whose_name_was_taken_while_it_was_mended_goes_under_its_whole_uid(
    tmp_path: Path,
) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    receipt = tree.standing(one.uid)
    assert receipt is not None
    files(tree, receipt)[0].unlink()
    Run(tree, FakeArchive(raising(UnreachableError("down"), one.uid)))([one])
    Run(tree, FakeArchive())([other])
    Run(tree_of(tmp_path), FakeArchive())([one])
    assert folders(tree, [one, other]) == [f"P/12345-{one.uid}", "P/12345"]
    assert not tree.quarantine.exists()
    assert tree.unsettled() == set()


def test_a_commit_that_was_cut_short_leaves_a_series_that_took_its_name_alone(
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


def test_a_series_under_its_whole_uid_is_found_again_without_its_receipt(tmp_path: Path) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    Run(tree, FakeArchive())([other])
    tree.receipts.path(other.uid).unlink()
    archive = FakeArchive()
    Run(tree, archive)([other])
    assert archive.asked == []
    assert folders(tree, [one, other]) == ["P/12345", f"P/12345-{other.uid}"]


def test_a_damaged_series_is_mended_in_place_although_its_name_is_shared(tmp_path: Path) -> None:
    one, other = same_tail("1"), same_tail("2")
    tree = tree_of(tmp_path)
    Run(tree, FakeArchive())([one])
    Run(tree, FakeArchive())([other])
    before = folders(tree, [one, other])
    for series in (one, other):
        receipt = tree.standing(series.uid)
        assert receipt is not None
        files(tree, receipt)[0].unlink()
    run = Run(tree, FakeArchive())([one, other])
    assert set(run.states.values()) == {State.COMPLETE}
    assert folders(tree, [one, other]) == before
