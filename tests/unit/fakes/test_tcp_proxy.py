"""The TCP proxy, the TLS authority and the archive process do what the tests rely on."""

from __future__ import annotations

import http.client
import time
from pathlib import Path

import pytest
import requests
from requests.exceptions import ChunkedEncodingError, ReadTimeout, SSLError
from requests.exceptions import ConnectionError as Refused

from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_client import Client
from tests.fakes.nbia_servers import Authority, PrebuiltZips, archive_process
from tests.fakes.synthetic import synthetic_corpus
from tests.fakes.tcp_proxy import Line, TcpProxy

BROKEN = (ChunkedEncodingError, Refused)


@pytest.fixture
def corpus() -> Corpus:
    return synthetic_corpus(rows=64, columns=64)


def test_prebuilt_zips_are_the_same_each_time(corpus: Corpus) -> None:
    (series, *_) = corpus
    with (
        ArchiveServer(corpus, interceptor=PrebuiltZips()) as server,
        Client(server.base_url) as client,
    ):
        one, two = (client.get("getImage", SeriesInstanceUID=series.uid) for _ in "12")
    assert one.content == two.content
    assert one.content.startswith(b"PK")


def test_the_wire_carries_and_breaks(corpus: Corpus) -> None:
    with ArchiveServer(corpus) as server, TcpProxy(server.port) as proxy:
        proxy.script(Line(reset_after=300), Line(cut_after=300), Line(half_open=True))
        url = f"{proxy.url(server.base_url)}/getSeries"
        for _ in range(2):
            with pytest.raises(BROKEN):
                requests.get(url, timeout=30)
        with pytest.raises(ReadTimeout):
            requests.get(url, timeout=0.2)
        assert len(requests.get(url, timeout=30).json()) == 4
        assert proxy.connections == 4


def test_the_wire_stalls_slows_and_pauses(corpus: Corpus) -> None:
    with ArchiveServer(corpus) as server, TcpProxy(server.port, Line(rate=20_000)) as proxy:
        url = f"{proxy.url(server.base_url)}/getSeries"
        proxy.script(Line(stall_after=250))
        with pytest.raises((ReadTimeout, Refused), match="timed out"):
            requests.get(url, timeout=0.2)
        began = time.monotonic()
        assert requests.get(url, timeout=30).json()
        assert time.monotonic() - began > proxy.bytes_down / 40_000
        proxy.pause()
        with pytest.raises(ReadTimeout):
            requests.get(url, timeout=0.2)
        proxy.resume()
        proxy.line = Line(latency=0.1)
        assert requests.get(url, timeout=30).json()


def test_the_wire_resets_what_is_open(corpus: Corpus) -> None:
    with ArchiveServer(corpus) as server, TcpProxy(server.port) as proxy:
        connection = http.client.HTTPConnection("127.0.0.1", proxy.port)
        connection.request("GET", "/nbia-api/up")
        assert connection.getresponse().read() == b"up"
        assert connection.sock is not None
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            connection.sock.recv(1)
        connection.close()


def test_tls_is_trusted_by_those_who_know_the_authority(corpus: Corpus, tmp_path: Path) -> None:
    authority = Authority()
    bundle = str(authority.write_bundle(tmp_path / "ca.pem"))
    with ArchiveServer(corpus, tls=authority.server_context()) as server:
        url = f"{server.base_url}/getSeries"
        assert requests.get(url, verify=bundle, timeout=30).json()
        with pytest.raises(SSLError, match="certificate verify failed"):
            requests.get(url, timeout=30)
    with (
        ArchiveServer(corpus, tls=authority.server_context(expired=True)) as server,
        pytest.raises(SSLError, match="expired"),
    ):
        requests.get(f"{server.base_url}/getSeries", verify=bundle, timeout=30)
    with (
        ArchiveServer(corpus, tls=authority.server_context("elsewhere.invalid")) as server,
        pytest.raises(SSLError, match="127"),
    ):
        requests.get(f"{server.base_url}/getSeries", verify=bundle, timeout=30)


def test_an_archive_can_have_a_process_of_its_own() -> None:
    with (
        archive_process("--patients", "3", "--unhashed", "--prebuilt") as base,
        Client(base) as client,
    ):
        assert len(client.rows("getPatient", Collection="SYNTHETIC")) == 3
