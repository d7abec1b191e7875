"""Receipts: what is recorded, checked and downloaded again."""

from __future__ import annotations

import hashlib
import json

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileCheck
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


def test_a_file_is_downloaded_once(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    file = entry(site, "table.csv")
    result = fetch(site, tree, file)
    assert (len(result.fetched), unchanged(result), result.failures) == (1, [], [])
    assert files_in_place(tree) == {"table.csv": CSV}
    asked = len(site.heads)
    again = fetch(site, tree, file)
    assert (unchanged(again), again.fetched) == (["table.csv"], [])
    assert len(site.heads) == asked


def test_the_receipt_has_source_and_check_of_a_file(site: FakePortal, tree: Tree) -> None:
    site.file("a b.csv", CSV)
    file = entry(site, "a b.csv")._replace(url=f"{site.address('a%20b.csv')}?signature=secret")
    fetch(site, tree, file)
    (receipt,) = receipts(tree).values()
    assert (receipt.file, receipt.original) == ("a_b.csv", "a b.csv")
    assert receipt.url == site.address("a%20b.csv")
    assert (receipt.source, receipt.check) == ("registry", FileCheck.NONE)
    assert (receipt.size, receipt.sha256) == (len(CSV), hashlib.sha256(CSV).hexdigest())
    content = b"".join(file.read_bytes() for file in tree.root.rglob("*") if file.is_file())
    assert b"secret" not in content


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        ({"size": len(CSV)}, FileCheck.SIZE),
        ({"sha256": hashlib.sha256(CSV).hexdigest()}, FileCheck.SHA256),
        ({"size": len(CSV), "sha256": hashlib.sha256(CSV).hexdigest()}, FileCheck.SHA256),
    ],
)
def test_size_and_hash_of_the_registry_are_checked(
    site: FakePortal, tree: Tree, facts: dict[str, object], check: FileCheck
) -> None:
    site.file("table.csv", CSV)
    fetch(site, tree, entry(site, "table.csv", **facts))
    assert receipts(tree)["table.csv"].check is check


@pytest.mark.parametrize("facts", [{"size": 5}, {"sha256": "0" * 64}])
def test_a_file_that_differs_from_the_registry_is_quarantined(
    site: FakePortal, tree: Tree, facts: dict[str, object]
) -> None:
    site.file("table.csv", CSV)
    file = entry(site, "table.csv", **facts)
    result = fetch(site, tree, file)
    (failure,) = result.failures
    assert failure.reason == "checksum"
    assert "table.csv" in failure.detail
    assert "--accept-listed" in failure.hint
    assert not files_in_place(tree)
    assert (tree.quarantine / "supporting" / "table.csv.bad").read_bytes() == CSV
    assert len(site.heads) == 2
    fetch(site, tree, file, accept_listed=True)
    assert receipts(tree)["table.csv"].check is FileCheck.NONE


@pytest.mark.parametrize("how", ["changed", "deleted", "receipt"])
def test_a_damaged_file_is_downloaded_again(site: FakePortal, tree: Tree, how: str) -> None:
    site.file("table.csv", CSV)
    file = entry(site, "table.csv")
    fetch(site, tree, file)
    path = tree.root / "supporting" / "table.csv"
    if how == "deleted":
        path.unlink()
    elif how == "changed":
        path.write_bytes(b"my own notes")
    else:
        (tree.state / "supporting" / "table.csv.json").write_text("{")
    result = fetch(site, tree, file)
    assert [file.file for file in result.fetched] == ["table.csv"]
    aside = {"table.csv.moved-aside": b"my own notes"} if how == "changed" else {}
    assert files_in_place(tree) == {"table.csv": CSV, **aside}
    assert [str(path.with_name(name)) in result.notices[0] for name in aside] == [True] * len(aside)
    assert not tree.quarantine.exists()


def test_update_downloads_everything_again(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    site.collection(SLUG)
    file = entry(site, "table.csv")
    fetch(site, tree, file)
    site.file("table.csv", b"new," + CSV)
    assert len(fetch(site, tree, file, update=True).fetched) == 1
    assert files_in_place(tree) == {"table.csv": b"new," + CSV}


def test_update_moves_no_unchanged_file_aside(site: FakePortal, tree: Tree) -> None:
    site.file("n.zip", zipped({"a/b.json": JSON, "c.json": JSON}))
    site.collection(SLUG)
    file = entry(site, "n.zip")
    fetch(site, tree, file)
    before = files_in_place(tree)
    fetch(site, tree, file, update=True)
    assert files_in_place(tree) == before
    assert not tree.quarantine.exists()


@pytest.mark.parametrize(
    "change",
    [
        {"file": "../x"},
        {"members": [{"file": "a/../../x", "size": 1, "sha256": "0"}]},
        {"format": 2},
        {"size": "1"},
        {"more": 1},
        {"members": [{"file": "a\\b", "size": 1, "sha256": "0"}]},
    ],
)
def test_a_modified_receipt_is_ignored(
    site: FakePortal, tree: Tree, change: dict[str, object]
) -> None:
    site.file("table.csv", CSV)
    fetch(site, tree, entry(site, "table.csv"))
    path = tree.state / "supporting" / "table.csv.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert not receipts(tree)


def test_the_hash_of_the_annotations_of_ricord_1c_is_checked(site: FakePortal, tree: Tree) -> None:
    collection = load_registry().find("MIDRC-RICORD-1C")
    assert collection is not None
    listed = next(file for file in collection.supporting if file.sha256)
    assert (listed.size, listed.file) == (180675, "midrc-ricord-1c-da-other-json.zip")
    site.file(str(listed.file), zipped({"a.json": JSON}))
    moved = listed._replace(url=site.address(str(listed.file)))
    (failure,) = fetch(site, tree, moved).failures
    assert str(listed.sha256) in failure.detail
