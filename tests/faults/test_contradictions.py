"""Row 42: an archive whose ZIPs fail or contradict its single images and hashes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_covid.core.models import Check
from tests.fakes.faults import Status
from tests.fakes.zip_faults import LostImage, WrongHashTable
from tests.faults.trial import Trial

HASHES = ("getMD5Hierarchy", "getMD5HashForImage")


def other_md5s(table: str) -> str:
    """The list in a ZIP with other hashes than the images have."""
    header, *rows = table.splitlines()
    return "\n".join([header, *(f"{row.partition(',')[0]},{'0' * 31}1" for row in rows)]) + "\n"


@pytest.mark.parametrize("code", [500, 502, 504])
@pytest.mark.parametrize("retries", [0, 1, 3])
def test_fault_42_a_series_without_a_zip_is_completed_from_single_images(
    trial: Trial, code: int, retries: int
) -> None:
    trial.settings = replace(trial.settings, retries=retries)
    trial.add(Status("getImage", code=code, series=trial.series.uid, times=None))
    trial.assert_complete(trial.download())
    assert trial.asked("getImage") == len(trial.all_series) + min(retries, 1)
    assert trial.asked("getSingleImage") == len(trial.series.images)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize("retries", [3, 6])
def test_fault_42_a_series_whose_zip_is_refused_for_ever_is_completed_from_single_images(
    trial: Trial, code: int, retries: int
) -> None:
    trial.settings = replace(trial.settings, retries=retries)
    trial.add(Status("getImage", code=code, series=trial.series.uid, times=None))
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == len(trial.series.images)


def test_fault_42_a_list_of_md5s_that_the_hash_of_the_series_refutes_is_ignored(
    trial: Trial,
) -> None:
    trial.add(WrongHashTable(edit=other_md5s))
    trial.assert_complete(trial.download())
    assert trial.receipt().check is Check.SERIES_MD5
    assert trial.asked("getSingleImage") == 0
    assert trial.asked("getMD5Hierarchy") == len(trial.all_series)


def test_fault_42_a_list_of_md5s_that_the_hashes_of_the_images_refute_is_ignored(
    trial: Trial,
) -> None:
    trial.add(WrongHashTable(edit=other_md5s), Status("getMD5Hierarchy", code=404, times=None))
    trial.assert_complete(trial.download())
    assert trial.receipt().check is Check.MD5
    assert trial.asked("getSingleImage") == 0


def test_fault_42_a_list_of_md5s_that_nothing_refutes_fails_the_series(trial: Trial) -> None:
    trial.add(WrongHashTable(edit=other_md5s), Status(HASHES, code=404, times=None))
    summary = trial.download(trial.series.uid)
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "checksum"
    trial.assert_heals()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 500, 503])
def test_fault_42_images_that_nobody_gives_are_named_whatever_denies_them(
    trial: Trial, code: int
) -> None:
    denied = sorted(image.uid for image in trial.series.images[1:3])
    for uid in denied:
        trial.add(LostImage("getImage", uid=uid, times=None))
        trial.add(Status("getSingleImage", image=uid, code=code, body=b"no", times=None))
    summary = trial.download(trial.series.uid)
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.reason, sorted(failure.missing)) == ("incomplete", denied)
    assert summary.partial_series == 1
    trial.assert_heals()
