from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tcia_covid.archives.idc.s3 import ObjectReader, denied_as_unavailable
from tcia_covid.core.errors import (
    BadResponseError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
    UnreachableError,
)
from tcia_covid.core.models import RemoteImage
from tcia_covid.http.client import Client
from tests.fakes import s3
from tests.fakes.s3 import BUCKET, QUICK, S3Server
from tests.fakes.s3_faults import (
    Cut,
    Fault,
    Forge,
    Meanwhile,
    Say,
    Seen,
    SlowDown,
    Stall,
    Unconditional,
    Unframed,
)
from tests.fakes.s3_proxy import S3Proxy

running_s3 = s3.running_s3
CONTENT = random.Random(1).randbytes(400_000)
OTHER = random.Random(2).randbytes(400_000)
KEY = "objects/a.dcm"
MD5 = hashlib.md5(CONTENT).hexdigest()
IMAGE = RemoteImage(key=KEY, size=len(CONTENT), md5=MD5, version=MD5)


@pytest.fixture(autouse=True)
def stored(s3_server: S3Server) -> None:
    s3_server.make_bucket(BUCKET)
    s3_server.put(BUCKET, KEY, CONTENT)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(QUICK)
    yield client
    client.close()


def read(client: Client, url: str, image: RemoteImage = IMAGE) -> bytes:
    chunks = ObjectReader(client, f"{url}/{BUCKET}/{KEY}", image).chunks()
    return b"".join(map(bytes, chunks))


def read_behind(s3_server: S3Server, client: Client, *faults: Fault) -> S3Proxy:
    """Read the object through `faults`; the door, to see what it took."""
    with S3Proxy(s3_server.port, *faults) as proxy:
        assert read(client, proxy.url) == CONTENT
        return proxy


def start_of(request: Seen) -> int:
    """The first byte that a request asks for."""
    return int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))


def test_an_object_is_read_completely_with_one_request(s3_server: S3Server, client: Client) -> None:
    proxy = read_behind(s3_server, client)
    (request,) = proxy.seen
    assert "Range" not in request.headers
    assert request.headers["If-Match"] == f'"{MD5}"'


def test_a_cut_object_resumes_where_it_stopped(s3_server: S3Server, client: Client) -> None:
    proxy = read_behind(s3_server, client, Cut(after_bytes=240_000))
    first, second = proxy.seen
    assert 0 < start_of(second) <= 240_000
    assert second.headers["If-Match"] == f'"{MD5}"'
    assert "Range" not in first.headers
    # A reset discards what the kernel has not delivered: a few buffers.
    assert proxy.sent < 1.25 * len(CONTENT)


def test_a_connection_that_breaks_repeatedly_is_slow_not_broken(
    s3_server: S3Server, client: Client
) -> None:
    cuts = Cut(times=9, after_bytes=40_000)
    proxy = read_behind(s3_server, client, cuts)
    assert cuts.hits == 9 > QUICK.retries
    assert len(proxy.seen) == 10


def test_a_stalled_object_resumes_where_it_stopped(s3_server: S3Server) -> None:
    impatient = Client(replace(QUICK, stall_timeout=0.4))
    proxy = read_behind(s3_server, impatient, Stall(after_bytes=100_000, seconds=0.6))
    impatient.close()
    assert 0 < start_of(proxy.seen[1]) <= 100_000


def test_a_body_that_ends_cleanly_too_early_is_a_cut(s3_server: S3Server, client: Client) -> None:
    proxy = read_behind(s3_server, client, Unframed(after_bytes=100_000))
    assert proxy.seen[1].headers["Range"] == "bytes=100000-"


def test_a_push_back_before_the_first_byte_is_raised_and_halves_the_concurrency(
    s3_server: S3Server, client: Client
) -> None:
    with S3Proxy(s3_server.port, SlowDown()) as proxy:
        with pytest.raises(StatusError):
            read(client, proxy.url)
        assert len(proxy.seen) == 1
        assert client.limiter(proxy.url).limit < client.connections


def test_a_push_back_in_the_middle_is_retried(s3_server: S3Server, client: Client) -> None:
    proxy = read_behind(s3_server, client, Cut(after_bytes=1000), SlowDown(skip=1, times=2))
    assert [request.headers.get("Range") for request in proxy.seen[1:]] == ["bytes=1000-"] * 3


def test_retry_after_is_obeyed(s3_server: S3Server, client: Client) -> None:
    started = time.monotonic()
    read_behind(
        s3_server, client, Cut(after_bytes=1000), SlowDown(skip=1, headers={"Retry-After": "1"})
    )
    assert time.monotonic() - started >= 1


def test_fault_40_an_object_that_never_begins_costs_one_request(
    s3_server: S3Server, client: Client
) -> None:
    with (
        S3Proxy(s3_server.port, Cut(times=None)) as proxy,
        pytest.raises(ConnectionLostError) as caught,
    ):
        read(client, proxy.url)
    assert caught.value.retryable
    assert len(proxy.seen) == 1


def test_an_object_that_never_continues_ends_the_attempt(
    s3_server: S3Server, client: Client
) -> None:
    cuts = [Cut(after_bytes=1000), Cut(skip=1, times=None)]
    with S3Proxy(s3_server.port, *cuts) as proxy, pytest.raises(ConnectionLostError):
        read(client, proxy.url)
    assert len(proxy.seen) == 1 + QUICK.retries


def test_nothing_is_retried_once_it_is_not_worth_it(s3_server: S3Server, client: Client) -> None:
    with S3Proxy(s3_server.port, Cut(after_bytes=1000)) as proxy:
        url = f"{proxy.url}/{BUCKET}/{KEY}"
        reader = ObjectReader(client, url, IMAGE, is_needed=lambda: False)
        with pytest.raises(ConnectionLostError):
            list(reader.chunks())
    assert len(proxy.seen) == 1


def test_a_dead_host_is_reported(client: Client) -> None:
    reader = ObjectReader(client, "http://127.0.0.1:9/b/k", IMAGE)
    with pytest.raises(UnreachableError):
        list(reader.chunks())


def test_without_ranges_on_the_server_an_object_starts_again(
    s3_server: S3Server, client: Client
) -> None:
    faults = [Cut(after_bytes=1000), Unconditional(skip=1)]
    with S3Proxy(s3_server.port, *faults) as proxy:
        with pytest.raises(
            BadResponseError, match="the whole file instead of its bytes from 1000 on"
        ) as caught:
            read(client, proxy.url)
        assert caught.value.retryable
        assert read(client, proxy.url) == CONTENT


@pytest.mark.parametrize(
    "content_range", ["bytes 999-399999/400000", "bytes 0-399999/400000", "", "bytes"]
)
def test_another_range_than_the_requested_one_is_refused(
    s3_server: S3Server, client: Client, content_range: str
) -> None:
    faults = [Cut(after_bytes=1000), Forge(skip=1, headers={"Content-Range": content_range})]
    with (
        S3Proxy(s3_server.port, *faults) as proxy,
        pytest.raises(BadResponseError, match="a range that does not start at byte 1000"),
    ):
        read(client, proxy.url)


def test_a_range_of_an_object_of_another_size_is_refused(
    s3_server: S3Server, client: Client
) -> None:
    headers = {"Content-Range": "bytes 1000-399999/500000"}
    with (
        S3Proxy(s3_server.port, Cut(after_bytes=1000), Forge(skip=1, headers=headers)) as proxy,
        pytest.raises(BadResponseError, match="500000 bytes instead of 400000"),
    ):
        read(client, proxy.url)


def test_an_object_that_changed_since_it_was_listed_is_refused(
    s3_server: S3Server, client: Client
) -> None:
    s3_server.put(BUCKET, KEY, OTHER)
    with (
        pytest.raises(BadResponseError, match="the file changed") as caught,
        denied_as_unavailable("object a"),
    ):
        read(client, s3_server.url)
    assert caught.value.retryable


def test_an_object_that_changes_while_it_is_read_is_refused(
    s3_server: S3Server, client: Client
) -> None:
    changing = Meanwhile(skip=1, act=lambda: s3_server.put(BUCKET, KEY, OTHER))
    with (
        S3Proxy(s3_server.port, Cut(after_bytes=1000), changing) as proxy,
        pytest.raises(BadResponseError),
        denied_as_unavailable("object a"),
    ):
        read(client, proxy.url)


def test_a_change_is_noticed_where_the_server_knows_no_conditions(
    s3_server: S3Server, client: Client
) -> None:
    s3_server.put(BUCKET, KEY, OTHER)
    with (
        S3Proxy(s3_server.port, Unconditional(times=None)) as proxy,
        pytest.raises(BadResponseError, match="another ETag"),
    ):
        read(client, proxy.url)


@pytest.mark.parametrize("size", [399_999, 400_001])
def test_another_size_than_the_listed_one_is_refused(
    s3_server: S3Server, client: Client, size: int
) -> None:
    with pytest.raises(BadResponseError, match="400000 bytes instead of"):
        read(client, s3_server.url, IMAGE._replace(size=size))


def test_a_body_without_length_that_is_too_long_is_stopped(
    s3_server: S3Server, client: Client
) -> None:
    with (
        S3Proxy(s3_server.port, Unframed(after_bytes=400_000)) as proxy,
        pytest.raises(BadResponseError, match="more than 1000 bytes"),
    ):
        read(client, proxy.url, IMAGE._replace(size=1000))


def test_an_object_of_unknown_size_and_version_is_read_completely(
    s3_server: S3Server, client: Client
) -> None:
    with S3Proxy(s3_server.port, Cut(after_bytes=1000)) as proxy:
        assert read(client, proxy.url, RemoteImage(key=KEY)) == CONTENT


def test_an_empty_object_is_empty(s3_server: S3Server, client: Client) -> None:
    s3_server.put(BUCKET, KEY, b"")
    assert read(client, s3_server.url, RemoteImage(key=KEY, size=0)) == b""


def test_a_response_without_content_is_refused(s3_server: S3Server, client: Client) -> None:
    with (
        S3Proxy(s3_server.port, Say(status=204)) as proxy,
        pytest.raises(BadResponseError, match="HTTP 204"),
    ):
        read(client, proxy.url)


def test_a_closed_reader_frees_its_slot(s3_server: S3Server, client: Client) -> None:
    for _ in range(2 * client.connections):
        chunks = ObjectReader(client, f"{s3_server.url}/{BUCKET}/{KEY}", IMAGE).chunks()
        assert next(chunks)
        chunks.close()


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (403, NotAvailableError, False),
        (404, NotAvailableError, False),
        (400, StatusError, False),
    ],
)
def test_statuses_are_explained_in_words(
    status: int, kind: type[Exception], retryable: bool
) -> None:
    with pytest.raises(kind) as caught, denied_as_unavailable("series 1.2.3"):
        raise StatusError("refused", status=status)
    assert type(caught.value) is kind
    assert caught.value.retryable is retryable  # type: ignore[attr-defined]


@pytest.mark.parametrize("status", [200, 503])
def test_an_s3_error_is_named_by_code_message_and_request_id(
    s3_server: S3Server, status: int
) -> None:
    body = (
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>SlowDown</Code><Message>Please '
        b"reduce your request rate.</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>"
    )
    once = Client(replace(QUICK, retries=0))
    slow_down = Say(status=status, body=body)
    text = r"SlowDown: Please reduce your request rate\. \(request 4442587FB7D0A2F9\)$"
    with (
        S3Proxy(s3_server.port, slow_down) as proxy,
        pytest.raises(StatusError, match=text) as caught,
    ):
        read(once, proxy.url)
    once.close()
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert caught.value.push_back


@pytest.mark.parametrize("headers", [{}, {"Content-Type": "application/xml"}])
def test_an_s3_error_with_status_200_is_recognized(
    s3_server: S3Server, client: Client, headers: dict[str, str]
) -> None:
    error = b"<Error><Code>InternalError</Code></Error>"
    with (
        S3Proxy(s3_server.port, Say(body=error, headers=headers)) as proxy,
        pytest.raises(StatusError, match="InternalError"),
    ):
        read(client, proxy.url)


def test_an_object_whose_type_is_said_to_be_xml_is_read(
    s3_server: S3Server, client: Client
) -> None:
    object_ = Say(body=CONTENT, headers={"Content-Type": "application/xml"})
    with S3Proxy(s3_server.port, object_) as proxy:
        assert read(client, proxy.url) == CONTENT


def test_an_s3_error_in_place_of_the_rest_of_an_object_is_requested_again(
    s3_server: S3Server, client: Client
) -> None:
    error = Say(skip=1, body=b"<Error><Code>SlowDown</Code></Error>")
    proxy = read_behind(s3_server, client, Cut(after_bytes=1000), error)
    assert [request.headers.get("Range") for request in proxy.seen[1:]] == ["bytes=1000-"] * 2
