"""Bodies that end too early: never accepted as complete, and no byte before the cut is lost."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import ConnectionLostError
from tests.fakes.scripted_server import (
    Chunk,
    Fin,
    Reset,
    ScriptedServer,
    Send,
    Sleep,
    Step,
    head,
    ok,
)
from tests.unit.http.helpers import client_with, get
from tests.waiting import LONG

BODY = bytes(range(256)) * 800
CUTS = [0, 1, 5000, 65536, 70_000, len(BODY) - 1]
ENDS = {"closed": (Fin(), "closed too early"), "reset": (Reset(), "reset")}
HEAD_ONLY = b"HTTP/1.1 200 OK\r\nContent-Le"


def sized(cut: int) -> list[Step]:
    return [Send(head(length=len(BODY)) + BODY[:cut])]


def chunked(cut: int) -> list[Step]:
    whole = [Chunk(BODY[at : at + 8192]) for at in range(0, cut - 8192, 8192)]
    rest = BODY[len(whole) * 8192 : cut]
    return [Send(head(chunked=True)), *whole, Send(b"2000\r\n" + rest)]


def unframed(cut: int) -> list[Step]:
    return [Send(head(Connection="close") + BODY[:cut])]


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("framed", [sized, chunked], ids=["length", "chunked"])
def test_of_a_framed_body_that_is_closed_early_what_came_is_returned(framed, cut: int) -> None:
    received = bytearray()
    with (
        ScriptedServer([*framed(cut), Fin()]) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError, match="closed too early") as lost,
    ):
        get(client, server.url, received)
    assert received == BODY[:cut]
    assert lost.value.retryable
    assert not lost.value.push_back
    assert f"after {cut} bytes" in lost.value.message


def test_broken_framing_is_distinguished_from_a_cut() -> None:
    """A proxy is at fault then, not the line."""
    received = bytearray()
    script = [Send(head(chunked=True) + b"4\r\nfour\r\nzz\r\n"), Sleep(LONG)]
    with (
        ScriptedServer(script) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError, match="chunked encoding is invalid") as lost,
    ):
        get(client, server.url, received)
    assert received == b"four"
    assert lost.value.retryable


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    "framed", [sized, chunked, unframed], ids=["length", "chunked", "unframed"]
)
def test_a_reset_loses_nothing_that_was_received(framed, cut: int) -> None:
    received = bytearray()
    # A reset may overtake what lies in the sender's buffer, hence the pause.
    script = [*framed(cut), Sleep(0.05), Reset()]
    with (
        ScriptedServer(script) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError, match="was reset") as lost,
    ):
        get(client, server.url, received)
    assert received == BODY[:cut]
    assert lost.value.retryable


@pytest.mark.parametrize(
    "framed", [sized, chunked, unframed], ids=["length", "chunked", "unframed"]
)
def test_a_stall_loses_nothing_that_was_received(framed) -> None:
    received = bytearray()
    script = [*framed(70_000), Sleep(LONG)]
    with (
        ScriptedServer(script) as server,
        client_with(stall_timeout=0.1) as client,
        pytest.raises(ConnectionLostError, match=r"no byte for 0\.1 s") as lost,
    ):
        get(client, server.url, received)
    assert received == BODY[:70_000]
    assert lost.value.retryable
    assert lost.value.push_back


def test_a_cut_body_without_length_looks_complete_to_http() -> None:
    with ScriptedServer([*unframed(5000), Fin()]) as server, client_with() as client:
        assert get(client, server.url) == BODY[:5000]


@pytest.mark.parametrize("rest", [b"", b"\r\n", b"\r\n20", b"\r\nzz\r\n", b"\r\n-1\r\nxx"])
def test_a_chunked_body_needs_its_last_chunk(rest: bytes) -> None:
    received = bytearray()
    script = [Send(head(chunked=True) + b"4\r\nfour" + rest), Fin()]
    with (
        ScriptedServer(script) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError),
    ):
        get(client, server.url, received)
    assert received == b"four"


def test_the_line_end_after_the_last_chunk_may_be_missing() -> None:
    script = [Send(head(chunked=True) + b"4\r\nfour\r\n0\r\n"), Fin()]
    with ScriptedServer(script) as server, client_with() as client:
        assert get(client, server.url) == b"four"


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["closed", "reset"])
@pytest.mark.parametrize("sent", [b"", HEAD_ONLY], ids=["nothing", "half a head"])
def test_a_connection_that_ends_before_the_head_is_retryable(sent: bytes, end: Step) -> None:
    with (
        ScriptedServer([Send(sent), end]) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError, match="before it responded") as lost,
    ):
        get(client, server.url)
    assert lost.value.retryable


def test_a_lost_response_stays_lost_when_it_is_read_again() -> None:
    with (
        ScriptedServer([*sized(10), Fin()]) as server,
        client_with() as client,
        client.stream("GET", server.url) as response,
    ):
        assert response.read() == BODY[:10]
        for _ in range(2):
            with pytest.raises(ConnectionLostError):
                response.read()


def test_a_complete_response_stays_at_its_end_when_it_is_read_again() -> None:
    with (
        ScriptedServer(ok(b"x")) as server,
        client_with() as client,
        client.stream("GET", server.url) as response,
    ):
        assert [response.read(), response.read(), response.read()] == [b"x", b"", b""]


def test_an_earlier_cut_leaves_nothing_in_a_later_response() -> None:
    """A retry inside the handler of a cut has that cut as its context."""
    first, second = [*chunked(9000), Fin()], [Send(head(chunked=True) + b"5\r\nab"), Fin()]
    received = bytearray()
    with ScriptedServer(first, second) as server, client_with() as client:
        try:
            get(client, server.url)
        except ConnectionLostError:
            with pytest.raises(ConnectionLostError):
                get(client, server.url, received)
    assert received == b"ab"
