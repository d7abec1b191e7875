"""The demo archive serves what programs download with."""

from __future__ import annotations

import csv
import hashlib
import io
import socket
import zipfile
from collections.abc import Iterator

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.demo.server import COLLECTIONS, DemoSeries, DemoServer, read_series
from tcia_covid.demo.walkthrough import REGISTRY
from tests.fakes.nbia_client import Client

FIVE_SLICES = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"


@pytest.fixture(scope="module")
def contents() -> list[DemoSeries]:
    return read_series()


@pytest.fixture
def series(contents: list[DemoSeries]) -> DemoSeries:
    return next(series for series in contents if series.uid == FIVE_SLICES)


@pytest.fixture
def client(contents: list[DemoSeries]) -> Iterator[Client]:
    with DemoServer(contents) as server, Client(server.base_url) as client:
        yield client


def unzipped(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_archive_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    with DemoServer(read_series()) as server:
        assert len(server.series) == 23


def test_each_image_occurs_once_with_its_size_and_md5(contents: list[DemoSeries]) -> None:
    images = [image for series in contents for image in series.images]
    assert len({image.uid for image in images}) == len(images) == 91
    for image in images:
        content = image.file.read_bytes()
        assert (len(content), hashlib.md5(content).hexdigest()) == (image.size, image.md5)


def test_series_are_filtered_in_any_case_and_described(client: Client, series: DemoSeries) -> None:
    assert {row["Collection"] for row in client.rows("getCollectionValues")} == set(COLLECTIONS)
    (row,) = client.rows("getSeries", SeriesInstanceUID=FIVE_SLICES)
    assert (row["ImageCount"], row["FileSize"], row["SeriesDate"]) == (5, 19682, "01-01-2001")
    rows = client.rows("getSeries", Collection="demo-multi", Modality="mr", PatientID="98890234")
    assert len(rows) == 7
    assert client.get("getSeries", Collection="NOBODY").content == b""
    images = client.rows("getSOPInstanceUIDs", SeriesInstanceUID=FIVE_SLICES)
    assert [row["SOPInstanceUID"] for row in images] == [image.uid for image in series.images]
    metadata = client.post("getSeriesMetadata", list=f"{FIVE_SLICES},1.2.3", format="JSON").json()
    assert metadata == [row]


def test_a_zip_contains_images_and_their_md5s(client: Client, series: DemoSeries) -> None:
    response = client.get("getImage", SeriesInstanceUID=FIVE_SLICES, IncludeMD5="Yes")
    files = unzipped(response.content)
    table = csv.reader(files.pop("md5hashes.csv").decode().splitlines()[1:])
    assert dict(table) == {n: hashlib.md5(content).hexdigest() for n, content in files.items()}
    assert set(files.values()) == {image.file.read_bytes() for image in series.images}
    assert client.get("getImage", SeriesInstanceUID="1.2.3").status_code == 400


def test_single_images_and_hashes(client: Client, series: DemoSeries) -> None:
    image = series.images[2]
    response = client.get("getSingleImage", SeriesInstanceUID=FIVE_SLICES, SOPInstanceUID=image.uid)
    assert response.content == image.file.read_bytes()
    assert client.get("getMD5HashForImage", SOPInstanceUID=image.uid).text == image.md5
    md5s = "".join(sorted(image.md5 for image in series.images))
    assert (
        client.post("getMD5Hierarchy", SeriesInstanceUID=FIVE_SLICES).text
        == hashlib.md5(md5s.encode()).hexdigest()
    )


def test_unknown_calls_and_images_are_status_500(client: Client) -> None:
    assert client.get("getNothing").status_code == 500
    assert client.get("getSingleImage", SOPInstanceUID="1.2.3").status_code == 500


def test_the_connection_is_cut_once(contents: list[DemoSeries]) -> None:
    with (
        DemoServer(contents, cut=FIVE_SLICES) as server,
        socket.create_connection(server.server_address) as connection,
    ):
        target = f"{server.base_url}/getImage?SeriesInstanceUID={FIVE_SLICES}"
        request = f"GET {target[target.index('/nbia-api') :]} HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(request.encode())
        received = b"".join(iter(lambda: connection.recv(65536), b""))
        head, _, body = received.partition(b"\r\n\r\n")
        with Client(server.base_url) as client:
            whole = client.get("getImage", SeriesInstanceUID=FIVE_SLICES).content
    assert f"Content-Length: {len(whole)}".encode() in head
    assert body == whole[: len(body)]
    assert len(body) == int(0.9 * len(whole))


def test_registry_describes_the_archive_correctly(contents: list[DemoSeries]) -> None:
    registry = {collection.name: collection for collection in load_registry([REGISTRY]).collections}
    for name in COLLECTIONS:
        known = registry[name]
        series = [series for series in contents if series.row["Collection"] == name]
        rows = [series.row for series in series]
        assert known.license is not None
        assert {(known.license.name, known.license.url)} == {
            (row["LicenseName"], row["LicenseURI"]) for row in rows
        }
        assert set(known.modalities) == {row["Modality"] for row in rows}
        assert known.patients == len({row["PatientID"] for row in rows})
        assert known.studies == len({row["StudyInstanceUID"] for row in rows})
        assert known.series == len(series)
        assert known.images == sum(len(item.images) for item in series)
        assert known.size == sum(item.size for item in series)
