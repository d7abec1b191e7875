"""ZIP files: entries, names, damaged and hostile files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tcia_covid.core.errors import ZipError
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.unpack import unpack
from tests.fakes.portal import FakePortal
from tests.unit.supporting.helpers import (
    JSON,
    entry,
    fetch,
    files_in_place,
    receipts,
    unchanged,
    zipped,
)


def test_a_zip_is_unpacked_next_to_itself(site: FakePortal, tree: Tree) -> None:
    content = zipped({"sub dir/notes.json": JSON, "__MACOSX/._notes.json": b"x", "sub dir/": b""})
    site.file("annotations.json_.zip", content)
    file = entry(site, "annotations.json_.zip", sha256=hashlib.sha256(content).hexdigest())
    fetch(site, tree, file)
    assert files_in_place(tree) == {
        "annotations.json_.zip": content,
        "annotations.json/sub_dir/notes.json": JSON,
    }
    (member,) = receipts(tree)["annotations.json_.zip"].members
    assert (member.file, member.size) == ("annotations.json/sub_dir/notes.json", len(JSON))
    assert unchanged(fetch(site, tree, file)) == ["annotations.json_.zip"]
    (tree.root / "supporting" / member.file).write_bytes(b"changed")
    fetch(site, tree, file)
    assert files_in_place(tree)[member.file] == JSON


@pytest.mark.parametrize(
    ("name", "placed"),
    [
        ("../../escape.json", "n/escape.json"),
        ("/etc/passwd", "n/etc/passwd"),
        ("C:\\temp\\x.json", "n/C/temp/x.json"),
        ("a/../../b.json", "n/a/b.json"),
        ("con.json", "n/_con.json"),
        ("x" * 300 + ".json", "n/" + "x" * 115 + ".json"),
        ("…", "n/unnamed"),
        (".hidden", "n/hidden"),
    ],
)
def test_entries_stay_in_their_folder(site: FakePortal, tree: Tree, name: str, placed: str) -> None:
    site.file("n.zip", zipped({name: JSON}))
    fetch(site, tree, entry(site, "n.zip"))
    assert set(files_in_place(tree)) == {"n.zip", placed}


def test_entries_with_equal_safe_names_are_kept_apart(site: FakePortal, tree: Tree) -> None:
    site.file("n.zip", zipped({"a b.json": b"[1]", "a_b.json": b"[2]", "A_B.json": b"[3]"}))
    fetch(site, tree, entry(site, "n.zip"))
    members = {name: content for name, content in files_in_place(tree).items() if name != "n.zip"}
    assert sorted(members.values()) == [b"[1]", b"[2]", b"[3]"]
    assert len({name.casefold() for name in members}) == 3
    assert all(name.endswith(".json") for name in members)


def _damaged() -> bytes:
    content = bytearray(zipped({"a.json": JSON}))
    content[200] ^= 0x55
    return bytes(content)


def _encrypted() -> bytes:
    content = bytearray(zipped({"a.json": JSON}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped({"a.json": JSON})[:-30], "not an intact ZIP"),
        (_damaged(), "not an intact ZIP"),
        (_encrypted(), "encrypted"),
        (zipped({"link": b"/etc"}, external_attr=0o120777 << 16), "not a regular file"),
        (zipped({f"{n}.json": b"[]" for n in range(10_001)}), "10001 entries"),
        (zipped({"x": b"1", "X/y": b"2"}), "takes its place"),
        (zipped({"x/y": b"2", "x": b"1"}), "takes its place"),
    ],
)
def test_zips_that_are_damaged_or_hostile_are_refused(
    site: FakePortal, tree: Tree, content: bytes, message: str
) -> None:
    site.file("n.zip", content)
    (failure,) = fetch(site, tree, entry(site, "n.zip")).failures
    assert failure.reason == "damaged"
    assert message in failure.detail
    assert not files_in_place(tree)
    assert not list((tree.state / "supporting-parts").glob("*.unpacked"))


def test_a_zip_that_unpacks_to_more_than_the_limit_is_refused(tmp_path: Path, tree: Tree) -> None:
    archive, folder = tmp_path / "n.zip", tmp_path / "unpacked"
    archive.write_bytes(zipped({"a.json": JSON}))
    with pytest.raises(ZipError, match="more than 1000 bytes"):
        unpack(archive, folder, tree.disk, lambda: None, max_size=1000)
    assert not folder.exists()


def test_the_folder_of_a_zip_does_not_replace_a_file(site: FakePortal, tree: Tree) -> None:
    site.file("a.json", JSON)
    site.file("a.json.zip", zipped({"b.json": JSON}))
    both = entry(site, "a.json"), entry(site, "a.json.zip")
    fetch(site, tree, *both)
    assert fetch(site, tree, *both).fetched == []
    assert files_in_place(tree)["a.json"] == JSON
