"""TLS: what cannot be trusted is refused with its reason, and nothing switches that off."""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import trustme

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ConfigError,
    ConnectionLostError,
    InterruptedRunError,
    RedirectError,
    TlsError,
    UnreachableError,
)
from tests.fakes.scripted_server import (
    Drip,
    Fin,
    Reset,
    ScriptedServer,
    Send,
    Sleep,
    head,
    in_chunks,
    ok,
    status,
)
from tests.unit.http.helpers import SECRET, client_with, fetch, get
from tests.waiting import LONG, soon, wait_for

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
LONG_AGO = datetime.now(timezone.utc) - timedelta(days=400)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def served(authority: trustme.CA, *names: str, **terms: object) -> ssl.SSLContext:
    """The TLS of a server with a certificate for `names`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1", "localhost")), **terms).configure_cert(context)
    return context


@pytest.fixture
def tls(authority: trustme.CA) -> ssl.SSLContext:
    return served(authority)


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment names the authority, as behind an inspecting proxy."""
    bundle = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    return bundle


@pytest.fixture
def untrusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_a_ca_bundle_of_the_environment_is_trusted(
    variable: str,
    tls: ssl.SSLContext,
    trusted: Path,
    untrusted: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, str(trusted))
    with ScriptedServer(in_chunks(bytes(100_000)), tls=tls) as server, client_with() as client:
        for _ in range(3):
            assert get(client, server.url) == bytes(100_000)
        assert server.connections == 1


def refused(server: ScriptedServer, url: str | None = None) -> TlsError:
    with client_with() as client, pytest.raises(TlsError) as caught:
        fetch(client, url or server.url, params={"token": SECRET})
    error = caught.value
    assert server.heads == []
    assert server.connections == 1, "it was asked again"
    assert not error.retryable
    assert "REQUESTS_CA_BUNDLE" in error.hint
    assert SECRET not in f"{error!r} {error.hint}"
    return error


def test_an_unknown_authority_is_refused(tls: ssl.SSLContext, untrusted: None) -> None:
    with ScriptedServer(ok(), tls=tls) as server:
        assert "cannot be trusted: unable to get" in refused(server).message


def test_an_expired_certificate_is_refused(authority: trustme.CA, trusted: Path) -> None:
    context = served(
        authority, "127.0.0.1", not_before=LONG_AGO, not_after=LONG_AGO + timedelta(days=1)
    )
    with ScriptedServer(ok(), tls=context) as server:
        assert "has expired" in refused(server).message


def test_a_certificate_of_another_host_is_refused(authority: trustme.CA, trusted: Path) -> None:
    with ScriptedServer(ok(), tls=served(authority, "elsewhere.example")) as server:
        assert "127.0.0.1" in refused(server).message
    with ScriptedServer(ok(), tls=served(authority, "elsewhere.example")) as server:
        error = refused(server, server.url_as("localhost"))
        assert "localhost" in error.message


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system's store is no file")
@pytest.mark.parametrize("is_trusted", [False, True])
def test_fault_36_the_store_of_the_system_is_trusted_with_truststore(
    tls: ssl.SSLContext,
    trusted: Path,
    untrusted: None,
    monkeypatch: pytest.MonkeyPatch,
    is_trusted: bool,
) -> None:
    store = pytest.importorskip("truststore._openssl")
    none = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    monkeypatch.setattr(store, "_CA_FILE_CANDIDATES", [str(trusted)] * is_trusted)
    with ScriptedServer(ok(), tls=tls) as server:
        if is_trusted:
            with client_with() as client:
                assert get(client, server.url) == b"fine"
        else:
            assert "cannot be trusted" in refused(server).message


def test_a_handshake_that_hangs_delays_no_other_host(
    tls: ssl.SSLContext, trusted: Path, untrusted: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = pytest.importorskip("truststore._openssl")
    none = ssl.get_default_verify_paths()._replace(cafile=None, capath=None)
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: none)
    monkeypatch.setattr(store, "_CA_FILE_CANDIDATES", [str(trusted)])
    stop = CancelToken()
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        ScriptedServer(ok(), tls=tls) as server,
        client_with(stop=stop) as client,
    ):

        def wait_for_handshake() -> None:
            with pytest.raises(InterruptedRunError):
                get(client, f"https://127.0.0.1:{silent.getsockname()[1]}/a")

        waiting = threading.Thread(target=wait_for_handshake)
        waiting.start()
        wait_for(lambda: any(request.is_accepted for request in client.watchdog.active()))
        assert get(client, f"{server.url}/a") == b"fine"
        stop.set()
        waiting.join()


@pytest.mark.parametrize("variable", VARIABLES[:3])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_bundle_that_cannot_be_read_is_named(
    variable: str,
    content: str | None,
    tls: ssl.SSLContext,
    untrusted: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "bundle.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv(variable, str(bundle))
    with (
        ScriptedServer(ok(), tls=tls) as server,
        client_with() as client,
        pytest.raises(ConfigError, match=f"CA bundle named by {variable}") as caught,
    ):
        fetch(client, server.url)
    assert caught.value.exit_code == 2
    assert "PEM" in caught.value.hint


def test_an_unreadable_bundle_does_not_matter_to_plain_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with ScriptedServer(ok()) as server, client_with() as client:
        assert get(client, server.url) == b"fine"


def test_a_server_that_speaks_plain_http_is_no_tls_server(untrusted: None) -> None:
    with (
        ScriptedServer(answer=lambda request: ok()) as server,
        client_with() as client,
        pytest.raises(TlsError, match="wrong version number") as caught,
    ):
        get(client, server.url.replace("http:", "https:"))
    assert "http:// URL" in caught.value.hint
    assert not caught.value.retryable


@pytest.mark.parametrize("response", [Sleep(LONG), Drip(b"\x16\x03\x03\x3f\xff" * 99, every=0.05)])
def test_a_handshake_that_never_ends_is_named_at_the_connect_timeout(
    untrusted: None, response: Sleep | Drip
) -> None:
    handshake = r"did not finish the TLS handshake within 0\.2 s"
    with (
        ScriptedServer([response]) as server,
        client_with(connect_timeout=0.2) as client,
        soon(),
        pytest.raises(UnreachableError, match=handshake) as caught,
    ):
        get(client, server.url.replace("http:", "https:"))
    assert caught.value.retryable


@pytest.mark.parametrize("cut", [0, 1, 20_000])
@pytest.mark.parametrize("end", [Fin(), Reset()], ids=["closed", "reset"])
def test_of_a_cut_body_what_came_is_returned(
    cut: int, end: Fin | Reset, tls: ssl.SSLContext, trusted: Path
) -> None:
    received = bytearray()
    script = [Send(head(length=30_000) + b"x" * cut), Sleep(0.05), end]
    with (
        ScriptedServer(script, tls=tls) as server,
        client_with() as client,
        pytest.raises(ConnectionLostError) as caught,
    ):
        get(client, server.url, received)
    assert received == b"x" * cut
    assert caught.value.retryable


def test_a_stalled_body_ends_at_the_stall_timeout(tls: ssl.SSLContext, trusted: Path) -> None:
    script = [Send(head(length=9) + b"half"), Sleep(LONG)]
    with (
        ScriptedServer(ok(), script, tls=tls) as server,
        client_with(stall_timeout=0.2) as client,
    ):
        get(client, server.url)
        with pytest.raises(ConnectionLostError, match=r"no byte for 0\.2 s"):
            get(client, server.url)


def test_a_connection_that_the_server_closed_is_replaced_unseen(
    tls: ssl.SSLContext, trusted: Path
) -> None:
    with ScriptedServer(ok(), tls=tls) as server, client_with() as client:
        get(client, server.url)
        server.close_idle()
        assert fetch(client, server.url) == b"fine"


def test_a_new_connection_that_closes_unanswered_is_lost(
    tls: ssl.SSLContext, trusted: Path
) -> None:
    with (
        ScriptedServer([Fin()], tls=tls) as server,
        client_with() as client,
        soon(),
        pytest.raises(ConnectionLostError, match="closed the connection before it responded"),
    ):
        get(client, server.url)
    assert server.connections == 1


def test_a_redirect_from_https_to_http_is_refused(tls: ssl.SSLContext, trusted: Path) -> None:
    with ScriptedServer(ok()) as plain, client_with() as client:
        with ScriptedServer(
            status(302, Location=f"{plain.url}/x?token={SECRET}"), tls=tls
        ) as first:
            with pytest.raises(RedirectError, match="not protected by TLS") as caught:
                fetch(client, first.url)
            assert len(first.heads) == 1
        assert plain.heads == []
    assert f"{plain.url}/x" in caught.value.message
    assert SECRET not in repr(caught.value)
    assert not caught.value.retryable


def test_a_redirect_to_another_https_host_gets_no_credential(
    tls: ssl.SSLContext, trusted: Path
) -> None:
    with ScriptedServer(ok(b"there"), tls=tls) as second, client_with() as client:
        with ScriptedServer(status(302, Location=second.url_as("localhost")), tls=tls) as first:
            assert get(client, first.url_as(f"user:{SECRET}@127.0.0.1")) == b"there"
            assert "authorization" in first.heads[0].headers
        assert "authorization" not in second.heads[0].headers


def test_a_redirect_from_http_to_https_is_followed(tls: ssl.SSLContext, trusted: Path) -> None:
    with (
        ScriptedServer(ok(b"there"), tls=tls) as second,
        client_with() as client,
        ScriptedServer(status(301, Location=second.url)) as first,
    ):
        assert get(client, first.url) == b"there"


def test_a_redirect_to_a_host_that_cannot_be_trusted_is_refused_by_its_name(
    tls: ssl.SSLContext, untrusted: None
) -> None:
    with ScriptedServer(ok(), tls=tls) as second, client_with() as client:
        redirect = status(302, Location=second.url)
        with (
            ScriptedServer(redirect, redirect) as first,
            pytest.raises(TlsError, match=f"certificate of 127.0.0.1:{second.port} "),
        ):
            get(client, first.url)
        assert second.heads == []


@pytest.mark.parametrize("framed", ["length", "chunked"])
@pytest.mark.usefixtures("trusted")
def test_bytes_beyond_the_end_are_not_the_next_response(tls: ssl.SSLContext, framed: str) -> None:
    """TLS buffers what arrived with the end of the body: the socket itself shows nothing of it."""
    # Under a maximum rate 64 KiB are read at a time: the last of the body, and little beyond.
    body = bytes(4 * 65536 - 20)
    if framed == "length":
        whole = head(length=len(body)) + body
    else:
        whole = head(chunked=True) + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    # The last record has the end of the body and more.
    wrong = [Send(whole[:-1000]), Sleep(0.02), Send(whole[-1000:] + head(length=4) + b"evil")]
    with (
        ScriptedServer(wrong, ok(b"good"), tls=tls) as server,
        client_with(max_rate=1e9) as client,
    ):
        assert get(client, server.url) == body
        assert get(client, server.url) == b"good"
