"""Silence and trickles: each wait has its own bound, and what is merely slow is left alone."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import requests

from tcia_covid.errors import ConnectionLostError
from tcia_covid.http import HttpSettings
from tcia_covid.http.call import Break, Call
from tests.fakes.scripted import (
    Drip,
    Reset,
    ScriptedServer,
    Send,
    Sleep,
    head,
    ok,
)
from tests.unit.requesting import ask, client_with, get


def test_a_late_first_byte_is_waited_for_beyond_the_stall_timeout() -> None:
    script = [Sleep(0.25), *ok()]
    with ScriptedServer(script) as server, client_with(stall_timeout=0.1) as client:
        assert get(client, server.url) == b"fine"


def test_no_first_byte_ends_at_the_first_byte_timeout() -> None:
    with ScriptedServer([Sleep(5)]) as server, client_with(first_byte_timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"sent nothing within 0\.2 s") as lost:
            get(client, server.url)
    assert 0.2 <= time.monotonic() - started < 1
    assert lost.value.retryable
    assert lost.value.push_back
    assert "--first-byte-timeout" in lost.value.hint


@pytest.mark.parametrize("sent", [0, 1000], ids=["right after the head", "in the middle"])
def test_silence_in_the_body_ends_at_the_stall_timeout(sent: int) -> None:
    script = [Send(head(length=2000) + b"x" * sent), Sleep(5)]
    with ScriptedServer(script) as server, client_with(stall_timeout=0.2) as client:
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match=r"no byte for 0\.2 s"):
            get(client, server.url)
    assert 0.2 <= time.monotonic() - started < 1


def test_both_bounds_hold_on_a_connection_that_is_used_again() -> None:
    """The time-out in the body must not stay for the next head, nor the other way round."""
    late = [Sleep(0.2), *ok(b"late")]
    stalled = [Send(head(length=9) + b"half"), Sleep(5)]
    with ScriptedServer(ok(), late, stalled) as server:
        with client_with(stall_timeout=0.1, first_byte_timeout=2) as client:
            get(client, server.url)
            assert get(client, server.url) == b"late"
            started = time.monotonic()
            with pytest.raises(ConnectionLostError, match="no byte for"):
                get(client, server.url)
            assert time.monotonic() - started < 1
        assert server.connections == 1


def test_pauses_shorter_than_the_stall_timeout_are_borne() -> None:
    script = [Send(head(length=4)), Drip(b"fine", every=0.06)]
    with ScriptedServer(script) as server, client_with(stall_timeout=0.2) as client:
        assert get(client, server.url) == b"fine"


def test_a_head_that_drips_is_broken_off() -> None:
    """Each byte starts the socket's own time-out anew: the watch alone ends this."""
    script = [Drip(head(length=4) + b"fine", every=0.05)]
    with ScriptedServer(script) as server, client_with(first_byte_timeout=0.4) as client:
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match="no complete answer head within") as lost:
            get(client, server.url)
        assert 0.4 <= time.monotonic() - started < 1
    assert lost.value.retryable
    assert lost.value.push_back


@pytest.mark.parametrize("framing", [{"length": 10**6}, {"chunked": True}, {"Connection": "close"}])
def test_a_drip_below_the_minimum_rate_is_broken_off(framing: dict) -> None:
    prefix = b"f4240\r\n" if "chunked" in framing else b""
    script = [Send(head(**framing) + prefix), Drip(b"x" * 1000, every=0.02)]
    received = bytearray()
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=1024, rate_window=0.25) as client,
    ):
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match="slower than 1024 bytes/s") as lost:
            get(client, server.url, received)
        assert 0.25 <= time.monotonic() - started < 0.7
    assert lost.value.retryable
    assert lost.value.push_back
    assert 3 < len(received) < 50


@pytest.mark.parametrize("framing", [{"length": 2500}, {"chunked": True}])
def test_a_steady_five_kilobytes_a_second_is_left_alone(framing: dict) -> None:
    """Although a single read of 64 KiB would last longer than several windows."""
    first, last = (b"9c4\r\n", b"\r\n0\r\n\r\n") if "chunked" in framing else (b"", b"")
    script = [Send(head(**framing) + first), Drip(b"x" * 2500, every=0.02, size=100), Send(last)]
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=1024, rate_window=0.12) as client,
    ):
        assert get(client, server.url) == b"x" * 2500


def test_time_between_reads_is_not_held_against_the_archive() -> None:
    with (
        ScriptedServer(ok(b"x" * 300)) as server,
        client_with(min_rate=1024, rate_window=0.1) as client,
        client.open("GET", server.url) as answer,
    ):
        pieces = []
        while piece := answer.read(100):
            pieces.append(piece)
            time.sleep(0.1)
    assert b"".join(pieces) == b"x" * 300


def test_a_fast_beginning_does_not_excuse_a_trickle_later() -> None:
    script = [Send(head(length=10**6) + b"x" * 900_000), Drip(b"x" * 1000, every=0.02)]
    with (
        ScriptedServer(script) as server,
        client_with(min_rate=1024, rate_window=0.2) as client,
    ):
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match="slower than"):
            get(client, server.url)
        assert time.monotonic() - started < 1.5


def test_the_request_after_a_broken_one_is_not_affected() -> None:
    drip = [Send(head(length=1000)), Drip(b"x" * 1000, every=0.02)]
    with (
        ScriptedServer(drip, [Sleep(0.1), *ok()]) as server,
        client_with(min_rate=1024, rate_window=0.2) as client,
    ):
        assert ask(client, server.url) == b"fine"
        assert get(client, server.url) == b"fine"


def test_a_reset_after_the_end_is_no_concern() -> None:
    with ScriptedServer([*ok(), Reset()], ok(b"next")) as server, client_with() as client:
        assert get(client, server.url) == b"fine"
        assert ask(client, server.url) == b"next"


def test_a_finished_call_breaks_nothing_any_more() -> None:
    """Its connection may serve another call by then."""
    with ScriptedServer(ok(), ok(b"next")) as server, client_with() as client:
        calls: list[Call] = []
        with client.open("GET", server.url) as answer:
            answer.read_all(100)
            calls += client._watch._under_way()
        with client.open("GET", server.url) as answer:
            calls[0].break_off(Break.SLOW)
            assert answer.read_all(100) == b"next"
        assert server.connections == 1


def test_a_finished_call_takes_no_connection_any_more() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        call = Call(HttpSettings())
        call.finish()
        call.attach(ours.fileno())
        call.break_off(Break.SLOW)
        theirs.sendall(b"alive")
        assert ours.recv(5) == b"alive"
    assert call.broken is None


def test_a_call_that_was_broken_before_it_had_a_connection_breaks_it_then() -> None:
    with ScriptedServer([Sleep(5)]) as server, client_with() as client:
        call = Call(HttpSettings())
        call.break_off(Break.STOPPED)
        started = time.monotonic()
        with call.current(), pytest.raises(requests.ConnectionError):
            client._session().get(server.url, timeout=5)
        call.finish()
        assert time.monotonic() - started < 1


def test_the_watch_wakes_a_blocked_reader_within_milliseconds() -> None:
    with (
        ScriptedServer([Send(head(length=9)), Sleep(5)]) as server,
        client_with() as client,
        client.open("GET", server.url) as answer,
    ):
        (call,) = client._watch._under_way()
        threading.Timer(0.1, call.break_off, [Break.SLOW]).start()
        started = time.monotonic()
        with pytest.raises(ConnectionLostError, match="slower than"):
            answer.read()
        assert 0.1 <= time.monotonic() - started < 0.3
