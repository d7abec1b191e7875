"""Credentials are taken out of URLs, texts and bodies, however oddly they are written."""

from __future__ import annotations

import pytest

from tcia_covid.core.redaction import excerpt, redact, scrub
from tests.unit.http.helpers import SECRET


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a/b", "https://h/a/b"),
        ("https://h:8443/a?x=hunter2#hunter2", "https://h:8443/a"),
        ("https://user:hunter2@h:8443/a", "https://h:8443/a"),
        ("https://user:hun@ter2:hunter2@h/a", "https://h/a"),
        ("https://hunter2@h/a", "https://h/a"),
        ("http://user:hunter2@[::1]:80/a", "http://[::1]:80/a"),
        ("http://user:hunter2@[::1/a", "(unreadable URL)"),
        ("user:hunter2@h/a", "(unreadable URL)"),
        ("http:user:hunter2@h/a", "(unreadable URL)"),
        ("http://user:hunter2/x@h/a", "(unreadable URL)"),
        ("http://user:12/hunter2@h/a", "(unreadable URL)"),
        ("", ""),
    ],
)
def test_a_url_is_shown_without_user_password_query_and_fragment(url: str, shown: str) -> None:
    assert redact(url) == shown


@pytest.mark.parametrize(
    "text",
    [
        "GET https://user:hunter2@h/a failed",
        "url: /a?token=hunter2&b=c (Caused by X)",
        "'https://h/a?X-Amz-Signature=hunter2'",
        "GET https://h?hunter2",
        "(https://h/a?hunter2)",
        "url:/a?b=hunter2",
        "proxy http://user:p@hunter2@proxy:3128 is down",
        "proxy http://user:hunter2/hunter2@proxy:3128 is down",
        "No connection adapters were found for 'user:hunter2@host/x'",
        '{"Authorization": "Bearer hunter2"}',
        "Proxy-Authorization: Basic hunter2",
        "proxy=user:hunter2@proxy:3128",
        "(user:/hunter2@proxy:3128)",
        "//user:hunter2@proxy:3128/",
        "//hunter2@proxy:3128/",
        "authorization=hunter2",
        "login failed: token=hunter2 is not known",
        "user=me&password=hunter2",
        "Passwd: hunter2",
        "the API-key=hunter2",
        "AWS_SECRET_ACCESS_KEY='hunter2 hunter2'",
        '{"access_token": "hunter2 hunter2", "expires_in": 9}',
        r"{\"client_secret\":\"hunter2\"}",
        '{"apikey":"hunter2',
        "X-Amz-Signature: hunter2",
        "x-amz-security-token=hunter2,",
    ],
)
def test_credentials_are_removed_from_text(text: str) -> None:
    assert SECRET not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "series 1.2.840.113 was cut at 12:30:05",
        "Is it you? Yes.",
        "401 authorization required",
        "no token was given, and no password",
        "the token is wrong: ask for another",
        "https://host/path/file.zip returned HTTP 500: null",
        "write to help@example.org",
        "changed: C:\\Users\\ann@corp\\scans\\1-001.dcm",
        "changed: C:/Users/ann@corp/scans/1-001.dcm",
        "/data/12:30/ann@corp/1-001.dcm",
        "the description filter 'colou?r (' is not a regular expression",
        "what?.tcia cannot be read",
        "/data/what?.tcia cannot be read",
        "no series matches --where 'Manufacturer~^GE?=x'",
    ],
)
def test_text_without_credentials_is_unchanged(text: str) -> None:
    assert scrub(text) == text


def test_scrubbing_twice_changes_nothing_more() -> None:
    assert scrub(scrub("password=hunter2") + "; again at once") == "password=…; again at once"


def test_an_excerpt_is_one_printable_line() -> None:
    body = b"\xff\x00Server was\r\n\tnot able \x1b[31mto\x1b[0m process\n"
    assert excerpt(body) == "\N{REPLACEMENT CHARACTER} Server was not able [31mto [0m process"


def test_a_long_excerpt_is_shortened_with_an_ellipsis() -> None:
    assert excerpt(b"x" * 10_000) == "x" * 120 + "…"
    assert excerpt(b"x" * 50, 20) == "x" * 20 + "…"
    assert excerpt(b"") == ""


def test_a_shortened_excerpt_has_no_credentials() -> None:
    for length in range(60, 130):
        body = b"x" * length + b" see http://user:hunter2@h/?token=hunter2 for more"
        assert b"hunter2"[:3] not in excerpt(body).encode()
