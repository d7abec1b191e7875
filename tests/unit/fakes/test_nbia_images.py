"""The simulated NBIA sends images and hashes as NBIA does."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from collections.abc import Iterator

import pytest
import requests

from tests.fakes.corpus import Corpus, DemoImage, demo_corpus
from tests.fakes.java_zips import write_zip
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.nbia_replies import Entry
from tests.fakes.synthetic import synthetic_corpus, with_md5s

FIVE_SLICES = "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return demo_corpus()


@pytest.fixture(scope="module")
def server(corpus: Corpus) -> Iterator[ArchiveServer]:
    with ArchiveServer(corpus) as server:
        yield server
    assert server.errors == []


def opened(response: requests.Response) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.testzip() is None
    return archive


def images_of(corpus: Corpus, uid: str = FIVE_SLICES) -> tuple[DemoImage, ...]:
    series = corpus.series(uid)
    assert series is not None
    return series.images


@pytest.mark.parametrize(
    ("endpoint", "options", "names"),
    [
        ("getImage", {}, ["LICENSE", *(f"0000000{n}.dcm" for n in range(1, 6))]),
        (
            "getImage",
            {"IncludeMD5": "Yes"},
            ["LICENSE", *(f"0000000{n}.dcm" for n in range(1, 6)), "md5hashes.csv"],
        ),
        (
            "getImage",
            {"NewFileNames": "yes"},
            ["LICENSE", "1-1.dcm", "1-2.dcm", "1-3.dcm", "2-1.dcm", "2-2.dcm"],
        ),
        ("getImageWithMD5Hash", {}, [*(f"0000000{n}.dcm" for n in range(1, 6)), "md5hashes.csv"]),
        (
            "getDCMImage",
            {"MD5Verification": "true"},
            ["1-1.dcm", "1-2.dcm", "1-3.dcm", "2-1.dcm", "2-2.dcm", "md5hashes.csv"],
        ),
    ],
)
def test_each_call_has_its_entries(
    v4: Client, corpus: Corpus, endpoint: str, options: dict[str, str], names: list[str]
) -> None:
    archive = opened(v4.get(endpoint, SeriesInstanceUID=FIVE_SLICES, **options))
    assert archive.namelist() == names
    contents = {archive.read(name) for name in names if name.endswith(".dcm")}
    assert contents == {image.read() for image in images_of(corpus)}


def test_the_hash_table_fits_the_files_next_to_it(v4: Client) -> None:
    archive = opened(v4.get("getImage", SeriesInstanceUID=FIVE_SLICES, IncludeMD5="Yes"))
    lines = archive.read("md5hashes.csv").decode().splitlines()
    assert lines[0] == "Filename,MD5Hash"
    for line in lines[1:]:
        name, md5 = line.split(",")
        assert hashlib.md5(archive.read(name)).hexdigest() == md5


def test_the_zip_is_made_as_java_makes_it(v4: Client) -> None:
    response = v4.get("getImage", SeriesInstanceUID=FIVE_SLICES)
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{FIVE_SLICES}.zip"'
    head = struct.unpack("<4sHHHIIIIHH", response.content[:30])
    assert (head[:4], head[5:9], head[9]) == (
        (b"PK\x03\x04", 20, 0x0808, 8),
        (0, 0, 0, len("LICENSE")),
        0,
    )
    for entry in opened(response).infolist():
        assert (entry.flag_bits, entry.create_system, entry.external_attr) == (0x0808, 0, 0)
        assert b"PK\x07\x08" + struct.pack("<I", entry.CRC) in response.content


def test_small_series_come_with_a_length() -> None:
    corpus = synthetic_corpus(patients=1, series_per_patient=1, images_per_series=1)
    (series,) = corpus
    with ArchiveServer(corpus) as server, Client(server.base_url) as client:
        response = client.get("getImage", SeriesInstanceUID=series.uid)
    assert int(response.headers["Content-Length"]) == len(response.content) < 8192


def test_a_null_digest_ends_the_zip_as_on_the_server() -> None:
    corpus = synthetic_corpus(patients=1, series_per_patient=1)
    (series,) = corpus
    corpus.put(with_md5s(series, {series.images[2].uid: None}))
    asked = {"SeriesInstanceUID": series.uid}
    with ArchiveServer(corpus, seed=None) as server, Client(server.base_url) as client:
        short = opened(client.get("getImage", IncludeMD5="Yes", **asked))
        empty = client.get("getImageWithMD5Hash", **asked)
        whole = opened(client.get("getImage", **asked))
    assert short.namelist() == ["LICENSE", "00000001.dcm", "00000002.dcm"]
    assert len(empty.content) == 22
    assert len(whole.namelist()) == 5


def test_single_images_and_their_hashes(v1: Client, v4: Client, corpus: Corpus) -> None:
    image = images_of(corpus)[2]
    response = v4.get("getSingleImage", SeriesInstanceUID=FIVE_SLICES, SOPInstanceUID=image.uid)
    assert response.content == image.read()
    assert response.headers["Content-Type"] == "application/dicom"
    assert response.headers["Content-Disposition"] == f"attachment; filename={image.uid}.dcm"
    assert v4.get("getMD5HashForImage", SOPInstanceUID=image.uid).text == image.md5
    assert v1.get("getM5HashForImage", SOPInstanceUid=image.uid).text == image.md5
    assert v4.get("getMD5HashForImage", SOPInstanceUID="1.2.3").content == b""


def test_hash_hierarchy_hashes_the_sorted_hashes_below(v4: Client, corpus: Corpus) -> None:
    def over(hashes: list[str]) -> str:
        return hashlib.md5("".join(sorted(hashes)).encode()).hexdigest()

    series = over([image.md5 or "" for image in images_of(corpus)])
    assert v4.post("getMD5Hierarchy", SeriesInstanceUID=FIVE_SLICES).text == series
    assert v4.post("getMD5Hierarchy", SeriesInstanceUID="1.2.3").text == ""
    other = next(item for item in corpus if item.description == "Scout")
    study = over([series, over([image.md5 or "" for image in other.images])])
    assert v4.post("getMD5Hierarchy", StudyInstanceUID=other.study.uid).text == study
    patient = v4.post("getMD5Hierarchy", PatientID="12345678", Collection="DEMO-CT").text
    long = next(item for item in corpus if item.patient.id == "12345678")
    assert patient == over([over([over([image.md5 or "" for image in long.images])])])
    assert len(v4.post("getMD5Hierarchy", Collection="DEMO-CT").text) == 32


def test_zip64_records_appear_beyond_65534_entries() -> None:
    entries = (Entry(f"{number}", [b""]) for number in range(65_536))
    whole = b"".join(write_zip(entries, level=0))
    assert len(zipfile.ZipFile(io.BytesIO(whole)).namelist()) == 65_536
