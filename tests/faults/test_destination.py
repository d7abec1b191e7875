"""Row 20: a disk that is full, read-only or fails, and files in the way."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tcia_covid.core.errors import DestinationError, NoSpaceError, PermissionDeniedError
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store import reports
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import reserve_of
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus
from tests.fakes.synthetic import synthetic_corpus
from tests.fakes.zip_faults import LostImage
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario


def test_fault_20_too_little_space_is_reported_before_the_start(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_free(monkeypatch, 1000)
    with pytest.raises(NoSpaceError, match=r"has 1.* free, the download needs") as caught:
        scenario.download()
    assert caught.value.exit_code == 4
    assert scenario.asked("getImage") == 0
    scenario.assert_complete(scenario.download(space_check=False))


def _leave_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")._replace(free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)


def _refusing_to_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file = Disk.replace

    def refusing(self: Disk, source: object, target: object) -> None:
        if str(target).endswith(f"{NAME}{os.sep}metadata.csv"):
            raise PermissionError(13, "Permission denied", str(target))
        replace_file(self, source, target)

    monkeypatch.setattr(Disk, "replace", refusing)


def _refusing_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(tree: Tree) -> list[str]:
        if tree.root.name == NAME:
            raise OSError(5, "Input/output error", str(tree.root))
        return outdated_reports(tree)

    monkeypatch.setattr(reports, "outdated_reports", refusing)


@pytest.mark.parametrize("refusing", [_refusing_to_replace, _refusing_to_look])
def test_fault_20_an_error_in_reports_of_one_collection_does_not_stop_those_of_others(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusing: Callable[[pytest.MonkeyPatch], None],
) -> None:
    one, other = synthetic_corpus(NAME), synthetic_corpus("TWO", seed=1)
    assert NAME < "TWO", "the failing one comes first"
    refusing(monkeypatch)
    corpus = Corpus([*one.collections, *other.collections], [*one, *other])
    with new_scenario(tmp_path, corpus) as scenario:
        summary = scenario.download(NAME, "TWO")
        assert isinstance(summary.error, DestinationError)
        assert summary.complete == len(corpus)
        assert not (scenario.output / NAME / "manifest-md5.txt").exists()
        assert (scenario.output / "TWO" / "manifest-md5.txt").exists()


def test_fault_20_a_repair_needs_space_for_missing_images_only(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.download()
    scenario.image_file(0).unlink()
    scenario.image_file(1).write_bytes(b"x" * scenario.image_file(1).stat().st_size)
    verify_directory(scenario.output)
    missing = 2 * scenario.series.images[0].size
    _leave_free(monkeypatch, reserve_of(missing) + missing - 1)
    with pytest.raises(NoSpaceError, match="the download needs"):
        scenario.download()
    _leave_free(monkeypatch, reserve_of(missing) + missing)
    scenario.assert_complete(scenario.download())


def test_fault_20_partial_images_of_other_series_do_not_reduce_the_space_needed(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.add(LostImage(uid=scenario.series.images[4].uid))
    scenario.download(scenario.series.uid)
    scenario.heal()
    assert scenario.tree.series_in_staging() == {scenario.series.uid}
    other = scenario.all_series[1]
    _leave_free(monkeypatch, reserve_of(other.images[0].size) + other.images[0].size - 1)
    with pytest.raises(NoSpaceError, match="the download needs"):
        scenario.download(other.uid)
    _leave_free(monkeypatch, reserve_of(other.images[0].size) + other.images[0].size)
    assert scenario.download(other.uid).exit_code == 0


def test_fault_20_a_disk_that_fills_up_ends_the_run_without_temporary_files(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = 0
    plain = Disk.write

    def write(self: Disk, file: object, data: bytes) -> None:
        nonlocal written
        written += len(data)
        if written > 30_000:
            raise OSError(28, "No space left on device")
        plain(self, file, data)  # type: ignore[arg-type]

    monkeypatch.setattr(Disk, "write", write)
    summary = scenario.download(jobs=2)
    assert summary.exit_code == 4
    assert isinstance(summary.error, NoSpaceError)
    assert not list(scenario.output.rglob("*.part"))
    monkeypatch.undo()
    scenario.assert_heals()


def test_fault_20_a_destination_that_is_a_file_is_refused(scenario: Scenario) -> None:
    scenario.output.write_text("in the way")
    with pytest.raises(PermissionDeniedError, match="cannot write"):
        scenario.download()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_fault_20_a_read_only_destination_is_refused(scenario: Scenario) -> None:
    scenario.output.mkdir(mode=0o500)
    with pytest.raises(DestinationError):
        scenario.download()


def test_fault_20_a_destination_that_cannot_be_created_is_refused(scenario: Scenario) -> None:
    scenario.output = Path("/proc/nowhere")
    with pytest.raises(DestinationError, match="/proc/nowhere"):
        scenario.download()


@pytest.mark.parametrize("what", ["receipt", "lock", "staging"])
def test_fault_20_what_is_in_the_way_is_named(scenario: Scenario, what: str) -> None:
    uid = scenario.series.uid
    places = {
        "receipt": scenario.tree.receipts.path(uid),
        "lock": scenario.tree.state / "locks" / f"{uid}.lock",
        "staging": scenario.tree.staging / uid,
    }
    place = places[what]
    if what == "staging":
        place.parent.mkdir(parents=True)
        place.write_bytes(b"")
    else:
        place.mkdir(parents=True)
    with pytest.raises(DestinationError, match="cannot write to") as caught:
        raise scenario.download().error or AssertionError
    assert str(place) in caught.value.message
    assert "move away" in caught.value.hint
    place.rmdir() if place.is_dir() else place.unlink()
    scenario.assert_heals()
