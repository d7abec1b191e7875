"""Redirects: followed where nothing is lost by it, with no credential taken along."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.core.errors import RedirectError, StatusError
from tests.fakes.scripted_server import Fin, Head, ScriptedServer, Send, Sleep, head, ok, status
from tests.unit.http.helpers import SECRET, client_with, fetch, get
from tests.waiting import LONG, soon

BASIC = "Basic dXNlcjpodW50ZXIy"
"""Of user:hunter2."""


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_get_follows_to_another_server(code: int) -> None:
    with ScriptedServer(ok(b"there")) as second, client_with() as client:
        with ScriptedServer(status(code, Location=f"{second.url}/new?a=b")) as first:
            assert get(client, f"{first.url}/old") == b"there"
        assert [request.path for request in second.heads] == ["/new?a=b"]


def test_a_get_follows_after_others_that_were_not_redirected() -> None:
    with ScriptedServer(ok(b"there")) as second, client_with() as client:
        moved = status(302, Location=f"{second.url}/new")
        with ScriptedServer(ok(b"here"), ok(b"here"), moved, moved) as first:
            assert [get(client, f"{first.url}/{n}") for n in range(3)] == [
                b"here",
                b"here",
                b"there",
            ]
        assert [request.path for request in first.heads] == ["/0", "/1", "/2", "/2"]


def test_a_host_that_redirects_is_asked_directly_again_after_a_plain_object() -> None:
    with ScriptedServer(ok(b"there")) as second, client_with() as client:
        moved = status(302, Location=f"{second.url}/new")
        here = ok(b"here")
        replies = [moved, moved, moved, here, here, moved, moved]
        with ScriptedServer(*replies) as first:
            got = [get(client, f"{first.url}/{number}") for number in range(5)]
        assert got == [b"there", b"there", b"here", b"here", b"there"]
        # A direct request that is redirected is sent again by requests, and the next one by it.
        paths = ["/0", "/0", "/1", "/2", "/3", "/4", "/4"]
        assert [request.path for request in first.heads] == paths


@pytest.mark.parametrize(
    ("location", "path"),
    [("/b/c", "/b/c"), ("c", "/a/c"), ("../c?x=1", "/c?x=1"), ("//{host}/d", "/d")],
)
def test_a_relative_redirect_is_followed(location: str, path: str) -> None:
    def respond(request: Head):
        if request.path == path:
            return ok(b"there")
        return status(302, Location=location.format(host=f"127.0.0.1:{server.port}"))

    server = ScriptedServer(answer=respond)
    with server, client_with() as client:
        assert get(client, f"{server.url}/a/b") == b"there"


def test_credentials_of_the_url_are_sent_only_to_its_host() -> None:
    with ScriptedServer(ok(b"there")) as second, client_with() as client:
        with ScriptedServer(status(302, Location=second.url_as("localhost"))) as first:
            assert get(client, first.url_as(f"user:{SECRET}@127.0.0.1")) == b"there"
            assert first.heads[0].headers["authorization"] == BASIC
        assert "authorization" not in second.heads[0].headers
        assert SECRET not in repr(second.heads)


def test_credentials_stay_within_one_server() -> None:
    with ScriptedServer(status(302, Location="/new"), ok()) as server, client_with() as client:
        get(client, server.url_as(f"user:{SECRET}@127.0.0.1"))
        assert [request.headers["authorization"] for request in server.heads] == [BASIC, BASIC]


def test_credentials_in_a_redirect_are_not_used() -> None:
    with ScriptedServer(ok()) as second, client_with() as client:
        with ScriptedServer(status(302, Location=second.url_as("evil:pass@localhost"))) as first:
            get(client, first.url)
        assert "authorization" not in second.heads[0].headers


def test_netrc_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text(
        f"machine 127.0.0.1 login user password {SECRET}\n"
        f"machine localhost login user password {SECRET}\n"
        f"default login user password {SECRET}\n"
    )
    netrc.chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(netrc))
    with ScriptedServer(ok()) as second, client_with() as client:
        with ScriptedServer(status(302, Location=second.url_as("localhost"))) as first:
            get(client, first.url)
            assert "authorization" not in first.heads[0].headers
        assert "authorization" not in second.heads[0].headers


def test_a_circle_ends() -> None:
    with ScriptedServer(status(302, Location="/again")) as server, client_with() as client:
        with pytest.raises(RedirectError, match="in a circle") as refused:
            fetch(client, server.url)
        assert len(server.heads) < 10
    assert not refused.value.retryable


@pytest.mark.parametrize("code", [301, 302, 303])
def test_a_form_is_not_turned_into_a_get(code: int) -> None:
    with ScriptedServer(status(code, Location="/new")) as server, client_with() as client:
        with pytest.raises(RedirectError, match="would drop the contents") as refused:
            fetch(client, server.url, form={"a": "b"})
        assert len(server.heads) == 1
    assert "set the archive's URL" in refused.value.hint


@pytest.mark.parametrize("code", [307, 308])
def test_a_form_is_sent_again_where_the_redirect_keeps_it(code: int) -> None:
    with ScriptedServer(status(code, Location="/new"), ok()) as server, client_with() as client:
        assert fetch(client, server.url, form={"a": "b"}) == b"fine"
        assert [(x.method, x.body) for x in server.heads] == [("POST", b"a=b")] * 2


@pytest.mark.parametrize(
    "location",
    ["ftp://host/x", "file:///etc/passwd", "http://:80/", "http://[::1/", "http://h:99999/"],
)
def test_a_redirect_to_something_else_is_refused(location: str) -> None:
    with (
        ScriptedServer(status(302, Location=location)) as server,
        client_with() as client,
        pytest.raises(RedirectError, match=r"not an http\(s\) URL"),
    ):
        get(client, server.url)


def test_a_refused_redirect_names_both_ends_without_secrets() -> None:
    target = f"ftp://user:{SECRET}@host/x?token={SECRET}"
    with ScriptedServer(status(302, Location=target)) as server, client_with() as client:
        with pytest.raises(RedirectError) as refused:
            get(client, f"{server.url}/a", params={"token": SECRET})
        assert f"{server.url}/a" in refused.value.message
    assert SECRET not in repr(refused.value) + refused.value.hint


@pytest.mark.parametrize("code", [300, 301, 302, 304, 305])
def test_a_redirect_to_nowhere_is_an_error(code: int) -> None:
    with (
        ScriptedServer(status(code)) as server,
        client_with() as client,
        pytest.raises(StatusError, match=f"HTTP {code}") as refused,
    ):
        get(client, server.url)
    assert not refused.value.retryable


def test_the_body_of_a_redirect_is_not_waited_for() -> None:
    endless = [Send(head(302, length=1 << 40, Location="/new") + b"x" * 1000), Sleep(LONG)]
    with ScriptedServer(endless, ok(b"there")) as server, client_with() as client, soon():
        assert get(client, server.url) == b"there"


def test_a_redirect_whose_body_is_cut_is_followed() -> None:
    cut = [Send(head(302, length=100, Location="/new") + b"x"), Fin()]
    with ScriptedServer(cut, ok(b"there")) as server, client_with() as client:
        assert get(client, server.url) == b"there"


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://127.0.0.1:9/",
        "http://2130706433/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://[::1]/",
        "http://[::ffff:169.254.169.254]/",
        "http://[fe80::1]/",
        "http://[fd00:ec2::254]/",
        "http://localhost/",
        "http://archive.localhost/",
    ],
)
def test_fault_16_a_redirect_from_a_public_host_into_a_private_network_is_refused(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(status(302, Location=target)) as proxy, client_with() as client:
        monkeypatch.setenv("http_proxy", proxy.url)
        with pytest.raises(RedirectError, match="is in a private network"):
            get(client, "http://archive.example/series")
        assert len(proxy.heads) == 1


def test_a_redirect_between_public_hosts_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(request: Head):
        if request.path.startswith("http://archive.example"):
            return status(302, Location="http://mirror.example/series")
        return ok(b"there")

    with ScriptedServer(answer=respond) as proxy, client_with() as client:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert get(client, "http://archive.example/series") == b"there"
