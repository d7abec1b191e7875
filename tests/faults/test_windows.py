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
from tests.faults.scenario import NAME, Scenario


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> WindowsRules:
    return WindowsRules(monkeypatch)


def image(scenario: Scenario, number: int = 0) -> Path:
    """An image of the first series."""
    series = scenario.series
    folder = scenario.output / NAME / series.patient.id / series.study.uid / series.uid
    return folder / f"{series.images[number].uid}.dcm"


def damage(path: Path) -> None:
    """Change a byte, and have `verify` notice that."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert verify_directory(path.parents[4]).exit_code == 1


def longest(scenario: Scenario) -> int:
    """Characters of the longest path that an image may have."""
    return len(str(image(scenario).parent)) + 1 + 64 + len(".dcm")


def lengthen(scenario: Scenario, characters: int) -> None:
    """Choose an output folder with which the longest path has so many characters."""
    if longest(scenario) >= characters:
        pytest.skip("the folder for temporary files has a long path")
    more = characters - longest(scenario)
    parts = ["d" * 60] * (more // 61) + ["d" * (more % 61 - 1)]
    scenario.output = scenario.output.joinpath(*parts)
    assert longest(scenario) == characters


def test_fault_41_paths_too_long_for_other_programs_are_refused_before_the_first_image(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch)
    lengthen(scenario, MAX_PATH + 5)
    with pytest.raises(DestinationError, match=r"paths of up to \d+ characters") as error:
        scenario.download()
    assert "characters shorter, or enable Windows' long paths" in error.value.hint
    assert scenario.asked("getImage") == 0
    assert scenario.files() == {}


def test_fault_41_long_paths_that_other_programs_can_open_are_used(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch)
    lengthen(scenario, MAX_PATH - 30)  # paths in staging have the machine's name
    scenario.assert_complete(scenario.download())


def test_fault_41_a_tree_that_was_moved_to_a_longer_path_is_not_complete(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.download()
    short = scenario.output
    lengthen(scenario, MAX_PATH + 50)
    scenario.output.parent.mkdir(parents=True)
    short.rename(short.with_name("moved"))
    scenario.output.parent.mkdir(parents=True, exist_ok=True)
    short.with_name("moved").rename(scenario.output)
    without_long_paths(monkeypatch)
    with pytest.raises(DestinationError, match="programs on this system open no longer ones"):
        scenario.download()


def test_fault_41_a_path_that_becomes_too_long_fails_only_its_series(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_long_paths(monkeypatch, len(str(image(scenario))) - 1)
    monkeypatch.setattr("tcia_covid.operations.download.check_path_lengths", lambda jobs: None)
    summary = scenario.download()
    assert {failure.reason for failure in summary.failures} == {"path-too-long"}
    assert summary.exit_code == 1
    assert scenario.files() == {}


def test_fault_41_an_open_image_that_is_right_stays_while_its_series_is_repaired(
    scenario: Scenario, windows: WindowsRules
) -> None:
    scenario.download()
    opened = image(scenario, 0)
    image(scenario, 1).unlink()
    windows.open = {opened}
    scenario.assert_complete(scenario.download())
    assert windows.refusals


def test_fault_41_an_open_image_that_has_to_be_replaced_fails_only_its_series(
    scenario: Scenario, windows: WindowsRules
) -> None:
    scenario.download()
    opened, other = image(scenario, 0), scenario.all_series[1]
    damage(opened)
    windows.open = {opened}
    for path in (scenario.output / NAME).rglob(f"{other.uid}/*.dcm"):
        path.unlink()
    summary = scenario.download()
    assert [failure.reason for failure in summary.failures] == ["in-use"]
    assert f"{opened} is open in another program" in summary.failures[0].detail
    assert summary.exit_code == 1
    assert scenario.receipt(other).images
    assert list((scenario.output / NAME).rglob(f"{other.uid}/*.dcm"))
    windows.open = set()
    scenario.assert_heals()


def test_fault_41_a_report_that_is_open_is_named_and_written_by_the_next_run(
    scenario: Scenario, windows: WindowsRules
) -> None:
    opened = scenario.output / NAME / "metadata.csv"
    scenario.download(scenario.all_series[1].uid)
    before = opened.read_bytes()
    windows.open = {opened}
    for _ in range(2):
        summary = scenario.download()
        scenario.assert_complete(summary)
        assert f"{opened} is open in another program" in " ".join(summary.notices)
        assert summary.outdated_reports == [f"{NAME}/metadata.csv"]
        assert opened.read_bytes() == before
        assert outdated_reports(scenario.tree)
    windows.open = set()
    scenario.assert_complete(scenario.download())
    assert opened.read_bytes() != before
    assert not outdated_reports(scenario.tree)


def test_fault_41_read_only_images_are_repaired(scenario: Scenario, windows: WindowsRules) -> None:
    scenario.download(durable=True)
    damage(image(scenario, 0))
    for series in scenario.all_series:
        for path in (scenario.output / NAME).rglob(f"{series.uid}/*.dcm"):
            path.chmod(stat.S_IREAD)
    scenario.assert_complete(scenario.download(durable=True))
    assert ("open", 5) in windows.refusals, "a read-only image was to be synced"


def test_fault_41_read_only_reports_and_notes_are_replaced(
    scenario: Scenario, windows: WindowsRules
) -> None:
    scenario.download(scenario.all_series[1].uid)
    for path in (scenario.output / NAME).rglob("*"):
        if path.is_file():
            path.chmod(stat.S_IREAD)
    summary = scenario.download()
    scenario.assert_complete(summary)
    assert not outdated_reports(scenario.tree)
    assert ("replace", 5) in windows.refusals


def test_fault_41_a_series_open_in_staging_is_one_that_another_run_works_on(
    scenario: Scenario, windows: WindowsRules, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Lock, "lock_file", staticmethod(lambda handle: None))
    other = scenario.tree.staging / scenario.series.uid / "other-run"
    other.mkdir(parents=True)
    part = other / ".0.part"
    part.touch()
    windows.open, windows.until = {part}, 4
    scenario.assert_complete(scenario.download())
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
