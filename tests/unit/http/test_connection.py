"""Connections that stay alive, and requests on those that did not."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tcia_covid.core.errors import ConnectionLostError
from tcia_covid.http.connection import enable_keepalive
from tests.fakes.scripted_server import Fin, Head, Reset, Script, ScriptedServer, Send, Step, ok
from tests.unit.http.helpers import client_with, fetch, get, in_threads, trusted_tls
from tests.waiting import LONG


@pytest.mark.skipif(sys.platform != "linux", reason="reads the options under Linux's names")
@pytest.mark.parametrize("name", ["TCP_KEEPIDLE", "TCP_KEEPALIVE"])
def test_a_silent_connection_is_probed_on_every_system(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    idle = socket.TCP_KEEPIDLE
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    monkeypatch.setattr(socket, name, idle, raising=False)
    with socket.socket() as sock:
        enable_keepalive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, idle) == 60


@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["closed", "reset"])
def test_fault_40_a_request_that_a_reused_connection_does_not_answer_is_sent_again_at_once(
    end: Step,
) -> None:
    requests_on: Counter[int] = Counter()

    def respond(request: Head) -> Script:
        requests_on[request.connection] += 1
        return ok() if requests_on[request.connection] == 1 else [end]

    with (
        ScriptedServer(answer=respond) as server,
        client_with(retries=0, retry_wait=LONG) as client,
    ):
        for _ in range(5):
            assert fetch(client, server.url) == b"fine"
        assert client.fetch(server.url, lambda r: r.read_all(9), form={"a": "b"}) == b"fine"
        assert client.limiter(server.url).limit == client.connections


def test_fault_40_a_form_that_a_reused_connection_does_not_answer_is_sent_again_at_once() -> None:
    with (
        ScriptedServer(ok(), [Fin()], ok()) as server,
        client_with(retries=0, retry_wait=LONG) as client,
    ):
        assert get(client, f"{server.url}/a") == b"fine"
        assert client.fetch(server.url, lambda r: r.read_all(9), form={"a": "b"}) == b"fine"
    assert [head.method for head in server.heads] == ["GET", "POST", "POST"]


def test_fault_40_a_new_connection_that_is_not_answered_counts_as_a_failure() -> None:
    with (
        ScriptedServer([Fin()]) as server,
        client_with(retries=2) as client,
        pytest.raises(ConnectionLostError, match="before it responded"),
    ):
        fetch(client, server.url)
    assert server.connections == 3


def test_fault_40_a_response_that_breaks_off_on_a_reused_connection_counts_as_a_failure() -> None:
    with (
        ScriptedServer(ok(), [Send(b"HTTP/1.1 200 OK\r\n"), Fin()]) as server,
        client_with(retries=0) as client,
    ):
        assert fetch(client, server.url) == b"fine"
        with pytest.raises(ConnectionLostError):
            fetch(client, server.url)
    assert len(server.heads) == 2


def test_more_hosts_than_requests_keeps_pools_of() -> None:
    with ExitStack() as stack, client_with() as client:
        servers = [stack.enter_context(ScriptedServer(*4 * [ok(b"fine")])) for _ in range(20)]
        for _ in range(3):
            assert [get(client, f"{server.url}/a") for server in servers] == 20 * [b"fine"]


def test_threads_share_connections() -> None:
    with ScriptedServer(*5 * [ok()]) as server, client_with() as client:
        for _ in range(5):
            in_threads(1, lambda: get(client, f"{server.url}/a"))
        assert (len(server.heads), server.connections) == (5, 1)


def test_a_tls_context_is_set_up_once_for_all_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2)
    calls: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., None]:
        original = getattr(ssl.SSLContext, name)

        def call(context: ssl.SSLContext, *arguments: object) -> None:
            calls[name] += 1
            original(context, *arguments)

        return call

    def respond(_: Head) -> Script:
        both.wait(LONG)
        return ok()

    with (
        trusted_tls(tmp_path) as tls,
        ScriptedServer(answer=respond, tls=tls) as server,
        client_with() as client,
    ):
        for name in ("load_verify_locations", "set_alpn_protocols"):
            monkeypatch.setattr(ssl.SSLContext, name, counted(name))
        in_threads(2, lambda: get(client, f"{server.url}/a"))
        assert (len(server.heads), server.connections) == (2, 2)
    assert calls == {"load_verify_locations": 1, "set_alpn_protocols": 1}
