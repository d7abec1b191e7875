"""The retry policy, and Retry-After."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
    TlsError,
    UnreachableError,
)
from tcia_covid.http.errors import error_from_status, retry_after
from tcia_covid.http.retry import Reachability, RetryPolicy
from tcia_covid.http.settings import HttpSettings
from tests.fakes.scripted_server import Fin, ScriptedServer, Send, head
from tests.unit.http.helpers import client_with, fetch

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=timezone.utc)


class Waits(CancelToken):
    """Notes the pauses in place of making them."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[float] = []

    def wait(self, seconds: float) -> None:
        self.pauses.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


def lost(**facts: object) -> ConnectionLostError:
    return ConnectionLostError("cut", **{"retryable": True, **facts})


def fail(policy: RetryPolicy, times: int, error: ArchiveError | None = None) -> None:
    for _ in range(times):
        policy.failed(error or lost())


def test_retries_count_consecutive_failures(waits: Waits) -> None:
    policy = RetryPolicy(HttpSettings(retries=3), waits)
    fail(policy, 3)
    with pytest.raises(ConnectionLostError):
        policy.failed(lost())
    assert len(waits.pauses) == 3


def test_progress_resets_the_counter(waits: Waits) -> None:
    policy = RetryPolicy(HttpSettings(retries=3), waits)
    for _ in range(10):
        fail(policy, 3)
        policy.progressed()
    assert policy.failures == 0


def test_a_final_error_is_raised_at_once(waits: Waits) -> None:
    with pytest.raises(ConnectionLostError):
        RetryPolicy(HttpSettings(), waits).failed(lost(retryable=False))
    assert waits.pauses == []


def test_a_smaller_limit_counts_only_errors_of_its_type(waits: Waits) -> None:
    """A push-back during an outage is retried like any other failure."""
    policy = RetryPolicy(HttpSettings(retries=6), waits)
    fail(policy, 3)
    denied = NotAvailableError("no", retryable=True)
    policy.failed(denied, limit=1)
    with pytest.raises(NotAvailableError):
        policy.failed(denied, limit=1)


def test_a_smaller_limit_never_exceeds_all_retries(waits: Waits) -> None:
    with pytest.raises(ConnectionLostError):
        RetryPolicy(HttpSettings(retries=0), waits).failed(lost(), limit=5)


def test_pauses_are_full_jitter_below_a_doubling_ceiling(waits: Waits) -> None:
    settings = HttpSettings(retries=2000, retry_wait=1, retry_wait_cap=20)
    for _ in range(200):
        fail(RetryPolicy(settings, waits), 8)
    ceilings = [1, 2, 4, 8, 16, 20, 20, 20]
    for number, ceiling in enumerate(ceilings):
        pauses = waits.pauses[number::8]
        assert 0 <= min(pauses) < 0.1 * ceiling
        assert 0.9 * ceiling < max(pauses) <= ceiling


def test_thousands_of_failures_still_have_a_pause(waits: Waits) -> None:
    fail(RetryPolicy(HttpSettings(retries=3000), waits), 3000)
    assert max(waits.pauses) <= 60


def test_retry_after_is_the_least_pause(waits: Waits) -> None:
    RetryPolicy(HttpSettings(retry_wait=0.1), waits).failed(lost(retry_after=7.0))
    assert waits.pauses == [7.0]


def test_every_retry_is_reported_with_its_reason_and_pause(waits: Waits) -> None:
    retries: list[tuple[str, float]] = []
    policy = RetryPolicy(HttpSettings(), waits, lambda *retry: retries.append(retry))
    policy.failed(lost(retry_after=70.0))
    assert retries == [("cut", 70.0)]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("99999999", 600.0),
        ("9" * 400, 600.0),
        ("", None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("\u00b2", None),
        ("Sun, 99 Foo 2026 99:99:99 GMT", None),
        ("Sun, 01 Mar 2026 12:01:30 GMT", 90.0),
        ("Sunday, 01-Mar-26 12:01:30 GMT", 90.0),
        ("Sun, 01 Mar 2026 12:01:30", 90.0),
        ("Sun, 01 Mar 2026 14:01:30 +0200", 90.0),
        ("Sun, 01 Mar 2026 11:00:00 GMT", None),
        ("Sun, 01 Mar 2026 12:00:00 GMT", None),
        ("Sat, 01 Mar 2036 12:00:00 GMT", 600.0),
    ],
)
def test_retry_after_is_read_in_both_forms(value: str, seconds: float | None) -> None:
    headers = {"Retry-After": value, "Date": format_datetime(NOW, usegmt=True)}
    assert retry_after(headers, 600.0) == seconds


def test_a_date_counts_from_the_archives_own_clock() -> None:
    """Ten years of difference between the clocks do not matter."""
    for years in (-10, 10):
        archive_time = datetime.now(timezone.utc) + timedelta(days=365 * years)
        headers = {
            "Date": format_datetime(archive_time, usegmt=True),
            "Retry-After": format_datetime(archive_time + timedelta(seconds=30), usegmt=True),
        }
        assert retry_after(headers, 600.0) == 30.0


def test_a_date_without_the_archives_clock_counts_from_here() -> None:
    when = datetime.now(timezone.utc) + timedelta(seconds=30)
    seconds = retry_after({"Retry-After": format_datetime(when, usegmt=True)}, 600.0)
    assert seconds is not None
    assert 28 < seconds <= 30


@pytest.mark.parametrize(
    ("code", "retryable", "push_back"),
    [
        (400, False, False),
        (401, False, False),
        (403, False, False),
        (404, False, False),
        (408, True, False),
        (429, True, True),
        (500, True, False),
        (502, True, True),
        (503, True, True),
        (504, True, True),
    ],
)
def test_a_status_decides_about_retry_and_concurrency(
    code: int, retryable: bool, push_back: bool
) -> None:
    error = error_from_status(code, "http://h/x?t=hunter2", {"Retry-After": "3"}, b"why", 600.0)
    assert (error.retryable, error.push_back) == (retryable, push_back)
    assert error.retry_after == (3.0 if retryable else None)
    assert error.message == f"http://h/x returned HTTP {code}: why"
    assert error.hint


@pytest.mark.parametrize("text", ["", "busy"])
def test_an_error_whose_text_is_cut_is_still_that_error(text: str) -> None:
    script = [Send(head(503, length=100, Retry_After="9") + text.encode()), Fin()]
    with (
        ScriptedServer(script) as server,
        client_with(retries=0) as client,
        pytest.raises(StatusError) as refused,
    ):
        fetch(client, server.url)
    assert (refused.value.status, refused.value.retry_after) == (503, 9.0)
    assert refused.value.body == text


@pytest.mark.parametrize("error_type", [UnreachableError, TlsError])
def test_fault_43_before_the_first_response_retries_end_within_seconds(
    error_type: type[ArchiveError],
) -> None:
    now = 100.0
    reachability = Reachability(patience=5.0, clock=lambda: now)
    error = error_type("no route", retryable=True)
    assert not reachability.is_too_late(error, 4.0)
    now += 3.0
    assert reachability.is_too_late(error, 4.0)
    assert not reachability.is_too_late(error, 1.0)
    now += 10.0
    assert reachability.is_too_late(error, 0.0)


def test_fault_43_a_connection_that_timed_out_before_the_first_response_is_not_tried_again() -> (
    None
):
    now = 100.0
    reachability = Reachability(patience=5.0, clock=lambda: now)
    reachability.begin()
    now += 20.0
    reachability.begin()
    assert reachability.is_too_late(UnreachableError("no connection", retryable=True), 0.0)


def test_fault_43_after_a_response_all_retries_are_used(waits: Waits) -> None:
    reachability = Reachability(patience=0.0)
    policy = RetryPolicy(HttpSettings(retries=3), waits, reachability=reachability)
    unreachable = UnreachableError("no route", retryable=True)
    with pytest.raises(UnreachableError):
        policy.failed(unreachable)
    reachability.responded = True
    policy.progressed()
    fail(policy, 3, UnreachableError("no route", retryable=True))
    assert len(waits.pauses) == 3


def test_other_errors_before_the_first_response_use_all_retries(waits: Waits) -> None:
    policy = RetryPolicy(HttpSettings(retries=3), waits, reachability=Reachability(patience=0.0))
    fail(policy, 3)
    assert len(waits.pauses) == 3


def test_fault_43_a_client_notes_the_first_response() -> None:
    with ScriptedServer([Send(head(503)), Fin()]) as server, client_with(retries=0) as client:
        assert not client.reachability.responded
        with pytest.raises(StatusError):
            fetch(client, server.url)
        assert client.reachability.responded
