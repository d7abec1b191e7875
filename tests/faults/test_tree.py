"""Rows 24, 28 and 31 to 33: files that are damaged later, files of users, and names of folders."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tcia_covid.core.events import Event, SeriesFinished
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tests.fakes.synthetic import ImageSpec, synthetic_corpus, synthetic_image
from tests.fakes.zip_faults import LostImage
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario


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
    harm(scenario.image_file(2))  # type: ignore[operator]
    result = verify_directory(scenario.output)
    assert result.exit_code == 1
    assert [
        (damaged.reason, damaged.file.endswith(scenario.image_file(2).name))
        for damaged in result.damage
    ] == [(reason, True)]
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getImage") == 0
    assert scenario.asked("getSingleImage") == 1
    assert verify_directory(scenario.output).exit_code == 0


def test_fault_24_a_download_detects_a_deleted_file_without_verify(scenario: Scenario) -> None:
    scenario.download()
    scenario.image_file(1).unlink()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1


def test_fault_24_a_deleted_folder_is_fetched_again(scenario: Scenario) -> None:
    scenario.download()
    folder = scenario.image_file(1).parent
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
    scenario.image_file(2).unlink()
    return {}


def _damage_an_image(scenario: Scenario) -> dict[str, bool]:
    _alter(scenario.image_file(2))
    assert verify_directory(scenario.output).exit_code == 1
    return {}


def _lose_the_state(scenario: Scenario) -> dict[str, bool]:
    shutil.rmtree(scenario.tree.state)
    return {}


def _lose_the_receipt_and_an_image(scenario: Scenario) -> dict[str, bool]:
    scenario.tree.receipts.path(scenario.series.uid).unlink()
    return _lose_an_image(scenario)


def _change_in_the_archive(scenario: Scenario) -> dict[str, bool]:
    scenario.corpus.put(scenario.series_with_one_image_more())
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
    folder = scenario.image_file(1).parent
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
    changed = scenario.image_file(2)
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
    folder = scenario.image_file(0).parent.parent
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
        file = scenario.image_file(number)
        file.rename(annex / file.name)
        file.symlink_to(os.path.relpath(annex / file.name, file.parent))
    assert verify_directory(scenario.output).exit_code == 0
    assert scenario.download().already_complete == len(scenario.all_series)
    scenario.image_file(2).unlink()
    scenario.assert_complete(scenario.download())
    assert scenario.asked("getSingleImage") == 1
    assert [scenario.image_file(number).is_symlink() for number in range(3)] == [True, True, False]
    target = annex / scenario.image_file(0).name
    damaged = target.read_bytes()[:-1] + b"?"
    target.write_bytes(damaged)
    assert verify_directory(scenario.output).exit_code == 1
    scenario.assert_complete(scenario.download())
    assert not scenario.image_file(0).is_symlink(), "the link is replaced, not its target"
    assert target.read_bytes() == damaged
    assert scenario.image_file(1).is_symlink()
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
