"""Series of the shipped catalog: without a network, and verified by IDC's ETags."""

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
from tcia_covid.operations.adopt import AdoptResult, adopt_folder
from tcia_covid.operations.adopt_scan import Reason
from tcia_covid.operations.download import download_request
from tcia_covid.selection.request import Options, Request, Source
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus, DemoCollection, DemoPatient, DemoSeries, DemoStudy
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import flat, idc_index
from tests.fakes.s3 import S3Server, running_s3
from tests.fakes.synthetic import ROOT, ImageSpec, demo_image, synthetic_corpus
from tests.unit.archive_helpers import QUICK

__all__ = ["running_s3"]

NAME = "COVID-19-NY-SBU"
HASTY = replace(QUICK, retries=0)


def collection() -> Collection:
    found = load_registry().find(NAME)
    assert found is not None
    return found


def catalog_series(place: int, images: int = 2) -> Series:
    """A series of the catalog; each test uses another one, because they share the server."""
    return [image for image in series_catalog.load(NAME) if image.image_count == images][place]


def synthetic_images(known: Series) -> DemoSeries:
    """Synthetic images with the UIDs of a real series."""
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
def unreachable_url() -> str:
    """The URL of a port without a server."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def adopt(
    folder: Path, data: Path, nbia: str, idc: str, source: Source = "auto", **more: object
) -> AdoptResult:
    options = Options(jobs=2, source=source, nbia_url=nbia, idc_url=idc, http=HASTY, durable=False)
    return adopt_folder(folder, data, options=options, **more)  # type: ignore[arg-type]


def upload(s3: S3Server, known: Series, series: DemoSeries, *, in_parts: int = 0) -> None:
    """Upload images to where the catalog says that the series is."""
    assert known.bucket is not None
    s3.make_bucket(known.bucket)
    for number, image in enumerate(series.images):
        key = f"{known.crdc_uuid}/{number}.dcm"
        send = s3.put_in_parts if number < in_parts else s3.put
        send(known.bucket, key, image.read())


def test_without_a_network_series_are_staged_and_not_verified(
    tmp_path: Path, unreachable_url: str
) -> None:
    known = catalog_series(10)
    idc_index(tmp_path / "have", [synthetic_images(known)])
    events: list[Event] = []
    result = adopt(
        tmp_path / "have", tmp_path / "data", unreachable_url, unreachable_url, emit=events.append
    )
    assert (result.exit_code, result.series.staged, result.images.staged) == (3, 1, 2)
    assert [(series.series, series.reason) for series in result.incomplete] == [
        (known.uid, Reason.NO_RESPONSE)
    ]
    tree = Tree(tmp_path / "data" / NAME)
    assert tree.complete_receipt(known.uid) is None
    assert tree.series_in_staging() == {known.uid}


def test_an_unreachable_archive_is_reported_once(tmp_path: Path, unreachable_url: str) -> None:
    for known in [series for series in series_catalog.load(NAME) if series.image_count == 1][:6]:
        flat(tmp_path / "have", [synthetic_images(known)])
    events: list[Event] = []
    result = adopt(
        tmp_path / "have", tmp_path / "data", unreachable_url, unreachable_url, emit=events.append
    )
    assert result.series.staged == 6
    texts = [event.text for event in events if isinstance(event, Notice)]
    assert sum("any more" in text for text in texts) == 2


def test_staged_series_are_verified_by_a_later_run(
    tmp_path: Path, unreachable_url: str, s3_server: S3Server
) -> None:
    known = catalog_series(11)
    series = synthetic_images(known)
    flat(tmp_path / "have", [series])
    adopt(tmp_path / "have", tmp_path / "data", unreachable_url, unreachable_url)
    upload(s3_server, known, series)
    result = adopt(tmp_path / "have", tmp_path / "data", unreachable_url, s3_server.url)
    assert (result.exit_code, result.series.adopted, result.placed) == (0, 1, {"staged": 2})


def test_series_that_could_not_be_looked_up_are_marked(
    tmp_path: Path, unreachable_url: str
) -> None:
    flat(tmp_path / "have", synthetic_corpus(patients=1, series_per_patient=1))
    result = adopt(tmp_path / "have", tmp_path / "data", unreachable_url, unreachable_url)
    assert ([series.looked_up for series in result.foreign], result.exit_code) == ([False], 3)
    assert "catalog" in result.notices[0]


def test_a_collection_that_cannot_be_listed_is_an_error(
    tmp_path: Path, unreachable_url: str
) -> None:
    flat(tmp_path / "have", synthetic_corpus(patients=1, series_per_patient=1))
    other = Collection(name="SYNTHETIC", format="DICOM", title="")
    for source in ("auto", "idc"):
        with pytest.raises(ArchiveError):
            adopt(
                tmp_path / "have",
                tmp_path / "data",
                unreachable_url,
                unreachable_url,
                source,
                collection=other,  # type: ignore[arg-type]
            )


def test_with_a_collection_of_the_catalog_no_other_uid_is_sent(
    tmp_path: Path, s3_server: S3Server
) -> None:
    known = catalog_series(12)
    series = synthetic_images(known)
    upload(s3_server, known, series)
    flat(tmp_path / "have", [series, *synthetic_corpus(patients=1, series_per_patient=1)])
    with ArchiveServer(Corpus([DemoCollection(NAME)])) as server:
        result = adopt(
            tmp_path / "have",
            tmp_path / "data",
            server.base_url,
            s3_server.url,
            collection=collection(),
        )
        sent = {value for request in server.requests for value in request.params.values()}
    assert (result.series.adopted, result.series.foreign, result.exit_code) == (1, 1, 0)
    assert not any("9999" in value for value in sent)


def test_the_collection_of_a_foreign_series_is_reported(
    tmp_path: Path, unreachable_url: str
) -> None:
    listed = series_catalog.load("MIDRC-RICORD-1C")
    other = next(series for series in listed if series.image_count == 1)
    flat(tmp_path / "have", [synthetic_images(other)])
    result = adopt(
        tmp_path / "have",
        tmp_path / "data",
        unreachable_url,
        unreachable_url,
        collection=collection(),
    )
    assert [series.collection for series in result.foreign] == ["MIDRC-RICORD-1C"]
    assert result.exit_code == 1


@pytest.mark.parametrize("source", ["auto", "idc"])
def test_etags_verify_each_image(
    tmp_path: Path, unreachable_url: str, s3_server: S3Server, source: Source
) -> None:
    known = catalog_series(source == "idc")
    series = synthetic_images(known)
    upload(s3_server, known, series)
    idc_index(tmp_path / "have", [series])
    result = adopt(tmp_path / "have", tmp_path / "data", unreachable_url, s3_server.url, source)
    assert (result.exit_code, result.series.adopted, result.images.adopted) == (0, 1, 2)
    receipt = Tree(tmp_path / "data" / NAME).complete_receipt(known.uid)
    assert receipt is not None
    assert receipt.check is Check.MD5


def test_a_file_that_matches_no_etag_is_damaged(
    tmp_path: Path, unreachable_url: str, s3_server: S3Server
) -> None:
    known = catalog_series(2)
    series = synthetic_images(known)
    upload(s3_server, known, series)
    flat(tmp_path / "have", [series])
    victim = min((tmp_path / "have").iterdir())
    victim.write_bytes(victim.read_bytes()[:-1] + b"\xff")
    result = adopt(tmp_path / "have", tmp_path / "data", unreachable_url, s3_server.url, "idc")
    assert [(file.file, file.reason) for file in result.damaged] == [(victim.name, Reason.CHANGED)]
    assert (result.images.staged, result.exit_code) == (1, 1)


def test_an_image_uploaded_in_parts_is_not_verified(
    tmp_path: Path, unreachable_url: str, s3_server: S3Server
) -> None:
    known = catalog_series(3)
    series = synthetic_images(known)
    upload(s3_server, known, series, in_parts=1)
    flat(tmp_path / "have", [series])
    result = adopt(tmp_path / "have", tmp_path / "data", unreachable_url, s3_server.url, "idc")
    assert (result.images.staged, result.images.unverified, result.damaged) == (1, 1, [])


def test_nbia_verifies_images_that_have_no_hash_at_idc(tmp_path: Path, s3_server: S3Server) -> None:
    known = catalog_series(4)
    series = synthetic_images(known)
    upload(s3_server, known, series, in_parts=2)
    flat(tmp_path / "have", [series])
    with ArchiveServer(Corpus([DemoCollection(NAME)], [series])) as server:
        result = adopt(tmp_path / "have", tmp_path / "data", server.base_url, s3_server.url)
        asked = server.count("getMD5HashForImage")
    assert (result.exit_code, result.series.adopted, asked) == (0, 1, 2)


def test_a_download_from_idc_fetches_only_missing_images(
    tmp_path: Path, unreachable_url: str, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = catalog_series(5)
    series = synthetic_images(known)
    known = replace(known, size=sum(image.size for image in series.images))
    monkeypatch.setattr(series_catalog, "find", lambda uids: {known.uid: known})
    upload(s3_server, known, series)
    flat(tmp_path / "have", [series])
    min((tmp_path / "have").iterdir()).unlink()
    assert (
        adopt(tmp_path / "have", tmp_path / "data", unreachable_url, s3_server.url).images.staged
        == 1
    )
    options = Options(source="idc", idc_url=s3_server.url, http=QUICK, durable=False)
    summary = download_request(Request((known.uid,), str(tmp_path / "data"), options=options))
    assert summary.bytes_received < 2 * series.images[0].size + 4096
    assert Tree(tmp_path / "data" / NAME).complete_receipt(known.uid) is not None
