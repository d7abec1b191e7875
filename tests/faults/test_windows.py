"""Row 41: Windows' rules about long paths, files open in other programs, and read-only files."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tcia_covid.core.errors import DestinationError
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk
from tcia_covid.store.locks import Lock
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.windows import MAX_PATH
from tests.fakes.windows import WindowsRules, without_long_paths
from tests.faults.trial import NAME, Trial


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> WindowsRules:
    return WindowsRules(monkeypatch)


def image(trial: Trial, number: int = 0) -> Path:
    """An image of the first series."""
    series = trial.series
    folder = trial.output / NAME / series.patient.id / series.study.uid / series.uid
    return folder / f"{series.images[number].uid}.dcm"


def damage(path: Path) -> None:
    """Change a byte, and have `verify` notice that."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert verify_directory(path.parents[4]).exit_code == 1


def longest(trial: Trial) -> int:
    """Characters of the longest path that an image may have."""
    return len(str(image(trial).parent)) + 1 + 64 + len(".dcm")


def lengthen(trial: Trial, characters: int) -> None:
    """Choose an output folder with which the longest path has so many characters."""
    if longest(trial) >= characters:
        pytest.skip("the folder for temporary files has a long path")
    more = characters - longest(trial)
    parts = ["d" * 60] * (more // 61) + ["d" * (more % 61 - 1)]
    trial.output = trial.output.joinpath(*parts)
    assert longest(trial) == characters


def test_fault_41_paths_too_long_for_other_programs_are_refused_before_the_first_image(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch)
    lengthen(trial, MAX_PATH + 5)
    with pytest.raises(DestinationError, match=r"paths of up to \d+ characters") as error:
        trial.download()
    assert "characters shorter, or enable Windows' long paths" in error.value.hint
    assert trial.asked("getImage") == 0
    assert trial.files() == {}


def test_fault_41_long_paths_that_other_programs_can_open_are_used(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch)
    lengthen(trial, MAX_PATH - 30)  # paths in staging have the machine's name
    trial.assert_complete(trial.download())


def test_fault_41_a_tree_that_was_moved_to_a_longer_path_is_not_complete(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.download()
    short = trial.output
    lengthen(trial, MAX_PATH + 50)
    trial.output.parent.mkdir(parents=True)
    short.rename(short.with_name("moved"))
    trial.output.parent.mkdir(parents=True, exist_ok=True)
    short.with_name("moved").rename(trial.output)
    without_long_paths(monkeypatch)
    with pytest.raises(DestinationError, match="programs on this system open no longer ones"):
        trial.download()


def test_fault_41_a_path_that_gets_too_long_after_all_fails_its_series_alone(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch, len(str(image(trial))) - 1)
    monkeypatch.setattr("tcia_covid.operations.download.check_path_lengths", lambda jobs: None)
    summary = trial.download()
    assert {failure.reason for failure in summary.failures} == {"path-too-long"}
    assert summary.exit_code == 1
    assert trial.files() == {}


def test_fault_41_an_open_image_that_is_right_stays_while_its_series_is_repaired(
    trial: Trial, windows: WindowsRules
) -> None:
    trial.download()
    opened = image(trial, 0)
    image(trial, 1).unlink()
    windows.open = {opened}
    trial.assert_complete(trial.download())
    assert windows.refusals


def test_fault_41_an_open_image_that_is_to_be_replaced_fails_its_series_alone(
    trial: Trial, windows: WindowsRules
) -> None:
    trial.download()
    opened, other = image(trial, 0), trial.all_series[1]
    damage(opened)
    windows.open = {opened}
    for path in (trial.output / NAME).rglob(f"{other.uid}/*.dcm"):
        path.unlink()
    summary = trial.download()
    assert [failure.reason for failure in summary.failures] == ["in-use"]
    assert f"{opened} is open in another program" in summary.failures[0].detail
    assert summary.exit_code == 1
    assert trial.receipt(other).images
    assert list((trial.output / NAME).rglob(f"{other.uid}/*.dcm"))
    windows.open = set()
    trial.assert_heals()


def test_fault_41_a_report_that_is_open_is_named_and_written_by_the_next_run(
    trial: Trial, windows: WindowsRules
) -> None:
    opened = trial.output / NAME / "metadata.csv"
    trial.download(trial.all_series[1].uid)
    before = opened.read_bytes()
    windows.open = {opened}
    for _ in range(2):
        summary = trial.download()
        trial.assert_complete(summary)
        assert f"{opened} is open in another program" in " ".join(summary.notices)
        assert summary.outdated_reports == [f"{NAME}/metadata.csv"]
        assert opened.read_bytes() == before
        assert outdated_reports(trial.tree)
    windows.open = set()
    trial.assert_complete(trial.download())
    assert opened.read_bytes() != before
    assert not outdated_reports(trial.tree)


def test_fault_41_read_only_images_are_repaired(trial: Trial, windows: WindowsRules) -> None:
    trial.download(durable=True)
    damage(image(trial, 0))
    for series in trial.all_series:
        for path in (trial.output / NAME).rglob(f"{series.uid}/*.dcm"):
            path.chmod(stat.S_IREAD)
    trial.assert_complete(trial.download(durable=True))
    assert ("open", 5) in windows.refusals, "a read-only image was to be synced"


def test_fault_41_read_only_reports_and_notes_are_replaced(
    trial: Trial, windows: WindowsRules
) -> None:
    trial.download(trial.all_series[1].uid)
    for path in (trial.output / NAME).rglob("*"):
        if path.is_file():
            path.chmod(stat.S_IREAD)
    summary = trial.download()
    trial.assert_complete(summary)
    assert not outdated_reports(trial.tree)
    assert ("replace", 5) in windows.refusals


def test_fault_41_a_series_open_in_staging_is_one_that_another_run_works_on(
    trial: Trial, windows: WindowsRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lock, "lock_file", staticmethod(lambda handle: None))
    other = trial.tree.staging / trial.series.uid / "other-run"
    other.mkdir(parents=True)
    part = other / ".0.part"
    part.touch()
    windows.open, windows.until = {part}, 4
    trial.assert_complete(trial.download())
    assert len(windows.refusals) == 4
    assert not other.exists()


@pytest.mark.parametrize("method", ["rename", "replace", "remove"])
def test_fault_41_a_file_that_a_virus_scanner_opens_is_waited_for(
    tmp_path: Path, windows: WindowsRules, method: str
) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.touch()
    windows.open, windows.until = {source}, 2
    getattr(Disk(), method)(*[source, target][: 1 if method == "remove" else 2])
    assert not source.exists()
    assert target.exists() == (method != "remove")
