"""The faults of the NBIA server do what the tests rely on."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable

import pytest
import requests
from requests.exceptions import ChunkedEncodingError
from requests.exceptions import ConnectionError as Refused

from tests.fakes import nbia_faults as f
from tests.fakes import zip_faults as z
from tests.fakes.corpus import Corpus, DemoSeries
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.synthetic import synthetic_corpus
from tests.waiting import LONG, soon

BROKEN = (ChunkedEncodingError, Refused)


@pytest.fixture
def corpus() -> Corpus:
    return synthetic_corpus(rows=64, columns=64)


@pytest.fixture
def series(corpus: Corpus) -> DemoSeries:
    return next(iter(corpus))


def zipped(response: requests.Response) -> zipfile.ZipFile:
    archive = zipfile.ZipFile(io.BytesIO(response.content))
    assert archive.testzip() is None
    return archive


def with_faults(corpus: Corpus, *faults: f.Fault) -> ArchiveServer:
    return ArchiveServer(corpus, interceptor=f.Faults(*faults), compression=1, seed=None)


def received(client: Client, endpoint: str, **params: str) -> tuple[int, bool]:
    """The bytes received, and whether the body ended as HTTP requires."""
    size = 0
    url = f"{client.base}/{endpoint}"
    with client.session.get(url, params=params, stream=True, timeout=10) as response:
        try:
            for piece in response.iter_content(1):
                size += len(piece)
        except BROKEN:
            return size, False
    return size, True


@pytest.mark.parametrize("at", [0, 1, 8192, 10_000, 15_000])
def test_cut_sends_exactly_so_many_bytes(corpus: Corpus, series: DemoSeries, at: int) -> None:
    cut = f.Cut("getImage", at=at)
    with with_faults(corpus, cut) as server, Client(server.base_url) as client:
        assert received(client, "getImage", SeriesInstanceUID=series.uid) == (at, False)
        assert server.requests[0].sent == at
        assert received(client, "getImage", SeriesInstanceUID=series.uid)[1]
    assert cut.hits == 1


def test_reset_is_seen_as_one(corpus: Corpus, series: DemoSeries) -> None:
    with (
        with_faults(corpus, f.Cut("getImage", at=9000, reset=True)) as server,
        Client(server.base_url) as client,
        pytest.raises(BROKEN, match="reset"),
    ):
        client.get("getImage", SeriesInstanceUID=series.uid)


def test_an_early_end_looks_right_to_http(corpus: Corpus, series: DemoSeries) -> None:
    with (
        with_faults(corpus, f.EndEarly("getImage", at=9000)) as server,
        Client(server.base_url) as client,
    ):
        response = client.get("getImage", SeriesInstanceUID=series.uid)
    assert len(response.content) == 9000
    with pytest.raises(zipfile.BadZipFile):
        zipped(response)


def test_faults_wait_for_their_series_and_turn(corpus: Corpus, series: DemoSeries) -> None:
    fault = f.Status("getImage", series=series.uid, skip=1, times=2, code=503, retry_after="2")
    others = [item.uid for item in corpus if item is not series]
    with with_faults(corpus, fault) as server, Client(server.base_url) as client:
        codes = [client.get("getImage", SeriesInstanceUID=series.uid) for _ in range(4)]
        assert client.get("getImage", SeriesInstanceUID=others[0]).status_code == 200
    assert [response.status_code for response in codes] == [200, 503, 503, 200]
    assert codes[1].headers["Retry-After"] == "2"


def test_stall_sends_what_came_before_it_and_resumes(corpus: Corpus, series: DemoSeries) -> None:
    short = f.Stall("getImage", after=100, seconds=0.2)
    long = f.Stall("getImage", after=100, seconds=LONG, skip=1)
    with with_faults(corpus, short, long) as server, Client(server.base_url) as client:
        url = f"{client.base}/getImage?SeriesInstanceUID={series.uid}"
        with soon(at_least=0.2):
            whole = client.session.get(url).content
        with soon(), client.session.get(url, stream=True) as response:
            # The time of the response precedes it.
            assert response.raw.read(100)[14:] == whole[14:100]
    assert zipfile.ZipFile(io.BytesIO(whole)).testzip() is None


def test_trickle_and_slow_start_take_their_time(corpus: Corpus) -> None:
    trickle = f.Trickle("getCollectionValues", size=10, seconds=0.05)
    slow = f.SlowStart("getModalityValues", seconds=0.2)
    with with_faults(corpus, trickle, slow) as server, Client(server.base_url) as client:
        for endpoint in ("getCollectionValues", "getModalityValues"):
            began = time.monotonic()
            assert client.rows(endpoint)
            assert time.monotonic() - began > 0.1


def test_stopping_does_not_wait_for_a_stall(corpus: Corpus, series: DemoSeries) -> None:
    with Client("") as client:
        stall = f.Stall("getImage", after=9000, seconds=LONG)
        with soon(), with_faults(corpus, stall) as server:
            url = f"{server.base_url}/getImage?SeriesInstanceUID={series.uid}"
            client.session.get(url, stream=True).close()


@pytest.mark.parametrize(
    ("fault", "status", "start"),
    [
        (f.html_status("getSeries", 502), 502, b"<html>"),
        (f.html_page("getSeries"), 200, b"<html>"),
        (f.NotGranted("getSeries"), 400, b"The user has not been granted"),
        (f.EmptyAnswer("getSeries"), 200, b""),
        (f.Answer("getSeries", body=b"[1"), 200, b"[1"),
    ],
)
def test_answers_that_are_none(corpus: Corpus, fault: f.Fault, status: int, start: bytes) -> None:
    with with_faults(corpus, fault) as server, Client(server.base_url) as client:
        response = client.get("getSeries")
        assert (response.status_code, response.content[: len(start)]) == (status, start)
        assert client.rows("getSeries")


def test_redirects_name_where_to_go(corpus: Corpus) -> None:
    with (
        with_faults(corpus, f.Redirect("getSeries", location="http://x.invalid/")) as server,
        Client(server.base_url) as client,
    ):
        url = f"{client.base}/getSeries"
        response = client.session.get(url, allow_redirects=False)
    assert (response.status_code, response.headers["Location"]) == (302, "http://x.invalid/")


def test_lists_can_be_cut_and_shortened(corpus: Corpus, series: DemoSeries) -> None:
    short = f.DropRows("getSeries", uids=(series.uid,), times=1)
    with (
        with_faults(corpus, f.CutJson("getPatient"), short) as server,
        Client(server.base_url) as client,
    ):
        cut = client.get("getPatient").text
        with pytest.raises(json.JSONDecodeError):
            json.loads(cut)
        assert len(client.rows("getSeries")) == 3
        assert len(client.rows("getSeries")) == 4


def test_a_lost_image_ends_the_zip_and_may_be_had_singly(
    corpus: Corpus, series: DemoSeries
) -> None:
    uid = series.images[2].uid
    asked = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": uid}
    for singly, status in ((False, 500), (True, 200)):
        with (
            with_faults(corpus, z.LostImage(uid=uid, singly=singly)) as server,
            Client(server.base_url) as client,
        ):
            whole = client.get("getImage", SeriesInstanceUID=series.uid, IncludeMD5="Yes")
            assert client.get("getSingleImage", **asked).status_code == status
        assert zipped(whole).namelist() == ["LICENSE", "00000001.dcm", "00000002.dcm"]


def test_a_truncated_image_has_a_matching_crc(corpus: Corpus, series: DemoSeries) -> None:
    with (
        with_faults(corpus, z.TruncatedImage(uid=series.images[1].uid)) as server,
        Client(server.base_url) as client,
    ):
        archive = zipped(client.get("getImage", SeriesInstanceUID=series.uid))
    assert archive.namelist() == ["LICENSE", "00000001.dcm", "00000002.dcm"]
    assert archive.getinfo("00000002.dcm").file_size == series.images[1].size // 2


@pytest.mark.parametrize("singly", [True, False])
def test_an_altered_image_has_other_bytes(
    corpus: Corpus, series: DemoSeries, *, singly: bool
) -> None:
    image = series.images[1]
    asked = {"SeriesInstanceUID": series.uid, "SOPInstanceUID": image.uid}
    fault = z.AlteredImage(uid=image.uid, singly=singly, times=None)
    with with_faults(corpus, fault) as server, Client(server.base_url) as client:
        archive = zipped(client.get("getImage", SeriesInstanceUID=series.uid))
        single = client.get("getSingleImage", **asked).content
    assert archive.read("00000001.dcm") == series.images[0].read()
    assert archive.read("00000002.dcm") == z.altered(image.read())
    assert (single == image.read()) is not singly


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda _: z.NoHashTable(), ["LICENSE", "1", "2", "3", "4"]),
        (lambda _: z.LicenseOnly(), ["LICENSE"]),
        (lambda _: z.EmptyZip(), []),
        (
            lambda _: z.Renamed(names=["../x", b"a\\b"]),
            ["LICENSE", "../x", "a\\b", "3", "4", "table"],
        ),
        (
            lambda _: z.ExtraEntry(name="big", content=z.zeros(1_000_000)),
            ["LICENSE", "1", "2", "3", "4", "big", "table"],
        ),
        (
            lambda _: z.ExtraEntry(name="x", content=b"x", last=False),
            ["x", "LICENSE", "1", "2", "3", "4", "table"],
        ),
        (
            lambda series: z.Twice(uid=series.images[1].uid),
            ["LICENSE", "1", "2", "99999999.dcm", "3", "4", "table"],
        ),
        (
            lambda _: z.WrongHashTable(edit=lambda _: "no table"),
            ["LICENSE", "1", "2", "3", "4", "table"],
        ),
    ],
)
def test_the_entries_of_a_zip_can_be_anything(
    corpus: Corpus, series: DemoSeries, make: Callable[[DemoSeries], f.Fault], names: list[str]
) -> None:
    short = {f"0000000{place}.dcm": f"{place}" for place in range(1, 5)}
    short["md5hashes.csv"] = "table"
    with with_faults(corpus, make(series)) as server, Client(server.base_url) as client:
        asked = {"SeriesInstanceUID": series.uid, "IncludeMD5": "Yes"}
        archive = zipped(client.get("getImage", **asked))
        assert server.errors == []
    found = [info.orig_filename for info in archive.infolist()]
    assert [short.get(name, name) for name in found] == names
