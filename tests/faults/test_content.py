"""Rows 3 to 7 and 17 to 19: what is inside the archive's ZIPs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tcia_covid.core.models import Check
from tests.fakes.faults import Answer
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
from tests.faults.trial import Trial


def test_fault_03_images_missing_in_a_valid_zip_are_fetched_one_by_one(trial: Trial) -> None:
    lost = trial.series.images[3].uid
    trial.add(LostImage(uid=lost, singly=True))
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 3


def test_fault_03_an_image_that_the_archive_lost_is_named(trial: Trial) -> None:
    lost = trial.series.images[3].uid
    trial.add(LostImage(uid=lost))
    summary = trial.download()
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.series, failure.reason) == (trial.series.uid, "incomplete")
    assert failure.missing == (lost,)
    assert trial.files() == trial.expected(without=(trial.series.uid,))
    trial.heal()
    trial.assert_complete(trial.download())
    assert trial.asked("getImage") == 0
    assert trial.asked("getSingleImage") == 1


@pytest.mark.parametrize("fault", [LicenseOnly, EmptyZip])
def test_fault_03_a_zip_without_images_is_no_series(trial: Trial, fault: type) -> None:
    trial.add(fault(times=None))
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 7


@pytest.mark.parametrize("keep", [0.5, 0.02, 0.0])
def test_fault_04_a_truncated_entry_is_fetched_again(trial: Trial, keep: float) -> None:
    trial.add(TruncatedImage(uid=trial.series.images[2].uid, keep=keep))
    trial.assert_complete(trial.download())


def test_fault_04_without_any_hash_a_truncated_entry_is_fetched_again_too(trial: Trial) -> None:
    series, expected = trial.series, trial.expected()
    trial.corpus.put(with_md5s(series, dict.fromkeys([image.uid for image in series.images], " ")))
    trial.add(TruncatedImage(uid=series.images[2].uid))
    assert trial.download().exit_code == 0
    assert trial.files() == expected
    assert trial.receipt().check is Check.SIZE


def test_fault_05_an_image_with_other_bytes_is_fetched_again(trial: Trial) -> None:
    series = trial.series
    trial.add(AlteredImage(uid=series.images[2].uid, series=series.uid, times=1))
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 1


def test_fault_05_an_image_that_stays_wrong_is_kept_aside_and_fails_the_series(
    trial: Trial,
) -> None:
    wrong = trial.series.images[2].uid
    trial.add(AlteredImage(uid=wrong, singly=True, times=None))
    summary = trial.download()
    assert summary.exit_code == 1
    (failure,) = summary.failures
    assert (failure.reason, failure.missing) == ("checksum", (wrong,))
    assert trial.files() == trial.expected(without=(trial.series.uid,))
    assert [file.name for file in trial.tree.quarantine.rglob("*.bad")] == [f"{wrong}.dcm.bad"]
    trial.assert_heals()


def test_fault_06_hashes_without_leading_zeros_are_right(trial: Trial) -> None:
    trial.corpus.put(with_unpadded_md5s(trial.series))
    trial.assert_complete(trial.download())
    assert trial.receipt().check is Check.MD5
    assert trial.asked("getSingleImage") == 0


def test_fault_06_the_hash_of_a_series_may_be_of_hashes_without_leading_zeros(
    trial: Trial,
) -> None:
    trial.corpus.put(with_unpadded_md5s(trial.series))
    trial.add(NoHashTable())
    trial.assert_complete(trial.download())
    assert trial.receipt().check is Check.SERIES_MD5


def test_fault_07_a_series_without_hashes_is_accepted_and_said_to_be(trial: Trial) -> None:
    blank = dict.fromkeys([image.uid for image in trial.series.images], " ")
    series = trial.series
    trial.corpus.put(with_md5s(series, dict(blank)))
    summary = trial.download()
    assert summary.exit_code == 0
    assert (summary.checked_md5, summary.checked_size) == (1, 1)
    assert trial.receipt().check is Check.SIZE


def test_fault_07_one_blank_hash_leaves_the_others_checked(trial: Trial) -> None:
    series = trial.series
    trial.corpus.put(with_md5s(series, {series.images[0].uid: " "}))
    assert trial.download().exit_code == 0
    checks = [image.check for image in trial.receipt().images]
    assert checks.count(Check.MD5) == 5
    assert checks.count(Check.SIZE) == 1


def test_a_size_on_record_that_is_wrong_is_no_matter_where_hashes_are_right(trial: Trial) -> None:
    size = sum(image.size for image in trial.series.images)
    wrong = Answer(
        "getSeries",
        body=lambda rows: rows.replace(str(float(size)).encode(), str(float(size + 2)).encode()),
        times=None,
    )
    trial.add(wrong)
    trial.assert_complete(trial.download())
    again = trial.download()
    assert (again.exit_code, again.already_complete) == (0, 2)
    assert trial.asked("getImage") == 0


def test_fault_07_a_missing_table_is_made_up_for_by_the_hash_of_the_series(trial: Trial) -> None:
    trial.add(NoHashTable())
    trial.assert_complete(trial.download())
    assert trial.receipt().check is Check.SERIES_MD5


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
def test_fault_17_names_in_a_zip_never_reach_the_disk(trial: Trial, name: str) -> None:
    trial.add(Renamed(names=[name]))
    trial.download()
    around = [path.name for path in trial.folder.rglob("*") if "evil" in path.name]
    assert around == []
    trial.assert_heals()
    assert not [path for path in trial.folder.rglob("*") if path.is_symlink()]


def test_fault_17_names_that_differ_in_case_alone_are_two_images(trial: Trial) -> None:
    trial.add(Renamed(names=["A.dcm", "a.dcm"]))
    trial.download()
    trial.assert_heals()


def test_fault_18_a_bomb_is_stopped_near_the_size_on_record(trial: Trial) -> None:
    trial.add(ExtraEntry(name="bomb.dcm", content=zeros(4 << 30), times=None))
    summary = trial.download()
    assert summary.bytes_received < 64 << 20
    used = sum(path.stat().st_size for path in trial.output.rglob("*") if path.is_file())
    assert used < 32 << 20
    trial.assert_heals()


def test_fault_19_an_image_of_another_series_fails_the_series(trial: Trial) -> None:
    other = trial.all_series[1]
    foreign = other.images[0].read()
    trial.add(ExtraEntry(name="00000099.dcm", content=foreign, series=trial.series.uid))
    summary = trial.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"
    assert trial.files() == trial.expected(without=(trial.series.uid,))
    trial.assert_heals()


def test_fault_19_an_image_of_another_patient_fails_the_series(trial: Trial) -> None:
    series = trial.series
    trial.corpus.put(replace(series, patient=replace(series.patient, id="SOMEBODY-ELSE")))
    summary = trial.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"


def test_fault_19_something_that_is_no_dicom_file_fails_the_series(trial: Trial) -> None:
    page = b"<html>" + b"x" * 4000
    trial.add(ExtraEntry(name="00000099.dcm", content=page, series=trial.series.uid))
    summary = trial.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "wrong-series"
    trial.assert_heals()


def test_fault_19_the_same_image_twice_is_kept_once(trial: Trial) -> None:
    trial.add(Twice(uid=trial.series.images[1].uid))
    trial.assert_complete(trial.download())


def test_fault_19_the_same_uid_with_other_bytes_fails_the_series(trial: Trial) -> None:
    trial.add(Twice(uid=trial.series.images[1].uid, differs=True))
    summary = trial.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "conflict"
    trial.assert_heals()


def test_fault_19_two_patients_with_the_same_series_are_not_mixed(trial: Trial) -> None:
    other = synthetic_corpus("TRIAL", patients=["B"], series_per_patient=1, seed=7)
    for series in other:
        trial.corpus.put(series)
    trial.assert_complete(trial.download())
