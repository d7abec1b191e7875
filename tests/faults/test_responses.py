"""Rows 10 to 14 and 26: wrong, missing and malformed responses."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    ArchiveError,
    NotAvailableError,
    NotDicomError,
    StatusError,
    UnknownCollectionError,
)
from tcia_covid.core.events import ConcurrencyChanged, Notice, SeriesRetried
from tests.fakes.nbia_faults import (
    HTML,
    Answer,
    Cut,
    CutJson,
    DropRows,
    EmptyAnswer,
    NotGranted,
    Status,
    html_page,
    html_status,
)
from tests.fakes.synthetic import synthetic_corpus
from tests.fakes.zip_faults import LostImage
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario

IMAGES = ("getImage", "getSingleImage")


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429])
def test_fault_10_a_request_with_a_temporary_error_status_is_sent_again(
    scenario: Scenario, code: int
) -> None:
    scenario.add(html_status("getSeries", code), html_status("getImage", code))
    scenario.assert_complete(scenario.download())


def test_fault_10_retry_after_in_seconds_is_obeyed_by_all_workers(scenario: Scenario) -> None:
    scenario.add(Status("getImage", code=503, retry_after="1", series=scenario.series.uid))
    started = time.monotonic()
    scenario.assert_complete(scenario.download(jobs=2))
    assert time.monotonic() - started >= 1


def test_fault_10_retry_after_as_a_date_is_obeyed(scenario: Scenario) -> None:
    when = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=2), usegmt=True)
    scenario.add(Status("getImage", code=429, retry_after=when, series=scenario.series.uid))
    started = time.monotonic()
    scenario.assert_complete(scenario.download())
    assert time.monotonic() - started >= 0.9


def test_fault_10_push_back_lowers_the_number_of_workers_and_success_raises_it(
    scenario: Scenario,
) -> None:
    scenario.add(Status("getImage", code=503, series=scenario.series.uid))
    scenario.assert_complete(scenario.download(jobs=4))
    limits = [event.limit for event in scenario.events if isinstance(event, ConcurrencyChanged)]
    assert limits[0] == 2


def test_fault_10_an_error_that_stays_fails_the_series_and_not_the_others(
    scenario: Scenario,
) -> None:
    scenario.add(Status(IMAGES, code=502, series=scenario.series.uid, times=None))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "archive-error"
    assert "502" in summary.failures[0].detail
    assert scenario.files() == scenario.expected(without=(scenario.series.uid,))
    scenario.assert_heals()


def test_fault_10_an_archive_that_sends_only_errors_gives_exit_code_3(scenario: Scenario) -> None:
    scenario.add(Status(IMAGES, code=503, times=None))
    assert scenario.download().exit_code == 3
    scenario.assert_heals()


def test_fault_10_a_list_of_images_that_fails_uses_one_budget_of_attempts(
    scenario: Scenario,
) -> None:
    scenario.add(Cut("getImage", at=30_000, series=scenario.series.uid, times=None))
    scenario.add(Status(("getSOPInstanceUIDs",), code=503, times=None))
    summary = scenario.download(jobs=1)
    assert summary.exit_code == 1
    attempts = scenario.settings.retries + 1
    assert scenario.asked("getSOPInstanceUIDs") <= 2 * attempts, "once, and the second attempt"


def test_fault_10_an_archive_that_goes_away_in_the_middle_ends_the_run_with_1(
    tmp_path: Path,
) -> None:
    corpus = synthetic_corpus(NAME, patients=20, series_per_patient=1, images_per_series=1)
    with new_scenario(tmp_path, corpus) as scenario:
        scenario.settings = replace(scenario.settings, outage_timeout=0)
        scenario.add(Status(IMAGES, code=503, skip=5, times=None))
        summary = scenario.download(jobs=2)
        assert isinstance(summary.error, ArchiveError)
        assert summary.exit_code == 1, "3 is for runs that received nothing"
        assert summary.complete == 5
        assert summary.remaining > 0
        summary = scenario.download(jobs=2)
        assert (summary.exit_code, summary.complete) == (3, 5)
        scenario.assert_heals()


def test_fault_10_an_archive_that_goes_away_in_a_series_ends_the_run_with_1(
    scenario: Scenario,
) -> None:
    uid = scenario.series.uid
    scenario.settings = replace(scenario.settings, outage_timeout=0)
    scenario.add(Cut("getImage", at=scenario.series.size // 3))
    scenario.add(Status(IMAGES, code=503, skip=1, times=None))
    summary = scenario.download(uid, jobs=1)
    assert (summary.complete, summary.partial_series) == (0, 1)
    assert summary.exit_code == 1
    scenario.assert_heals()


def test_fault_11_a_series_that_is_not_granted_is_requested_once_more(scenario: Scenario) -> None:
    scenario.add(NotGranted("getImage", series=scenario.series.uid))
    scenario.assert_complete(scenario.download())


def test_fault_11_a_series_that_is_never_granted_is_reported_and_others_continue(
    scenario: Scenario,
) -> None:
    scenario.add(NotGranted(IMAGES, series=scenario.series.uid, times=None))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "not-available"
    assert scenario.asked("getImage") == 3
    assert scenario.files() == scenario.expected(without=(scenario.series.uid,))


@pytest.mark.parametrize("code", [401, 403, 404])
def test_fault_12_a_refused_request_is_not_sent_again(scenario: Scenario, code: int) -> None:
    scenario.add(Status("getCollectionValues", code=code, body=b"no", times=None))
    with pytest.raises(StatusError, match=f"HTTP {code}"):
        scenario.download()
    assert scenario.asked("getCollectionValues") == 1


@pytest.mark.parametrize("code", [401, 403, 404])
def test_fault_12_a_refused_series_does_not_affect_the_others(
    scenario: Scenario, code: int
) -> None:
    scenario.add(Status("getImage", code=code, body=b"no", series=scenario.series.uid, times=None))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert str(code) in summary.failures[0].detail
    assert scenario.asked("getImage") == 2


def test_fault_13_a_page_instead_of_a_list_is_requested_again(scenario: Scenario) -> None:
    scenario.add(html_page("getSeries"), CutJson("getSeries", skip=0))
    scenario.assert_complete(scenario.download())


def test_fault_13_unpaired_surrogates_in_a_list_are_accepted(scenario: Scenario) -> None:
    def halved(body: bytes) -> bytes:
        odd = {"PatientID": "\ud800", "SeriesDescription": "a\udfff"}
        return json.dumps([row | odd for row in json.loads(body)]).encode()

    scenario.add(Answer("getSeries", body=halved))
    summary = scenario.download()
    assert (summary.exit_code, summary.complete) == (0, 2)


def test_fault_13_a_page_that_stays_is_named_with_its_first_bytes(scenario: Scenario) -> None:
    scenario.add(html_page("getCollectionValues", times=None))
    with pytest.raises(ArchiveError, match=r"getCollectionValues sent .*<html>") as caught:
        scenario.download()
    assert caught.value.exit_code == 3


def test_fault_13_a_page_instead_of_a_zip_is_requested_again(scenario: Scenario) -> None:
    scenario.add(html_page("getImage", series=scenario.series.uid))
    scenario.assert_complete(scenario.download())


@pytest.mark.parametrize(
    ("page", "message"),
    [(HTML, "not a ZIP; it begins with '<html>"), (b"", "the response is empty")],
)
def test_fault_13_a_page_that_stays_instead_of_a_zip_is_named(
    scenario: Scenario, page: bytes, message: str
) -> None:
    scenario.add(
        Answer("getImage", body=page, times=None),
        Answer("getSOPInstanceUIDs", body=HTML, times=None),
    )
    assert scenario.download().exit_code == 3
    reasons = [event.reason for event in scenario.events if isinstance(event, SeriesRetried)]
    named = [item for item in reasons if f"{scenario.url}/getImage: " in item]
    assert named
    assert all(message in item for item in named)
    scenario.assert_heals()


@pytest.mark.parametrize("page", [HTML + b" " * 4000, HTML, b"moved", b""])
def test_fault_13_a_page_instead_of_one_image_is_requested_again(
    scenario: Scenario, page: bytes
) -> None:
    lost = scenario.series.images[2].uid
    scenario.add(LostImage("getImage", uid=lost), Answer("getSingleImage", body=page))
    scenario.assert_complete(scenario.download())


def test_fault_13_a_page_that_stays_instead_of_one_image_is_named(scenario: Scenario) -> None:
    lost = scenario.series.images[2].uid
    page = Answer("getSingleImage", body=HTML + b" " * 4000, times=None)
    scenario.add(LostImage("getImage", uid=lost, times=None), page)
    (failure,) = scenario.download().failures
    assert failure.reason == "incomplete"
    assert "getSingleImage sent no image: <html>" in failure.detail
    scenario.assert_heals()


@pytest.mark.parametrize(
    "endpoint", ["getCollectionValues", "getSeries", "getImage", "getSOPInstanceUIDs"]
)
def test_fault_13_an_empty_response_is_requested_again(scenario: Scenario, endpoint: str) -> None:
    scenario.add(EmptyAnswer(endpoint))
    scenario.assert_complete(scenario.download())


def test_fault_13_a_list_of_no_collections_says_nothing_about_names(scenario: Scenario) -> None:
    scenario.add(EmptyAnswer("getCollectionValues", times=None))
    with pytest.raises(NotAvailableError, match="lists no collection") as caught:
        scenario.download()
    assert caught.value.exit_code == 3


def test_fault_13_no_series_is_never_success_for_a_known_collection(scenario: Scenario) -> None:
    scenario.add(EmptyAnswer("getSeries", times=None))
    with pytest.raises(NotAvailableError, match="lists no series") as caught:
        scenario.download(registry=(scenario.registry(),))
    assert caught.value.exit_code == 3


@pytest.mark.parametrize("fault", [EmptyAnswer, DropRows])
def test_fault_14_single_series_missing_in_a_list_are_requested_again(
    scenario: Scenario, fault: type[EmptyAnswer | DropRows]
) -> None:
    scenario.add(fault("getSeriesMetadata"))
    scenario.assert_complete(scenario.download(*(item.uid for item in scenario.corpus)))
    assert scenario.asked("getSeriesMetadata") == 2


def test_fault_14_series_that_no_list_has_are_requested_three_times(scenario: Scenario) -> None:
    (failure,) = scenario.download("1.2.3.4", scenario.series.uid).failures
    assert (failure.series, failure.reason) == ("1.2.3.4", "not-available")
    assert scenario.asked("getSeriesMetadata") == 3


def test_fault_14_a_short_list_is_requested_again(scenario: Scenario) -> None:
    scenario.add(DropRows("getSeries"))
    scenario.assert_complete(scenario.download(registry=(scenario.registry(series=2),)))
    assert scenario.asked("getSeries") == 2


def test_fault_14_lists_with_different_missing_series_are_combined(scenario: Scenario) -> None:
    first, second = (DropRows("getSeries", uids=(series.uid,)) for series in scenario.all_series)
    scenario.add(first, replace(second, skip=1))
    scenario.assert_complete(scenario.download(registry=(scenario.registry(series=2),)))


def test_fault_14_a_short_list_is_used_where_requesting_it_again_fails(scenario: Scenario) -> None:
    lost = scenario.all_series[1].uid
    scenario.add(
        DropRows("getSeries", uids=(lost,)), Status("getSeries", code=503, skip=1, times=None)
    )
    summary = scenario.download(registry=(scenario.registry(series=2),))
    assert [failure.reason for failure in summary.failures] == ["incomplete-list"]
    assert scenario.files() == scenario.expected(without=(lost,))


def test_fault_14_a_list_that_stays_short_is_reported_and_downloaded(scenario: Scenario) -> None:
    lost = scenario.all_series[1].uid
    scenario.add(DropRows("getSeries", uids=(lost,), times=None))
    summary = scenario.download(registry=(scenario.registry(series=2),))
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "incomplete-list"
    assert "lists 1 of 2 expected series of TRIAL" in summary.failures[0].detail
    assert scenario.files() == scenario.expected(without=(lost,))


def _with_a_stranger(body: bytes) -> bytes:
    first, *others = json.loads(body)
    return json.dumps([first | {"Collection": "OTHER"}, *others]).encode()


def test_fault_14_series_of_another_collection_hide_no_short_list(scenario: Scenario) -> None:
    scenario.add(Answer("getSeries", body=_with_a_stranger, times=None))
    summary = scenario.download(registry=(scenario.registry(series=2),))
    assert [failure.reason for failure in summary.failures] == ["incomplete-list"]
    assert summary.selected == 1
    assert [folder.name for folder in scenario.output.iterdir()] == [NAME]
    notices = [event.text for event in scenario.events if isinstance(event, Notice)]
    assert f"the archive's list of {NAME} names 1 series of other collections: left out" in notices


def test_fault_14_a_list_of_only_another_collection_is_requested_again(scenario: Scenario) -> None:
    other = {"Collection": "OTHER"}
    scenario.add(
        Answer(
            "getSeries",
            body=lambda body: json.dumps([row | other for row in json.loads(body)]).encode(),
        )
    )
    scenario.assert_complete(scenario.download())


@pytest.mark.parametrize("size", [0, 1e300])
def test_impossible_numbers_count_as_unknown(scenario: Scenario, size: float) -> None:
    odd = {"ImageCount": 0, "FileSize": size}
    scenario.add(
        Answer(
            "getSeries",
            body=lambda body: json.dumps([row | odd for row in json.loads(body)]).encode(),
            times=None,
        )
    )
    scenario.assert_complete(scenario.download())
    assert scenario.download().already_complete == 2


def test_series_without_a_collection_belong_to_the_requested_one(scenario: Scenario) -> None:
    def bare(body: bytes) -> bytes:
        rows = json.loads(body)
        for row in rows:
            del row["Collection"]
        return json.dumps(rows).encode()

    scenario.add(Answer("getSeries", body=bare))
    scenario.assert_complete(scenario.download())


def test_fault_14_accept_listed_accepts_a_shorter_list(scenario: Scenario) -> None:
    scenario.corpus.remove(scenario.all_series[1].uid)
    summary = scenario.download(registry=(scenario.registry(series=2),), accept_listed=True)
    scenario.assert_complete(summary)


def test_fault_26_an_unknown_collection_is_refused_with_similar_names(scenario: Scenario) -> None:
    with pytest.raises(UnknownCollectionError, match="'TRAIL'") as caught:
        scenario.download("TRAIL")
    assert caught.value.exit_code == 2
    assert "TRIAL" in caught.value.hint


def test_fault_26_a_collection_that_is_not_dicom_is_refused_without_a_request(
    scenario: Scenario,
) -> None:
    with pytest.raises(NotDicomError, match="NIfTI") as caught:
        scenario.download("CT Images in COVID-19")
    assert caught.value.exit_code == 2
    assert "cancerimagingarchive.net/collection/ct-images-in-covid-19" in caught.value.hint
    assert scenario.server.requests == []


def test_fault_13_retries_are_bounded(scenario: Scenario) -> None:
    scenario.settings = replace(scenario.settings, retries=2)
    scenario.add(CutJson("getCollectionValues", times=None))
    with pytest.raises(ArchiveError):
        scenario.download()
    assert scenario.asked("getCollectionValues") == 3
