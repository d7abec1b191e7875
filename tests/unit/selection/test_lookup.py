"""What the catalog does not have is asked of an archive, and quickly refused without a network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tcia_covid.archives.idc.archive import IdcArchive
from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import (
    NotAvailableError,
    UnknownCollectionError,
    UnreachableError,
)
from tcia_covid.http.client import Client
from tcia_covid.selection.lookup import ArchiveLookup, LookupResult
from tcia_covid.selection.manifests.model import Kind
from tcia_covid.selection.targets import Unknown
from tests.fakes import s3
from tests.fakes.corpus import DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults
from tests.fakes.nbia_servers import NAME, small_archive
from tests.fakes.s3 import BUCKET, S3Server, folder_of
from tests.fakes.scripted_server import closed_port
from tests.unit.archive_helpers import QUICK

REGISTRY = load_registry()
running_s3 = s3.running_s3


@pytest.fixture(name="archive")
def _archive(faults: Faults) -> Iterator[ArchiveServer]:
    with small_archive(faults) as server:
        yield server


@pytest.fixture(name="client")
def _client() -> Iterator[Client]:
    client = Client(QUICK)
    yield client
    client.close()


@pytest.fixture(name="nbia")
def _nbia(archive: ArchiveServer, client: Client) -> NbiaArchive:
    return NbiaArchive(client, archive.base_url)


@pytest.fixture(name="first")
def _first(archive: ArchiveServer) -> DemoSeries:
    return min(archive.corpus, key=lambda series: series.uid)


def found(
    lookup: ArchiveLookup, value: str, kind: Kind = "word", manifest: str = ""
) -> LookupResult:
    ((_, what),) = lookup.find([Unknown(kind, value, manifest, 3)])
    return what


def uids(what: LookupResult) -> set[str]:
    return {series.uid for series in what.listing.series}


def test_an_archive_is_asked_what_a_uid_is(nbia: NbiaArchive, first: DemoSeries) -> None:
    lookup = ArchiveLookup(nbia, REGISTRY)
    series = found(lookup, first.uid)
    assert (series.kind, uids(series)) == ("SeriesInstanceUID", {first.uid})
    study = found(lookup, first.study.uid)
    assert (study.kind, first.uid in uids(study)) == ("StudyInstanceUID", True)
    assert found(lookup, first.study.uid, "study").kind == "StudyInstanceUID"


@pytest.mark.parametrize("spelled", [str.upper, str.lower, str])
def test_an_archive_knows_patients_in_any_case(
    nbia: NbiaArchive, archive: ArchiveServer, first: DemoSeries, spelled: type[str]
) -> None:
    expected = {item.uid for item in archive.corpus if item.patient.id == first.patient.id}
    for kind in ("word", "patient"):
        patient = found(ArchiveLookup(nbia, REGISTRY), spelled(first.patient.id), kind)
        assert (patient.kind, uids(patient)) == ("PatientID", expected)


@pytest.mark.parametrize(
    "word", [NAME, "small", "s m-a_l.l", "https://www.cancerimagingarchive.net/collection/small/"]
)
def test_names_that_only_the_archive_knows_are_folded_too(
    nbia: NbiaArchive, archive: ArchiveServer, word: str
) -> None:
    collection = found(ArchiveLookup(nbia, REGISTRY), word)
    assert collection.kind == "collection"
    assert uids(collection) == {series.uid for series in archive.corpus}


def test_a_word_near_a_name_that_only_the_archive_knows_gets_a_suggestion(
    nbia: NbiaArchive,
) -> None:
    with pytest.raises(UnknownCollectionError) as raised:
        found(ArchiveLookup(nbia, REGISTRY), "smal")
    assert "did you mean 'SMALL'?" in raised.value.hint


def test_an_image_uid_is_reported_as_one(nbia: NbiaArchive, first: DemoSeries) -> None:
    image = found(ArchiveLookup(nbia, REGISTRY), first.images[0].uid)
    (failure,) = image.listing.failures
    assert (image.kind, image.listing.series) == ("SOPInstanceUID", [])
    assert "is the SOPInstanceUID of one image" in failure.detail
    assert "SeriesInstanceUID (0020,000E)" in failure.hint


@pytest.mark.parametrize(
    ("kind", "value", "name"),
    [
        ("word", "1.2.3", "a series, study or image 1.2.3"),
        ("word", "NOBODY", "a patient NOBODY"),
        ("study", "1.2.3", "a study 1.2.3"),
        ("patient", "NOBODY", "a patient NOBODY"),
        ("crdc_series_uuid", "u", "a series u"),
        ("address", "s3://b/u", "a series at s3://b/u"),
    ],
)
def test_a_line_that_no_archive_knows_is_a_named_failure(
    nbia: NbiaArchive, kind: Kind, value: str, name: str
) -> None:
    what = found(ArchiveLookup(nbia, REGISTRY), value, kind, "list.txt")
    (failure,) = what.listing.failures
    assert failure.detail == f"list.txt, line 3: no archive lists {name}"
    assert (what.kind, failure.reason) == ("", "not-available")


def test_a_manifest_of_unknown_uids_takes_a_bounded_number_of_requests(
    nbia: NbiaArchive, archive: ArchiveServer
) -> None:
    unknown = [Unknown("word", f"1.2.{number}", "x", number) for number in range(300)]
    results = dict(ArchiveLookup(nbia, REGISTRY).find(unknown))
    assert sum(len(what.listing.failures) for what in results.values()) == 300
    assert len(archive.requests) < 250
    last = results[unknown[-1]].listing.failures[0]
    assert last.detail.endswith("1.2.299: not looked up, because 100 others are unknown")


def test_any_number_of_known_identifiers_is_looked_up(nbia: NbiaArchive, first: DemoSeries) -> None:
    known = [Unknown("study", first.study.uid, "x", number) for number in range(120)]
    results = dict(ArchiveLookup(nbia, REGISTRY).find(known))
    assert {what.kind for what in results.values()} == {"StudyInstanceUID"}


@pytest.mark.parametrize("value", ["1.2.3", "NOBODY"])
def test_without_a_network_the_answer_is_quick_and_names_what_was_looked_at(
    client: Client, value: str
) -> None:
    nbia = NbiaArchive(client, f"http://127.0.0.1:{closed_port()}/v4")
    with pytest.raises(UnreachableError) as raised:
        found(ArchiveLookup(nbia, REGISTRY), value)
    assert raised.value.message.startswith(
        f"'{value}' is neither a file nor in the catalog of 5 collections, and NBIA could not be "
        "asked: 127.0.0.1:"
    )


def test_with_only_idc_the_message_says_what_was_searched() -> None:
    with pytest.raises(NotAvailableError, match="IDC's catalog does not list NOBODY"):
        found(ArchiveLookup(None, REGISTRY), "NOBODY")
    (failure,) = found(ArchiveLookup(None, REGISTRY), "1.2.3").listing.failures
    assert "no archive lists" in failure.detail


@pytest.mark.parametrize("bucket", ["", BUCKET])
def test_the_images_in_a_folder_of_idc_identify_its_series(
    nbia: NbiaArchive, client: Client, s3_server: S3Server, first: DemoSeries, bucket: str
) -> None:
    s3_server.hold(first)
    s3_server.make_bucket(BUCKET)
    idc = IdcArchive(client, s3_server.url, find=lambda _: {}, list_all=lambda _: [])
    lookup = ArchiveLookup(nbia, REGISTRY, find_folder=idc.find_folder, has_idc=True)
    uuid = folder_of(first.uid)
    value, kind = (f"s3://{bucket}/{uuid}", "address") if bucket else (uuid, "crdc_series_uuid")
    what = found(lookup, value, kind)
    (series,) = what.listing.series
    assert what.kind == "crdc_series_uuid"
    assert (series.uid, series.collection) == (first.uid, NAME)
    assert (series.bucket, series.crdc_uuid) == (BUCKET, uuid)


def test_an_empty_folder_of_idc_is_no_series(
    nbia: NbiaArchive, client: Client, s3_server: S3Server
) -> None:
    s3_server.make_bucket(BUCKET)
    idc = IdcArchive(client, s3_server.url, find=lambda _: {}, list_all=lambda _: [])
    lookup = ArchiveLookup(nbia, REGISTRY, find_folder=idc.find_folder, has_idc=True)
    what = found(lookup, f"s3://{BUCKET}/00000000-1111-2222-3333-444444444444", "address")
    assert "no archive lists a series at s3://" in what.listing.failures[0].detail
