"""Which archives are skipped: those that do not respond, not those without a certain series."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    NotAvailableError,
    RedirectError,
    StatusError,
    UnreachableError,
)
from tcia_covid.transfer.availability import ArchiveAvailability
from tests.unit.transfer.running import FakeArchive

IDC, NBIA = FakeArchive(name="idc"), FakeArchive(name="nbia")
GONE = UnreachableError("no route", retryable=True)


class Clock:
    """Monotonic seconds that a test sets forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_archive_that_cannot_be_reached_comes_last_at_once() -> None:
    health = ArchiveAvailability()
    assert health.order([IDC, NBIA]) == [IDC, NBIA]
    assert health.failed(IDC, GONE) == 30
    assert health.is_down(IDC)
    assert health.order([IDC, NBIA]) == [NBIA, IDC]
    assert health.failed(IDC, GONE) is None, "no news"


@pytest.mark.parametrize(
    "error",
    [
        StatusError("HTTP 500", status=500, retryable=True),
        ConnectionLostError("cut", retryable=True),
        BadResponseError("a page", retryable=True),
        StatusError("HTTP 403", status=403),
        RedirectError("elsewhere"),
    ],
)
def test_trouble_counts_after_three_times_in_a_row(error: ArchiveError) -> None:
    health = ArchiveAvailability()
    health.failed(IDC, error)
    health.failed(IDC, error)
    health.worked(IDC)
    health.failed(IDC, error)
    health.failed(IDC, error)
    assert not health.is_down(IDC)
    health.failed(IDC, error)
    assert health.is_down(IDC)


@pytest.mark.parametrize(
    "error", [StatusError("HTTP 404", status=404), NotAvailableError("not there")]
)
def test_what_an_archive_does_not_have_says_nothing_of_it(error: ArchiveError) -> None:
    health = ArchiveAvailability()
    for _ in range(9):
        health.failed(IDC, error)
    assert not health.is_down(IDC)


def test_after_the_pause_one_caller_probes_and_a_failed_probe_doubles_the_pause() -> None:
    clock = Clock()
    health = ArchiveAvailability(clock)
    health.failed(IDC, GONE)
    clock.now += 31
    assert [health.order([IDC, NBIA])[0] for _ in range(3)] == [IDC, NBIA, NBIA]
    clock.now += 31
    assert health.order([IDC, NBIA])[0] is NBIA
    clock.now += 30
    assert health.order([IDC, NBIA])[0] is IDC
    health.worked(IDC)
    assert [health.order([IDC, NBIA])[0] for _ in range(3)] == [IDC, IDC, IDC]


def test_the_last_answer_of_any_archive_is_known() -> None:
    clock = Clock()
    health = ArchiveAvailability(clock)
    assert not health.answered_since(0)
    health.worked(NBIA)
    assert health.answered_since(999)
    clock.now += 5
    assert not health.answered_since(1001)
