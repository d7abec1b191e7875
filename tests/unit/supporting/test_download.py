from __future__ import annotations

import contextlib
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, License, Registry, SupportingFile
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    DestinationError,
    InterruptedRunError,
    LicenseRefusedError,
    LockedError,
    PermissionDeniedError,
    UnknownCollectionError,
    UsageError,
)
from tcia_covid.core.events import Event, Notice, RequestRetried
from tcia_covid.core.settings import HttpSettings
from tcia_covid.core.summary import Summary
from tcia_covid.selection.request import Options, Request
from tcia_covid.store.disk import Disk
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.download import add_supporting, download_supporting, fetch_supporting
from tcia_covid.supporting.receipts import FileCheck, FileReceipt, FileReceipts, SupportingResult
from tests.fakes.crash import CountingDisk, Crash
from tests.fakes.site import FakeSite
from tests.unit.http.requesting import client_with

SLUG = "demo-collection"
CSV = b"patient,age\n" + b"P-1,70\n" * 5000
JSON = json.dumps({"labels": list(range(3000))}).encode()


def xlsx(size: int = 20_000) -> bytes:
    """Something that begins as a spreadsheet does."""
    return b"PK\x03\x04" + bytes(range(256)) * (size // 256)


def zipped(files: dict[str, bytes], **attributes: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            for key, value in attributes.items():
                setattr(entry, key, value)
            archive.writestr(entry, content)
    return buffer.getvalue()


@pytest.fixture
def site() -> Iterator[FakeSite]:
    with FakeSite() as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "DEMO", disk=Disk(durable=False))
    made.prepare()
    return made


def known(*files: SupportingFile) -> Collection:
    return Collection("DEMO", "DICOM", "DEMO", slug=SLUG, supporting=files)


def entry(site: FakeSite, name: str, **facts: object) -> SupportingFile:
    return SupportingFile(f"Title of {name}", "clinical", name, site.address(name), **facts)  # type: ignore[arg-type]


def fetch(
    site: FakeSite,
    tree: Tree,
    *files: SupportingFile,
    events: list[Event] | None = None,
    stop: CancelToken | None = None,
    settings: dict[str, object] | None = None,
    **how: bool,
) -> SupportingResult:
    heard: list[Event] = events if events is not None else []
    with client_with(stop=stop, **(settings or {})) as client:
        api = PortalApi(client, site.url)
        return fetch_supporting(known(*files), tree, client, api, emit=heard.append, **how)


def receipts(tree: Tree) -> dict[str, FileReceipt]:
    return {one.file: one for one in FileReceipts(tree).all()}


def stands(tree: Tree) -> dict[str, bytes]:
    folder = tree.root / "supporting"
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_known_file_is_fetched_once(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    one = entry(site, "table.csv")
    result = fetch(site, tree, one)
    assert (len(result.fetched), result.there, result.failures) == (1, [], [])
    assert stands(tree) == {"table.csv": CSV}
    asked = len(site.heads)
    again = fetch(site, tree, one)
    assert ([r.file for r in again.there], again.fetched) == (["table.csv"], [])
    assert len(site.heads) == asked


def test_the_receipt_says_where_a_file_came_from_and_how_it_was_checked(
    site: FakeSite, tree: Tree
) -> None:
    site.file("a b.csv", CSV)
    one = replace(entry(site, "a b.csv"), url=f"{site.address('a%20b.csv')}?signature=secret")
    fetch(site, tree, one)
    (receipt,) = receipts(tree).values()
    assert (receipt.file, receipt.original) == ("a_b.csv", "a b.csv")
    assert receipt.url == site.address("a%20b.csv")
    assert (receipt.source, receipt.check) == ("registry", FileCheck.NONE)
    assert (receipt.size, receipt.sha256) == (len(CSV), hashlib.sha256(CSV).hexdigest())
    kept = b"".join(file.read_bytes() for file in tree.root.rglob("*") if file.is_file())
    assert b"secret" not in kept


@pytest.mark.parametrize(
    ("facts", "check"),
    [
        ({"size": len(CSV)}, FileCheck.SIZE),
        ({"sha256": hashlib.sha256(CSV).hexdigest()}, FileCheck.SHA256),
        ({"size": len(CSV), "sha256": hashlib.sha256(CSV).hexdigest()}, FileCheck.SHA256),
    ],
)
def test_what_is_on_record_is_checked(
    site: FakeSite, tree: Tree, facts: dict[str, object], check: FileCheck
) -> None:
    site.file("table.csv", CSV)
    (receipt,) = fetch(site, tree, entry(site, "table.csv", **facts)).fetched
    assert receipt.check is check


@pytest.mark.parametrize("facts", [{"size": 5}, {"sha256": "0" * 64}])
def test_a_file_that_is_not_the_one_on_record_is_refused_and_kept_aside(
    site: FakeSite, tree: Tree, facts: dict[str, object]
) -> None:
    site.file("table.csv", CSV)
    one = entry(site, "table.csv", **facts)
    result = fetch(site, tree, one)
    (failure,) = result.failures
    assert failure.reason == "checksum"
    assert "table.csv" in failure.detail
    assert "--accept-listed" in failure.hint
    assert not stands(tree)
    assert (tree.quarantine / "supporting" / "table.csv.bad").read_bytes() == CSV
    assert len(site.heads) == 2
    (receipt,) = fetch(site, tree, one, accept_listed=True).fetched
    assert receipt.check is FileCheck.NONE


def test_a_cut_file_is_gone_on_with_where_it_stopped(site: FakeSite, tree: Tree) -> None:
    held = site.file("table.csv", CSV, cuts=3)
    events: list[Event] = []
    fetch(site, tree, entry(site, "table.csv"), events=events)
    assert stands(tree) == {"table.csv": CSV}
    ranges = [head.headers.get("range") for head in site.heads]
    assert ranges[0] is None
    assert all(one and one != "bytes=0-" for one in ranges[1:])
    assert {head.headers.get("if-range") for head in site.heads[1:]} == {held.etag}
    assert sum(isinstance(event, RequestRetried) for event in events) == 3


def test_a_later_run_goes_on_with_what_an_earlier_one_left(site: FakeSite, tree: Tree) -> None:
    held = site.file("table.csv", CSV, cuts=1)
    one = entry(site, "table.csv")
    assert fetch(site, tree, one, settings={"retries": 0}).failures
    assert not stands(tree)
    fetch(site, tree, one)
    assert stands(tree) == {"table.csv": CSV}
    assert site.heads[-1].headers["range"] == f"bytes={len(CSV) // 2}-"
    assert held.cuts == 0
    assert not list((tree.state / "supporting-parts").glob("*.part"))


@pytest.mark.parametrize(
    "how",
    [
        {"etag": None, "modified": "Tue, 25 May 2021 10:00:00 GMT"},
        {"etag": 'W/"weak"', "modified": None},
        {"etag": None},
        {"ranges": False},
        {"length": False},
        {"etag": None, "length": False},
    ],
)
def test_servers_of_every_kind_give_the_file_whole(
    site: FakeSite, tree: Tree, how: dict[str, object]
) -> None:
    held = site.file("table.csv", CSV, **how)
    held.cuts = 1 if held.length else 0
    fetch(site, tree, entry(site, "table.csv"))
    assert stands(tree) == {"table.csv": CSV}


def test_a_file_that_changes_half_way_is_received_anew(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV, cuts=1)
    one = entry(site, "table.csv")
    assert fetch(site, tree, one, settings={"retries": 0}).failures
    site.file("table.csv", b"other," + CSV)
    fetch(site, tree, one)
    assert stands(tree) == {"table.csv": b"other," + CSV}


def test_a_shorter_file_in_its_place_is_received_anew(site: FakeSite, tree: Tree) -> None:
    held = site.file("table.csv", CSV, cuts=1)
    one = entry(site, "table.csv")
    assert fetch(site, tree, one, settings={"retries": 0}).failures
    held.content = b"a,b\n"
    fetch(site, tree, one)
    assert stands(tree) == {"table.csv": b"a,b\n"}


def test_another_address_does_not_go_on_with_the_old_file(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV, cuts=1, etag='"same"')
    one = entry(site, "table.csv")
    assert fetch(site, tree, one, settings={"retries": 0}).failures
    site.file("moved/table.csv", b"new" + CSV, etag='"same"')
    fetch(site, tree, replace(one, url=site.address("moved/table.csv")))
    assert stands(tree) == {"table.csv": b"new" + CSV}


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("table.xlsx", b"<!DOCTYPE html><title>Just a moment...</title>"),
        ("table.csv", b"\xef\xbb\xbf  <HTML>login</HTML>"),
        ("notes.json", b"<html></html>"),
        ("notes.zip", b"not a zip at all" * 100),
        ("table.csv", b"\0\1\2" * 100),
        ("notes.json", b"Service unavailable"),
        ("file.pdf", b"x"),
        ("table.csv", b""),
    ],
)
def test_something_else_in_place_of_a_file_is_noticed(
    site: FakeSite, tree: Tree, name: str, body: bytes
) -> None:
    site.file(name, body)
    result = fetch(site, tree, entry(site, name))
    (failure,) = result.failures
    assert failure.reason == "archive-error"
    assert site.address(name) in failure.detail
    assert not stands(tree)
    assert not list((tree.state / "supporting-parts").glob("*.part"))
    assert len(site.heads) == 3


def test_a_page_that_goes_away_costs_nothing(site: FakeSite, tree: Tree) -> None:
    held = site.file("table.xlsx", xlsx(), instead=b"<html>busy</html>")

    def mend(event: Event) -> None:
        if isinstance(event, RequestRetried):
            held.instead = b""

    with client_with() as client:
        collection = known(entry(site, "table.xlsx"))
        fetch_supporting(collection, tree, client, PortalApi(client, site.url), emit=mend)
    assert stands(tree) == {"table.xlsx": xlsx()}


@pytest.mark.parametrize(("code", "requests"), [(404, 1), (403, 1), (503, 4)])
def test_refusals_fail_one_file_and_leave_the_others(
    site: FakeSite, tree: Tree, code: int, requests: int
) -> None:
    site.file("bad.csv", CSV, status=code)
    site.file("good.csv", CSV)
    result = fetch(site, tree, entry(site, "bad.csv"), entry(site, "good.csv"))
    (failure,) = result.failures
    assert str(code) in failure.detail
    assert stands(tree) == {"good.csv": CSV}
    assert sum("bad.csv" in path for path in site.paths) == requests


@pytest.mark.parametrize("how", ["changed", "deleted", "receipt"])
def test_a_file_that_was_harmed_is_fetched_again(site: FakeSite, tree: Tree, how: str) -> None:
    site.file("table.csv", CSV)
    one = entry(site, "table.csv")
    fetch(site, tree, one)
    path = tree.root / "supporting" / "table.csv"
    if how == "deleted":
        path.unlink()
    elif how == "changed":
        path.write_bytes(b"my own notes")
    else:
        (tree.state / "supporting" / "table.csv.json").write_text("{")
    result = fetch(site, tree, one)
    assert [r.file for r in result.fetched] == ["table.csv"]
    aside = {"table.csv.moved-aside": b"my own notes"} if how == "changed" else {}
    assert stands(tree) == {"table.csv": CSV, **aside}
    assert [str(path.with_name(name)) in result.moved_aside[0] for name in aside] == [True] * len(
        aside
    )
    assert not tree.quarantine.exists()


def test_a_zip_is_unpacked_beside_itself(site: FakeSite, tree: Tree) -> None:
    content = zipped({"sub dir/notes.json": JSON, "__MACOSX/._notes.json": b"x", "sub dir/": b""})
    site.file("annotations.json_.zip", content)
    one = entry(site, "annotations.json_.zip", sha256=hashlib.sha256(content).hexdigest())
    (receipt,) = fetch(site, tree, one).fetched
    assert stands(tree) == {
        "annotations.json_.zip": content,
        "annotations.json/sub_dir/notes.json": JSON,
    }
    (member,) = receipt.members
    assert (member.file, member.size) == ("annotations.json/sub_dir/notes.json", len(JSON))
    assert fetch(site, tree, one).there == [receipt]
    (tree.root / "supporting" / member.file).write_bytes(b"changed")
    fetch(site, tree, one)
    assert stands(tree)[member.file] == JSON


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
def test_entries_never_leave_their_folder(
    site: FakeSite, tree: Tree, name: str, placed: str
) -> None:
    site.file("n.zip", zipped({name: JSON}))
    fetch(site, tree, entry(site, "n.zip"))
    assert set(stands(tree)) == {"n.zip", placed}


def test_entries_whose_names_become_alike_stay_apart(site: FakeSite, tree: Tree) -> None:
    site.file("n.zip", zipped({"a b.json": b"[1]", "a_b.json": b"[2]", "A_B.json": b"[3]"}))
    fetch(site, tree, entry(site, "n.zip"))
    members = {name: content for name, content in stands(tree).items() if name != "n.zip"}
    assert sorted(members.values()) == [b"[1]", b"[2]", b"[3]"]
    assert len({name.casefold() for name in members}) == 3
    assert all(name.endswith(".json") for name in members)


def _harmed() -> bytes:
    content = bytearray(zipped({"a.json": JSON}))
    content[200] ^= 0x55
    return bytes(content)


def _encrypted() -> bytes:
    content = bytearray(zipped({"a.json": JSON}))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + place] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (zipped({"a.json": JSON})[:-30], "no sound ZIP"),
        (_harmed(), "no sound ZIP"),
        (_encrypted(), "encrypted"),
        (zipped({"link": b"/etc"}, external_attr=0o120777 << 16), "no plain file"),
        (zipped({f"{n}.json": b"[]" for n in range(10_001)}), "10001 entries"),
        (zipped({"x": b"1", "X/y": b"2"}), "takes its place"),
        (zipped({"x/y": b"2", "x": b"1"}), "takes its place"),
    ],
)
def test_zips_that_are_damaged_or_hostile_are_refused(
    site: FakeSite, tree: Tree, content: bytes, said: str
) -> None:
    site.file("n.zip", content)
    (failure,) = fetch(site, tree, entry(site, "n.zip")).failures
    assert failure.reason == "damaged"
    assert said in failure.detail
    assert not stands(tree)
    assert not list((tree.state / "supporting-parts").glob("*.unpacked"))


def test_a_zip_that_is_larger_than_its_directory_says_is_refused(
    site: FakeSite, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tcia_covid.supporting.unpack.LARGEST", 1000)
    site.file("n.zip", zipped({"a.json": JSON}))
    (failure,) = fetch(site, tree, entry(site, "n.zip")).failures
    assert "more than 1000 bytes" in failure.detail


def test_a_file_without_an_address_is_found_through_the_site(site: FakeSite, tree: Tree) -> None:
    name = "MIDRC-RICORD-1c Clinical Data Jan 13 2021 .xlsx"
    published = "MIDRC-RICORD-1c-Clinical-Data-Jan-13-2021-.xlsx"
    site.file(published, xlsx())
    site.media(7, site.address(published))
    other = site.download("Another table", url=site.address("other.csv"))
    site.file("other.csv", CSV)
    clinical = site.download("Clinical", file={"ID": 7})
    site.collection(SLUG, other, clinical)
    one = SupportingFile("Clinical data", "clinical", name)
    result = fetch(site, tree, one)
    assert result.failures == []
    assert set(stands(tree)) == {"MIDRC-RICORD-1c_Clinical_Data_Jan_13_2021.xlsx", "other.csv"}
    receipt = receipts(tree)["MIDRC-RICORD-1c_Clinical_Data_Jan_13_2021.xlsx"]
    assert (receipt.source, receipt.original, receipt.kind) == ("site", name, "clinical")
    asked = len(site.heads)
    assert len(fetch(site, tree, one).there) == 2
    assert len(site.heads) == asked


def test_a_manifest_without_a_name_is_found_by_its_kind(site: FakeSite, tree: Tree) -> None:
    site.file(
        "COVID-manifest.tcia", b"downloadServerUrl=https://x\nListOfSeriesToDownload=\n1.2.3\n"
    )
    site.file("table.csv", CSV)
    table = site.download("Clinical data (CSV)", url=site.address("table.csv"))
    images = site.download("Images (DICOM)", url=site.address("COVID-manifest.tcia"))
    site.collection(SLUG, images, table)
    manifest = SupportingFile("TCIA's manifest", "manifest", basket="manifest-1")
    fetch(site, tree, manifest, entry(site, "table.csv"))
    assert set(stands(tree)) == {"COVID-manifest.tcia", "table.csv"}
    assert receipts(tree)["COVID-manifest.tcia"].title == "TCIA's manifest"
    assert receipts(tree)["table.csv"].source == "registry"


def test_one_of_several_manifests_is_the_one_without_a_name(site: FakeSite, tree: Tree) -> None:
    for name in ("a.tcia", "b.tcia"):
        site.file(name, b"ListOfSeriesToDownload=\n1.2.3\n")
    listed = [site.download(f"Images {n}", url=site.address(n)) for n in ("a.tcia", "b.tcia")]
    site.collection(SLUG, *listed)
    manifest = SupportingFile("TCIA's manifest", "manifest")
    assert fetch(site, tree, manifest).failures == []
    assert set(stands(tree)) == {"a.tcia", "b.tcia"}
    asked = len(site.heads)
    assert len(fetch(site, tree, manifest).there) == 2
    assert len(site.heads) == asked


def test_a_file_that_the_site_does_not_list_fails_until_it_does(site: FakeSite, tree: Tree) -> None:
    site.collection(SLUG)
    one = SupportingFile("Clinical data", "clinical", "table.csv")
    (failure,) = fetch(site, tree, one).failures
    assert (failure.reason, "Clinical data" in failure.detail) == ("not-available", True)
    site.file("table.csv", CSV)
    site._collections.clear()
    site.collection(SLUG, site.download("x", url=site.address("table.csv")))
    assert fetch(site, tree, one).failures == []


def test_a_file_of_the_site_that_failed_is_asked_for_again(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    held = site.file("extra.csv", CSV, status=404)
    site.collection(
        SLUG,
        site.download("a", url=site.address("table.csv")),
        site.download("b", url=site.address("extra.csv")),
    )
    one = SupportingFile("Clinical data", "clinical", "table.csv")
    assert len(fetch(site, tree, one).failures) == 1
    held.status = 200
    assert fetch(site, tree, one).failures == []
    assert set(stands(tree)) == {"table.csv", "extra.csv"}


def test_a_file_that_only_the_site_knew_is_mended(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    site.collection(SLUG, site.download("a", url=site.address("table.csv")))
    fetch(site, tree)
    (tree.root / "supporting" / "table.csv").write_bytes(b"changed")
    assert len(fetch(site, tree).fetched) == 1
    assert stands(tree) == {"table.csv": CSV, "table.csv.moved-aside": b"changed"}


def test_two_files_of_one_name_do_not_replace_each_other(site: FakeSite, tree: Tree) -> None:
    site.file("2020/table.csv", b"old," + CSV)
    site.file("2021/table.csv", b"new," + CSV)
    site.collection(
        SLUG,
        site.download("a", url=site.address("2020/table.csv")),
        site.download("b", url=site.address("2021/table.csv")),
    )
    fetch(site, tree)
    assert sorted(stands(tree).values()) == [b"new," + CSV, b"old," + CSV]
    asked = len(site.heads)
    assert len(fetch(site, tree).there) == 2
    assert len(site.heads) == asked


def test_packages_are_named_and_not_fetched(site: FakeSite, tree: Tree) -> None:
    package = "https://faspex.example.org/aspera/faspex/public/package?context=abc"
    site.collection(SLUG, site.download("Pathology", url=package))
    result = fetch(site, tree)
    assert (result.fetched, result.failures) == ([], [])
    (notice,) = result.notices
    assert "'Pathology' is an Aspera package" in notice
    assert "abc" not in notice


def test_a_site_that_cannot_be_asked_fails_what_needs_it_alone(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    needed = SupportingFile("Manifest", "manifest")
    result = fetch(site, tree, entry(site, "table.csv"), needed)
    (failure,) = result.failures
    assert "Manifest" in failure.detail
    assert stands(tree) == {"table.csv": CSV}


def test_update_asks_for_everything_anew(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    site.collection(SLUG)
    one = entry(site, "table.csv")
    fetch(site, tree, one)
    site.file("table.csv", b"new," + CSV)
    assert len(fetch(site, tree, one, update=True).fetched) == 1
    assert stands(tree) == {"table.csv": b"new," + CSV}


def test_an_update_sets_nothing_aside_that_is_the_same(site: FakeSite, tree: Tree) -> None:
    site.file("n.zip", zipped({"a/b.json": JSON, "c.json": JSON}))
    site.collection(SLUG)
    one = entry(site, "n.zip")
    fetch(site, tree, one)
    before = stands(tree)
    fetch(site, tree, one, update=True)
    assert stands(tree) == before
    assert not tree.quarantine.exists()


@pytest.mark.parametrize("how", ["mended", "updated", "without a receipt"])
def test_foreign_files_stay_where_they_are(site: FakeSite, tree: Tree, how: str) -> None:
    site.file("n.zip", zipped({"a/b.json": JSON, "old.json": JSON}))
    site.collection(SLUG)
    one = entry(site, "n.zip")
    fetch(site, tree, one)
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
    content, last = site_files(stands(tree), mine), {"n/old.json": JSON}
    if how == "mended":
        (folder / "n" / "a" / "b.json").unlink()
    elif how == "updated":
        zip_file = zipped({"a/b.json": b"{}", "new.json": JSON})
        site.file("n.zip", zip_file)
        content = {"n.zip": zip_file, "n/a/b.json": b"{}", "n/new.json": JSON}
        last = {}
    else:
        shutil.rmtree(tree.state / "supporting")
    result = fetch(site, tree, one, update=how == "updated")
    assert stands(tree) == {**content, **last, **mine}
    assert result.moved_aside == []
    assert {name: (folder / name).stat().st_ino for name in mine} == inodes
    assert not tree.quarantine.exists()


def site_files(found: dict[str, bytes], mine: dict[str, bytes]) -> dict[str, bytes]:
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
def test_what_is_in_the_way_is_moved_aside_in_sight(
    site: FakeSite, tree: Tree, place: str, aside: str
) -> None:
    content = zipped({"a/b.json": JSON})
    site.file("n.zip", content)
    (tree.root / place).parent.mkdir(parents=True, exist_ok=True)
    (tree.root / place).write_bytes(b"mine")
    events: list[Event] = []
    result = fetch(site, tree, entry(site, "n.zip"), events=events)
    assert (tree.root / aside).read_bytes() == b"mine"
    assert (tree.root / "supporting" / "n" / "a" / "b.json").read_bytes() == JSON
    (notice,) = result.moved_aside
    assert str(tree.root / aside) in notice
    assert Notice(notice, always=True) in events
    summary = Summary(targets=[], output="")
    result.add_to(summary)
    assert notice in summary.notices


@pytest.mark.parametrize("right", [True, False])
def test_a_link_is_the_file_if_its_bytes_are_right_and_else_replaced(
    site: FakeSite, tree: Tree, *, right: bool
) -> None:
    site.file("table.csv", CSV)
    one = entry(site, "table.csv")
    fetch(site, tree, one)
    path = tree.root / "supporting" / "table.csv"
    store = tree.root / ".git" / "annex" / "SHA256E-s1.csv"
    store.parent.mkdir(parents=True)
    store.write_bytes(CSV if right else b"other bytes")
    store.chmod(0o444)
    path.unlink()
    path.symlink_to("../.git/annex/SHA256E-s1.csv")
    assert len(fetch(site, tree, one).fetched) == (not right)
    assert path.is_symlink() == right
    assert path.read_bytes() == CSV
    assert store.read_bytes() == (CSV if right else b"other bytes")


def test_the_folder_of_a_zip_does_not_take_another_file_s_place(site: FakeSite, tree: Tree) -> None:
    site.file("a.json", JSON)
    site.file("a.json.zip", zipped({"b.json": JSON}))
    both = entry(site, "a.json"), entry(site, "a.json.zip")
    fetch(site, tree, *both)
    assert fetch(site, tree, *both).fetched == []
    assert stands(tree)["a.json"] == JSON


def test_a_second_run_at_the_same_time_says_who_holds_the_files(site: FakeSite, tree: Tree) -> None:
    held = Lock(tree.state / "locks" / "supporting.lock", "x")
    with held, pytest.raises(LockedError, match="supporting files of DEMO"):
        fetch(site, tree, entry(site, "table.csv"))


def test_a_stopped_run_ends_at_once_and_keeps_what_it_has(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    stop = CancelToken()
    stop.set()
    with pytest.raises(InterruptedRunError):
        fetch(site, tree, entry(site, "table.csv"), stop=stop)


class _ReadOnly(Disk):
    def replace(self, source: Path, target: Path) -> None:
        if target.parent.name == "supporting" and target.suffix == ".csv":
            raise PermissionError(13, "Permission denied")
        super().replace(source, target)


def test_a_folder_that_cannot_be_written_ends_the_run(site: FakeSite, tree: Tree) -> None:
    site.file("table.csv", CSV)
    tree.disk = _ReadOnly(durable=False)
    with pytest.raises(PermissionDeniedError):
        fetch(site, tree, entry(site, "table.csv"))


@pytest.mark.parametrize("error", [None, 28], ids=["crash", "ENOSPC"])
def test_a_crash_or_disk_error_at_any_side_effect_is_recovered_from(
    site: FakeSite, tmp_path: Path, error: int | None
) -> None:
    content = zipped({"a.json": JSON})
    site.file("n.zip", content)
    one = entry(site, "n.zip")
    whole = {"n.zip": content, "n/a.json": JSON}
    counting = CountingDisk()
    clean = Tree(tmp_path / "clean", disk=counting)
    clean.prepare()
    before = counting.count
    fetch(site, clean, one)
    for number in range(before, counting.count):
        broken = Tree(tmp_path / str(number))
        broken.prepare()
        broken.disk = CountingDisk(number - before, error)
        with contextlib.suppress(Crash, DestinationError):
            fetch(site, broken, one)
        assert stands(broken).items() <= whole.items()
        healthy = Tree(tmp_path / str(number), disk=Disk(durable=False))
        healthy.prepare()
        assert fetch(site, healthy, one).failures == []
        assert stands(healthy) == whole
        assert len(receipts(healthy)) == 1


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
def test_a_receipt_that_somebody_changed_proves_nothing(
    site: FakeSite, tree: Tree, change: dict[str, object]
) -> None:
    site.file("table.csv", CSV)
    fetch(site, tree, entry(site, "table.csv"))
    path = tree.state / "supporting" / "table.csv.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert not receipts(tree)


def _registry(site: FakeSite, license: License | None = None) -> Registry:
    return Registry((replace(known(entry(site, "table.csv")), license=license),))


def _request(tmp_path: Path, site: FakeSite, *targets: str, **options: object) -> Request:
    settings = HttpSettings(retries=1, retry_wait=0.01, first_byte_timeout=5)
    chosen = Options(http=settings, site_url=site.url, durable=False, **options)  # type: ignore[arg-type]
    return Request(targets, str(tmp_path / "data"), options=chosen)


def test_a_run_for_supporting_files_alone_has_a_summary(site: FakeSite, tmp_path: Path) -> None:
    site.file("table.csv", CSV)
    events: list[Event] = []
    request = _request(tmp_path, site, "demo", "DEMO")
    summary = download_supporting(request, _registry(site), emit=events.append)
    assert (summary.exit_code, summary.failures) == (0, [])
    assert summary.bytes_received == len(CSV)
    assert (tmp_path / "data" / "DEMO" / "supporting" / "table.csv").read_bytes() == CSV
    line = "DEMO: 1 supporting file (35.0 kB, 1 with no size or hash on record), 1 fetched"
    assert summary.notices == [line]
    (found,) = summary.supporting
    assert (found.collection, found.failed, found.text) == ("DEMO", 0, line)
    (file,) = found.files
    assert (file.file, file.size, file.check, file.fetched) == (
        "table.csv",
        len(CSV),
        "unchecked",
        True,
    )
    assert not [event for event in events if isinstance(event, Notice)]


def test_failures_are_added_to_the_summary_of_a_download(site: FakeSite, tmp_path: Path) -> None:
    request, collections = _request(tmp_path, site, "DEMO"), _registry(site)
    summary = Summary(["DEMO"], str(tmp_path), complete=3)
    (result,) = add_supporting(request, collections, summary)
    assert summary.exit_code == 1
    assert summary.failures == result.failures
    assert "1 failed" in summary.notices[0]
    worse = Summary(["DEMO"], str(tmp_path), exit_code=130)
    add_supporting(request, collections, worse)
    assert worse.exit_code == 130


def test_files_that_another_run_holds_are_told(site: FakeSite, tmp_path: Path) -> None:
    request = _request(tmp_path, site, "DEMO")
    tree = Tree(tmp_path / "data" / "DEMO")
    tree.prepare()
    with Lock(tree.state / "locks" / "supporting.lock", "x"):
        summary = download_supporting(request, _registry(site))
    assert (summary.exit_code, summary.failures[0].reason) == (4, "locked")


def test_a_site_that_is_down_is_an_archive_that_cannot_be_reached(
    site: FakeSite, tmp_path: Path
) -> None:
    site.file("table.csv", CSV, status=503)
    request = _request(tmp_path, site, "DEMO")
    assert download_supporting(request, _registry(site)).exit_code == 3


def test_targets_have_to_be_collections_whose_license_allows_the_use(
    site: FakeSite, tmp_path: Path
) -> None:
    with pytest.raises(UnknownCollectionError):
        download_supporting(_request(tmp_path, site, "1.2.3"), _registry(site))
    with pytest.raises(UsageError):
        download_supporting(_request(tmp_path, site), _registry(site))
    registry = _registry(site, License("CC BY-NC 4.0", commercial_use=False))
    with pytest.raises(LicenseRefusedError):
        download_supporting(_request(tmp_path, site, "DEMO", commercial_use=True), registry)


def test_a_stopped_run_for_supporting_files_says_so(site: FakeSite, tmp_path: Path) -> None:
    stop = CancelToken()
    stop.set()
    summary = download_supporting(_request(tmp_path, site, "DEMO"), _registry(site), stop=stop)
    assert summary.exit_code == 130


def test_the_annotations_of_ricord_1c_are_checked_by_their_hash(site: FakeSite, tree: Tree) -> None:
    collection = load_registry().find("MIDRC-RICORD-1C")
    assert collection is not None
    listed = next(one for one in collection.supporting if one.sha256)
    assert (listed.size, listed.file) == (180675, "midrc-ricord-1c-da-other-json.zip")
    site.file(str(listed.file), zipped({"a.json": JSON}))
    moved = replace(listed, url=site.address(str(listed.file)))
    (failure,) = fetch(site, tree, moved).failures
    assert str(listed.sha256) in failure.detail
