"""Adopting series of the shipped catalog: without a network, and proved by IDC's ETags."""

from __future__ import annotations

import socket
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import ArchiveError
from tcia_covid.core.events import Event, Notice
from tcia_covid.core.models import Check, Series
from tcia_covid.demo.corpus import Corpus, DemoCollection, DemoPatient, DemoSeries, DemoStudy
from tcia_covid.operations.adopt.adopt import adopt_folder
from tcia_covid.operations.adopt.result import AdoptResult, Reason
from tcia_covid.operations.download import download_request
from tcia_covid.selection.request import Options, Request, Source
from tcia_covid.store.tree import Tree
from tests.fakes.layouts import flat, idc_index
from tests.fakes.nbia import ArchiveServer
from tests.fakes.s3 import S3Server, running_s3
from tests.fakes.synthetic import ROOT, ImageSpec, demo_image, synthetic_corpus
from tests.unit.archive_helpers import QUICK

__all__ = ["running_s3"]

NAME = "COVID-19-NY-SBU"
HASTY = replace(QUICK, retries=0)


def registered() -> Collection:
    found = load_registry().find(NAME)
    assert found is not None
    return found


def listed(place: int, images: int = 2) -> Series:
    """A series of the catalog; each test has another, for they share the server."""
    return [one for one in series_catalog.load(NAME) if one.image_count == images][place]


def invented(known: Series) -> DemoSeries:
    """Images under a real series' UIDs; nobody's real ones."""
    stem = f"{ROOT}.8.{zlib.crc32(known.uid.encode())}"
    specs = [
        ImageSpec(f"{stem}.{n}", known.uid, known.study, known.patient, "CR", n, seed=n)
        for n in range(1, (known.image_count or 0) + 1)
    ]
    return DemoSeries(
        known.uid,
        known.collection,
        DemoPatient(known.patient),
        DemoStudy(known.study, "1901-02-03"),
        tuple(demo_image(spec) for spec in specs),
        modality="CR",
    )


@pytest.fixture
def nowhere() -> str:
    """The URL of a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def take(
    have: Path, data: Path, nbia: str, idc: str, source: Source = "auto", **more: object
) -> AdoptResult:
    options = Options(jobs=2, source=source, nbia_url=nbia, idc_url=idc, http=HASTY, durable=False)
    return adopt_folder(have, data, options=options, **more)  # type: ignore[arg-type]


def put(s3: S3Server, known: Series, series: DemoSeries, *, in_parts: int = 0) -> None:
    """Put images where the catalog says that the series is."""
    assert known.bucket is not None
    s3.make_bucket(known.bucket)
    for number, image in enumerate(series.images):
        key = f"{known.crdc_uuid}/{number}.dcm"
        send = s3.put_in_parts if number < in_parts else s3.put
        send(known.bucket, key, image.read())


# Without a network


def test_without_a_network_series_of_the_catalog_wait_unproved(
    tmp_path: Path, nowhere: str
) -> None:
    known = listed(10)
    idc_index(tmp_path / "have", [invented(known)])
    events: list[Event] = []
    result = take(tmp_path / "have", tmp_path / "data", nowhere, nowhere, emit=events.append)
    assert (result.exit_code, result.series.staged, result.images.staged) == (3, 1, 2)
    assert [(one.series, one.reason) for one in result.incomplete] == [
        (known.uid, Reason.NO_RESPONSE)
    ]
    tree = Tree(tmp_path / "data" / NAME)
    assert tree.committed(known.uid) is None
    assert tree.under_way() == {known.uid}


def test_an_archive_that_is_silent_is_not_waited_for_every_time(
    tmp_path: Path, nowhere: str
) -> None:
    for known in [one for one in series_catalog.load(NAME) if one.image_count == 1][:6]:
        flat(tmp_path / "have", [invented(known)])
    events: list[Event] = []
    result = take(tmp_path / "have", tmp_path / "data", nowhere, nowhere, emit=events.append)
    assert result.series.staged == 6
    given_up = [one.text for one in events if isinstance(one, Notice) and "any more" in one.text]
    assert len(given_up) == 2


def test_what_waited_is_proved_and_completed_once_the_archive_answers(
    tmp_path: Path, nowhere: str, s3_server: S3Server
) -> None:
    known = listed(11)
    series = invented(known)
    flat(tmp_path / "have", [series])
    take(tmp_path / "have", tmp_path / "data", nowhere, nowhere)
    put(s3_server, known, series)
    result = take(tmp_path / "have", tmp_path / "data", nowhere, s3_server.url)
    assert (result.exit_code, result.series.adopted, result.placed) == (0, 1, {"staged": 2})


def test_series_that_nobody_can_be_asked_about_are_told_apart_from_foreign_ones(
    tmp_path: Path, nowhere: str
) -> None:
    flat(tmp_path / "have", synthetic_corpus(patients=1, series_per_patient=1))
    result = take(tmp_path / "have", tmp_path / "data", nowhere, nowhere)
    assert ([one.looked_up for one in result.foreign], result.exit_code) == ([False], 3)
    assert "catalog" in result.notices[0]


def test_a_collection_that_cannot_be_listed_is_an_error(tmp_path: Path, nowhere: str) -> None:
    flat(tmp_path / "have", synthetic_corpus(patients=1, series_per_patient=1))
    other = Collection(name="SYNTHETIC", format="DICOM", title="")
    for source in ("auto", "idc"):
        with pytest.raises(ArchiveError):
            take(
                tmp_path / "have",
                tmp_path / "data",
                nowhere,
                nowhere,
                source,
                collection=other,  # type: ignore[arg-type]
            )


def test_with_a_collection_of_the_catalog_nobody_is_told_of_other_series(
    tmp_path: Path, s3_server: S3Server
) -> None:
    known = listed(12)
    series = invented(known)
    put(s3_server, known, series)
    flat(tmp_path / "have", [series, *synthetic_corpus(patients=1, series_per_patient=1)])
    with ArchiveServer(Corpus([DemoCollection(NAME)])) as server:
        result = take(
            tmp_path / "have",
            tmp_path / "data",
            server.base_url,
            s3_server.url,
            collection=registered(),
        )
        told = {value for one in server.requests for value in one.params.values()}
    assert (result.series.adopted, result.series.foreign, result.exit_code) == (1, 1, 0)
    assert not any("9999" in value for value in told)


def test_a_foreign_series_is_told_by_the_collection_that_it_is_of(
    tmp_path: Path, nowhere: str
) -> None:
    other = next(one for one in series_catalog.load("MIDRC-RICORD-1C") if one.image_count == 1)
    flat(tmp_path / "have", [invented(other)])
    result = take(tmp_path / "have", tmp_path / "data", nowhere, nowhere, collection=registered())
    assert [one.collection for one in result.foreign] == ["MIDRC-RICORD-1C"]
    assert result.exit_code == 1


# IDC's hashes


@pytest.mark.parametrize("source", ["auto", "idc"])
def test_etags_prove_each_image_by_its_own_hash(
    tmp_path: Path, nowhere: str, s3_server: S3Server, source: Source
) -> None:
    known = listed(source == "idc")
    series = invented(known)
    put(s3_server, known, series)
    idc_index(tmp_path / "have", [series])
    result = take(tmp_path / "have", tmp_path / "data", nowhere, s3_server.url, source)
    assert (result.exit_code, result.series.adopted, result.images.adopted) == (0, 1, 2)
    receipt = Tree(tmp_path / "data" / NAME).committed(known.uid)
    assert receipt is not None
    assert receipt.check is Check.MD5


def test_a_file_that_no_etag_fits_is_damaged(
    tmp_path: Path, nowhere: str, s3_server: S3Server
) -> None:
    known = listed(2)
    series = invented(known)
    put(s3_server, known, series)
    flat(tmp_path / "have", [series])
    victim = min((tmp_path / "have").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1] + b"\xff")
    result = take(tmp_path / "have", tmp_path / "data", nowhere, s3_server.url, "idc")
    assert [(one.file, one.reason) for one in result.damaged] == [(victim.name, Reason.CHANGED)]
    assert (result.images.staged, result.exit_code) == (1, 1)


def test_an_object_uploaded_in_parts_leaves_its_image_unproven(
    tmp_path: Path, nowhere: str, s3_server: S3Server
) -> None:
    known = listed(3)
    series = invented(known)
    put(s3_server, known, series, in_parts=1)
    flat(tmp_path / "have", [series])
    result = take(tmp_path / "have", tmp_path / "data", nowhere, s3_server.url, "idc")
    assert (result.images.staged, result.images.unverified, result.damaged) == (1, 1, [])


def test_nbia_proves_what_idc_has_no_hash_of(tmp_path: Path, s3_server: S3Server) -> None:
    known = listed(4)
    series = invented(known)
    put(s3_server, known, series, in_parts=2)
    flat(tmp_path / "have", [series])
    with ArchiveServer(Corpus([DemoCollection(NAME)], [series])) as server:
        result = take(tmp_path / "have", tmp_path / "data", server.base_url, s3_server.url)
        asked = server.count("getMD5HashForImage")
    assert (result.exit_code, result.series.adopted, asked) == (0, 1, 2)


def test_a_download_from_idc_fetches_only_the_rest(
    tmp_path: Path, nowhere: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = listed(5)
    series = invented(known)
    known = replace(known, size=sum(image.size for image in series.images))
    monkeypatch.setattr(series_catalog, "find", lambda uids: {known.uid: known})
    put(s3_server, known, series)
    flat(tmp_path / "have", [series])
    min((tmp_path / "have").iterdir()).unlink()
    assert take(tmp_path / "have", tmp_path / "data", nowhere, s3_server.url).images.staged == 1
    options = Options(source="idc", idc_url=s3_server.url, http=QUICK, durable=False)
    summary = download_request(Request((known.uid,), str(tmp_path / "data"), options=options))
    assert summary.bytes_received < 2 * series.images[0].size + 4096
    assert Tree(tmp_path / "data" / NAME).committed(known.uid) is not None
