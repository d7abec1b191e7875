"""Runs: summary, exit codes, locks, cancellation, refused targets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Registry
from tcia_covid.catalog.licenses import License
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
    LicenseRefusedError,
    LockedError,
    UnknownCollectionError,
    UsageError,
)
from tcia_covid.core.events import Event, Notice
from tcia_covid.core.summary import Summary
from tcia_covid.http.settings import HttpSettings
from tcia_covid.selection.request import Options, Request
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.download import add_supporting, download_supporting
from tests.fakes.portal import FakePortal
from tests.unit.supporting.helpers import CSV, collection_of, entry, fetch


def test_a_second_run_at_the_same_time_is_refused(site: FakePortal, tree: Tree) -> None:
    lock = Lock(tree.state / "locks" / "supporting.lock", "x")
    with lock, pytest.raises(LockedError, match="supporting files of DEMO"):
        fetch(site, tree, entry(site, "table.csv"))


def test_a_canceled_run_raises(site: FakePortal, tree: Tree) -> None:
    site.file("table.csv", CSV)
    stop = CancelToken()
    stop.set()
    with pytest.raises(InterruptedRunError):
        fetch(site, tree, entry(site, "table.csv"), stop=stop)


def _registry(site: FakePortal, license: License | None = None) -> Registry:
    return Registry((collection_of(entry(site, "table.csv"))._replace(license=license),))


def _request(tmp_path: Path, site: FakePortal, *targets: str, **options: object) -> Request:
    settings = HttpSettings(retries=1, retry_wait=0.01, first_byte_timeout=5)
    chosen = Options(http=settings, site_url=site.url, durable=False, **options)  # type: ignore[arg-type]
    return Request(targets, str(tmp_path / "data"), options=chosen)


def test_a_run_for_supporting_files_only_has_a_summary(site: FakePortal, tmp_path: Path) -> None:
    site.file("table.csv", CSV)
    events: list[Event] = []
    request = _request(tmp_path, site, "demo", "DEMO")
    summary = download_supporting(request, _registry(site), emit=events.append)
    assert (summary.exit_code, summary.failures) == (0, [])
    assert summary.bytes_received == len(CSV)
    assert (tmp_path / "data" / "DEMO" / "supporting" / "table.csv").read_bytes() == CSV
    line = "DEMO: 1 supporting file (35.0 kB, 1 with no recorded size or hash), 1 downloaded"
    assert summary.notices == [line]
    (files,) = summary.supporting
    assert (files.collection, files.failures, files.text) == ("DEMO", [], line)
    (file,) = files.files
    assert (file.file, file.size, file.check, file.fetched) == (
        "table.csv",
        len(CSV),
        "unchecked",
        True,
    )
    assert not [event for event in events if isinstance(event, Notice)]


def test_the_summary_says_which_file_was_moved_aside(site: FakePortal, tmp_path: Path) -> None:
    site.file("table.csv", CSV)
    request = _request(tmp_path, site, "DEMO")
    place = tmp_path / "data" / "DEMO" / "supporting" / "table.csv"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"mine")
    _, notice = download_supporting(request, _registry(site)).notices
    assert str(place.with_name("table.csv.moved-aside")) in notice


def test_failures_are_added_to_the_summary_of_a_download(site: FakePortal, tmp_path: Path) -> None:
    request, collections = _request(tmp_path, site, "DEMO"), _registry(site)
    summary = Summary(["DEMO"], str(tmp_path), complete=3)
    add_supporting(request, collections, summary)
    assert summary.exit_code == 1
    assert [failure.reason for failure in summary.failures] == ["not-available"]
    assert "1 failed" in summary.notices[0]
    worse = Summary(["DEMO"], str(tmp_path), exit_code=130)
    add_supporting(request, collections, worse)
    assert worse.exit_code == 130


def test_files_locked_by_another_run_are_a_failure(site: FakePortal, tmp_path: Path) -> None:
    request = _request(tmp_path, site, "DEMO")
    tree = Tree(tmp_path / "data" / "DEMO")
    tree.prepare()
    with Lock(tree.state / "locks" / "supporting.lock", "x"):
        summary = download_supporting(request, _registry(site))
    assert (summary.exit_code, summary.failures[0].reason) == (4, "locked")


def test_an_unreachable_site_gives_exit_code_3(site: FakePortal, tmp_path: Path) -> None:
    site.file("table.csv", CSV, status=503)
    request = _request(tmp_path, site, "DEMO")
    assert download_supporting(request, _registry(site)).exit_code == 3


def test_unknown_targets_and_refused_licenses_are_errors(site: FakePortal, tmp_path: Path) -> None:
    with pytest.raises(UnknownCollectionError):
        download_supporting(_request(tmp_path, site, "1.2.3"), _registry(site))
    with pytest.raises(UsageError):
        download_supporting(_request(tmp_path, site), _registry(site))
    registry = _registry(site, License("CC BY-NC 4.0", commercial_use=False))
    with pytest.raises(LicenseRefusedError):
        download_supporting(_request(tmp_path, site, "DEMO", commercial_use=True), registry)


def test_a_canceled_run_gives_exit_code_130(site: FakePortal, tmp_path: Path) -> None:
    stop = CancelToken()
    stop.set()
    summary = download_supporting(_request(tmp_path, site, "DEMO"), _registry(site), stop=stop)
    assert summary.exit_code == 130
