"""Every fact that `doctor` checks is true if everything works, and is named if it is not."""

from __future__ import annotations

import errno
import os
import re
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
import trustme

from tcia_covid.cli.commands.doctor import report_lines
from tcia_covid.core.limits import open_files_limit
from tcia_covid.http.settings import HttpSettings
from tcia_covid.operations.doctor import DoctorResult, examine
from tcia_covid.operations.doctor_archives import smallest_series
from tcia_covid.operations.doctor_facts import FactOutcome
from tcia_covid.output.json_documents import doctor_document
from tcia_covid.selection.request import Options
from tcia_covid.store.disk import Disk
from tcia_covid.store.locks import Lock
from tests.fakes import s3_faults
from tests.fakes.cataloged_archives import cataloged_corpus, put_in_buckets, requested_series
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import (
    Answer,
    DropRows,
    EmptyAnswer,
    Fault,
    Faults,
    OtherRow,
    Status,
    html_page,
)
from tests.fakes.nbia_replies import Call, Reply
from tests.fakes.s3 import S3Server, running_s3
from tests.fakes.s3_proxy import S3Proxy
from tests.fakes.zip_faults import AlteredImage, LostImage, NoHashTable, WrongHashTable
from tests.unit.archive_helpers import files_of
from tests.waiting import LONG

__all__ = ["running_s3"]
HTTP = HttpSettings(
    retries=1, retry_wait=0.01, connect_timeout=5, stall_timeout=LONG, first_byte_timeout=LONG
)
HELD = requested_series()
UID = min(image.uid for image in HELD.images)
NOWHERE = "http://127.0.0.1:9"
VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
OF_PLAIN_HTTP = {"proxy", "tls"}
"""Facts that are not checked without a proxy and TLS."""


@pytest.fixture(scope="module", name="nbia")
def _nbia() -> Iterator[ArchiveServer]:
    with ArchiveServer(cataloged_corpus(), interceptor=Faults(), compression=1) as server:
        yield server


@pytest.fixture(scope="module", name="proxy")
def _front(s3_server: S3Server) -> Iterator[S3Proxy]:
    put_in_buckets(s3_server)
    with S3Proxy(s3_server.port) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class Scenario:
    """Both archives, and a folder."""

    def __init__(self, nbia: ArchiveServer, proxy: S3Proxy, output: Path) -> None:
        self.nbia = nbia
        self.proxy = proxy
        self.output = output
        self.options = Options(nbia_url=nbia.base_url, idc_url=proxy.url, http=HTTP)

    def run(self, *, disk: Disk | None = None, **options: Any) -> DoctorResult:
        return examine(replace(self.options, **options), self.output, disk=disk)

    def break_nbia(self, *faults: Fault) -> None:
        assert isinstance(self.nbia.interceptor, Faults)
        self.nbia.interceptor.add(*faults)


@pytest.fixture(name="scenario")
def _trial(nbia: ArchiveServer, proxy: S3Proxy, tmp_path: Path) -> Iterator[Scenario]:
    assert isinstance(nbia.interceptor, Faults)
    try:
        yield Scenario(nbia, proxy, tmp_path / "data")
    finally:
        nbia.interceptor.clear()
        proxy.faults.clear()


def failed(result: DoctorResult) -> set[str]:
    return {fact.name for fact in result.failed}


def outcome(result: DoctorResult, name: str) -> FactOutcome:
    return next(fact.outcome for fact in result.facts if fact.name == name)


def seen(result: DoctorResult, name: str) -> str:
    return next(fact.seen for fact in result.facts if fact.name == name)


def test_where_everything_works_every_fact_is_true(scenario: Scenario) -> None:
    result = scenario.run()
    assert failed(result) == set()
    assert result.exit_code == 0
    unchecked = {
        fact.name.partition(".")[2]
        for fact in result.facts
        if fact.outcome is FactOutcome.NOT_CHECKED
    }
    assert unchecked == OF_PLAIN_HTTP
    assert seen(result, "compare.idc") == "2 images, 74,278 bytes from nbia and idc are equal"
    assert "74,278 bytes" in seen(result, "nbia.zip")
    assert seen(result, "idc.if-match").endswith("HTTP 412")


def test_the_series_is_the_smallest_of_the_catalog_that_has_several_images() -> None:
    series = smallest_series()
    assert (series.image_count, series.size) == (2, 74_278)
    assert (len(HELD.images), HELD.size) == (2, 74_278)


NBIA_FAULTS = {
    "nbia.collections": Answer("getCollectionValues", body=b'[{"Collection":"LIDC"}]', times=None),
    "nbia.collection-list": DropRows("getSeries", times=None),
    "nbia.list": EmptyAnswer("getSeriesMetadata", times=None),
    "nbia.count": OtherRow("getSeriesMetadata", uid=HELD.uid, facts={"ImageCount": 3}, times=None),
    "nbia.image-list": EmptyAnswer("getSOPInstanceUIDs", times=None),
    "nbia.zip": LostImage(uid=UID),
    "nbia.md5-table": NoHashTable(),
    "nbia.image": Status("getSingleImage", times=None),
    "nbia.image-hash": Answer("getMD5HashForImage", body=b"1" * 32, times=None),
    "nbia.series-hash": Answer("getMD5Hierarchy", body=b"1" * 32, times=None),
}


@pytest.mark.parametrize("name", NBIA_FAULTS)
def test_a_broken_fact_of_nbia_is_named(name: str, scenario: Scenario) -> None:
    scenario.break_nbia(replace(NBIA_FAULTS[name]))
    result = scenario.run()
    assert name in failed(result)
    assert failed(result) <= {name, "compare.idc"}
    assert result.exit_code == 1


@dataclass
class _Altered(s3_faults.Fault):
    """The last byte of an object is another one."""

    def after(self, reply: s3_faults.Reply) -> s3_faults.Reply:
        if reply.status == 200:
            reply.body = reply.body[:-1] + bytes([reply.body[-1] ^ 1])
        return reply


@dataclass
class _NoVersions(s3_faults.Unconditional):
    """The server knows no conditions, and its responses have no ETag."""

    names: tuple[str, ...] = ("if-match",)

    def after(self, reply: s3_faults.Reply) -> s3_faults.Reply:
        reply.headers = {n: v for n, v in reply.headers.items() if n.lower() != "etag"}
        return reply


IDC_FAULTS = {
    "idc.list": s3_faults.Say("list-type", status=403, times=None, skip=1),
    "idc.object": s3_faults.Say(".dcm", status=404, times=None),
    "idc.etag": _Altered(".dcm", times=None),
    "idc.range": s3_faults.Unconditional(".dcm", names=("range",), times=None),
    "idc.if-match": _NoVersions(".dcm", times=None),
}


@pytest.mark.parametrize("name", IDC_FAULTS)
def test_a_broken_fact_of_idc_is_named(name: str, scenario: Scenario) -> None:
    scenario.proxy.faults.append(replace(IDC_FAULTS[name]))
    result = scenario.run()
    assert name in failed(result)
    caused = {"compare.idc", "idc.range"} if name == "idc.etag" else set()
    assert failed(result) <= {name, *caused}
    assert result.exit_code == 1


def test_archives_that_send_different_bytes_are_named(scenario: Scenario) -> None:
    scenario.break_nbia(AlteredImage(uid=UID, times=None, singly=True))
    result = scenario.run()
    assert "compare.idc" in failed(result)
    assert seen(result, "compare.idc") == "1 of 2 images from idc and nbia differ"
    assert "nbia.md5-table" in failed(result), "the table shows which archive is wrong"


def test_a_table_with_a_wrong_md5_is_named(scenario: Scenario) -> None:
    scenario.break_nbia(WrongHashTable(edit=lambda text: re.sub(r"[0-9a-f]{32}", "1" * 32, text)))
    result = scenario.run()
    assert "nbia.md5-table" in failed(result)
    assert seen(result, "nbia.md5-table") == "the MD5 of 2 of 2 images differs"


def test_a_login_page_is_no_answer(scenario: Scenario) -> None:
    scenario.break_nbia(html_page("", times=None))
    result = scenario.run(source="nbia")
    assert outcome(result, "nbia.response") is FactOutcome.OK
    assert {"nbia.collections", "nbia.zip"} <= failed(result)
    assert "sent something that is not the requested list" in seen(result, "nbia.collections")
    assert result.exit_code == 3


def test_without_any_archive_every_fact_is_named_and_the_exit_code_is_3(scenario: Scenario) -> None:
    begun = time.monotonic()
    result = scenario.run(nbia_url=NOWHERE, idc_url=NOWHERE)
    assert time.monotonic() - begun < 10
    assert result.exit_code == 3
    assert failed(result) == {"nbia.response", "idc.response"}
    assert outcome(result, "nbia.zip") is FactOutcome.NOT_CHECKED
    assert outcome(result, "compare.bytes") is FactOutcome.NOT_CHECKED
    assert "refused the connection" in seen(result, "nbia.response")


def test_one_of_two_archives_is_enough_for_exit_code_1(scenario: Scenario) -> None:
    result = scenario.run(nbia_url=NOWHERE)
    assert failed(result) == {"nbia.response"}
    assert result.exit_code == 1


def test_a_name_that_cannot_be_resolved_is_named(scenario: Scenario) -> None:
    begun = time.monotonic()
    result = scenario.run(nbia_url="http://nowhere.invalid/v4", source="nbia")
    assert time.monotonic() - begun < 10
    assert failed(result) == {"nbia.dns"}
    assert result.exit_code == 3


def test_the_endpoints_of_idc_are_checked_one_by_one(scenario: Scenario) -> None:
    result = scenario.run(idc_url=f"{scenario.proxy.url},{NOWHERE}", source="idc")
    assert failed(result) == {"idc-2.response"}
    assert outcome(result, "idc-1.range") is FactOutcome.OK
    assert not any(fact.group == "nbia" for fact in result.facts)


def test_requests_through_a_proxy_are_reported(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://jane:hunter2@127.0.0.1:{scenario.nbia.port}")
    url = "http://nbia.invalid/nbia-api/services/v4"
    result = scenario.run(nbia_url=url, source="nbia")
    assert failed(result) == set()
    assert outcome(result, "nbia.proxy") is FactOutcome.OK
    assert seen(result, "nbia.proxy") == f"requests go through 127.0.0.1:{scenario.nbia.port}"
    report = "\n".join(report_lines(result))
    assert "hunter2" not in report
    assert "hunter2" not in str(doctor_document(result))


def test_a_proxy_that_does_not_respond_is_named(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", NOWHERE)
    result = scenario.run()
    assert failed(result) == {"nbia.proxy", "idc.proxy"}
    assert result.exit_code == 3


@pytest.fixture(scope="module", name="authority")
def _authority() -> trustme.CA:
    return trustme.CA()


@contextmanager
def _over_tls(authority: trustme.CA) -> Iterator[ArchiveServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ArchiveServer(cataloged_corpus(), tls=context) as server:
        yield server


def test_a_certificate_that_is_not_trusted_is_named(
    scenario: Scenario, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with _over_tls(authority) as server:
        result = scenario.run(nbia_url=server.base_url)
    assert failed(result) == {"nbia.tls"}
    assert "cannot be trusted" in seen(result, "nbia.tls")
    assert outcome(result, "nbia.response") is FactOutcome.NOT_CHECKED
    assert result.exit_code == 1


def test_the_ca_bundle_of_the_environment_is_named(
    scenario: Scenario, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with _over_tls(authority) as server:
        result = scenario.run(nbia_url=server.base_url, source="nbia")
    assert failed(result) == set()
    assert outcome(result, "nbia.tls") is FactOutcome.OK
    assert seen(result, "machine.ca").startswith("1 certificate in ")


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_read_is_named(
    content: str | None,
    scenario: Scenario,
    authority: trustme.CA,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content, encoding="utf-8")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    with _over_tls(authority) as server:
        result = scenario.run(nbia_url=server.base_url, source="nbia")
    assert failed(result) == {"machine.ca", "nbia.tls"}


@dataclass(kw_only=True)
class _Dated(Fault):
    """Responses of another time."""

    date: str
    times: int | None = None

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        reply = proceed()
        return replace(reply, headers={**reply.headers, "Date": self.date})


@pytest.mark.parametrize(("offset", "word"), [(-9000, "ahead of"), (9000, "behind")])
def test_a_wrong_clock_is_named(offset: int, word: str, scenario: Scenario) -> None:
    scenario.break_nbia(_Dated(date=formatdate(time.time() + offset, usegmt=True)))
    result = scenario.run()
    assert failed(result) == {"nbia.clock"}
    text = rf"this computer's clock is 2 h (29|30) min {word} the archive's"
    assert re.fullmatch(text, seen(result, "nbia.clock"))
    assert result.exit_code == 1


def test_a_response_without_a_date_says_nothing_of_the_clock(scenario: Scenario) -> None:
    scenario.break_nbia(_Dated(date=""))
    result = scenario.run(source="nbia")
    assert outcome(result, "nbia.clock") is FactOutcome.NOT_CHECKED
    assert result.exit_code == 0


# The disk.


class _CopiesOnly(Disk):
    def link(self, source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))


class _Overwriting(Disk):
    """Folders are renamed over others, as over some network file systems."""

    def rename(self, source: Path, target: Path) -> None:
        if target.is_dir():
            self.remove_folder(target)
        super().rename(source, target)


class _Unsynced(Disk):
    def sync_file(self, path: Any) -> None:
        self.notices.append("the file system cannot force data to the disk (fsync)")


class _ShortPaths(Disk):
    def can_open(self, path: Any) -> bool:
        return False


class _Forgetful(Disk):
    def write(self, file: Any, data: bytes) -> None:
        super().write(file, data[1:])


class _Full(Disk):
    def write(self, file: Any, data: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


DISKS: dict[str, tuple[type[Disk], int]] = {
    "disk.hard-link": (_CopiesOnly, 0),
    "disk.rename": (_Overwriting, 4),
    "disk.fsync": (_Unsynced, 0),
    "disk.long-paths": (_ShortPaths, 4),
    "disk.write": (_Forgetful, 4),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_broken_fact_of_the_disk_is_named(name: str, scenario: Scenario) -> None:
    kind, code = DISKS[name]
    result = scenario.run(disk=kind(), source="idc")
    assert outcome(result, name) is FactOutcome.FAILED
    assert failed(result) == ({name} if code else set())
    assert result.exit_code == code


def test_locks_that_do_not_lock_are_named(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lock, "lock_file", staticmethod(lambda handle: None))
    result = scenario.run(source="idc")
    assert outcome(result, "disk.locks") is FactOutcome.FAILED
    assert result.exit_code == 0, "correctness does not depend on locks"


def test_a_full_disk_is_named(scenario: Scenario) -> None:
    result = scenario.run(disk=_Full(), source="idc")
    assert failed(result) == {"disk.write"}
    assert outcome(result, "disk.rename") is FactOutcome.NOT_CHECKED
    assert result.exit_code == 4
    assert list(scenario.output.parent.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_named(scenario: Scenario, tmp_path: Path) -> None:
    scenario.output.write_text("mine", encoding="utf-8")
    scenario.output = scenario.output / "below"
    result = scenario.run(source="idc")
    assert failed(result) == {"disk.write"}
    assert result.exit_code == 4
    assert files_of(tmp_path).keys() == {"data"}


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_a_read_only_folder_is_named(scenario: Scenario) -> None:
    scenario.output.mkdir()
    scenario.output.chmod(0o555)
    scenario.output.parent.chmod(0o755)
    is_root = os.geteuid() == 0
    if is_root:
        for folder in scenario.output.parents:
            if folder.stat().st_uid == 0 and not folder.stat().st_mode & 0o001:
                folder.chmod(folder.stat().st_mode | 0o011)
        os.seteuid(54321)
    try:
        result = scenario.run(source="idc")
    finally:
        if is_root:
            os.seteuid(0)
        scenario.output.chmod(0o755)
    assert failed(result) == {"disk.write"}
    assert "cannot write to" in seen(result, "disk.write")
    assert result.exit_code == 4


def test_the_users_files_stay_and_the_probe_files_go(scenario: Scenario) -> None:
    (scenario.output / "COVID-19-AR").mkdir(parents=True)
    (scenario.output / "COVID-19-AR" / "notes.txt").write_text("mine", encoding="utf-8")
    (scenario.output / "case").write_text("mine", encoding="utf-8")
    before = files_of(scenario.output)
    scenario.run(source="idc")
    assert files_of(scenario.output) == before
    assert sorted(path.name for path in scenario.output.iterdir()) == ["COVID-19-AR", "case"]


def test_a_folder_that_does_not_exist_is_not_created(scenario: Scenario) -> None:
    result = scenario.run(source="idc")
    assert result.exit_code == 0
    assert not scenario.output.exists()
    assert list(scenario.output.parent.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_low_limit_of_open_files_is_named(scenario: Scenario) -> None:
    result = scenario.run(source="idc", jobs=(open_files_limit() or 0))
    assert outcome(result, "machine.open-files") is FactOutcome.FAILED
    assert "series at once, not" in seen(result, "machine.open-files")
    assert result.exit_code == 0, "downloads use fewer jobs"


def test_the_report_has_no_secret_and_no_home_folder(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(scenario.output.parent))
    monkeypatch.setenv("USERPROFILE", str(scenario.output.parent))
    monkeypatch.setenv("TCIA_COVID_IDC_URL", "http://key:swordfish@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "token=swordfish")
    result = scenario.run(idc_url="http://key:swordfish@127.0.0.1:9", source="idc")
    report = "\n".join(report_lines(result)) + str(doctor_document(result))
    assert "swordfish" not in report
    assert str(scenario.output.parent) not in report
    assert result.output == f"~{os.sep}data"
    assert "TCIA_COVID_IDC_URL" in result.environment["set"]


def test_every_fact_is_explained(scenario: Scenario) -> None:
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    explained = set(re.findall(r"^\| `([a-z0-9.-]+)` \|", text, re.MULTILINE))
    names = {fact.name for fact in scenario.run().facts}
    connection = {name.partition(".")[2] for name in names if name.startswith("nbia.")}
    general = {"dns", "proxy", "tls", "response", "clock"}
    assert general <= connection
    own = {name for name in names if name.partition(".")[2] not in general}
    assert own <= explained
    assert {name for name in explained if "." in name} <= own


def test_the_document_names_every_fact(scenario: Scenario) -> None:
    result = scenario.run(source="idc")
    document = doctor_document(result)
    assert [fact["name"] for fact in document["facts"]] == [fact.name for fact in result.facts]
    assert len({fact.name for fact in result.facts}) == len(result.facts)
    assert sum(document["counts"].values()) == len(result.facts)
    assert document["series"]["SeriesInstanceUID"] == smallest_series().uid
