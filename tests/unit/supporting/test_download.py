"""Files are put in place: users' files, links, crashes, disk errors."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    DestinationError,
    PermissionDeniedError,
)
from tcia_covid.core.events import Event, Notice
from tcia_covid.store.disk import Disk
from tcia_covid.store.tree import Tree
from tests.fakes.crashing_disk import CountingDisk, Crash
from tests.fakes.portal import FakePortal
from tests.unit.supporting.helpers import (
    CSV,
    JSON,
    SLUG,
    entry,
    fetch,
    files_in_place,
    receipts,
    unchanged,
    zipped,
)


@pytest.mark.parametrize("how", ["mended", "updated", "without a receipt"])
def test_foreign_files_stay_where_they_are(site: FakePortal, tree: Tree, how: str) -> None:
    site.file("n.zip", zipped({"a/b.json": JSON, "old.json": JSON}))
    site.collection(SLUG)
    file = entry(site, "n.zip")
    fetch(site, tree, file)
    folder = tree.root / "supporting"
    mine = {
        "n/mine.txt": b"notes",
        "n/.ipynb_checkpoints/x": b"{}",
        "n/a/b.nii.gz": b"converted",
        ".git/HEAD": b"ref",
        "own.xlsx": b"own",
    }
    for name, content in mine.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    inodes = {name: (folder / name).stat().st_ino for name in mine}
    content, last = _without(files_in_place(tree), mine), {"n/old.json": JSON}
    if how == "mended":
        (folder / "n" / "a" / "b.json").unlink()
    elif how == "updated":
        zip_file = zipped({"a/b.json": b"{}", "new.json": JSON})
        site.file("n.zip", zip_file)
        content = {"n.zip": zip_file, "n/a/b.json": b"{}", "n/new.json": JSON}
        last = {}
    else:
        shutil.rmtree(tree.state / "supporting")
    result = fetch(site, tree, file, update=how == "updated")
    assert files_in_place(tree) == {**content, **last, **mine}
    assert result.notices == []
    assert {name: (folder / name).stat().st_ino for name in mine} == inodes
    assert not tree.quarantine.exists()


def _without(found: dict[str, bytes], mine: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in found.items() if name not in mine}


@pytest.mark.parametrize(
    ("place", "aside"),
    [
        ("supporting", "supporting.moved-aside"),
        ("supporting/n", "supporting/n.moved-aside"),
        ("supporting/n.zip", "supporting/n.zip.moved-aside"),
        ("supporting/n/a", "supporting/n/a.moved-aside"),
        ("supporting/n/a/b.json", "supporting/n/a/b.json.moved-aside"),
    ],
)
def test_a_users_file_in_the_way_is_moved_aside_visibly(
    site: FakePortal, tree: Tree, place: str, aside: str
) -> None:
    content = zipped({"a/b.json": JSON})
    site.file("n.zip", content)
    (tree.root / place).parent.mkdir(parents=True, exist_ok=True)
    (tree.root / place).write_bytes(b"mine")
    events: list[Event] = []
    result = fetch(site, tree, entry(site, "n.zip"), events=events)
    assert (tree.root / aside).read_bytes() == b"mine"
    assert (tree.root / "supporting" / "n" / "a" / "b.json").read_bytes() == JSON
    (notice,) = result.notices
    assert str(tree.root / aside) in notice
    assert Notice(notice, always=True) in events


@pytest.mark.parametrize("right", [True, False])
def test_a_symlink_to_other_bytes_is_replaced(site: FakePortal, tree: Tree, *, right: bool) -> None:
    site.file("table.csv", CSV)
    file = entry(site, "table.csv")
    fetch(site, tree, file)
    path = tree.root / "supporting" / "table.csv"
    store = tree.root / ".git" / "annex" / "SHA256E-s1.csv"
    store.parent.mkdir(parents=True)
    store.write_bytes(CSV if right else b"other bytes")
    store.chmod(0o444)
    path.unlink()
    path.symlink_to("../.git/annex/SHA256E-s1.csv")
    assert len(fetch(site, tree, file).fetched) == (not right)
    assert path.is_symlink() == right
    assert path.read_bytes() == CSV
    assert store.read_bytes() == (CSV if right else b"other bytes")


class _ReadOnly(Disk):
    def replace(self, source: Path, target: Path) -> None:
        if target.parent.name == "supporting" and target.suffix == ".csv":
            raise PermissionError(13, "Permission denied")
        super().replace(source, target)


def test_a_read_only_folder_ends_the_run(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    tree.disk = _ReadOnly(durable=False)
    with pytest.raises(PermissionDeniedError):
        fetch(site, tree, entry(site, "table.csv"))


def test_a_read_only_folder_that_is_complete_is_no_error(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    file = entry(site, "table.csv")
    fetch(site, tree, file)
    tree.disk = _ReadOnly(durable=False)
    result = fetch(site, tree, file)
    assert (unchanged(result), result.failures) == (["table.csv"], [])


@pytest.mark.parametrize("error", [None, 28], ids=["crash", "ENOSPC"])
def test_a_crash_or_disk_error_at_any_side_effect_is_recovered_from(
    site: FakePortal, tmp_path: Path, error: int | None
) -> None:
    content = zipped({"a.json": JSON})
    site.file("n.zip", content)
    file = entry(site, "n.zip")
    whole = {"n.zip": content, "n/a.json": JSON}
    counting = CountingDisk()
    clean = Tree(tmp_path / "clean", disk=counting)
    clean.prepare()
    before = counting.count
    fetch(site, clean, file)
    for number in range(before, counting.count):
        broken = Tree(tmp_path / str(number))
        broken.prepare()
        broken.disk = CountingDisk(number - before, error)
        with contextlib.suppress(Crash, DestinationError):
            fetch(site, broken, file)
        assert files_in_place(broken).items() <= whole.items()
        healthy = Tree(tmp_path / str(number), disk=Disk(durable=False))
        healthy.prepare()
        assert fetch(site, healthy, file).failures == []
        assert files_in_place(healthy) == whole
        assert len(receipts(healthy)) == 1
