"""The hosts of IDC's buckets: their URLs, and which of them is used."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tcia_covid.archives.idc.endpoints import (
    DEFAULT_ENDPOINTS,
    Endpoint,
    Endpoints,
    parse_endpoints,
)
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    ForeignImageError,
    NotAvailableError,
    RedirectError,
    SeriesError,
    StatusError,
    UnreachableError,
    UsageError,
)

FIRST, SECOND = Endpoint("https://first.example"), Endpoint("https://second.example")


@dataclass
class Clock:
    """Shows what it is set to."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def tried_endpoints(
    endpoints: Endpoints, *down: Endpoint, error: ArchiveError | SeriesError | None = None
) -> list[Endpoint]:
    """The endpoints that are tried, in order, while those in `down` fail."""
    tried: list[Endpoint] = []

    def attempt(endpoint: Endpoint, is_last: bool) -> None:
        tried.append(endpoint)
        if endpoint in down:
            raise error or UnreachableError("no route")

    try:
        endpoints.try_each(attempt)
    except ArchiveError:
        tried.append(Endpoint("raised"))
    return tried


def test_amazon_is_addressed_in_virtual_host_style() -> None:
    (aws,) = parse_endpoints("aws")
    assert aws.bucket_url("idc-open-data") == "https://idc-open-data.s3.amazonaws.com"
    assert aws.object_url("idc-open-data", "f/i.dcm") == (
        "https://idc-open-data.s3.amazonaws.com/f/i.dcm"
    )


def test_google_is_addressed_in_path_style_under_its_own_bucket_names() -> None:
    (gcs,) = parse_endpoints("gcs")
    assert gcs.bucket_url("idc-open-data") == "https://storage.googleapis.com/idc-open-data"
    assert gcs.object_url("idc-open-data-cr", "f/i.dcm") == (
        "https://storage.googleapis.com/idc-open-cr/f/i.dcm"
    )
    assert gcs.bucket_url("idc-open-data-two") == "https://storage.googleapis.com/idc-open-idc1"


def test_googles_own_url_means_google() -> None:
    assert parse_endpoints("https://storage.googleapis.com/") == parse_endpoints("GCS")


def test_any_other_endpoint_is_addressed_in_path_style() -> None:
    (host,) = parse_endpoints("http://127.0.0.1:9000/s3/")
    assert host.object_url("idc-open-data-cr", "f/i.dcm") == (
        "http://127.0.0.1:9000/s3/idc-open-data-cr/f/i.dcm"
    )


def test_a_key_cannot_become_a_query() -> None:
    assert FIRST.object_url("b-b", "f/a b?x#y").endswith("/b-b/f/a%20b%3Fx%23y")


def test_the_default_is_amazon_then_google() -> None:
    assert parse_endpoints(DEFAULT_ENDPOINTS) == [*parse_endpoints("aws"), *parse_endpoints("gcs")]


@pytest.mark.parametrize(
    "text", ["", "azure", "ftp://host", "http://", "https://h/?q=1", "http:// h"]
)
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="an IDC endpoint is"):
        parse_endpoints(text)


def test_a_refusal_shows_no_credentials() -> None:
    with pytest.raises(UsageError) as caught:
        parse_endpoints("ftp://me:secret@host/?token=secret")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        UnreachableError("refused"),
        ConnectionLostError("cut"),
        StatusError("oops", status=500),
        StatusError("slow down", status=503),
    ],
)
def test_the_next_endpoint_is_used_when_the_first_is_down(error: ArchiveError) -> None:
    assert tried_endpoints(Endpoints([FIRST, SECOND]), FIRST, error=error) == [FIRST, SECOND]


@pytest.mark.parametrize(
    "error",
    [
        NotAvailableError("gone"),
        StatusError("no", status=403),
        StatusError("moved", status=301),
        BadResponseError("a page"),
        RedirectError("elsewhere"),
        ForeignImageError("of another series"),
    ],
)
def test_fault_38_the_next_endpoint_is_used_after_any_wrong_answer(
    error: ArchiveError | SeriesError,
) -> None:
    endpoints = Endpoints([FIRST, SECOND])
    assert tried_endpoints(endpoints, FIRST, error=error) == [FIRST, SECOND]
    assert tried_endpoints(endpoints) == [FIRST], "it may be about one series only"


def test_fault_38_an_endpoint_without_a_right_answer_for_three_series_is_skipped() -> None:
    endpoints = Endpoints([FIRST, SECOND])
    for _ in range(3):
        assert tried_endpoints(endpoints, FIRST, error=StatusError("no", status=403))[0] is FIRST
    assert tried_endpoints(endpoints) == [SECOND]


def test_fault_39_an_endpoint_that_gave_part_of_a_series_is_not_skipped() -> None:
    endpoints = Endpoints([FIRST, SECOND])

    def attempt(endpoint: Endpoint, is_last: bool) -> None:
        if endpoint is FIRST:
            endpoints.worked(FIRST)
            raise StatusError("oops", status=500, retryable=True)

    endpoints.try_each(attempt)
    assert tried_endpoints(endpoints) == [FIRST]


def test_the_error_that_a_retry_may_help_against_is_raised_and_counts_all_attempts() -> None:
    def attempt(endpoint: Endpoint, is_last: bool) -> None:
        if endpoint is FIRST:
            raise StatusError("busy", status=503, retryable=True)
        raise NotAvailableError("gone")

    with pytest.raises(StatusError, match="busy") as caught:
        Endpoints([FIRST, SECOND]).try_each(attempt)
    assert caught.value.attempts == 2


def test_an_endpoint_that_was_down_is_skipped() -> None:
    endpoints = Endpoints([FIRST, SECOND])
    tried_endpoints(endpoints, FIRST)
    assert tried_endpoints(endpoints) == [SECOND]


def test_a_skipped_endpoint_is_the_last_resort() -> None:
    endpoints = Endpoints([FIRST, SECOND])
    tried_endpoints(endpoints, FIRST)
    assert tried_endpoints(endpoints, SECOND) == [SECOND, FIRST]


def test_an_endpoint_is_probed_and_used_when_it_responds_again() -> None:
    clock = Clock()
    endpoints = Endpoints([FIRST, SECOND], pause=2, clock=clock)
    tried_endpoints(endpoints, FIRST)
    clock.now += 3
    assert tried_endpoints(endpoints) == [FIRST]
    assert tried_endpoints(endpoints) == [FIRST]


def test_each_failed_probe_doubles_the_pause() -> None:
    clock = Clock()
    endpoints = Endpoints([FIRST, SECOND], pause=5, clock=clock)
    tried_endpoints(endpoints, FIRST)
    clock.now += 6
    assert tried_endpoints(endpoints, FIRST) == [FIRST, SECOND]
    clock.now += 6
    assert tried_endpoints(endpoints, FIRST) == [SECOND]
    clock.now += 6
    assert tried_endpoints(endpoints, FIRST) == [FIRST, SECOND]


def test_one_caller_at_a_time_probes() -> None:
    clock = Clock()
    endpoints = Endpoints([FIRST, SECOND], pause=2, clock=clock)
    tried_endpoints(endpoints, FIRST)
    clock.now += 3
    others: list[Endpoint] = []

    def probe(endpoint: Endpoint, is_last: bool) -> None:
        if endpoint is FIRST:
            others.extend(tried_endpoints(endpoints))

    endpoints.try_each(probe)
    assert others == [SECOND]


def test_when_all_are_down_the_last_error_is_raised() -> None:
    endpoints = Endpoints([FIRST, SECOND])
    with pytest.raises(UnreachableError, match="no route"):
        endpoints.try_each(_raising(UnreachableError("no route")))


def _raising(error: ArchiveError) -> Callable[[Endpoint, bool], None]:
    def attempt(endpoint: Endpoint, is_last: bool) -> None:
        raise error

    return attempt
