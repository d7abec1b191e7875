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
from tests.unit.transfer.helpers import FakeArchive

IDC, NBIA = FakeArchive(name="idc"), FakeArchive(name="nbia")
GONE = UnreachableError("no route", retryable=True)


class Clock:
    """Monotonic seconds that a test sets forward."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_an_archive_that_cannot_be_reached_comes_last_at_once() -> None:
    availability = ArchiveAvailability()
    assert availability.order([IDC, NBIA]) == [IDC, NBIA]
    assert availability.failed(IDC, GONE) == 30
    assert availability.is_down(IDC)
    assert availability.order([IDC, NBIA]) == [NBIA, IDC]
    assert availability.failed(IDC, GONE) is None, "no news"


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
def test_an_archive_is_skipped_after_three_consecutive_ambiguous_errors(
    error: ArchiveError,
) -> None:
    availability = ArchiveAvailability()
    availability.failed(IDC, error)
    availability.failed(IDC, error)
    availability.worked(IDC)
    availability.failed(IDC, error)
    availability.failed(IDC, error)
    assert not availability.is_down(IDC)
    availability.failed(IDC, error)
    assert availability.is_down(IDC)


@pytest.mark.parametrize(
    "error", [StatusError("HTTP 404", status=404), NotAvailableError("not there")]
)
def test_a_missing_series_does_not_count_against_the_archive(error: ArchiveError) -> None:
    availability = ArchiveAvailability()
    for _ in range(9):
        availability.failed(IDC, error)
    assert not availability.is_down(IDC)


def test_after_the_pause_one_caller_probes_and_a_failed_probe_doubles_the_pause() -> None:
    clock = Clock()
    availability = ArchiveAvailability(clock)
    availability.failed(IDC, GONE)
    clock.now += 31
    assert [availability.order([IDC, NBIA])[0] for _ in range(3)] == [IDC, NBIA, NBIA]
    clock.now += 31
    assert availability.order([IDC, NBIA])[0] is NBIA
    clock.now += 30
    assert availability.order([IDC, NBIA])[0] is IDC
    availability.worked(IDC)
    assert [availability.order([IDC, NBIA])[0] for _ in range(3)] == [IDC, IDC, IDC]


def test_the_last_answer_of_any_archive_is_known() -> None:
    clock = Clock()
    availability = ArchiveAvailability(clock)
    assert not availability.responded_since(0)
    availability.worked(NBIA)
    assert availability.responded_since(999)
    clock.now += 5
    assert not availability.responded_since(1001)
