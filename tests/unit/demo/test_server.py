"""The demo archive serves what NBIA's clients download with."""

from __future__ import annotations

import csv
import hashlib
import http.client
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace

import pytest
import requests

from tcia_covid.demo.corpus import Corpus, DemoSeries, demo_corpus
from tcia_covid.demo.server import ArchiveServer
from tests.fakes.client import Client
from tests.fakes.synthetic import synthetic_corpus

FIVE_SLICES = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus()


@pytest.fixture(scope="module")
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus) as server:
        yield server
    assert server.errors == []


@pytest.fixture
def series(corpus: Corpus) -> DemoSeries:
    series = corpus.series(FIVE_SLICES)
    assert series is not None
    return series


def unzipped(response: requests.Response) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_lists_are_json_or_csv(v4: Client) -> None:
    names = {"DEMO-CT", "DEMO-MULTI", "DEMO-OTHER"}
    assert {row["Collection"] for row in v4.rows("getCollectionValues")} == names
    lines = v4.get("getCollectionValues", format="CSV").text.splitlines()
    assert (lines[0], set(lines[1:])) == ("Collection", names)
    assert v4.get("getSeries", Collection="NOBODY").content == b""
    assert v4.get("getSeries", format="yaml").status_code == 500


def test_series_are_filtered_and_described(v4: Client, series: DemoSeries) -> None:
    (row,) = v4.rows("getSeries", SeriesInstanceUID=FIVE_SLICES)
    assert (row["ImageCount"], row["FileSize"], row["SeriesDate"]) == (5, 19682, "01-01-2001")
    rows = v4.rows("getSeries", Collection="demo-multi", Modality="mr", PatientID="98890234")
    assert len(rows) == 7
    images = v4.rows("getSOPInstanceUIDs", SeriesInstanceUID=FIVE_SLICES)
    assert [row["SOPInstanceUID"] for row in images] == [image.uid for image in series.images]


def test_metadata_of_several_series_is_csv_unless_json_is_requested(v4: Client) -> None:
    response = v4.post("getSeriesMetadata", list=f"{FIVE_SLICES},1.2.3")
    header, row = csv.reader(response.text.splitlines())
    assert (len(header), row[header.index("PixelSpacing(mm)-Row")]) == (40, "0.488281")
    (same,) = v4.post("getSeriesMetadata", list=FIVE_SLICES, format="JSON").json()
    assert same["FileSize"] == 19682
    assert v4.post("getSeriesMetadata").status_code == 400


def test_zip_contains_license_images_and_hashes(v4: Client, series: DemoSeries) -> None:
    files = unzipped(v4.get("getImage", SeriesInstanceUID=FIVE_SLICES, IncludeMD5="Yes"))
    assert list(files) == ["LICENSE", *(f"0000000{n}.dcm" for n in range(1, 6)), "md5hashes.csv"]
    for name, md5 in csv.reader(files["md5hashes.csv"].decode().splitlines()[1:]):
        assert hashlib.md5(files[name]).hexdigest() == md5
    assert b"MIT License" in files["LICENSE"]
    bare = unzipped(v4.get("getImageWithMD5Hash", SeriesInstanceUID=FIVE_SLICES))
    assert {bare[name] for name in bare if name != "md5hashes.csv"} == {
        image.read() for image in series.images
    }
    refused = v4.get("getImage", SeriesInstanceUID="1.2.3")
    assert (refused.status_code, "not been granted" in refused.text) == (400, True)


def test_single_images_and_hashes(v4: Client, series: DemoSeries) -> None:
    image = series.images[2]
    response = v4.get("getSingleImage", SeriesInstanceUID=FIVE_SLICES, SOPInstanceUID=image.uid)
    assert response.content == image.read()
    unknown = v4.get("getSingleImage", SeriesInstanceUID=FIVE_SLICES, SOPInstanceUID="1.2.3")
    assert (unknown.status_code, unknown.text[-4:]) == (500, "null")
    assert v4.get("getMD5HashForImage", SOPInstanceUID=image.uid).text == image.md5
    md5s = "".join(sorted(image.md5 or "" for image in series.images))
    assert (
        v4.post("getMD5Hierarchy", SeriesInstanceUID=FIVE_SLICES).text
        == hashlib.md5(md5s.encode()).hexdigest()
    )


def test_clients_of_v2_log_in_as_guest(server: ArchiveServer, v4: Client) -> None:
    root = server.root.removesuffix("/services")
    assert v4.session.post(f"{root}/oauth/token", data={"a": "b"}).json()["access_token"]
    assert len(v4.session.get(f"{server.root}/v2/getSeries").json()) == 23


def test_unknown_calls_and_paths_are_errors(server: ArchiveServer, v4: Client) -> None:
    assert v4.get("getNothing").status_code == 500
    assert v4.session.get(f"http://127.0.0.1:{server.port}/elsewhere").status_code == 404


def test_head_has_no_body_and_keeps_the_connection(server: ArchiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    for path in ("getCollectionValues", f"getImage?SeriesInstanceUID={FIVE_SLICES}"):
        connection.request("HEAD", f"/nbia-api/services/v4/{path}")
        assert connection.getresponse().read() == b""
    connection.request("GET", "/nbia-api/v4/getCollectionValues")
    assert json.loads(connection.getresponse().read())
    connection.close()


def test_requests_are_logged(corpus: Corpus) -> None:
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        response = client.get("getSeries", Collection="DEMO-CT")
    (call,) = server.requests
    assert (call.method, call.endpoint, call.params["Collection"]) == (
        "GET",
        "getSeries",
        "DEMO-CT",
    )
    assert (call.status, call.sent) == (200, len(response.content))


def test_stopping_closes_connections_and_ends_threads(corpus: Corpus) -> None:
    before = threading.active_count()
    with ArchiveServer(corpus) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/nbia-api/services/v4/getCollectionValues")
        connection.getresponse().read()
    connection.close()
    assert threading.active_count() == before


def test_an_internal_error_is_a_500_and_recorded() -> None:
    def broken() -> bytes:
        raise ValueError("no such disk")

    corpus = synthetic_corpus(patients=1, series_per_patient=1)
    (series,) = corpus
    image = replace(series.images[0], read=broken)
    corpus.put(replace(series, images=(image,)))
    params = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": image.uid}
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        assert client.get("getSingleImage", **params).text.endswith("no such disk")
    assert [str(error) for error in server.errors] == ["no such disk"]
