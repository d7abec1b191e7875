"""Silent and slow responses: each wait has its own limit; a merely slow response is accepted."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import requests

from tcia_covid.core.errors import ConnectionLostError
from tcia_covid.http.settings import HttpSettings
from tcia_covid.http.watchdog import AbortReason, ActiveRequest
from tests.fakes.scripted_server import Drip, Reset, ScriptedServer, Send, Sleep, head, ok
from tests.unit.http.helpers import client_with, fetch, get
from tests.waiting import LONG, soon


def test_a_late_first_byte_is_waited_for_beyond_the_stall_timeout() -> None:
    script = [Sleep(0.25), *ok()]
    with ScriptedServer(script) as server, client_with(stall_timeout=0.1) as client:
        assert get(client, server.url) == b"fine"


def test_no_first_byte_ends_at_the_first_byte_timeout() -> None:
    with ScriptedServer([Sleep(LONG)]) as server, client_with(first_byte_timeout=0.2) as client:
        sent_nothing = pytest.raises(ConnectionLostError, match=r"sent nothing within 0\.2 s")
        with soon(at_least=0.2), sent_nothing as lost:
            get(client, server.url)
    assert lost.value.retryable
    assert lost.value.push_back
    assert "--first-byte-timeout" in lost.value.hint


@pytest.mark.parametrize("sent", [0, 1000], ids=["right after the head", "in the middle"])
def test_silence_in_the_body_ends_at_the_stall_timeout(sent: int) -> None:
    script = [Send(head(length=2000) + b"x" * sent), Sleep(LONG)]
    with ScriptedServer(script) as server, client_with(stall_timeout=0.2) as client:
        silent = pytest.raises(ConnectionLostError, match=r"no byte for 0\.2 s")
        with soon(at_least=0.2), silent:
            get(client, server.url)


def test_both_timeouts_apply_on_a_connection_that_is_used_again() -> None:
    """The time-out in the body must not stay for the next head, nor the other way round."""
    late = [Sleep(0.2), *ok(b"late")]
    stalled = [Send(head(length=9) + b"half"), Sleep(LONG)]
    with ScriptedServer(ok(), late, stalled) as server:
        with client_with(stall_timeout=0.1, first_byte_timeout=LONG) as client:
            get(client, server.url)
            assert get(client, server.url) == b"late"
            with soon(), pytest.raises(ConnectionLostError, match="no byte for"):
                get(client, server.url)
        assert server.connections == 1


def test_pauses_shorter_than_the_stall_timeout_are_accepted() -> None:
    script = [Send(head(length=16)), Drip(b"x" * 16, every=0.1)]
    with ScriptedServer(script) as server, client_with(stall_timeout=1.2, min_rate=0) as client:
        assert get(client, server.url) == b"x" * 16


def test_a_head_that_drips_is_aborted() -> None:
    """Each byte restarts the socket's own time-out: only the watchdog ends this."""
    script = [Drip(head(length=4) + b"fine", every=0.05)]
    with ScriptedServer(script) as server, client_with(first_byte_timeout=0.4) as client:
        incomplete = pytest.raises(ConnectionLostError, match="no complete response head within")
        with soon(at_least=0.4), incomplete as lost:
            get(client, server.url)
    assert lost.value.retryable
    assert lost.value.push_back


@pytest.mark.parametrize("framing", [{"length": 10**6}, {"chunked": True}, {"Connection": "close"}])
def test_a_body_below_the_minimum_rate_is_aborted(framing: dict) -> None:
    prefix = b"f4240\r\n" if "chunked" in framing else b""
    script = [Send(head(**framing) + prefix), Drip(b"x" * 1000, every=0.02)]
    received = bytearray()
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=1024, stall_timeout=0.25) as client,
    ):
        slow = pytest.raises(ConnectionLostError, match="slower than 1024 bytes/s")
        with soon(at_least=0.25), slow as lost:
            get(client, server.url, received)
    assert lost.value.retryable
    assert lost.value.push_back
    assert 0 < len(received) < 1000


@pytest.mark.parametrize("framing", [{"length": 9000}, {"chunked": True}])
def test_a_steady_five_kilobytes_a_second_is_not_aborted(framing: dict) -> None:
    """Although a single read of 64 KiB would last longer than several windows."""
    first, last = (b"2328\r\n", b"\r\n0\r\n\r\n") if "chunked" in framing else (b"", b"")
    drip = Drip(b"x" * 9000, every=0.02, size=100)
    script = [Send(head(**framing) + first), drip, Send(last)]
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=200, stall_timeout=0.6) as client,
    ):
        assert get(client, server.url) == b"x" * 9000


def test_time_between_reads_does_not_count_against_the_archive() -> None:
    with (
        ScriptedServer(ok(b"x" * 300)) as server,
        client_with(min_rate=1024, stall_timeout=0.3) as client,
        client.stream("GET", server.url) as response,
    ):
        pieces = []
        while piece := response.read(100):
            pieces.append(piece)
            time.sleep(0.3)
    assert b"".join(pieces) == b"x" * 300


def test_a_fast_beginning_does_not_excuse_a_trickle_later() -> None:
    script = [Send(head(length=10**6) + b"x" * 900_000), Drip(b"x" * 9000, every=0.02)]
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=1024, stall_timeout=0.2) as client,
        soon(),
        pytest.raises(ConnectionLostError, match="slower than"),
    ):
        get(client, server.url)


def test_the_request_after_an_aborted_one_is_not_affected() -> None:
    drip = [Send(head(length=1000)), Drip(b"x" * 1000, every=0.02)]
    with (
        ScriptedServer(drip, [Sleep(0.1), *ok()]) as server,
        client_with(min_rate=1024, stall_timeout=0.3) as client,
    ):
        assert fetch(client, server.url) == b"fine"
        assert get(client, server.url) == b"fine"


def test_a_reset_after_the_end_is_no_concern() -> None:
    with ScriptedServer([*ok(), Reset()], ok(b"next")) as server, client_with() as client:
        assert get(client, server.url) == b"fine"
        assert fetch(client, server.url) == b"next"


def test_a_finished_request_aborts_nothing() -> None:
    """Its connection may serve another request by then."""
    with ScriptedServer(ok(), ok(b"next")) as server, client_with() as client:
        calls: list[ActiveRequest] = []
        with client.stream("GET", server.url) as response:
            response.read_all(100)
            calls += client.watchdog.active()
        with client.stream("GET", server.url) as response:
            calls[0].abort(AbortReason.SLOW)
            assert response.read_all(100) == b"next"
        assert server.connections == 1


def test_a_finished_request_takes_no_connection() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        request = ActiveRequest(HttpSettings())
        request.finish()
        request.attach(ours)
        request.abort(AbortReason.SLOW)
        theirs.sendall(b"alive")
        assert ours.recv(5) == b"alive"
    assert request.abort_reason is None


def test_a_request_aborted_before_it_had_a_connection_aborts_it_then() -> None:
    with ScriptedServer([Sleep(LONG)]) as server, client_with() as client:
        request = ActiveRequest(HttpSettings())
        request.abort(AbortReason.CANCELED)
        with soon(), request.activate(), pytest.raises(requests.ConnectionError):
            client.session().get(server.url, timeout=LONG)
        request.finish()


def test_the_watchdog_wakes_a_blocked_reader_at_once() -> None:
    with (
        ScriptedServer([Send(head(length=9)), Sleep(LONG)]) as server,
        client_with() as client,
        client.stream("GET", server.url) as response,
    ):
        (request,) = client.watchdog.active()
        threading.Timer(0.1, request.abort, [AbortReason.SLOW]).start()
        with soon(), pytest.raises(ConnectionLostError, match="slower than"):
            response.read()
