"""Plain requests: what is sent, how connections are used again, what counts as a response."""

from __future__ import annotations

import gc
import socket
import threading
import time

import pytest

from tcia_covid.core.errors import BadResponseError, ConnectionLostError, StatusError, UsageError
from tcia_covid.core.events import Event, RequestRetried
from tcia_covid.http.response import Response
from tests.fakes.scripted_server import (
    Fin,
    ScriptedServer,
    Send,
    Sleep,
    head,
    in_chunks,
    ok,
    status,
)
from tests.unit.http.helpers import SECRET, client_with, fetch, get, in_threads
from tests.waiting import wait_for

BODY = bytes(range(256)) * 1200


@pytest.mark.parametrize(
    "script",
    [ok(BODY), in_chunks(BODY), [Send(head(Connection="close") + BODY), Fin()]],
    ids=["length", "chunked", "unframed"],
)
def test_a_body_arrives_completely_in_every_framing(script) -> None:
    with ScriptedServer(script) as server, client_with() as client:
        assert get(client, server.url) == BODY
        assert client.meter.received == len(BODY)


def test_the_request_asks_for_bytes_as_they_are_and_names_the_program() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        for _ in range(2):  # by requests, then without it
            get(client, f"{server.url}/getImage", params={"name": "a b/ü"}, headers={"X-One": "1"})
        heads = server.heads
    assert len(heads) == 2
    for request in heads:
        assert request.method == "GET"
        assert request.path == "/getImage?name=a+b%2F%C3%BC"
        assert request.headers["accept-encoding"] == "identity"
        assert request.headers["accept"] == "*/*"
        assert request.headers["user-agent"].startswith("tcia-covid/")
        assert request.headers["x-one"] == "1"


def test_a_form_is_posted() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        assert fetch(client, f"{server.url}/x", form={"list": "1.2,1.3"}) == b"fine"
        (request,) = server.heads
    assert (request.method, request.body) == ("POST", b"list=1.2%2C1.3")


@pytest.mark.parametrize(
    "script", [ok(), in_chunks(BODY), ok(b""), status(204)], ids=["length", "chunked", "0", "204"]
)
def test_a_connection_is_used_again(script) -> None:
    with ScriptedServer(script) as server, client_with() as client:
        for _ in range(5):
            get(client, server.url)
        assert server.connections == 1


def test_a_connection_is_used_again_after_an_error_status() -> None:
    with ScriptedServer(status(404, b"no"), ok()) as server, client_with() as client:
        with pytest.raises(StatusError):
            get(client, server.url)
        get(client, server.url)
        assert server.connections == 1


def test_a_connection_that_the_server_closed_between_requests_is_replaced_unseen() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        for _ in range(3):
            get(client, server.url)
            server.close_idle()
            time.sleep(0.05)
        assert server.connections == 3


def test_a_connection_that_closes_as_the_next_request_comes_is_a_retry() -> None:
    with ScriptedServer(ok(), [Fin()], ok(b"again")) as server, client_with() as client:
        get(client, server.url)
        assert fetch(client, server.url) == b"again"
        assert server.connections == 2


def test_an_unread_response_is_cut_off_and_affects_no_other() -> None:
    with ScriptedServer(ok(BODY * 20), ok(b"second")) as server, client_with() as client:
        with client.stream("GET", server.url) as response:
            response.read(100)
        assert get(client, server.url) == b"second"
        assert server.connections == 2


def test_bytes_beyond_the_announced_length_are_not_the_next_response() -> None:
    with (
        ScriptedServer([Send(head(length=4) + b"fineEVIL")], ok(b"good")) as server,
        client_with() as client,
    ):
        assert get(client, server.url) == b"fine"
        assert fetch(client, server.url) == b"good"


def test_read_returns_at_most_the_requested_size() -> None:
    with (
        ScriptedServer(ok(b"0123456789")) as server,
        client_with() as client,
        client.stream("GET", server.url) as response,
    ):
        assert [response.read(4), response.read(4), response.read(4)] == [b"0123", b"4567", b"89"]
        assert response.received == 10


def test_read_all_refuses_more_than_its_limit() -> None:
    with ScriptedServer(in_chunks(BODY)) as server, client_with() as client:
        with (
            pytest.raises(BadResponseError, match="more than 1000 bytes"),
            client.stream("GET", server.url) as response,
        ):
            response.read_all(1000)
        with client.stream("GET", server.url) as response:
            assert response.read_all(len(BODY)) == BODY


def test_a_response_has_status_headers_and_a_clean_url() -> None:
    with (
        ScriptedServer(ok(X_Name="value")) as server,
        client_with() as client,
        client.stream("GET", f"{server.url}/a", params={"token": SECRET}) as response,
    ):
        assert (response.status, response.headers["x-name"]) == (200, "value")
        assert response.url == f"{server.url}/a"


def test_no_content_is_an_empty_response() -> None:
    with ScriptedServer(status(204)) as server, client_with() as client:
        assert get(client, server.url) == b""


@pytest.mark.parametrize("encoding", ["gzip", "br, gzip", "x-unheard-of"])
def test_a_compressed_body_is_refused_because_none_was_requested(encoding: str) -> None:
    with (
        ScriptedServer(ok(b"?", Content_Encoding=encoding)) as server,
        client_with() as client,
        pytest.raises(BadResponseError, match="Content-Encoding") as refused,
    ):
        get(client, server.url)
    assert refused.value.retryable


def test_identity_is_no_compression() -> None:
    with ScriptedServer(ok(Content_Encoding="Identity")) as server, client_with() as client:
        assert get(client, server.url) == b"fine"


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
def test_ipv6_addresses_work() -> None:
    with ScriptedServer(ok(), host="::1") as server, client_with() as client:
        assert get(client, server.url) == b"fine"


def test_names_work() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        assert get(client, server.url_as("localhost")) == b"fine"


def test_fetch_retries_until_the_response_is_accepted() -> None:
    events: list[Event] = []

    def understand(response: Response) -> bytes:
        if (body := response.read_all(100)) == b"<html>":
            raise BadResponseError("an HTML page", retryable=True)
        return body

    with (
        ScriptedServer(status(503), ok(b"<html>"), status(500), ok(b"[]")) as server,
        client_with(events=events) as client,
    ):
        answered = client.fetch(f"{server.url}/getSeries/?token={SECRET}", understand)
    assert answered == b"[]"
    retries = [event for event in events if isinstance(event, RequestRetried)]
    assert [event.request for event in retries] == ["getSeries"] * 3
    assert "HTML" in retries[1].reason
    assert SECRET not in repr(events)


def test_fetch_raises_the_last_error_when_no_retry_is_left() -> None:
    with ScriptedServer(status(500, b"null")) as server, client_with(retries=2) as client:
        with pytest.raises(StatusError, match="HTTP 500: null"):
            fetch(client, server.url)
        assert len(server.heads) == 3


def test_fetch_can_have_fewer_retries_for_some_errors() -> None:
    with ScriptedServer(status(500)) as server, client_with(retries=5) as client:
        with pytest.raises(StatusError):
            fetch(client, server.url, limit=lambda error: 1)
        assert len(server.heads) == 2


@pytest.mark.parametrize("code", [400, 401, 403, 404, 407, 410, 422, 501])
def test_what_no_retry_can_help_is_requested_once(code: int) -> None:
    with ScriptedServer(status(code, b"no")) as server, client_with() as client:
        with pytest.raises(StatusError) as refused:
            fetch(client, server.url)
        assert len(server.heads) == 1
    assert refused.value.status == code
    assert refused.value.body == "no"


def test_an_error_of_the_reader_is_not_retried_and_closes_the_connection() -> None:
    def understand(response: Response) -> None:
        response.read(10)
        raise KeyError("bug")

    with ScriptedServer(ok(BODY)) as server, client_with() as client:
        with pytest.raises(KeyError):
            client.fetch(server.url, understand)
        assert len(server.heads) == 1
        assert client.limiter(server.url).limit == 8


def test_eight_threads_use_eight_connections_and_close_ends_them_all() -> None:
    gate = threading.Barrier(8)
    with ScriptedServer(ok()) as server, client_with() as client:

        def work() -> None:
            with client.stream("GET", server.url) as response:
                gate.wait(5)
                response.read()
            get(client, server.url)

        in_threads(8, work)
        assert server.connections == 8
        gc.collect()
        client.close()
        wait_for(lambda: not server.is_connected)


def test_a_closed_client_can_be_used_again() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        get(client, server.url)
        client.close()
        assert get(client, server.url) == b"fine"


def test_closing_ends_the_watchdog_thread() -> None:
    with ScriptedServer(ok()) as server, client_with() as client:
        get(client, server.url)
        client.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "http-watch"]


def test_a_redirected_request_still_ends_when_the_connection_does() -> None:
    second = ScriptedServer([Send(head(length=9) + b"half"), Fin()])
    with (
        second,
        ScriptedServer(status(302, Location=second.url)) as first,
        client_with() as client,
        pytest.raises(ConnectionLostError),
    ):
        get(client, first.url)


def test_a_nested_request_does_not_affect_the_outer_one() -> None:
    """Two open responses of one thread: each request keeps its own connection."""
    slow = [Send(head(length=8) + b"slow"), Sleep(0.1), Send(b"half")]
    with (
        ScriptedServer(slow, ok(b"inner")) as server,
        client_with() as client,
        client.stream("GET", server.url) as outer,
    ):
        assert get(client, server.url) == b"inner"
        assert b"".join(outer.chunks()) == b"slowhalf"


@pytest.mark.parametrize("proxy", ["", "http://127.0.0.1:9"])
@pytest.mark.parametrize(
    "url", ["user:hunter2@host/x", "http://", "ftp://h/x", "http://a..b/", "http://[::1/", ""]
)
def test_an_unusable_url_is_a_usage_error(
    url: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    if proxy and url == "http://a..b/":
        pytest.skip("a name is the proxy's business")
    with client_with() as client, pytest.raises(UsageError) as refused:
        get(client, url)
    assert SECRET not in str(refused.value)
