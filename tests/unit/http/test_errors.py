"""Errors before a response: type, message and hint, without secrets."""

from __future__ import annotations

import errno
import socket
import traceback
from dataclasses import dataclass
from importlib.util import find_spec

import pytest
import requests
import urllib3

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConfigError,
    ConnectionLostError,
    StatusError,
    TciaCovidError,
    UnreachableError,
)
from tcia_covid.core.redaction import scrub
from tcia_covid.http.errors import error_from_exception
from tcia_covid.http.settings import HttpSettings
from tcia_covid.http.watchdog import ActiveRequest
from tests.fakes.scripted_server import (
    Fin,
    ScriptedServer,
    Send,
    Sleep,
    closed_port,
    head,
    ok,
    status,
)
from tests.unit.http.helpers import SECRET, client_with, get
from tests.waiting import LONG

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy but what a test names."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def failure(url: str, **changes: object) -> TciaCovidError:
    """The error of one GET of `url`, with secrets in every part of the URL that may have one."""
    start, _, rest = url.partition("://")
    with client_with(**changes) as client, pytest.raises(TciaCovidError) as caught:
        get(client, f"{start}://user:{SECRET}@{rest}/x", params={"token": SECRET})
    assert_speaks_well(caught.value)
    return caught.value


def assert_speaks_well(error: TciaCovidError) -> None:
    shown = f"{error.message} {error!r} {error.hint}"
    shown += scrub("".join(traceback.format_exception(error)))
    assert SECRET not in shown
    assert error.hint
    assert not error.message.endswith((".", "!"))
    assert "\n" not in error.message


def test_a_name_that_does_not_resolve() -> None:
    error = failure("http://name.invalid")
    assert isinstance(error, UnreachableError)
    assert error.retryable
    assert error.message == "the name name.invalid cannot be resolved"
    assert "DNS" in error.hint


def test_a_port_without_a_server() -> None:
    port = closed_port()
    error = failure(f"http://127.0.0.1:{port}")
    assert isinstance(error, UnreachableError)
    assert error.retryable
    assert error.message == f"127.0.0.1:{port} refused the connection"


def test_an_address_without_a_route() -> None:
    """With the system's own error: no test may rely on a network beyond loopback."""
    cause = OSError(errno.ENETUNREACH, "Network is unreachable")
    inner = urllib3.exceptions.NewConnectionError(None, "no")
    inner.__cause__ = cause
    error = error_from_exception(
        requests.ConnectionError(inner), "http://h/x", ActiveRequest(HttpSettings())
    )
    assert isinstance(error, UnreachableError)
    assert error.message == "there is no route to h"


def test_an_address_that_never_answers() -> None:
    inner = urllib3.exceptions.MaxRetryError(
        None, "/x", urllib3.exceptions.ConnectTimeoutError(None, "slow")
    )
    error = error_from_exception(
        requests.ConnectTimeout(inner), "http://h/x", ActiveRequest(HttpSettings())
    )
    assert isinstance(error, UnreachableError)
    assert error.message == "h accepted no connection within 20 s"
    assert not error.push_back


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
    ],
    ids=["ssh", "status", "long header", "many headers", "two lengths"],
)
def test_something_that_is_not_http(sent: bytes) -> None:
    with ScriptedServer([Send(sent), Sleep(0.2), Fin()]) as server:
        error = failure(server.url)
    assert isinstance(error, BadResponseError)
    assert error.retryable
    assert "not HTTP" in error.message


def test_a_connection_that_closes_without_a_response() -> None:
    with ScriptedServer([Fin()]) as server:
        error = failure(server.url)
    assert isinstance(error, ConnectionLostError)
    assert error.retryable


def test_an_early_hint_is_no_response() -> None:
    with ScriptedServer([Send(head(103)), Sleep(0.1), *ok()]) as server:
        assert isinstance(failure(server.url), StatusError)


def test_a_status_with_a_text_that_repeats_the_request() -> None:
    text = f"no: GET /x?token={SECRET} from http://user:{SECRET}@h/, Authorization: Basic {SECRET}"
    with ScriptedServer(status(403, text.encode())) as server:
        error = failure(server.url)
    assert isinstance(error, StatusError)
    assert SECRET not in error.body


def test_a_stalled_response() -> None:
    with ScriptedServer([Send(head(length=9)), Sleep(LONG)]) as server:
        assert isinstance(failure(server.url, stall_timeout=0.1), ConnectionLostError)


def test_an_earlier_error_does_not_affect_a_later_one() -> None:
    """A request inside the handler of another error has that error as its context."""
    with ScriptedServer([Fin()]) as server:
        try:
            socket.create_connection(("127.0.0.1", closed_port()))
        except ConnectionRefusedError:
            assert isinstance(failure(server.url), ConnectionLostError)


@dataclass(frozen=True)
class Proxy:
    """A proxy's URL with credentials in it, and the same without."""

    url: str
    shown: str


def proxy_at(port: int) -> Proxy:
    return Proxy(f"http://user:{SECRET}@127.0.0.1:{port}", f"127.0.0.1:{port}")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_is_down(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = proxy_at(closed_port())
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy.url)
    error = failure(f"{scheme}://archive.invalid")
    assert isinstance(error, UnreachableError)
    assert error.retryable
    assert error.message == f"the proxy {proxy.shown} for archive.invalid cannot be reached"
    assert "HTTPS_PROXY" in error.hint


def test_a_proxy_whose_name_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{SECRET}@proxy.invalid:3128")
    error = failure("https://archive.invalid")
    assert isinstance(error, UnreachableError)
    assert error.message.startswith("the proxy proxy.invalid:3128 for archive.invalid")


@pytest.mark.parametrize(
    ("code", "retryable", "hint"), [(407, False, "user and password"), (502, True, "HTTPS_PROXY")]
)
def test_a_proxy_that_refuses(
    code: int, retryable: bool, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer([*status(code), Fin()]) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy_at(server.port).url)
        error = failure("https://archive.invalid")
    assert isinstance(error, UnreachableError)
    assert error.retryable is retryable
    assert f"status {code}" in error.message
    assert hint in error.hint


def test_a_proxy_that_closes_the_tunnel_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([*ok(b""), Fin()]) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy_at(server.port).url)
        error = failure("https://archive.invalid")
    assert isinstance(error, ConnectionLostError)
    assert error.retryable


def test_a_proxy_that_never_opens_its_tunnel(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer([Sleep(LONG)]) as server:
        monkeypatch.setenv("HTTPS_PROXY", proxy_at(server.port).url)
        error = failure("https://archive.invalid", connect_timeout=0.2)
    assert isinstance(error, UnreachableError)
    assert "within 0.2 s" in error.message


@pytest.mark.parametrize("url", ["http://", "http://u:hunter2@[bad:12", "ftp://u:hunter2@h:1"])
def test_an_invalid_proxy_setting(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", url)
    error = failure("https://archive.invalid")
    assert isinstance(error, ConfigError)
    assert "proxy" in error.message
    assert error.exit_code == 2


@pytest.mark.skipif(find_spec("socks") is not None, reason="the package is here")
def test_a_socks_proxy_without_the_package_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5://user:{SECRET}@127.0.0.1:{closed_port()}")
    error = failure("https://archive.invalid")
    assert isinstance(error, ConfigError)
    assert "pip install pysocks" in error.hint


def test_a_request_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(ok(b"by proxy")) as server, client_with() as client:
        monkeypatch.setenv("HTTP_PROXY", proxy_at(server.port).url)
        assert get(client, "http://archive.invalid/x") == b"by proxy"
        assert get(client, "http://archive.invalid/y") == b"by proxy"
        assert [request.path for request in server.heads] == [
            "http://archive.invalid/x",
            "http://archive.invalid/y",
        ]
        assert server.heads[0].headers["proxy-authorization"].startswith("Basic ")
        assert server.connections == 1


def test_no_proxy_is_honored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", proxy_at(closed_port()).url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ScriptedServer(ok()) as server, client_with() as client:
        assert get(client, server.url) == b"fine"
        assert "proxy-authorization" not in server.heads[0].headers


def test_every_archive_error_before_a_response_is_an_archive_error() -> None:
    fallback = error_from_exception(
        requests.RequestException("?"), "http://h/x", ActiveRequest(HttpSettings())
    )
    assert isinstance(fallback, ArchiveError)
    assert fallback.retryable
