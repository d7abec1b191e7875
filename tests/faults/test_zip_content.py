"""Rows 3 to 7 and 17 to 19: what is inside the archive's ZIPs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_covid.core.models import Check
from tests.fakes.nbia_faults import Answer
from tests.fakes.synthetic import synthetic_corpus, with_md5s, with_unpadded_md5s
from tests.fakes.zip_faults import (
    AlteredImage,
    EmptyZip,
    ExtraEntry,
    LicenseOnly,
    LostImage,
    NoHashTable,
    Renamed,
    TruncatedImage,
    Twice,
    zeros,
)
from tests.faults.scenario import Scenario


def test_fault_03_images_missing_in_a_valid_zip_are_fetched_one_by_one(scenario: Scenario) -> None:
    lost = scenario.series.images[3].uid
    scenario.add(LostImage(uid=lost, singly=True))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 3


def test_fault_03_an_image_that_the_archive_lost_is_named(scenario: Scenario) -> None:
    lost = scenario.series.images[3].uid
    scenario.add(LostImage(uid=lost))
    summary = scenario.download()
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == (scenario.series.uid, "incomplete")
    assert failure.missing == (lost,)
    assert scenario.files() == scenario.expected(without=(scenario.series.uid,))
    scenario.heal()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert scenario.asked("getSingleImage") == 1


@pytest.mark.parametrize("fault", [LicenseOnly, EmptyZip])
def test_fault_03_a_zip_without_images_is_no_series(scenario: Scenario, fault: type) -> None:
    scenario.add(fault(times=None))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 7


@pytest.mark.parametrize("keep", [0.5, 0.02, 0.0])
def test_fault_04_a_truncated_entry_is_fetched_again(scenario: Scenario, keep: float) -> None:
    scenario.add(TruncatedImage(uid=scenario.series.images[2].uid, keep=keep))
    scenario.assert_complete(scenario.download())


def test_fault_04_without_any_hash_a_truncated_entry_is_fetched_again_too(
    scenario: Scenario,
) -> None:
    series, expected = scenario.series, scenario.expected()
    scenario.corpus.put(
        with_md5s(series, dict.fromkeys([image.uid for image in series.images], " "))
    )
    scenario.add(TruncatedImage(uid=series.images[2].uid))
    assert scenario.download().exit_code == 0
    assert scenario.files() == expected
    assert scenario.receipt().check is Check.SIZE


def test_fault_05_an_image_with_other_bytes_is_fetched_again(scenario: Scenario) -> None:
    series = scenario.series
    scenario.add(AlteredImage(uid=series.images[2].uid, series=series.uid, times=1))
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1


def test_fault_05_an_image_that_stays_wrong_is_quarantined_and_fails_the_series(
    scenario: Scenario,
) -> None:
    wrong = scenario.series.images[2].uid
    scenario.add(AlteredImage(uid=wrong, singly=True, times=None))
    summary = scenario.download()
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.reason, failure.missing) == ("checksum", (wrong,))
    assert scenario.files() == scenario.expected(without=(scenario.series.uid,))
    assert [file.name for file in scenario.tree.quarantine.rglob("*.bad")] == [f"{wrong}.dcm.bad"]
    scenario.assert_heals()


def test_fault_06_hashes_without_leading_zeros_are_right(scenario: Scenario) -> None:
    scenario.corpus.put(with_unpadded_md5s(scenario.series))
    scenario.assert_complete(scenario.download())
    assert scenario.receipt().check is Check.MD5
    assert scenario.asked("getSingleImage") == 0


def test_fault_06_the_hash_of_a_series_may_be_of_hashes_without_leading_zeros(
    scenario: Scenario,
) -> None:
    scenario.corpus.put(with_unpadded_md5s(scenario.series))
    scenario.add(NoHashTable())
    scenario.assert_complete(scenario.download())
    assert scenario.receipt().check is Check.SERIES_MD5


def test_fault_07_a_series_without_hashes_is_accepted_and_reported(scenario: Scenario) -> None:
    blank = dict.fromkeys([image.uid for image in scenario.series.images], " ")
    series = scenario.series
    scenario.corpus.put(with_md5s(series, dict(blank)))
    summary = scenario.download()
    assert summary.exit_code == 0
    assert (summary.checked_md5, summary.checked_size) == (1, 1)
    assert scenario.receipt().check is Check.SIZE


def test_fault_07_one_empty_hash_does_not_affect_the_others(scenario: Scenario) -> None:
    series = scenario.series
    scenario.corpus.put(with_md5s(series, {series.images[0].uid: " "}))
    assert scenario.download().exit_code == 0
    checks = [image.check for image in scenario.receipt().images]
    assert checks.count(Check.MD5) == 5
    assert checks.count(Check.SIZE) == 1


def test_a_size_on_record_that_is_wrong_is_no_matter_where_hashes_are_right(
    scenario: Scenario,
) -> None:
    size = sum(image.size for image in scenario.series.images)
    wrong = Answer(
        "getSeries",
        body=lambda rows: rows.replace(str(float(size)).encode(), str(float(size + 2)).encode()),
        times=None,
    )
    scenario.add(wrong)
    scenario.assert_complete(scenario.download())
    again = scenario.download()
    assert (again.exit_code, again.already_complete) == (0, 2)
    assert scenario.asked("getImage") == 0


def test_fault_07_without_the_table_of_md5s_the_hash_of_the_series_is_used(
    scenario: Scenario,
) -> None:
    scenario.add(NoHashTable())
    scenario.assert_complete(scenario.download())
    assert scenario.receipt().check is Check.SERIES_MD5


EVIL = [
    "../../evil.dcm",
    "/tmp/evil.dcm",
    "..\\..\\evil.dcm",
    "C:\\evil.dcm",
    "\\\\host\\share\\evil.dcm",
    "con.dcm",
    "x" * 300 + ".dcm",
    "nul\0.dcm",
    ".",
]


@pytest.mark.parametrize("name", EVIL)
def test_fault_17_names_in_a_zip_never_reach_the_disk(scenario: Scenario, name: str) -> None:
    scenario.add(Renamed(names=[name]))
    scenario.download()
    around = [path.name for path in scenario.folder.rglob("*") if "evil" in path.name]
    assert around == []
    scenario.assert_heals()
    assert not [path for path in scenario.folder.rglob("*") if path.is_symlink()]


def test_fault_17_names_that_differ_only_in_case_are_two_images(scenario: Scenario) -> None:
    scenario.add(Renamed(names=["A.dcm", "a.dcm"]))
    scenario.download()
    scenario.assert_heals()


def test_fault_18_a_bomb_is_stopped_near_the_recorded_size(scenario: Scenario) -> None:
    scenario.add(ExtraEntry(name="bomb.dcm", content=zeros(4 << 30), times=None))
    summary = scenario.download()
    assert summary.bytes_received < 64 << 20
    used = sum(path.stat().st_size for path in scenario.output.rglob("*") if path.is_file())
    assert used < 32 << 20
    scenario.assert_heals()


def test_fault_19_an_image_of_another_series_fails_the_series(scenario: Scenario) -> None:
    other = scenario.all_series[1]
    foreign = other.images[0].read()
    scenario.add(ExtraEntry(name="00000099.dcm", content=foreign, series=scenario.series.uid))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"
    assert scenario.files() == scenario.expected(without=(scenario.series.uid,))
    scenario.assert_heals()


def test_fault_19_an_image_of_another_patient_fails_the_series(scenario: Scenario) -> None:
    series = scenario.series
    scenario.corpus.put(replace(series, patient=replace(series.patient, id="SOMEBODY-ELSE")))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"


def test_fault_19_something_that_is_no_dicom_file_fails_the_series(scenario: Scenario) -> None:
    page = b"<html>" + b"x" * 4000
    scenario.add(ExtraEntry(name="00000099.dcm", content=page, series=scenario.series.uid))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"
    scenario.assert_heals()


def test_fault_19_the_same_image_twice_is_kept_once(scenario: Scenario) -> None:
    scenario.add(Twice(uid=scenario.series.images[1].uid))
    scenario.assert_complete(scenario.download())


def test_fault_19_the_same_uid_with_other_bytes_fails_the_series(scenario: Scenario) -> None:
    scenario.add(Twice(uid=scenario.series.images[1].uid, differs=True))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "conflict"
    scenario.assert_heals()


def test_fault_19_two_patients_with_the_same_series_are_not_mixed(scenario: Scenario) -> None:
    other = synthetic_corpus("TRIAL", patients=["B"], series_per_patient=1, seed=7)
    for series in other:
        scenario.corpus.put(series)
    scenario.assert_complete(scenario.download())
