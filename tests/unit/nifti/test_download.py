from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.archives.aspera import TransferLock
from tcia_covid.archives.portal import DEFAULT_PORTAL_URL
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import License
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
    LicenseRefusedError,
    NoSpaceError,
    NotAvailableError,
    NotDicomError,
    RequestError,
    UsageError,
)
from tcia_covid.core.events import BytesStored, Event, Notice, RunStarted, SeriesFinished
from tcia_covid.core.summary import Summary
from tcia_covid.http.settings import HttpSettings
from tcia_covid.nifti.adopt import adopt_volumes
from tcia_covid.nifti.download import download_collection
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.selection.filters import Filters
from tcia_covid.selection.request import Options, Request, package_collection
from tests.fakes import nifti as fake
from tests.fakes.ascli import FakeAscli
from tests.fakes.portal import FakePortal
from tests.fakes.scripted_server import closed_port

ONE, TWO, EARLY, LATE = fake.whole()
SECRETS = ("c2VjcmV0LTE=", "c2VjcmV0LTI=")
FIRST, SECOND = (
    f"https://faspex.example.org/aspera/faspex/public/package?context={secret}"
    for secret in SECRETS
)
QUICK = HttpSettings(retries=2, retry_wait=0.01, first_byte_timeout=60, connect_timeout=60)
CT = "CT-Covid-19-August2020"


@pytest.fixture
def site() -> Iterator[FakePortal]:
    with FakePortal() as running:
        first = running.download("Images (NIfTI, 632 patients)", url=FIRST)
        second = running.download("Serial images (NIfTI)", url=SECOND)
        table = running.download("Something else", url=running.address("a.xlsx"))
        running.collection("ct-images-in-covid-19", {"ID": first}, {"ID": table}, {"ID": second})
        yield running


@pytest.fixture
def ascli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeAscli:
    files = fake.whole()
    running = FakeAscli(tmp_path)
    single = {f"{CT}/{name}": files[name] for name in (ONE, TWO)}
    running.package(FIRST, {**single, f"{CT}.sums": fake.sums({n: files[n] for n in (ONE, TWO)})})
    running.package(SECOND, {f"serial/{name}": files[name] for name in (EARLY, LATE)})
    monkeypatch.setenv("PATH", running.path)
    return running


@pytest.fixture
def no_ascli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def fetch(
    site: FakePortal,
    tmp_path: Path,
    *,
    collection: Collection | None = None,
    events: list[Event] | None = None,
    stop: CancelToken | None = None,
    **options: object,
) -> Summary:
    chosen = Options(**{"http": QUICK, "site_url": site.url, "durable": False, **options})
    request = Request((fake.NAME,), str(tmp_path / "data"), options=chosen)
    emit = (events if events is not None else []).append
    return download_collection(
        collection or fake.collection(), request, Registry(), emit=emit, stop=stop
    )


def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / fake.NAME


def volumes_in(tmp_path: Path) -> set[str]:
    """The volumes of the layout."""
    found = root(tmp_path).rglob("*.nii.gz")
    return {
        file.relative_to(root(tmp_path)).as_posix()
        for file in found
        if ".tcia-covid" not in file.parts
    }


WHOLE = {f"0001/{ONE}", f"0002/{TWO}", f"0700/{EARLY}", f"0700/{LATE}"}


def notices(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Notice))


def test_a_collection_of_packages_is_downloaded_completely(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    events: list[Event] = []
    summary = fetch(site, tmp_path, events=events)
    assert volumes_in(tmp_path) == WHOLE
    assert (summary.exit_code, summary.failures, summary.error) == (0, [], None)
    assert (summary.selected, summary.complete, summary.remaining) == (3, 3, 0)
    assert (summary.images_expected, summary.images_stored) == (4, 4)
    assert (summary.checked_md5, summary.checked_size) == (2, 1)
    assert summary.sources == {"nbia": 0, "idc": 0, "aspera": 3}
    assert summary.fetched_from == {"aspera": 3}
    assert summary.partial_series == 0
    assert summary.bytes_received >= summary.bytes_stored
    assert verify_directory(tmp_path / "data", deep=True).exit_code == 0
    assert (root(tmp_path) / "manifest-md5.txt").exists()
    started = next(event for event in events if isinstance(event, RunStarted))
    assert (started.series, started.images, started.size) == (3, 4, 3_000_000)
    assert sum(isinstance(event, SeriesFinished) for event in events) == 3
    arrived = sum(event.count for event in events if isinstance(event, BytesStored))
    assert arrived == summary.bytes_received


def test_links_are_in_no_file_and_no_message(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    events: list[Event] = []
    summary = fetch(site, tmp_path, events=events)
    kept = b"".join(file.read_bytes() for file in root(tmp_path).rglob("*") if file.is_file())
    shown = f"{events} {summary} {ascli.runs}"
    for secret in SECRETS:
        assert secret.encode() not in kept
        assert secret not in shown


def test_a_complete_collection_needs_no_request(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    fetch(site, tmp_path)
    asked, runs = len(site.heads), len(ascli.runs)
    summary = fetch(site, tmp_path)
    assert (summary.exit_code, summary.already_complete, summary.bytes_received) == (0, 3, 0)
    assert (len(site.heads), len(ascli.runs)) == (asked, runs)


def test_a_broken_transfer_is_resumed(site: FakePortal, ascli: FakeAscli, tmp_path: Path) -> None:
    ascli.behave({"stop_at": 1}, {"stop_at": 2}, {})
    events: list[Event] = []
    summary = fetch(site, tmp_path, events=events)
    assert summary.exit_code == 0
    assert volumes_in(tmp_path) == WHOLE
    assert len(ascli.runs) == 4
    assert "ascli: ERROR: Transfer: Data transfer timeout" in notices(events)


def test_a_package_that_never_arrives_fails_and_the_other_is_installed(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    ascli.behave(*[{"stop_at": 0}] * 4, {})
    summary = fetch(site, tmp_path)
    assert volumes_in(tmp_path) == {f"0700/{EARLY}", f"0700/{LATE}"}
    (failure,) = summary.failures
    assert (failure.reason, summary.exit_code) == ("archive-error", 1)
    assert "Images (NIfTI, 632 patients)" in failure.detail
    assert (summary.complete, summary.remaining) == (1, 2)
    ascli.behave({})
    assert fetch(site, tmp_path).exit_code == 0
    assert volumes_in(tmp_path) == WHOLE


def test_if_no_package_arrives_the_archive_is_unreachable(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    ascli.behave({"code": 1, "error": "ERROR: Network: getaddrinfo"})
    for file in (ascli.home / "packages").rglob("*.nii.gz"):
        file.unlink()
    assert fetch(site, tmp_path).exit_code == 3


def test_a_missing_ascp_ends_the_run_and_names_what_to_install(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    ascli.behave({"code": 1, "error": "ERROR: Other(RuntimeError): no FASP installation found"})
    summary = fetch(site, tmp_path)
    assert summary.exit_code == 2
    assert isinstance(summary.error, RequestError)
    assert "ascli config ascp install" in summary.error.hint
    assert len(ascli.runs) == 1


def test_errors_of_ascli_that_are_final_are_not_retried(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    ascli.behave({"code": 1, "error": "ERROR: Argument: unknown option: --ts"})
    summary = fetch(site, tmp_path)
    assert isinstance(summary.error, RequestError)
    assert "public links" in summary.error.hint
    assert (summary.exit_code, len(ascli.runs)) == (2, 1)


def _old_links(site: FakePortal, *others: int) -> None:
    link = "https://faspex.example.org/aspera/faspex/external_deliveries/49?passcode=abc"
    old = site.download("Old images", url=link)
    site._collections.clear()
    site.collection("ct-images-in-covid-19", old, *others)


def test_links_that_ascli_does_not_accept_are_reported_with_the_page(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    _old_links(site)
    summary = fetch(site, tmp_path)
    assert isinstance(summary.error, RequestError)
    assert "Old images" in summary.error.message
    assert "browser from https://www.cancerimagingarchive.net" in summary.error.hint
    assert (summary.exit_code, ascli.runs) == (2, [])


def test_other_packages_are_received_next_to_an_unaccepted_link(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    _old_links(site, site.download("Images", url=FIRST))
    summary = fetch(site, tmp_path)
    assert volumes_in(tmp_path) == {f"0001/{ONE}", f"0002/{TWO}"}
    assert [failure.reason for failure in summary.failures] == ["not-available"]
    assert summary.exit_code == 1


def test_status_shows_incomplete_packages_and_why_they_failed(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    ascli.behave(*[{"stop_at": 1}] * 4, {})
    fetch(site, tmp_path)
    (found,) = read_status(tmp_path / "data").collections
    (package,) = found.packages
    assert (package.package, package.files) == ("Images (NIfTI, 632 patients)", 2)
    assert package.size > len(fake.whole()[ONE])
    (failure,) = found.failed
    assert (failure.series, failure.reason) == ("", "archive-error")
    assert "timeout" in failure.detail
    ascli.behave({})
    fetch(site, tmp_path)
    (found,) = read_status(tmp_path / "data").collections
    assert (found.packages, found.failed) == ([], [])


def test_an_interrupted_run_is_resumed(site: FakePortal, ascli: FakeAscli, tmp_path: Path) -> None:
    ascli.behave({"each": 5})
    stop = CancelToken()

    def stop_later() -> None:
        ascli.wait_for_run()
        while not list(root(tmp_path).rglob("*.nii.gz")):
            pass
        stop.set()

    watcher = threading.Thread(target=stop_later)
    watcher.start()
    summary = fetch(site, tmp_path, stop=stop)
    watcher.join()
    assert summary.exit_code == 130
    assert isinstance(summary.error, InterruptedRunError)
    assert summary.partial_series == 1
    assert summary.partial_bytes >= 500
    assert not volumes_in(tmp_path)
    ascli.behave({})
    again = fetch(site, tmp_path)
    assert (again.exit_code, volumes_in(tmp_path)) == (0, WHOLE)


def test_a_damaged_volume_is_received_again_by_itself(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    fetch(site, tmp_path)
    (root(tmp_path) / "0700" / LATE).write_bytes(b"changed")
    assert verify_directory(tmp_path / "data").exit_code == 1
    summary = fetch(site, tmp_path)
    assert (summary.exit_code, summary.already_complete) == (0, 2)
    assert verify_directory(tmp_path / "data").images.damaged == 0
    aside = root(tmp_path) / "0700" / f"{LATE}.moved-aside"
    assert aside.read_bytes() == b"changed"
    assert [str(aside) in notice for notice in summary.notices] == [True]
    assert ascli.runs[-1]["argv"][-1] == f"/serial/{LATE}"
    assert len(ascli.runs) == 3


def test_a_volume_that_arrives_damaged_is_received_again(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    package = ascli.package(SECOND, {f"serial/{LATE}": fake.whole()[LATE][:-1]})
    summary = fetch(site, tmp_path)
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == ("volume-covid19-A-0700", "damaged")
    assert (summary.selected, summary.complete, summary.failed) == (3, 2, 1)
    assert "is truncated" in failure.detail
    assert volumes_in(tmp_path) == WHOLE - {f"0700/{LATE}"}
    assert [run["argv"][5:] for run in ascli.runs[1:]] == [[], [f"/serial/{LATE}"]]
    assert (root(tmp_path) / ".tcia-covid" / "quarantine" / "packages" / f"{LATE}.bad").exists()
    (package / "serial" / LATE).write_bytes(fake.whole()[LATE])
    assert fetch(site, tmp_path).exit_code == 0
    assert volumes_in(tmp_path) == WHOLE


def test_received_volumes_that_are_installed_are_not_kept_twice(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    folder = fake.write(tmp_path / "have", {ONE: fake.whole()[ONE], TWO: fake.whole()[TWO]})
    ascli.package(FIRST, {f"{CT}/again/{ONE}": fake.whole()[ONE]})
    adopt_volumes(folder, tmp_path / "data", fake.collection(), Registry(), durable=False)
    assert fetch(site, tmp_path).exit_code == 0
    assert volumes_in(tmp_path) == WHOLE
    assert not list((root(tmp_path) / ".tcia-covid" / "faspex").rglob("*.nii.gz"))


def test_a_package_with_another_version_of_an_installed_volume_fails(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    folder = fake.write(tmp_path / "have", {LATE: fake.volume(99), EARLY: fake.whole()[EARLY]})
    adopt_volumes(folder, tmp_path / "data", fake.collection(), Registry(), durable=False)
    summary = fetch(site, tmp_path)
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == ("", "conflict")
    assert (summary.exit_code, summary.failed, summary.complete) == (1, 0, 3)
    assert LATE in failure.detail
    assert "quarantine" in failure.hint
    (root(tmp_path) / "0700" / LATE).unlink()
    assert fetch(site, tmp_path).exit_code == 0
    assert (root(tmp_path) / "0700" / LATE).read_bytes() == fake.whole()[LATE]


def test_a_published_hash_decides_between_a_package_and_an_installed_volume(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    folder = fake.write(tmp_path / "have", {ONE: fake.volume(99)})
    adopt_volumes(folder, tmp_path / "data", fake.collection(), Registry(), durable=False)
    assert fetch(site, tmp_path).exit_code == 0
    assert (root(tmp_path) / "0001" / ONE).read_bytes() == fake.whole()[ONE]


def test_more_volumes_than_in_the_registry_are_not_missing(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    smaller = fake.collection(volumes=3)
    summary = fetch(site, tmp_path, collection=smaller)
    (failure,) = summary.failures
    assert (failure.reason, summary.exit_code) == ("unexpected", 1)
    assert "4 volumes of 3 patients are installed" in failure.detail
    accepted = fetch(site, tmp_path, collection=smaller, accept_listed=True)
    assert (accepted.exit_code, accepted.failures) == (0, [])


def test_volumes_received_before_a_crash_are_installed_without_a_request(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    fetch(site, tmp_path)
    (inbox,) = [
        path.parent for path in root(tmp_path).rglob("listing.json") if LATE in path.read_text()
    ]
    fake.write(inbox / "files" / "serial", {LATE: fake.whole()[LATE], EARLY: fake.whole()[EARLY]})
    shutil.rmtree(root(tmp_path) / "0700")
    runs = len(ascli.runs)
    assert fetch(site, tmp_path).exit_code == 0
    assert len(ascli.runs) == runs
    assert volumes_in(tmp_path) == WHOLE


def test_a_package_that_another_run_receives_is_skipped(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    fetch(site, tmp_path)
    (root(tmp_path) / "0700" / LATE).unlink()
    locks = [path.parent / "lock" for path in root(tmp_path).rglob("listing.json")]
    with contextlib.ExitStack() as stack:
        for lock in locks:
            stack.enter_context(TransferLock(lock, "the package"))
        summary = fetch(site, tmp_path)
    assert (summary.exit_code, {failure.reason for failure in summary.failures}) == (4, {"locked"})


def test_packages_that_do_not_fit_are_not_started(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(tmp_path)._replace(free=10_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    with pytest.raises(NoSpaceError, match=r"10.0 MB free, the packages need 3.0 MB"):
        fetch(site, tmp_path)
    assert not ascli.runs


def test_fewer_volumes_than_in_the_registry_are_a_failure(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    bigger = fake.collection(patients=4, volumes=5)
    summary = fetch(site, tmp_path, collection=bigger)
    (failure,) = summary.failures
    assert (failure.reason, summary.exit_code, summary.remaining) == ("incomplete", 1, 1)
    assert "4 of 5 volumes of 3 of 4 patients" in failure.detail
    accepted = fetch(site, tmp_path, collection=bigger, accept_listed=True)
    assert (accepted.exit_code, accepted.failures, accepted.remaining) == (0, [], 0)


def test_a_collection_without_counts_is_complete_with_its_packages(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    unknown = fake.collection(patients=None, volumes=None)
    summary = fetch(site, tmp_path, collection=unknown)
    assert (summary.exit_code, summary.selected, summary.images_expected) == (0, 3, 4)
    runs = len(ascli.runs)
    assert fetch(site, tmp_path, collection=unknown).exit_code == 0
    assert len(ascli.runs) == runs


def test_a_page_without_packages_is_an_error(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    elsewhere = fake.collection(slug="another")
    site.collection("another", site.download("Table", url=site.address("a.xlsx")))
    with pytest.raises(NotAvailableError, match="links to no Aspera package"):
        fetch(site, tmp_path, collection=elsewhere)
    assert not root(tmp_path).exists()


def test_without_ascli_the_run_shows_what_to_install_and_to_type(
    site: FakePortal, no_ascli: None, tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(NotDicomError) as caught:
        fetch(site, tmp_path, events=events)
    assert caught.value.exit_code == 2
    assert "collection/ct-images-in-covid-19" in caught.value.hint
    text = notices(events)
    commands = caught.value.commands
    assert [command.split()[0] for command in commands] == [
        "gem",
        "ascli",
        "ascli",
        "ascli",
        "tcia-covid",
    ]
    assert all(f"  {command}" in text for command in commands)
    assert "gem install aspera-cli" in text
    assert "ascli config ascp install" in text
    assert text.count("ascli faspex5 packages receive") == 2
    assert f"tcia-covid adopt ct-images --collection '{fake.NAME}'" in text
    assert "https://www.cancerimagingarchive.net/collection/ct-images-in-covid-19/" in text
    assert not any(secret in text for secret in SECRETS)


def test_the_commands_for_people_read_the_links_from_private_files(
    site: FakePortal, no_ascli: None, tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(NotDicomError):
        fetch(site, tmp_path, events=events)
    links = sorted(root(tmp_path).rglob("link"))
    assert [link.read_text() for link in links] == [FIRST, SECOND]
    for link in links:
        assert f"--url=@file:{link.resolve()}" in notices(events)
        if os.name == "posix":
            assert stat.S_IMODE(link.stat().st_mode) == 0o600


def test_without_ascli_and_site_the_page_is_named(
    site: FakePortal, no_ascli: None, tmp_path: Path
) -> None:
    events: list[Event] = []
    with pytest.raises(NotDicomError):
        fetch(site, tmp_path, events=events, site_url=f"http://127.0.0.1:{closed_port()}")
    text = notices(events)
    assert "are not available" in text
    assert "--url=LINK" in text
    assert not root(tmp_path).exists()


def test_a_complete_collection_does_not_need_ascli(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(site, tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fetch(site, tmp_path).exit_code == 0


def test_filters_and_forbidden_uses_are_refused(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    request = Request((fake.NAME,), str(tmp_path), filters=Filters(patients=("0001",)))
    with pytest.raises(UsageError, match="whole packages"):
        download_collection(fake.collection(), request, Registry())
    license = License("CC BY-NC 4.0", commercial_use=False)
    with pytest.raises(LicenseRefusedError):
        fetch(
            site,
            tmp_path,
            collection=fake.collection()._replace(license=license),
            commercial_use=True,
        )
    assert not site.heads


@pytest.mark.parametrize(
    ("targets", "carts", "found"),
    [
        (("ct-images",), (), True),
        (("https://doi.org/10.7937/TCIA.2020.GQRY-NC81",), (), True),
        (("ct-images", "COVID-19-AR"), (), False),
        (("COVID-19-AR",), (), False),
        (("1.2.3",), (), False),
        (("ct-images",), ("cart",), False),
        ((), (), False),
    ],
)
def test_a_request_for_packages_has_no_other_target(
    targets: tuple[str, ...], carts: tuple[str, ...], found: bool
) -> None:
    collection = package_collection(Request(targets, carts=carts), load_registry())
    assert (collection is not None and collection.name == fake.NAME) == found


def test_the_default_site_is_tcias() -> None:
    assert Options().site_url == DEFAULT_PORTAL_URL


def test_the_listing_of_a_package_may_be_damaged(
    site: FakePortal, ascli: FakeAscli, tmp_path: Path
) -> None:
    fetch(site, tmp_path)
    for listing in root(tmp_path).rglob("listing.json"):
        listing.write_text(json.dumps(["no listing"]))
    shutil.rmtree(root(tmp_path) / "0001")
    assert fetch(site, tmp_path).exit_code == 0
    assert volumes_in(tmp_path) == WHOLE
