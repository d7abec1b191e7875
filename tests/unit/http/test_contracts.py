"""What this program uses of urllib3, http.client and requests without its being documented."""

from __future__ import annotations

import http.client
import inspect
import io
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import trustme
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import (
    get_auth_from_url,
    get_environ_proxies,
    select_proxy,
)
from urllib3.util.ssl_ import create_urllib3_context

from tests.fakes.scripted_server import ScriptedServer, Step, in_chunks, ok, status

SCHEMES = {"http", "https"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(ok(b"fine")) as running:
        yield running


def test_urllib3_pool_managers_have_one_pool_class_per_scheme() -> None:
    for manager in (urllib3.PoolManager(), urllib3.ProxyManager("http://127.0.0.1:9")):
        pools = manager.pool_classes_by_scheme
        assert set(pools) == SCHEMES
        for pool in pools.values():
            assert issubclass(pool.ConnectionCls, http.client.HTTPConnection)


def test_urllib3_pools_use_the_classes_that_a_manager_is_given(server: ScriptedServer) -> None:
    class Connection(urllib3.connection.HTTPConnection):
        pass

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    with urllib3.PoolManager() as manager:
        manager.pool_classes_by_scheme = {"http": Pool, "https": urllib3.HTTPSConnectionPool}
        pool = manager.connection_from_url(server.url)
        assert type(pool) is Pool
        assert manager.request("GET", server.url).data == b"fine"
        connection = pool._get_conn()
        assert type(connection) is Connection
        connection.close()


def test_urllib3_connections_open_sockets_send_requests_and_make_responses_so(
    server: ScriptedServer,
) -> None:
    """`_new_conn` returns the socket, `sock` is that socket, `response_class` is made of it."""
    sockets: list[socket.socket] = []
    requested: list[bool] = []

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: object, **kwargs: object) -> None:
            super().__init__(sock, *args, **kwargs)
            sockets.append(sock)

    class Connection(urllib3.connection.HTTPConnection):
        response_class = Response

        def _new_conn(self) -> socket.socket:
            sockets.append(super()._new_conn())
            return sockets[-1]

        def request(self, *args: object, **kwargs: object) -> None:
            requested.append(self.sock is not None)
            super().request(*args, **kwargs)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    with Pool("127.0.0.1", server.port) as pool:
        for _ in range(2):
            assert pool.urlopen("GET", "/", retries=False).data == b"fine"
    assert len(sockets) == 3
    assert len(set(map(id, sockets))) == 1
    assert requested == [False, True]


def test_urllib3_raises_these_errors_with_these_causes() -> None:
    errors = urllib3.exceptions
    with urllib3.HTTPConnectionPool("127.0.0.1", 9, retries=False) as pool:
        with pytest.raises(errors.NewConnectionError) as refused:
            pool.urlopen("GET", "/")
        assert isinstance(refused.value.__cause__, ConnectionRefusedError)
    for kind in (errors.NameResolutionError, errors.NewConnectionError, errors.ReadTimeoutError):
        assert issubclass(kind, errors.HTTPError)
    assert issubclass(errors.ConnectTimeoutError, errors.HTTPError)
    with pytest.raises(errors.LocationParseError):
        urllib3.util.parse_url("http://[x")


def test_urllib3_reads_a_body_as_it_was_sent() -> None:
    """`raw.read(n, decode_content=False)` passes `n` on to http.client's `read`."""
    with ScriptedServer(ok(b"\x1f\x8b", Content_Encoding="gzip")) as server:
        response = requests.get(server.url, stream=True, timeout=5)
        assert response.raw.read(1, decode_content=False) == b"\x1f"
        assert response.raw.read(10, decode_content=False) == b"\x8b"
        response.close()


@pytest.mark.parametrize(
    ("script", "chunked", "length"),
    [(ok(b"fine"), False, 4), (in_chunks(b"fine"), True, None), (status(204), False, 0)],
)
def test_http_client_responses_have_a_buffered_reader_and_their_framing(
    script: list[Step], chunked: bool, length: int | None
) -> None:
    with ScriptedServer(script) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("GET", "/")
        response = http.client.HTTPResponse(connection.sock, method="GET")
        assert isinstance(response.fp, io.BufferedReader)
        assert isinstance(response.fp.raw, io.RawIOBase)
        response.begin()
        assert (bool(response.chunked), response.length) == (chunked, length)
        response.close()
        assert response.fp is None
        connection.close()


def test_http_client_names_a_refused_tunnel() -> None:
    with ScriptedServer(status(407)) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.set_tunnel("archive.invalid", 443)
        with pytest.raises(OSError, match=r"^Tunnel connection failed: 407"):
            connection.connect()
        connection.close()


def test_requests_sessions_call_the_methods_that_are_overridden() -> None:
    session = requests.Session
    for method, parameters in {
        session.get_redirect_target: ["self", "resp"],
        session.rebuild_auth: ["self", "prepared_request", "response"],
        session.should_strip_auth: ["self", "old_url", "new_url"],
        session.merge_environment_settings: ["self", "url", "proxies", "stream", "verify", "cert"],
    }.items():
        assert list(inspect.signature(method).parameters) == parameters


def test_requests_adapters_make_their_managers_in_these_methods() -> None:
    made: list[str] = []

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: object, **kwargs: object) -> None:
            super().init_poolmanager(*args, **kwargs)
            made.append(type(self.poolmanager).__name__)

        def proxy_manager_for(self, *args: object, **kwargs: object) -> object:
            manager = super().proxy_manager_for(*args, **kwargs)
            made.append(type(manager).__name__)
            return manager

    with requests.Session() as session:
        session.mount("https://", Adapter())
        with pytest.raises(requests.exceptions.ProxyError):
            session.get(
                "https://archive.invalid", proxies={"https": "http://127.0.0.1:9"}, timeout=5
            )
    assert made == ["PoolManager", "ProxyManager"]


def test_requests_adapters_give_pools_whose_connections_use_the_tls_context_in_conn_kw(
    tmp_path: Path,
) -> None:
    adapter, request = HTTPAdapter(), requests.Request("GET", "https://127.0.0.1:9").prepare()
    bundle = tmp_path / "ca.pem"
    trustme.CA().cert_pem.write_to_path(bundle)
    pool: Any = adapter.get_connection_with_tls_context(request, str(bundle))
    adapter.cert_verify(pool, request.url, str(bundle), None)
    assert (pool.proxy, pool.ca_certs, pool.ca_cert_dir) == (None, str(bundle), None)
    context = pool.conn_kw["ssl_context"] = create_urllib3_context()
    assert pool._get_conn().ssl_context is context


def test_requests_names_a_missing_ca_bundle_in_a_bare_oserror() -> None:
    with pytest.raises(OSError, match="CA certificate bundle") as missing:
        requests.get("https://127.0.0.1:9", verify="/no/such/file", timeout=5)
    assert type(missing.value) is OSError


def test_requests_helpers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@proxy.invalid:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    proxy = select_proxy("https://h/x", get_environ_proxies("https://h/x"))
    assert proxy == "http://user:secret@proxy.invalid:1"
    assert get_auth_from_url(proxy) == ("user", "secret")
