"""Every wait ends at once when the run is to end, over plain connections and over TLS."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_SIGTERM, ConnectionLostError, InterruptedRunError
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.http.watchdog import ActiveRequest
from tests.fakes.scripted_server import Drip, ScriptedServer, Send, Sleep, head, ok, status
from tests.unit.http.helpers import QUICK, Waiting, client_with, fetch, get, stop_while, trusted_tls
from tests.waiting import LONG, SOON, soon

LOST = ConnectionLostError("cut", retryable=True)


@dataclass(frozen=True)
class Transport:
    """Plain or TLS."""

    tls: ssl.SSLContext | None

    def serve(self, *scripts) -> ScriptedServer:
        return ScriptedServer(*scripts, tls=self.tls)


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ssl.SSLContext]:
    with trusted_tls(tmp_path_factory.mktemp("ca")) as context:
        yield context


@pytest.fixture(params=["http", "https"])
def transport(request: pytest.FixtureRequest, secured: ssl.SSLContext) -> Transport:
    return Transport(secured if request.param == "https" else None)


def assert_interrupted(ended: Waiting) -> None:
    assert isinstance(ended.error, InterruptedRunError)


def test_waiting_for_the_first_byte(transport: Transport) -> None:
    stop = CancelToken()
    with transport.serve([Sleep(LONG)]) as server, client_with(stop=stop) as client:
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))


def test_waiting_for_the_first_byte_where_only_closing_wakes_a_reader(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ActiveRequest, "closes_to_abort", True)
    stop, sockets = CancelToken(), []
    reads_from = ActiveRequest.reads_from

    def note(request: ActiveRequest, sock: socket.socket) -> None:
        sockets.append(sock)
        reads_from(request, sock)

    monkeypatch.setattr(ActiveRequest, "reads_from", note)
    with transport.serve([Sleep(LONG)]) as server, client_with(stop=stop) as client:
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))
    assert [sock.fileno() for sock in sockets] == [-1]
    assert isinstance(sockets[0], ssl.SSLSocket) == (transport.tls is not None)


def test_waiting_for_the_first_byte_on_a_connection_used_before(transport: Transport) -> None:
    stop = CancelToken()
    with transport.serve(ok(), [Sleep(LONG)]) as server, client_with(stop=stop) as client:

        def work() -> None:
            get(client, server.url)
            get(client, server.url)

        assert_interrupted(stop_while(work, stop, lambda: len(server.heads) == 2))
        assert server.connections == 1


def test_waiting_for_the_first_byte_after_a_redirect(transport: Transport) -> None:
    stop = CancelToken()
    with transport.serve([Sleep(LONG)]) as second, client_with(stop=stop) as client:
        with transport.serve(status(302, Location=second.url)) as first:
            assert_interrupted(
                stop_while(lambda: get(client, first.url), stop, lambda: second.heads)
            )
        assert len(second.heads) == 1


@pytest.mark.parametrize("framing", [{"length": 9}, {"chunked": True}, {"Connection": "close"}])
def test_reading_a_body_that_stalls(transport: Transport, framing: dict) -> None:
    stop = CancelToken()
    script = [Send(head(**framing)), Sleep(LONG)]
    with transport.serve(script) as server, client_with(stop=stop) as client:
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))


def test_reading_a_body_that_drips(transport: Transport) -> None:
    stop = CancelToken()
    script = [Send(head(length=10**6)), Drip(b"x" * 10**4, every=0.01)]
    with transport.serve(script) as server, client_with(stop=stop) as client:
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))


def test_reading_a_body_that_comes_fast() -> None:
    stop = CancelToken()
    script = [Send(head(chunked=True)), *[Send(b"10000\r\n" + bytes(65536) + b"\r\n")] * 200_000]
    with ScriptedServer(script) as server, client_with(stop=stop) as client:
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))


@pytest.mark.skipif(
    sys.platform == "win32",
    reason="only closing wakes a reader there, and the socket that reads the handshake is known "
    "after it: the connection timeout ends it, and a canceled command does not wait for it",
)
def test_a_tls_handshake_that_never_comes() -> None:
    stop = CancelToken()
    with ScriptedServer([Sleep(LONG)]) as server, client_with(stop=stop) as client:
        url = server.url.replace("http:", "https:")
        assert_interrupted(stop_while(lambda: get(client, url), stop))


def test_a_proxy_that_never_opens_its_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    stop = CancelToken()
    with ScriptedServer([Sleep(LONG)]) as server, client_with(stop=stop) as client:
        monkeypatch.setenv("HTTPS_PROXY", server.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        wait = partial(get, client, "https://archive.invalid/")
        assert_interrupted(stop_while(wait, stop, lambda: server.heads))
        assert server.heads[0].method == "CONNECT"


def test_pausing_before_a_retry() -> None:
    stop = CancelToken()
    with (
        ScriptedServer(status(503)) as server,
        client_with(stop=stop, retry_wait=1000, retry_wait_cap=1000) as client,
    ):
        assert_interrupted(stop_while(lambda: fetch(client, server.url), stop))


def test_pausing_because_of_retry_after() -> None:
    stop = CancelToken()
    with (
        ScriptedServer(status(503, Retry_After="500")) as server,
        client_with(stop=stop) as client,
    ):
        assert_interrupted(
            stop_while(lambda: fetch(client, server.url), stop, lambda: server.heads)
        )
        assert len(server.heads) == 1


def test_waiting_for_a_pause_to_end() -> None:
    stop = CancelToken()
    with client_with(stop=stop) as client:
        client.limiter("http://127.0.0.1:9/").pause(500)
        assert_interrupted(stop_while(lambda: get(client, "http://127.0.0.1:9/"), stop))


def test_waiting_for_a_slot() -> None:
    stop = CancelToken()
    with client_with(stop=stop, jobs=1) as client, client.limiter("http://127.0.0.1:9/").slot():
        assert_interrupted(stop_while(lambda: get(client, "http://127.0.0.1:9/"), stop))


def test_waiting_because_of_the_maximum_rate(transport: Transport) -> None:
    stop = CancelToken()
    with (
        transport.serve(ok(bytes(100_000))) as server,
        client_with(stop=stop, max_rate=1000) as client,
    ):
        assert_interrupted(stop_while(lambda: get(client, server.url), stop, lambda: server.heads))


def test_waiting_in_eight_threads() -> None:
    stop = CancelToken()
    ends: list[BaseException] = []
    with ScriptedServer([Sleep(LONG)]) as server, client_with(stop=stop, jobs=5) as client:

        def work() -> None:
            try:
                get(client, server.url)
            except InterruptedRunError as error:
                ends.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        time.sleep(0.1)
        with soon():
            stop.set()
            for thread in threads:
                thread.join()
    assert len(ends) == 8


@pytest.mark.parametrize(
    "use",
    [
        lambda client: get(client, "http://127.0.0.1:9/"),
        lambda client: fetch(client, "http://127.0.0.1:9/"),
        lambda client: RetryPolicy(QUICK, client.stop).failed(LOST),
    ],
)
def test_nothing_starts_once_the_run_is_canceled(use: Callable) -> None:
    stop = CancelToken()
    reason = InterruptedRunError(exit_code=EXIT_SIGTERM)
    stop.set(reason)
    with client_with(stop=stop) as client, pytest.raises(InterruptedRunError) as ended:
        use(client)
    assert ended.value is reason


class StopsAfterCheck(CancelToken):
    """Is set right after its first check, that of a request that waits for its slot."""

    def check(self) -> None:
        super().check()
        self.set()


def test_a_stop_between_slot_and_request_is_not_missed() -> None:
    """The flag is checked again once the watchdog knows the request."""
    with (
        ScriptedServer([Sleep(LONG)]) as server,
        client_with(stop=StopsAfterCheck()) as client,
        soon(),
        pytest.raises(InterruptedRunError),
    ):
        get(client, server.url)


def test_the_server_sees_the_connection_end() -> None:
    stop = CancelToken()
    closed = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                while sock.recv(1000):
                    pass
                closed.set()

        thread = threading.Thread(target=serve)
        thread.start()
        with client_with(stop=stop) as client:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            assert_interrupted(stop_while(lambda: get(client, url), stop))
            assert closed.wait(SOON)
        thread.join()
