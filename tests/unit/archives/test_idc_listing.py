from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tcia_covid.archives.idc.s3 import list_folder, parse_etag
from tcia_covid.core.errors import BadResponseError, StatusError
from tcia_covid.core.models import RemoteImage
from tcia_covid.http.client import Client
from tcia_covid.http.settings import HttpSettings
from tests.fakes import s3
from tests.fakes.s3 import BUCKET, QUICK, S3Server
from tests.fakes.s3_faults import Fault, Reply, Rewrite, Say
from tests.fakes.s3_proxy import S3Proxy

running_s3 = s3.running_s3
HUGE = 5 * 1024 * 1024


@pytest.fixture(scope="module", autouse=True)
def bucket(s3_server: S3Server) -> None:
    s3_server.make_bucket(BUCKET)
    s3_server.put(BUCKET, "pair/a.dcm", b"image a")
    s3_server.put(BUCKET, "pair/b.dcm", b"image of another size")


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(QUICK)
    yield client
    client.close()


def listed(client: Client, url: str, folder: str = "pair/", **options: int) -> list[RemoteImage]:
    return list_folder(client, f"{url}/{BUCKET}", folder, **options)


def listed_behind(s3_server: S3Server, *faults: Fault, **options: int) -> list[RemoteImage]:
    """The result of a listing where every attempt must succeed."""
    client = Client(HttpSettings(retries=0))
    try:
        with S3Proxy(s3_server.port, *faults) as proxy:
            return listed(client, proxy.url, **options)
    finally:
        client.close()


def test_objects_come_with_key_size_md5_and_version(s3_server: S3Server, client: Client) -> None:
    md5 = hashlib.md5(b"image a").hexdigest()
    first, second = listed(client, s3_server.url)
    assert first == RemoteImage(key="pair/a.dcm", size=7, md5=md5, version=md5)
    assert (second.key, second.size) == ("pair/b.dcm", 21)


def test_an_upload_in_parts_has_a_version_and_no_md5(s3_server: S3Server, client: Client) -> None:
    s3_server.put_in_parts(BUCKET, "parted/a.dcm", b"image in three parts", parts=3)
    (image,) = listed(client, s3_server.url, "parted/")
    assert image.md5 is None
    assert image.size == 20
    assert image.version is not None
    assert image.version.endswith("-3")


def test_a_folder_of_more_than_a_thousand_objects_is_listed_completely(
    s3_server: S3Server, client: Client
) -> None:
    s3_server.put_all(BUCKET, {f"many/{number:04}.dcm": b"x" for number in range(1001)})
    with S3Proxy(s3_server.port) as proxy:
        images = listed(client, proxy.url, "many/")
        assert len(proxy.lists()) == 2
    assert [image.key for image in images] == [f"many/{number:04}.dcm" for number in range(1001)]


def test_no_other_folder_is_listed(s3_server: S3Server, client: Client) -> None:
    s3_server.put(BUCKET, "pair-2/a.dcm", b"image")
    assert len(listed(client, s3_server.url)) == 2


def test_an_entry_for_the_folder_itself_is_no_image(s3_server: S3Server, client: Client) -> None:
    s3_server.put(BUCKET, "marked/", b"")
    s3_server.put(BUCKET, "marked/a.dcm", b"image")
    assert [image.key for image in listed(client, s3_server.url, "marked/")] == ["marked/a.dcm"]


def test_an_empty_folder_is_an_empty_list(s3_server: S3Server, client: Client) -> None:
    assert listed(client, s3_server.url, "nothing/") == []


def test_a_missing_bucket_is_reported(s3_server: S3Server, client: Client) -> None:
    with pytest.raises(StatusError, match="NoSuchBucket"):
        list_folder(client, f"{s3_server.url}/no-such-bucket", "pair/")


@pytest.mark.parametrize("space", [b"http://doc.s3.amazonaws.com/2006-03-01", b""])
def test_other_servers_namespaces_are_understood(s3_server: S3Server, space: bytes) -> None:
    was = b"http://s3.amazonaws.com/doc/2006-03-01/"
    other = Rewrite(change=lambda body: body.replace(b' xmlns="' + was + b'"', _xmlns(space)))
    assert len(listed_behind(s3_server, other)) == 2


@dataclass
class Endless(Fault):
    """Announces a next page on every page."""

    tokens: Iterator[int] = field(default_factory=itertools.count)
    times: int | None = field(default=None, kw_only=True)

    def after(self, reply: Reply) -> Reply:
        token = f"<NextContinuationToken>{next(self.tokens)}</NextContinuationToken>"
        page = f"<ListBucketResult><IsTruncated>true</IsTruncated>{token}</ListBucketResult>"
        return Reply(200, {}, page.encode())


def test_pages_that_repeat_are_noticed(s3_server: S3Server) -> None:
    with pytest.raises(BadResponseError, match="has no end"):
        listed_behind(s3_server, Endless(tokens=itertools.cycle([1, 2])))


def test_pages_without_end_are_noticed(s3_server: S3Server) -> None:
    with pytest.raises(BadResponseError, match="has no end"):
        listed_behind(s3_server, Endless(), max_pages=5)


LAUGHS = b"""<?xml version="1.0"?>
<!DOCTYPE lolz [<!ENTITY lol "lol"><!ENTITY lol1 "&lol;&lol;&lol;&lol;&lol;&lol;&lol;&lol;">]>
<ListBucketResult><Contents><Key>pair/&lol1;</Key><Size>1</Size></Contents></ListBucketResult>"""
FILE = b"""<!DOCTYPE r [<!ENTITY file SYSTEM "file:///etc/passwd">]>
<ListBucketResult><Contents><Key>pair/&file;</Key><Size>1</Size></Contents></ListBucketResult>"""


def _entry(key: str = "pair/a", size: str = "<Size>1</Size>") -> bytes:
    contents = f"<Contents><Key>{key}</Key>{size}</Contents>"
    return f"<ListBucketResult>{contents}</ListBucketResult>".encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html><body>log in</body></html>", id="page"),
        pytest.param(b"<!DOCTYPE html><html><br></html>", id="html"),
        pytest.param(b'{"error": "no"}', id="json"),
        pytest.param(b"<Error><Message>why</Message></Error>", id="error without code"),
        pytest.param(_entry()[:-9], id="cut"),
        pytest.param(LAUGHS, id="entities that grow"),
        pytest.param(LAUGHS.decode().encode("utf-16"), id="entities in UTF-16"),
        pytest.param(FILE, id="entity that reads a file"),
        pytest.param(b"<a>" * 100_000, id="deep"),
        pytest.param(b"<ListBucketResult>" + b"<a>" * 100_000, id="deep within"),
        pytest.param(b"\xff\xfe\x00garbage", id="no text"),
        pytest.param(_entry(size=""), id="no size"),
        pytest.param(_entry(size="<Size>-1</Size>"), id="negative size"),
        pytest.param(_entry(size="<Size>1e9</Size>"), id="no whole number"),
        pytest.param(_entry(size=f"<Size>{'9' * 5000}</Size>"), id="endless number"),
        pytest.param(_entry(key=""), id="no key"),
        pytest.param(_entry(key="other/a"), id="other folder"),
        pytest.param(_entry(key="../a"), id="climbing"),
        pytest.param(
            b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>", id="no token"
        ),
        pytest.param(b" " * HUGE, id="huge"),
    ],
)
def test_what_is_no_list_is_refused(s3_server: S3Server, body: bytes) -> None:
    with pytest.raises(BadResponseError) as caught:
        listed_behind(s3_server, Say(body=body))
    assert caught.value.retryable or body == b" " * HUGE
    assert len(caught.value.message) < 400


def test_a_refusal_shows_what_came(s3_server: S3Server) -> None:
    with pytest.raises(BadResponseError, match=r"not a listing.*please log in"):
        listed_behind(s3_server, Say(body=b"<html><body>please log in</body></html>"))


def test_versions_have_no_quotes_and_weak_ones_are_ignored() -> None:
    assert parse_etag('"abc-2"') == "abc-2"
    assert parse_etag("abc") == "abc"
    assert parse_etag('W/"abc"') is None
    assert parse_etag("") is None


def _xmlns(space: bytes) -> bytes:
    return b' xmlns="' + space + b'"' if space else b""


@pytest.mark.parametrize(
    ("code", "status", "retryable"),
    [("SlowDown", 503, True), ("AccessDenied", 403, False), ("Unheard", 500, True)],
)
def test_an_error_with_status_200_is_named(
    s3_server: S3Server, code: str, status: int, retryable: bool
) -> None:
    body = f"<Error><Code>{code}</Code><Message>why</Message></Error>".encode()
    with pytest.raises(StatusError, match=f"{code}: why") as caught:
        listed_behind(s3_server, Say(body=body))
    assert (caught.value.status, caught.value.retryable) == (status, retryable)
