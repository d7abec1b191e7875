"""Requests over a connection that is open already: read as http.client would, or by http.client."""

from __future__ import annotations

import http.client
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import urllib3

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, ConnectionLostError, InterruptedRunError
from tcia_covid.http import direct
from tcia_covid.http.client import Client
from tcia_covid.http.direct import PlainResponse
from tcia_covid.http.watchdog import AbortReason, ActiveRequest
from tests.fakes.scripted_server import (
    Drip,
    Fin,
    Reset,
    Script,
    ScriptedServer,
    Send,
    Sleep,
    head,
    in_chunks,
    ok,
    status,
)
from tests.unit.http.helpers import QUICK, client_with, get, stop_while, trusted_tls
from tests.waiting import LONG, soon

BODY = bytes(range(256)) * 3000
PATH = "/image"


@pytest.fixture(scope="module", params=["http", "https"])
def tls(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ssl.SSLContext | None]:
    if request.param == "http":
        yield None
        return
    with trusted_tls(tmp_path_factory.mktemp("ca")) as context:
        yield context


@contextmanager
def connected(
    *scripts: Script, tls: ssl.SSLContext | None = None, **settings: object
) -> Iterator[tuple[ScriptedServer, Client]]:
    """A server, and a client that has an open connection to it."""
    with ScriptedServer(ok(), *scripts, tls=tls) as server, client_with(**settings) as client:
        assert get(client, server.url) == b"fine"
        yield server, client


@contextmanager
def open_pool(*scripts: Script) -> Iterator[tuple[ScriptedServer, urllib3.HTTPConnectionPool]]:
    """A server, and a pool with an open connection to it."""
    with (
        ScriptedServer(ok(), *scripts) as server,
        urllib3.HTTPConnectionPool("127.0.0.1", server.port, maxsize=1) as pool,
    ):
        assert pool.urlopen("GET", "/").data == b"fine"
        yield server, pool


@contextmanager
def sent(
    pool: urllib3.HTTPConnectionPool, target: str = "/", **headers: str
) -> Iterator[PlainResponse | urllib3.HTTPResponse]:
    """The response to one GET over the open connection of a pool."""
    request = ActiveRequest(QUICK)
    response = direct.get(pool, request, "archive.invalid", target, headers)
    assert response is not None
    yield response
    response.close()
    response.release_conn()
    request.finish()


def get_twice(client: Client, server: ScriptedServer) -> None:
    """Send two GETs."""
    get(client, server.url + PATH)
    get(client, server.url + PATH)


def read_all(response: PlainResponse | urllib3.HTTPResponse) -> bytes:
    return b"".join(map(bytes, iter(lambda: response.read(100_000), b"")))


def test_a_plain_response_is_read_without_http_client() -> None:
    with (
        open_pool(ok(BODY, ETag='"a"')) as (server, pool),
        sent(pool, "/x?y=1%20", If_Match='"a"') as response,
    ):
        assert isinstance(response, PlainResponse)
        assert response.status == 200
        assert response.headers.get("etag") == response.headers.get("ETag") == '"a"'
        assert response.headers.get("Link", "none") == "none"
        assert read_all(response) == BODY
    assert (server.heads[1].path, server.heads[1].headers["if_match"]) == ("/x?y=1%20", '"a"')
    assert server.heads[1].headers["host"] == "archive.invalid"
    assert server.connections == 1


@pytest.mark.parametrize(
    "text",
    [
        b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\nETag: "a"\r\n',
        b"HTTP/1.1 206 Partial Content\r\ncontent-length:4\r\nContent-Range: bytes 0-3/9 \r\n",
        b"HTTP/1.1 404 \r\nContent-Length: 4\r\n",
        b"HTTP/1.1 503\r\nContent-Length: 4\r\nRetry-After: 1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX: 1\r\nx: 2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: close\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nConnection: Keep-Alive\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 302 Found\r\nContent-Length: 4\r\nLocation: /y\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 4\n",
        b"HTTP/1.1 200 OK\r\nServer: \xe9\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n",
    ],
)
def test_a_response_is_read_as_urllib3_reads_it(text: bytes) -> None:
    script = [Send(text + (b"\n" if b"\r" not in text else b"\r\n") + b"body"), Fin()]
    with (
        ScriptedServer(script) as server,
        urllib3.HTTPConnectionPool("127.0.0.1", server.port) as pool,
    ):
        theirs = pool.urlopen("GET", "/", retries=False, redirect=False)
    with open_pool(script) as (_, pool), sent(pool) as ours:
        assert ours.status == theirs.status
        for name in theirs.headers:
            assert ours.headers.get(name).split() == theirs.headers[name].split()
        assert read_all(ours) == theirs.data == b"body"


@pytest.mark.parametrize(
    "text",
    [
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbody",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 20",
        b"",
    ],
)
def test_what_is_no_whole_response_is_an_error(text: bytes) -> None:
    with connected([Send(text), Fin()], [Send(text), Fin()]) as (server, client):
        with pytest.raises(ArchiveError) as lost:
            get(client, server.url + PATH)
        assert lost.value.retryable


@pytest.mark.parametrize("framing", [ok, in_chunks], ids=["length", "chunked"])
@pytest.mark.parametrize("size", [1, 300, 65536, 1_000_000])
def test_bodies_of_every_size_follow_each_other_on_one_connection(
    framing, size: int, tls: ssl.SSLContext | None
) -> None:
    bodies = [BODY[:size], b"", BODY[-size:]]
    with connected(*map(framing, bodies), tls=tls) as (server, client):
        assert [get(client, server.url + PATH) for _ in bodies] == bodies
        assert server.connections == 1


def test_a_head_that_comes_in_two_pieces(tls: ssl.SSLContext | None) -> None:
    whole = head(length=4) + b"body"
    script = [Send(whole[:20]), Sleep(0.05), Send(whole[20:])]
    with connected(script, ok(b"next"), tls=tls) as (server, client):
        assert get(client, server.url + PATH) == b"body"
        assert get(client, server.url + PATH) == b"next"
        assert server.connections == 1


def test_bytes_after_a_body_are_not_taken_for_the_next_response(
    tls: ssl.SSLContext | None,
) -> None:
    script = [Send(head(length=4) + b"body" + head(length=5) + b"false")]
    with connected(script, ok(b"next"), tls=tls) as (server, client):
        assert get(client, server.url + PATH) == b"body"
        assert get(client, server.url + PATH) == b"next"
        assert server.connections == 2


def test_a_body_that_is_not_read_to_its_end_ends_the_connection(
    tls: ssl.SSLContext | None,
) -> None:
    with connected(ok(BODY), ok(b"next"), tls=tls) as (server, client):
        with client.stream("GET", server.url + PATH) as response:
            assert response.read(10) == BODY[:10]
        assert get(client, server.url + PATH) == b"next"
        assert server.connections == 2


@pytest.mark.parametrize("cut", [0, 1, 70_000, len(BODY) - 1])
@pytest.mark.parametrize(
    ("end", "text"), [(Fin(), "closed too early"), (Reset(), "was reset")], ids=["closed", "reset"]
)
def test_what_comes_before_a_cut_is_returned(cut: int, end: Fin | Reset, text: str) -> None:
    received = bytearray()
    script = [Send(head(length=len(BODY)) + BODY[:cut]), Sleep(0.05), end]
    with (
        connected(script) as (server, client),
        pytest.raises(ConnectionLostError, match=text) as lost,
    ):
        get(client, server.url + PATH, received)
    assert received == BODY[:cut]
    assert f"after {cut} bytes" in lost.value.message


@pytest.mark.parametrize("sent", [10, 9000])
def test_silence_in_the_body_ends_at_the_stall_timeout(
    tls: ssl.SSLContext | None, sent: int
) -> None:
    """Not at twice that time, when the watchdog would find the few bytes too slow."""
    received = bytearray()
    script = [Send(head(length=len(BODY)) + BODY[:sent]), Sleep(LONG)]
    with (
        connected(script, tls=tls, stall_timeout=0.2) as (server, client),
        soon(),
        pytest.raises(ConnectionLostError, match=r"no byte for 0\.2 s"),
    ):
        get(client, server.url + PATH, received)
    assert received == BODY[:sent]


@pytest.mark.parametrize(
    ("script", "what"),
    [([Sleep(LONG)], "nothing"), ([Drip(head(length=4), every=0.05)], "no complete response head")],
    ids=["silent", "dripping"],
)
def test_no_head_ends_at_the_first_byte_timeout(
    tls: ssl.SSLContext | None, script: Script, what: str
) -> None:
    with (
        connected(script, tls=tls, first_byte_timeout=0.4) as (server, client),
        soon(at_least=0.4),
        pytest.raises(ConnectionLostError, match=what) as lost,
    ):
        get(client, server.url + PATH)
    assert lost.value.push_back


def test_a_body_below_the_minimum_rate_is_aborted(tls: ssl.SSLContext | None) -> None:
    script = [Send(head(length=10**6)), Drip(b"x" * 1000, every=0.02)]
    settings = {"min_rate": 1024, "stall_timeout": 0.25}
    with connected(script, ok(b"next"), tls=tls, **settings) as (server, client):
        with soon(), pytest.raises(ConnectionLostError, match="slower than 1024 bytes/s"):
            get(client, server.url + PATH)
        assert get(client, server.url + PATH) == b"next"


@pytest.mark.parametrize("closes", [True] if sys.platform == "win32" else [False, True])
@pytest.mark.parametrize(
    "script",
    [[Sleep(LONG)], [Send(head(length=9) + b"half"), Sleep(LONG)]],
    ids=["before the head", "in the body"],
)
def test_a_canceled_run_waits_for_nothing(
    tls: ssl.SSLContext | None, script: Script, closes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ActiveRequest, "closes_to_abort", closes)
    stop = CancelToken()
    with connected(ok(), script, tls=tls, stop=stop) as (server, client):
        ended = stop_while(lambda: get_twice(client, server), stop, lambda: len(server.heads) == 3)
        assert server.connections == 1
    assert isinstance(ended.error, InterruptedRunError)


def test_a_request_that_is_sent_again_is_canceled_as_well(tls: ssl.SSLContext | None) -> None:
    stop = CancelToken()
    with connected(ok(), [Fin()], [Sleep(LONG)], tls=tls, stop=stop) as (server, client):
        ended = stop_while(lambda: get_twice(client, server), stop, lambda: len(server.heads) == 4)
    assert isinstance(ended.error, InterruptedRunError)


def test_a_response_that_was_closed_early_aborts_no_later_one() -> None:
    with open_pool(ok(BODY), ok(b"next")) as (_, pool):
        request = ActiveRequest(QUICK)
        response = direct.get(pool, request, "archive.invalid", "/", {})
        assert response is not None
        response.close()
        response.release_conn()
        request.abort(AbortReason.SLOW)
        assert pool.urlopen("GET", "/").data == b"next"


def test_a_redirect_is_followed() -> None:
    with ScriptedServer(ok(b"there")) as second:
        redirect = status(302, Location=second.url + PATH)
        with connected(redirect, redirect, ok(b"next")) as (server, client):
            assert [get(client, server.url + PATH) for _ in range(2)] == [b"there", b"next"]


def test_a_closed_connection_is_replaced(tls: ssl.SSLContext | None) -> None:
    with connected([*ok(), Fin()], ok(b"next"), tls=tls) as (server, client):
        assert get(client, server.url + PATH) == b"fine"
        assert get(client, server.url + PATH) == b"next"
        assert server.connections == 2


@pytest.mark.parametrize("target", ["/a b", "/\u00fc", "/a\r\nX: 1", '/"', "x", ""])
def test_what_needs_quoting_is_left_to_requests(target: str) -> None:
    with open_pool() as (server, pool):
        assert direct.get(pool, ActiveRequest(QUICK), "archive.invalid", target, {}) is None
    assert len(server.heads) == 1


@pytest.mark.parametrize("value", ["", "a\r\nX: 1", "a\n", " a", "\u00fc"])
def test_a_header_that_is_not_plain_is_left_to_requests(value: str) -> None:
    with open_pool() as (server, pool):
        headers = {"If-Match": value}
        assert direct.get(pool, ActiveRequest(QUICK), "archive.invalid", "/", headers) is None
    assert len(server.heads) == 1


def test_urllib3_pools_give_and_take_connections_so() -> None:
    """`_get_conn` returns an open connection that `_put_conn` was given, else a closed one."""
    with open_pool() as (_, pool):
        connection = pool._get_conn()
        assert isinstance(connection, http.client.HTTPConnection)
        assert connection.sock is not None
        pool._put_conn(connection)
        assert pool._get_conn() is connection
        connection.close()
        closed = pool._get_conn()
        assert closed.sock is None
        closed.connect()
        assert closed.sock is not None
        closed.close()
