"""Transfers: resume, retries, changed files, error pages."""

from __future__ import annotations

import pytest

from tcia_covid.archives.portal import PortalApi
from tcia_covid.core.events import Event, RequestRetried
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.download import fetch_supporting
from tests.fakes.portal import FakePortal
from tests.unit.http.helpers import client_with
from tests.unit.supporting.helpers import CSV, collection_of, entry, fetch, files_in_place, xlsx


def test_an_interrupted_transfer_resumes(site: FakePortal, tree: Tree) -> None:
    served = site.file("table.csv", CSV, cuts=3)
    events: list[Event] = []
    fetch(site, tree, entry(site, "table.csv"), events=events)
    assert files_in_place(tree) == {"table.csv": CSV}
    ranges = [head.headers.get("range") for head in site.heads]
    assert ranges[0] is None
    assert all(start and start != "bytes=0-" for start in ranges[1:])
    assert {head.headers.get("if-range") for head in site.heads[1:]} == {served.etag}
    assert sum(isinstance(event, RequestRetried) for event in events) == 3


def test_a_later_run_resumes_the_transfer_of_an_earlier_one(site: FakePortal, tree: Tree) -> None:
    served = site.file("table.csv", CSV, cuts=1)
    file = entry(site, "table.csv")
    assert fetch(site, tree, file, settings={"retries": 0}).failures
    assert not files_in_place(tree)
    fetch(site, tree, file)
    assert files_in_place(tree) == {"table.csv": CSV}
    assert site.heads[-1].headers["range"] == f"bytes={len(CSV) // 2}-"
    assert served.cuts == 0
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
def test_files_are_complete_with_every_kind_of_server(
    site: FakePortal, tree: Tree, how: dict[str, object]
) -> None:
    served = site.file("table.csv", CSV, **how)
    served.cuts = 1 if served.length else 0
    fetch(site, tree, entry(site, "table.csv"))
    assert files_in_place(tree) == {"table.csv": CSV}


def test_a_file_that_changed_since_is_downloaded_from_the_start(
    site: FakePortal, tree: Tree
) -> None:
    site.file("table.csv", CSV, cuts=1)
    file = entry(site, "table.csv")
    assert fetch(site, tree, file, settings={"retries": 0}).failures
    site.file("table.csv", b"other," + CSV)
    fetch(site, tree, file)
    assert files_in_place(tree) == {"table.csv": b"other," + CSV}


def test_a_file_that_became_shorter_is_downloaded_from_the_start(
    site: FakePortal, tree: Tree
) -> None:
    served = site.file("table.csv", CSV, cuts=1)
    file = entry(site, "table.csv")
    assert fetch(site, tree, file, settings={"retries": 0}).failures
    served.content = b"a,b\n"
    fetch(site, tree, file)
    assert files_in_place(tree) == {"table.csv": b"a,b\n"}


def test_a_file_at_another_address_is_downloaded_from_the_start(
    site: FakePortal, tree: Tree
) -> None:
    site.file("table.csv", CSV, cuts=1, etag='"same"')
    file = entry(site, "table.csv")
    assert fetch(site, tree, file, settings={"retries": 0}).failures
    site.file("moved/table.csv", b"new" + CSV, etag='"same"')
    fetch(site, tree, file._replace(url=site.address("moved/table.csv")))
    assert files_in_place(tree) == {"table.csv": b"new" + CSV}


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
def test_an_error_page_in_place_of_a_file_is_a_failure(
    site: FakePortal, tree: Tree, name: str, body: bytes
) -> None:
    site.file(name, body)
    result = fetch(site, tree, entry(site, name))
    (failure,) = result.failures
    assert failure.reason == "archive-error"
    assert site.address(name) in failure.detail
    assert not files_in_place(tree)
    assert not list((tree.state / "supporting-parts").glob("*.part"))
    assert len(site.heads) == 3


def test_a_temporary_error_page_is_retried(site: FakePortal, tree: Tree) -> None:
    served = site.file("table.xlsx", xlsx(), instead=b"<html>busy</html>")

    def mend(event: Event) -> None:
        if isinstance(event, RequestRetried):
            served.instead = b""

    with client_with() as client:
        client.emit = mend
        collection = collection_of(entry(site, "table.xlsx"))
        fetch_supporting(collection, tree, client, PortalApi(client, site.url))
    assert files_in_place(tree) == {"table.xlsx": xlsx()}


@pytest.mark.parametrize(("code", "requests"), [(404, 1), (403, 1), (503, 4)])
def test_a_refused_file_fails_and_the_others_are_downloaded(
    site: FakePortal, tree: Tree, code: int, requests: int
) -> None:
    site.file("bad.csv", CSV, status=code)
    site.file("good.csv", CSV)
    result = fetch(site, tree, entry(site, "bad.csv"), entry(site, "good.csv"))
    (failure,) = result.failures
    assert str(code) in failure.detail
    assert files_in_place(tree) == {"good.csv": CSV}
    assert sum("bad.csv" in path for path in site.paths) == requests
