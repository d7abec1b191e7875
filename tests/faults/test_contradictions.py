"""Row 42: an archive whose ZIPs fail or contradict its single images and hashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_covid.core.models import Check
from tests.fakes.nbia_faults import Status
from tests.fakes.zip_faults import LostImage, WrongHashTable
from tests.faults.scenario import Scenario

HASHES = ("getMD5Hierarchy", "getMD5HashForImage")


def other_md5s(table: str) -> str:
    """The list in a ZIP with other hashes than the images have."""
    header, *rows = table.splitlines()
    return "\n".join([header, *(f"{row.partition(',')[0]},{'0' * 31}1" for row in rows)]) + "\n"


@pytest.mark.parametrize("code", [500, 502, 504])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_fault_42_a_series_without_a_zip_is_completed_from_single_images(
    scenario: Scenario, code: int, retries: int
) -> None:
    scenario.settings = replace(scenario.settings, retries=retries)
    scenario.add(Status("getImage", code=code, series=scenario.series.uid, times=None))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == len(scenario.all_series) + min(retries, 1)
    assert scenario.asked("getSingleImage") == len(scenario.series.images)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("retries", [3, 6])
def test_fault_42_a_series_whose_zip_is_always_refused_is_completed_from_single_images(
    scenario: Scenario, code: int, retries: int
) -> None:
    scenario.settings = replace(scenario.settings, retries=retries)
    scenario.add(Status("getImage", code=code, series=scenario.series.uid, times=None))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == len(scenario.series.images)


def test_fault_42_a_list_of_md5s_that_the_hash_of_the_series_refutes_is_ignored(
    scenario: Scenario,
) -> None:
    scenario.add(WrongHashTable(edit=other_md5s))
    scenario.assert_complete(scenario.download())
    assert scenario.receipt().check is Check.SERIES_MD5
    assert scenario.asked("getSingleImage") == 0
    assert scenario.asked("getMD5Hierarchy") == len(scenario.all_series)


def test_fault_42_a_list_of_md5s_that_the_hashes_of_the_images_refute_is_ignored(
    scenario: Scenario,
) -> None:
    scenario.add(WrongHashTable(edit=other_md5s), Status("getMD5Hierarchy", code=404, times=None))
    scenario.assert_complete(scenario.download())
    assert scenario.receipt().check is Check.MD5
    assert scenario.asked("getSingleImage") == 0


def test_fault_42_a_list_of_md5s_that_nothing_refutes_fails_the_series(scenario: Scenario) -> None:
    scenario.add(WrongHashTable(edit=other_md5s), Status(HASHES, code=404, times=None))
    summary = scenario.download(scenario.series.uid)
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "checksum"
    scenario.assert_heals()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 500, 503])
def test_fault_42_images_that_no_archive_provides_are_named_for_every_refusal(
    scenario: Scenario, code: int
) -> None:
    denied = sorted(image.uid for image in scenario.series.images[1:3])
    for uid in denied:
        scenario.add(LostImage("getImage", uid=uid, times=None))
        scenario.add(Status("getSingleImage", image=uid, code=code, body=b"no", times=None))
    summary = scenario.download(scenario.series.uid)
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.reason, sorted(failure.missing)) == ("incomplete", denied)
    assert summary.partial_series == 1
    scenario.assert_heals()
