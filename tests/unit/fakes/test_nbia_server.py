"""The simulated NBIA speaks HTTP as NBIA does, errors included."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.fakes.corpus import Corpus, demo_corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.synthetic import synthetic_corpus

FIVE_SLICES = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"
FAILED = "Server was not able to process your request\n"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus()


@pytest.fixture(scope="module")
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus) as server:
        yield server
    assert server.errors == []


def test_health_token_and_what_lies_outside(server: ArchiveServer, v4: Client) -> None:
    root = server.root.removesuffix("/services")
    assert v4.session.get(f"{root}/up").text == "up"
    assert v4.session.post(f"{root}/oauth/token", data={"a": "b"}).json()["access_token"]
    outside = v4.session.get(f"http://127.0.0.1:{server.port}/elsewhere")
    assert (outside.status_code, outside.headers["Content-Type"]) == (404, "text/html")


def test_generations_that_need_a_token_fail_without_one(server: ArchiveServer, v4: Client) -> None:
    url = f"{server.root}/v2/getCollectionValues"
    response = v4.session.get(url)
    assert (response.status_code, response.text) == (500, f"{FAILED}null")
    assert v4.session.get(url, headers={"Authorization": "Bearer x"}).json()


def test_v4_refuses_parameters_it_does_not_know_and_v1_ignores_them(v1: Client, v4: Client) -> None:
    refused = v4.get("getSeries", collection="DEMO-CT")
    assert (refused.status_code, refused.headers["Content-Type"]) == (400, "application/xml")
    assert refused.text.startswith("Invalid query parameter: 'collection'. Allowed")
    assert len(v1.rows("getSeries", collection="DEMO-CT")) == 23
    image = v4.get("getImageWithMD5Hash", SeriesInstanceUID=FIVE_SLICES, NewFileNames="Yes")
    assert (image.status_code, image.headers["Content-Type"]) == (400, "application/octet-stream")


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("getImage", "A parameter, SeriesInstanceUID, is required for this API call."),
        ("getSeriesSize", "A parameter, SeriesInstanceUID is required for this API call."),
        (
            "getSingleImage",
            "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call.",
        ),
    ],
)
def test_a_missing_parameter_is_400_with_a_sentence(
    v4: Client, endpoint: str, sentence: str
) -> None:
    response = v4.get(endpoint)
    assert (response.status_code, response.text) == (400, sentence)
    assert response.headers["Content-Type"] == "application/json"


def test_every_slip_of_http_is_a_500(v4: Client) -> None:
    assert v4.get("getNothing").text == f"{FAILED}HTTP 404 Not Found"
    assert v4.get("getSeriesMetadata").text == f"{FAILED}HTTP 405 Method Not Allowed"
    url = f"{v4.base}/getImage?SeriesInstanceUID={FIVE_SLICES}"
    response = v4.session.get(url, headers={"Accept": "application/zip"})
    assert (response.status_code, response.text) == (500, f"{FAILED}HTTP 406 Not Acceptable")
    unknown = v4.get("getSeries", Collection="DEMO-CT", format="yaml")
    assert (unknown.status_code, unknown.text.startswith(FAILED)) == (500, True)


def test_an_unknown_series_is_not_granted(v1: Client, v4: Client) -> None:
    old = v1.get("getImage", SeriesInstanceUID="1.2.3")
    new = v4.get("getImage", SeriesInstanceUID="1.2.3")
    assert (old.status_code, new.status_code) == (400, 400)
    assert old.text == "Image with given SeriesInstanceUID,1.2.3, is not in public domain."
    assert "has not been granted the access" in new.text


def test_an_unknown_image_is_48_bytes_of_500(v4: Client) -> None:
    for series in (FIVE_SLICES, "1.2"):
        response = v4.get("getSingleImage", SeriesInstanceUID=series, SOPInstanceUID="1.2.3")
        assert (response.status_code, response.content) == (500, f"{FAILED}null".encode())
        assert response.headers["Content-Length"] == "48"


def test_bodies_beyond_8192_bytes_are_chunked(v4: Client) -> None:
    small = v4.get("getSOPInstanceUIDs", SeriesInstanceUID=FIVE_SLICES).headers
    large = v4.get("getSeries").headers
    assert "Content-Length" in small
    assert "Transfer-Encoding" not in small
    assert large["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in large


def test_range_is_ignored(v4: Client) -> None:
    url = f"{v4.base}/getImage?SeriesInstanceUID={FIVE_SLICES}"
    response = v4.session.get(url, headers={"Range": "bytes=100-"})
    assert (response.status_code, response.content[:4]) == (200, b"PK\x03\x04")


def test_head_has_no_body_and_the_connection_lives_on(server: ArchiveServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port)
    connection.request("HEAD", "/nbia-api/services/v4/getCollectionValues")
    head = connection.getresponse()
    assert (head.status, head.read()) == (200, b"")
    connection.request("GET", "/nbia-api/v4/getCollectionValues")
    assert json.loads(connection.getresponse().read())
    connection.close()


def test_requests_are_logged_with_the_bytes_sent(corpus: Corpus) -> None:
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        response = client.get("getSeries", Collection="DEMO-CT")
    (record,) = server.requests
    assert (record.method, record.endpoint, record.params) == (
        "GET",
        "getSeries",
        {"Collection": "DEMO-CT"},
    )
    assert (record.status, record.sent) == (200, len(response.content))
    assert server.count("getSeries") == 1


def test_stopping_ends_open_connections_and_frees_the_threads(corpus: Corpus) -> None:
    before = threading.active_count()
    with ArchiveServer(corpus) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/nbia-api/services/v4/getCollectionValues")
        connection.getresponse().read()
    connection.close()
    assert threading.active_count() == before


def test_an_error_of_its_own_is_a_500_and_remembered() -> None:
    def broken() -> bytes:
        raise ValueError("no such disk")

    corpus = synthetic_corpus(patients=1, series_per_patient=1)
    (series,) = corpus
    image = replace(series.images[0], read=broken)
    corpus.put(replace(series, images=(image,)))
    asked = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": image.uid}
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        response = client.get("getSingleImage", **asked)
    assert (response.status_code, response.text) == (500, f"{FAILED}no such disk")
    assert [str(error) for error in server.errors] == ["no such disk"]


def test_twenty_thousand_series_are_listed_at_once() -> None:
    corpus = synthetic_corpus(
        patients=2_000, series_per_patient=10, images_per_series=1, hashed=False
    )
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        rows = client.rows("getSeries", Collection="SYNTHETIC")
    assert len({row["SeriesInstanceUID"] for row in rows}) == 20_000
