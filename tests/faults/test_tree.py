"""Rows 20, 24, 25 and 28: the tree and the disk under it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.archives.nbia.archive import NbiaArchive
from tcia_covid.core.errors import DestinationError, NoSpaceError, PermissionDeniedError
from tcia_covid.core.events import Event, SeriesFinished
from tcia_covid.http.client import Client
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tcia_covid.store import reports
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import reserve_of
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus, DemoSeries
from tests.fakes.nbia_faults import Status
from tests.fakes.synthetic import ImageSpec, demo_image, synthetic_corpus, synthetic_image
from tests.fakes.zip_faults import LostImage
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario


def _file(scenario: Scenario, number: int) -> Path:
    series = scenario.series
    folder = scenario.output / NAME / series.patient.id / series.study.uid / series.uid
    return folder / f"{series.images[number].uid}.dcm"


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
    _file(scenario, 0).unlink()
    _file(scenario, 1).write_bytes(b"x" * _file(scenario, 1).stat().st_size)
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


def _delete(path: Path) -> None:
    path.unlink()


def _shorten(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def _alter(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("harm", "reason"), [(_delete, "missing"), (_shorten, "changed"), (_alter, "changed")]
)
def test_fault_24_damage_is_found_and_only_that_image_is_repaired(
    scenario: Scenario, harm: object, reason: str
) -> None:
    scenario.download()
    harm(_file(scenario, 2))  # type: ignore[operator]
    result = verify_directory(scenario.output)
    assert result.exit_code == 1
    assert [
        (damaged.reason, damaged.file.endswith(_file(scenario, 2).name))
        for damaged in result.damage
    ] == [(reason, True)]
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert scenario.asked("getSingleImage") == 1
    assert verify_directory(scenario.output).exit_code == 0


def test_fault_24_a_download_detects_a_deleted_file_without_verify(scenario: Scenario) -> None:
    scenario.download()
    _file(scenario, 1).unlink()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1


def test_fault_24_a_deleted_folder_is_fetched_again(scenario: Scenario) -> None:
    scenario.download()
    folder = _file(scenario, 1).parent
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    scenario.assert_complete(scenario.download())


def test_fault_24_a_lost_receipt_costs_no_download(scenario: Scenario) -> None:
    scenario.download()
    scenario.tree.receipts.path(scenario.series.uid).unlink()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert scenario.asked("getSingleImage") == 0


USERS_FILES = {
    "notes.txt": b"mine",
    "volume.nii": b"mine",
    ".ipynb_checkpoints/view.ipynb": b"mine",
    ".viewer/cache/1.dcm": b"mine",
    "segmentation.dcm": synthetic_image(ImageSpec("1.2.3.4", "1.2.3", "1.2", "P")),
}


def _add_users_files(folder: Path) -> None:
    for name, content in USERS_FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _assert_users_files(folder: Path) -> None:
    assert {name: (folder / name).read_bytes() for name in USERS_FILES} == USERS_FILES


def _lose_an_image(scenario: Scenario) -> dict[str, bool]:
    _file(scenario, 2).unlink()
    return {}


def _damage_an_image(scenario: Scenario) -> dict[str, bool]:
    _alter(_file(scenario, 2))
    assert verify_directory(scenario.output).exit_code == 1
    return {}


def _lose_the_state(scenario: Scenario) -> dict[str, bool]:
    shutil.rmtree(scenario.tree.state)
    return {}


def _lose_the_receipt_and_an_image(scenario: Scenario) -> dict[str, bool]:
    scenario.tree.receipts.path(scenario.series.uid).unlink()
    return _lose_an_image(scenario)


def _change_in_the_archive(scenario: Scenario) -> dict[str, bool]:
    scenario.corpus.put(_grown(scenario))
    return {"update": True}


@pytest.mark.parametrize(
    "happens",
    [
        _lose_an_image,
        _damage_an_image,
        _lose_the_state,
        _lose_the_receipt_and_an_image,
        _change_in_the_archive,
    ],
)
def test_fault_31_files_of_the_user_in_a_series_folder_stay_where_they_are(
    scenario: Scenario, happens: Callable[[Scenario], dict[str, bool]]
) -> None:
    scenario.download()
    folder = _file(scenario, 1).parent
    _add_users_files(folder)
    assert scenario.download().already_complete == len(scenario.all_series)
    options = happens(scenario)
    assert scenario.download(**options).exit_code == 0
    _assert_users_files(folder)
    found = verify_directory(scenario.output)
    assert (found.damage, found.exit_code) == ([], 0)
    assert {extra.file.removeprefix(f"{NAME}/") for extra in found.unexpected} == {
        (folder / name).relative_to(scenario.output / NAME).as_posix()
        for name in ("notes.txt", "volume.nii", "segmentation.dcm")
    } | {f"{folder.relative_to(scenario.output / NAME).as_posix()}/.{name}/" for name in HIDDEN}
    assert read_status(scenario.output).collections[0].complete.series == len(scenario.all_series)
    assert scenario.download().already_complete == len(scenario.all_series)
    assert not list(scenario.tree.state.rglob("*.dcm"))


HIDDEN = ("ipynb_checkpoints", "viewer")


def test_fault_31_a_users_file_under_the_name_of_an_image_is_moved_aside_and_named(
    scenario: Scenario,
) -> None:
    scenario.download()
    shutil.rmtree(scenario.tree.state)
    changed = _file(scenario, 2)
    _alter(changed)
    content = changed.read_bytes()
    summary = scenario.download()
    assert summary.exit_code == 0
    moved = changed.with_name(f"{changed.name}.moved-aside")
    assert moved.read_bytes() == content
    (notice,) = [each_notice for each_notice in summary.notices if str(moved) in each_notice]
    assert str(changed) in notice


def test_fault_31_a_file_in_the_place_of_a_folder_is_moved_aside_and_named(
    scenario: Scenario,
) -> None:
    folder = _file(scenario, 0).parent.parent
    folder.parent.mkdir(parents=True)
    folder.write_text("mine")
    summary = scenario.download()
    scenario.assert_complete(summary)
    moved = folder.with_name(f"{folder.name}.moved-aside")
    assert moved.read_text() == "mine"
    assert [str(moved) in notice for notice in summary.notices] == [True]


def test_fault_32_links_to_the_right_bytes_are_intact_and_stay(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.download()
    annex = tmp_path / "annex"
    annex.mkdir()
    for number in (0, 1):
        file = _file(scenario, number)
        file.rename(annex / file.name)
        file.symlink_to(os.path.relpath(annex / file.name, file.parent))
    assert verify_directory(scenario.output).exit_code == 0
    assert scenario.download().already_complete == len(scenario.all_series)
    _file(scenario, 2).unlink()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1
    assert [_file(scenario, number).is_symlink() for number in range(3)] == [True, True, False]
    target = annex / _file(scenario, 0).name
    damaged = target.read_bytes()[:-1] + b"?"
    target.write_bytes(damaged)
    assert verify_directory(scenario.output).exit_code == 1
    scenario.assert_complete(scenario.download())
    assert not _file(scenario, 0).is_symlink(), "the link is replaced, not its target"
    assert target.read_bytes() == damaged
    assert _file(scenario, 1).is_symlink()
    assert not [path for path in scenario.tree.quarantine.rglob("*") if path.is_symlink()]


def test_fault_33_no_series_folder_is_inside_another(scenario: Scenario) -> None:
    outer, inner = "{patient}-{series_tail}", "{patient}-{series_tail}/{series}"
    for first, second in ((outer, inner), (inner, outer)):
        scenario.download(scenario.series.uid, layout=first)
        states = [scenario.download(layout=second) for _ in range(3)]
        assert [(item.exit_code, item.complete) for item in states] == [
            (0, len(scenario.all_series))
        ] * 3
        assert states[1].already_complete == len(scenario.all_series)
        folders = [Path(receipt.folder) for receipt in scenario.tree.receipts.all()]
        assert len(folders) == len(scenario.all_series)
        assert not [(a, b) for a in folders for b in folders if a in b.parents]
        assert verify_directory(scenario.output).exit_code == 0
        assert not scenario.tree.quarantine.exists()
        shutil.rmtree(scenario.output)


def test_fault_33_a_receipt_whose_folder_is_above_another_s_is_given_its_own(
    scenario: Scenario,
) -> None:
    scenario.download()
    path = scenario.tree.receipts.path(scenario.series.uid)
    document = json.loads(path.read_bytes())
    document["folder"] = document["folder"].rpartition("/")[0].rpartition("/")[0]
    path.write_text(json.dumps(document), encoding="utf-8")
    before = scenario.files()
    scenario.assert_complete(scenario.download())
    assert scenario.files() == before
    assert scenario.asked("getImage") == 0
    assert scenario.download().already_complete == len(scenario.all_series)
    assert verify_directory(scenario.output).exit_code == 0


def test_fault_33_the_summary_counts_what_is_in_place_at_the_end(scenario: Scenario) -> None:
    removed = []

    def remove_the_first(event: Event) -> None:
        if isinstance(event, SeriesFinished) and event.outcome.receipt and not removed:
            removed.append(event.outcome.series.uid)
            shutil.rmtree(scenario.tree.path(event.outcome.receipt))

    summary = scenario.download(jobs=1, on_event=remove_the_first)
    assert (summary.exit_code, summary.complete) == (1, len(scenario.all_series) - 1)
    assert [(failure.series, failure.reason) for failure in summary.failures] == [
        (removed[0], "missing")
    ]
    scenario.assert_complete(scenario.download())


def test_partial_and_bad_images_have_no_name_that_ends_as_an_image_s(scenario: Scenario) -> None:
    scenario.add(LostImage(uid=scenario.series.images[4].uid))
    scenario.download(scenario.series.uid)
    assert scenario.tree.series_in_staging() == {scenario.series.uid}
    assert not list(scenario.output.rglob("*.dcm"))


def test_images_that_an_earlier_version_left_in_staging_are_taken_over(scenario: Scenario) -> None:
    scenario.add(LostImage(uid=scenario.series.images[4].uid))
    scenario.download(scenario.series.uid)
    staged = list(scenario.tree.staging.rglob("*.dcm.staged"))
    for file in staged:
        file.rename(file.with_suffix(""))
    scenario.heal()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1
    assert len(staged) == len(scenario.series.images) - 1


def test_fault_24_nothing_to_do_is_one_request(scenario: Scenario) -> None:
    registry = scenario.registry(series=2)
    scenario.download(registry=(registry,))
    scenario.assert_complete(scenario.download(registry=(registry,)))
    assert [request.endpoint for request in scenario.server.requests] == ["getSeries"]


def _grown(scenario: Scenario) -> DemoSeries:
    """The first series with one image more."""
    other = synthetic_corpus(
        NAME, patients=1, series_per_patient=1, images_per_series=7, rows=256, columns=256
    )
    new = max(other, key=lambda one: len(one.images))
    images = (*scenario.series.images, new.images[6])
    return replace(scenario.series, images=images)


def test_fault_25_a_changed_series_is_reported_and_the_old_version_stays(
    scenario: Scenario,
) -> None:
    scenario.download()
    before = scenario.files()
    old = scenario.series
    scenario.corpus.put(replace(old, images=old.images[:5]))
    summary = scenario.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "changed"
    assert "--update" in summary.failures[0].hint
    assert scenario.files() == before


def test_fault_25_update_fetches_what_changed(scenario: Scenario) -> None:
    scenario.download()
    scenario.corpus.put(replace(scenario.series, images=scenario.series.images[:5]))
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getImage") == 0


def _with_other_bytes(scenario: Scenario, *numbers: int) -> DemoSeries:
    """The first series with other pixels in some images, of the same size and date."""
    series = scenario.series
    images = list(series.images)
    for number in numbers:
        spec = ImageSpec(
            images[number].uid, series.uid, series.study.uid, series.patient.id, "CT", number + 1,
            "CT 1", 256, 256, seed=99,
        )  # fmt: skip
        assert demo_image(spec).size == images[number].size
        images[number] = demo_image(spec)
    return replace(series, images=tuple(images))


def _verify_online(scenario: Scenario) -> VerifyResult:
    client = Client(scenario.settings)
    try:
        return verify_directory(scenario.output, archive=NbiaArchive(client, scenario.url))
    finally:
        client.close()


def test_fault_25_a_change_that_only_the_hash_shows_is_noted_by_verify_and_then_updated(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    assert scenario.download().exit_code == 0, "lists say nothing of it"
    assert _verify_online(scenario).exit_code == 1
    (failure,) = scenario.download().failures
    assert (failure.reason, "MD5 over its images differs" in failure.detail) == ("changed", True)
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getSingleImage") == 1
    assert _verify_online(scenario).exit_code == 0
    scenario.assert_complete(scenario.download())


def test_fault_25_a_hash_that_is_right_again_ends_the_note(scenario: Scenario) -> None:
    scenario.download()
    before = scenario.series
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    _verify_online(scenario)
    scenario.corpus.put(before)
    assert _verify_online(scenario).exit_code == 0
    scenario.assert_complete(scenario.download())


def test_fault_25_a_repair_does_not_mix_versions(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 1, 2))
    _file(scenario, 2).unlink()
    for _ in range(2):
        (failure,) = scenario.download().failures
        assert failure.reason == "changed"
        assert "--update" in failure.hint
    scenario.assert_complete(scenario.download(update=True))


def test_fault_25_a_repair_may_get_the_current_version_if_all_other_images_are_of_it(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.corpus.put(_with_other_bytes(scenario, 2))
    _file(scenario, 2).unlink()
    scenario.assert_complete(scenario.download())


def test_fault_25_an_update_that_fails_leaves_the_old_version(scenario: Scenario) -> None:
    scenario.download()
    before = scenario.files()
    fewer = replace(scenario.series, images=scenario.series.images[:5])
    scenario.corpus.put(fewer)
    scenario.add(Status(("getSOPInstanceUIDs", "getImage", "getSingleImage"), code=500, times=None))
    summary = scenario.download(update=True)
    assert summary.exit_code != 0
    assert scenario.files() == before
    scenario.heal()
    scenario.assert_complete(scenario.download(update=True))


ODD = ["A/B", "A\\B", "..", "CON", "name with spaces", "Müller^Jürgen", "名前", "a", "A", "x" * 64]


def test_fault_28_unusual_patient_ids_get_safe_and_distinct_folders(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=ODD, series_per_patient=1, images_per_series=1)
    with new_scenario(tmp_path, corpus) as odd:
        summary = odd.download()
        assert summary.exit_code == 0
        root = odd.output / NAME
        folders = [path.name for path in root.iterdir() if path.is_dir() and path.name[0] != "."]
        assert len({name.casefold() for name in folders}) == len(ODD)
        assert all(name.isascii() for name in folders)
        text = (root / "metadata.csv").read_text(encoding="utf-8")
        assert all(patient in text for patient in ODD)


def test_fault_25_an_interrupted_update_is_still_reported_without_update(
    scenario: Scenario,
) -> None:
    scenario.download()
    before = scenario.files()
    scenario.corpus.put(_grown(scenario))
    scenario.add(Status("getSingleImage", code=503, times=None))
    scenario.download(update=True)
    assert scenario.tree.series_in_staging() == {scenario.series.uid}
    scenario.heal()
    summary = scenario.download()
    assert summary.failures[0].reason == "changed"
    assert scenario.files() == before
    scenario.assert_complete(scenario.download(update=True))


def test_fault_25_an_image_that_was_submitted_again_is_noticed_by_its_date(
    scenario: Scenario,
) -> None:
    scenario.download()
    series = scenario.series
    scenario.corpus.put(replace(_with_other_bytes(scenario, 2), submitted="2026-01-01"))
    (failure,) = scenario.download().failures
    assert failure.reason == "changed"
    assert f"until {series.submitted} are on disk, 2026-01-01 are listed" in failure.detail
    scenario.assert_complete(scenario.download(update=True))
    assert scenario.asked("getSingleImage") <= 1
    scenario.assert_complete(scenario.download())


def test_fault_24_a_receipt_with_a_wrong_size_is_repaired(scenario: Scenario) -> None:
    scenario.download()
    path = scenario.tree.receipts.path(scenario.series.uid)
    document = json.loads(path.read_bytes())
    document["images"][0]["size"] = 1
    path.write_text(json.dumps(document), encoding="utf-8")
    assert verify_directory(scenario.output).exit_code == 1
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 0
    assert verify_directory(scenario.output).exit_code == 0


def test_fault_20_a_destination_that_cannot_be_created_is_refused(scenario: Scenario) -> None:
    scenario.output = Path("/proc/nowhere")
    with pytest.raises(DestinationError, match="/proc/nowhere"):
        scenario.download()


@pytest.mark.parametrize("change", [lambda text: text[:-50], lambda text: text + "0" * 32])
def test_fault_24_a_changed_manifest_is_found_and_written_again(
    scenario: Scenario, change: Callable[[str], str]
) -> None:
    scenario.download()
    manifest = scenario.tree.root / "manifest-md5.txt"
    right = manifest.read_text("utf-8")
    assert verify_directory(scenario.output).damage == []
    manifest.write_text(change(right), "utf-8")
    (found,) = verify_directory(scenario.output).damage
    assert (found.file, found.reason.value, found.repairable) == (
        f"{NAME}/manifest-md5.txt",
        "changed",
        True,
    )
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert manifest.read_text("utf-8") == right
    assert verify_directory(scenario.output).damage == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_the_place_of_a_staging_folder_is_not_followed(
    scenario: Scenario,
) -> None:
    outside = scenario.folder / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    begun = scenario.tree.staging / scenario.series.uid
    begun.mkdir(parents=True)
    (begun / "run").symlink_to(outside)
    scenario.assert_complete(scenario.download())
    assert (outside / "mine.txt").exists()


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
