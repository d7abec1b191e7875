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
from tcia_covid.store.free_space import space_needed
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.tree import Tree
from tests.fakes.corpus import Corpus, DemoSeries
from tests.fakes.faults import Status
from tests.fakes.synthetic import ImageSpec, demo_image, synthetic_corpus, synthetic_image
from tests.fakes.zip_faults import LostImage
from tests.faults.trial import NAME, Trial
from tests.faults.trial import trial as new_trial


def _file(trial: Trial, number: int) -> Path:
    series = trial.series
    folder = trial.output / NAME / series.patient.id / series.study.uid / series.uid
    return folder / f"{series.images[number].uid}.dcm"


def test_fault_20_too_little_space_is_reported_before_the_start(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    _leave_free(monkeypatch, 1000)
    with pytest.raises(NoSpaceError, match=r"has 1.* free, the download needs") as caught:
        trial.download()
    assert caught.value.exit_code == 4
    assert trial.asked("getImage") == 0
    trial.assert_complete(trial.download(space_check=False))


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
def test_fault_20_an_error_in_reports_of_one_collection_does_not_stop_another_s(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusing: Callable[[pytest.MonkeyPatch], None],
) -> None:
    one, other = synthetic_corpus(NAME), synthetic_corpus("TWO", seed=1)
    assert NAME < "TWO", "the failing one comes first"
    refusing(monkeypatch)
    corpus = Corpus([*one.collections, *other.collections], [*one, *other])
    with new_trial(tmp_path, corpus) as trial:
        summary = trial.download(NAME, "TWO")
        assert isinstance(summary.error, DestinationError)
        assert summary.complete == len(corpus)
        assert not (trial.output / NAME / "manifest-md5.txt").exists()
        assert (trial.output / "TWO" / "manifest-md5.txt").exists()


def test_fault_20_a_repair_needs_space_for_missing_images_only(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.download()
    _file(trial, 0).unlink()
    _file(trial, 1).write_bytes(b"x" * _file(trial, 1).stat().st_size)
    verify_directory(trial.output)
    lacking = 2 * trial.series.images[0].size
    _leave_free(monkeypatch, space_needed(lacking) + lacking - 1)
    with pytest.raises(NoSpaceError, match="the download needs"):
        trial.download()
    _leave_free(monkeypatch, space_needed(lacking) + lacking)
    trial.assert_complete(trial.download())


def test_fault_20_partial_images_of_other_series_do_not_reduce_the_space_needed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial.add(LostImage(uid=trial.series.images[4].uid))
    trial.download(trial.series.uid)
    trial.heal()
    assert trial.tree.series_in_staging() == {trial.series.uid}
    other = trial.all_series[1]
    _leave_free(monkeypatch, space_needed(other.images[0].size) + other.images[0].size - 1)
    with pytest.raises(NoSpaceError, match="the download needs"):
        trial.download(other.uid)
    _leave_free(monkeypatch, space_needed(other.images[0].size) + other.images[0].size)
    assert trial.download(other.uid).exit_code == 0


def test_fault_20_a_disk_that_fills_up_ends_the_run_without_temporary_files(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
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
    summary = trial.download(jobs=2)
    assert summary.exit_code == 4
    assert isinstance(summary.error, NoSpaceError)
    assert not list(trial.output.rglob("*.part"))
    monkeypatch.undo()
    trial.assert_heals()


def test_fault_20_a_destination_that_is_a_file_is_refused(trial: Trial) -> None:
    trial.output.write_text("in the way")
    with pytest.raises(PermissionDeniedError, match="cannot write"):
        trial.download()


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_fault_20_a_read_only_destination_is_refused(trial: Trial) -> None:
    trial.output.mkdir(mode=0o500)
    with pytest.raises(DestinationError):
        trial.download()


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
    trial: Trial, harm: object, reason: str
) -> None:
    trial.download()
    harm(_file(trial, 2))  # type: ignore[operator]
    result = verify_directory(trial.output)
    assert result.exit_code == 1
    assert [(one.reason, one.file.endswith(_file(trial, 2).name)) for one in result.damage] == [
        (reason, True)
    ]
    trial.assert_complete(trial.download())
    assert trial.asked("getImage") == 0
    assert trial.asked("getSingleImage") == 1
    assert verify_directory(trial.output).exit_code == 0


def test_fault_24_a_deleted_file_is_noticed_by_download_alone(trial: Trial) -> None:
    trial.download()
    _file(trial, 1).unlink()
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 1


def test_fault_24_a_deleted_folder_is_fetched_again(trial: Trial) -> None:
    trial.download()
    folder = _file(trial, 1).parent
    for file in folder.iterdir():
        file.unlink()
    folder.rmdir()
    trial.assert_complete(trial.download())


def test_fault_24_a_lost_receipt_costs_no_download(trial: Trial) -> None:
    trial.download()
    trial.tree.receipts.path(trial.series.uid).unlink()
    trial.assert_complete(trial.download())
    assert trial.asked("getImage") == 0
    assert trial.asked("getSingleImage") == 0


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


def _lose_an_image(trial: Trial) -> dict[str, bool]:
    _file(trial, 2).unlink()
    return {}


def _damage_an_image(trial: Trial) -> dict[str, bool]:
    _alter(_file(trial, 2))
    assert verify_directory(trial.output).exit_code == 1
    return {}


def _lose_the_state(trial: Trial) -> dict[str, bool]:
    shutil.rmtree(trial.tree.state)
    return {}


def _lose_the_receipt_and_an_image(trial: Trial) -> dict[str, bool]:
    trial.tree.receipts.path(trial.series.uid).unlink()
    return _lose_an_image(trial)


def _change_in_the_archive(trial: Trial) -> dict[str, bool]:
    trial.corpus.put(_grown(trial))
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
    trial: Trial, happens: Callable[[Trial], dict[str, bool]]
) -> None:
    trial.download()
    folder = _file(trial, 1).parent
    _add_users_files(folder)
    assert trial.download().already_complete == len(trial.all_series)
    options = happens(trial)
    assert trial.download(**options).exit_code == 0
    _assert_users_files(folder)
    found = verify_directory(trial.output)
    assert (found.damage, found.exit_code) == ([], 0)
    assert {one.file.removeprefix(f"{NAME}/") for one in found.unexpected} == {
        (folder / name).relative_to(trial.output / NAME).as_posix()
        for name in ("notes.txt", "volume.nii", "segmentation.dcm")
    } | {f"{folder.relative_to(trial.output / NAME).as_posix()}/.{name}/" for name in HIDDEN}
    assert read_status(trial.output).collections[0].complete.series == len(trial.all_series)
    assert trial.download().already_complete == len(trial.all_series)
    assert not list(trial.tree.state.rglob("*.dcm"))


HIDDEN = ("ipynb_checkpoints", "viewer")


def test_fault_31_a_users_file_under_the_name_of_an_image_is_moved_aside_and_named(
    trial: Trial,
) -> None:
    trial.download()
    shutil.rmtree(trial.tree.state)
    changed = _file(trial, 2)
    _alter(changed)
    content = changed.read_bytes()
    summary = trial.download()
    assert summary.exit_code == 0
    moved = changed.with_name(f"{changed.name}.moved-aside")
    assert moved.read_bytes() == content
    (notice,) = [one for one in summary.notices if str(moved) in one]
    assert str(changed) in notice


def test_fault_31_a_file_in_the_place_of_a_folder_is_moved_aside_and_named(trial: Trial) -> None:
    folder = _file(trial, 0).parent.parent
    folder.parent.mkdir(parents=True)
    folder.write_text("mine")
    summary = trial.download()
    trial.assert_complete(summary)
    moved = folder.with_name(f"{folder.name}.moved-aside")
    assert moved.read_text() == "mine"
    assert [str(moved) in notice for notice in summary.notices] == [True]


def test_fault_32_links_to_the_right_bytes_are_intact_and_stay(
    trial: Trial, tmp_path: Path
) -> None:
    trial.download()
    annex = tmp_path / "annex"
    annex.mkdir()
    for number in (0, 1):
        file = _file(trial, number)
        file.rename(annex / file.name)
        file.symlink_to(os.path.relpath(annex / file.name, file.parent))
    assert verify_directory(trial.output).exit_code == 0
    assert trial.download().already_complete == len(trial.all_series)
    _file(trial, 2).unlink()
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 1
    assert [_file(trial, number).is_symlink() for number in range(3)] == [True, True, False]
    target = annex / _file(trial, 0).name
    damaged = target.read_bytes()[:-1] + b"?"
    target.write_bytes(damaged)
    assert verify_directory(trial.output).exit_code == 1
    trial.assert_complete(trial.download())
    assert not _file(trial, 0).is_symlink(), "the link is replaced, not its target"
    assert target.read_bytes() == damaged
    assert _file(trial, 1).is_symlink()
    assert not [path for path in trial.tree.quarantine.rglob("*") if path.is_symlink()]


def test_fault_33_no_series_folder_is_inside_another(trial: Trial) -> None:
    outer, inner = "{patient}-{series_tail}", "{patient}-{series_tail}/{series}"
    for first, second in ((outer, inner), (inner, outer)):
        trial.download(trial.series.uid, layout=first)
        states = [trial.download(layout=second) for _ in range(3)]
        assert [(one.exit_code, one.complete) for one in states] == [(0, len(trial.all_series))] * 3
        assert states[1].already_complete == len(trial.all_series)
        folders = [Path(receipt.folder) for receipt in trial.tree.receipts.all()]
        assert len(folders) == len(trial.all_series)
        assert not [(a, b) for a in folders for b in folders if a in b.parents]
        assert verify_directory(trial.output).exit_code == 0
        assert not trial.tree.quarantine.exists()
        shutil.rmtree(trial.output)


def test_fault_33_a_receipt_whose_folder_is_above_another_s_is_given_its_own(
    trial: Trial,
) -> None:
    trial.download()
    path = trial.tree.receipts.path(trial.series.uid)
    document = json.loads(path.read_bytes())
    document["folder"] = document["folder"].rpartition("/")[0].rpartition("/")[0]
    path.write_text(json.dumps(document), encoding="utf-8")
    before = trial.files()
    trial.assert_complete(trial.download())
    assert trial.files() == before
    assert trial.asked("getImage") == 0
    assert trial.download().already_complete == len(trial.all_series)
    assert verify_directory(trial.output).exit_code == 0


def test_fault_33_the_summary_counts_what_is_in_place_at_the_end(trial: Trial) -> None:
    removed = []

    def remove_the_first(event: Event) -> None:
        if isinstance(event, SeriesFinished) and event.outcome.receipt and not removed:
            removed.append(event.outcome.series.uid)
            shutil.rmtree(trial.tree.path(event.outcome.receipt))

    summary = trial.download(jobs=1, on_event=remove_the_first)
    assert (summary.exit_code, summary.complete) == (1, len(trial.all_series) - 1)
    assert [(one.series, one.reason) for one in summary.failures] == [(removed[0], "missing")]
    trial.assert_complete(trial.download())


def test_partial_and_bad_images_have_no_name_that_ends_as_an_image_s(trial: Trial) -> None:
    trial.add(LostImage(uid=trial.series.images[4].uid))
    trial.download(trial.series.uid)
    assert trial.tree.series_in_staging() == {trial.series.uid}
    assert not list(trial.output.rglob("*.dcm"))


def test_images_that_an_earlier_version_left_in_staging_are_taken_over(trial: Trial) -> None:
    trial.add(LostImage(uid=trial.series.images[4].uid))
    trial.download(trial.series.uid)
    staged = list(trial.tree.staging.rglob("*.dcm.staged"))
    for file in staged:
        file.rename(file.with_suffix(""))
    trial.heal()
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 1
    assert len(staged) == len(trial.series.images) - 1


def test_fault_24_nothing_to_do_is_one_request(trial: Trial) -> None:
    registry = trial.registry(series=2)
    trial.download(registry=(registry,))
    trial.assert_complete(trial.download(registry=(registry,)))
    assert [one.endpoint for one in trial.server.requests] == ["getSeries"]


def _grown(trial: Trial) -> DemoSeries:
    """The first series with one image more."""
    other = synthetic_corpus(
        NAME, patients=1, series_per_patient=1, images_per_series=7, rows=256, columns=256
    )
    new = max(other, key=lambda one: len(one.images))
    images = (*trial.series.images, new.images[6])
    return replace(trial.series, images=images)


def test_fault_25_a_changed_series_is_reported_and_the_old_version_stays(trial: Trial) -> None:
    trial.download()
    before = trial.files()
    old = trial.series
    trial.corpus.put(replace(old, images=old.images[:5]))
    summary = trial.download()
    assert summary.exit_code == 1
    assert summary.failures[0].reason == "changed"
    assert "--update" in summary.failures[0].hint
    assert trial.files() == before


def test_fault_25_update_fetches_what_changed(trial: Trial) -> None:
    trial.download()
    trial.corpus.put(replace(trial.series, images=trial.series.images[:5]))
    trial.assert_complete(trial.download(update=True))
    assert trial.asked("getImage") == 0


def _with_other_bytes(trial: Trial, *numbers: int) -> DemoSeries:
    """The first series with other pixels in some images, of the same size and date."""
    series = trial.series
    images = list(series.images)
    for number in numbers:
        spec = ImageSpec(
            images[number].uid, series.uid, series.study.uid, series.patient.id, "CT", number + 1,
            "CT 1", 256, 256, seed=99,
        )  # fmt: skip
        assert demo_image(spec).size == images[number].size
        images[number] = demo_image(spec)
    return replace(series, images=tuple(images))


def _verify_online(trial: Trial) -> VerifyResult:
    client = Client(trial.settings)
    try:
        return verify_directory(trial.output, archive=NbiaArchive(client, trial.url))
    finally:
        client.close()


def test_fault_25_a_change_that_only_the_hash_shows_is_noted_by_verify_and_then_updated(
    trial: Trial,
) -> None:
    trial.download()
    trial.corpus.put(_with_other_bytes(trial, 2))
    assert trial.download().exit_code == 0, "lists say nothing of it"
    assert _verify_online(trial).exit_code == 1
    (failure,) = trial.download().failures
    assert (failure.reason, "MD5 over its images differs" in failure.detail) == ("changed", True)
    trial.assert_complete(trial.download(update=True))
    assert trial.asked("getSingleImage") == 1
    assert _verify_online(trial).exit_code == 0
    trial.assert_complete(trial.download())


def test_fault_25_a_hash_that_is_right_again_ends_the_note(trial: Trial) -> None:
    trial.download()
    before = trial.series
    trial.corpus.put(_with_other_bytes(trial, 2))
    _verify_online(trial)
    trial.corpus.put(before)
    assert _verify_online(trial).exit_code == 0
    trial.assert_complete(trial.download())


def test_fault_25_a_repair_does_not_mix_versions(
    trial: Trial,
) -> None:
    trial.download()
    trial.corpus.put(_with_other_bytes(trial, 1, 2))
    _file(trial, 2).unlink()
    for _ in range(2):
        (failure,) = trial.download().failures
        assert failure.reason == "changed"
        assert "--update" in failure.hint
    trial.assert_complete(trial.download(update=True))


def test_fault_25_a_repair_may_get_the_current_version_if_all_other_images_are_of_it(
    trial: Trial,
) -> None:
    trial.download()
    trial.corpus.put(_with_other_bytes(trial, 2))
    _file(trial, 2).unlink()
    trial.assert_complete(trial.download())


def test_fault_25_an_update_that_fails_leaves_the_old_version(trial: Trial) -> None:
    trial.download()
    before = trial.files()
    fewer = replace(trial.series, images=trial.series.images[:5])
    trial.corpus.put(fewer)
    trial.add(Status(("getSOPInstanceUIDs", "getImage", "getSingleImage"), code=500, times=None))
    summary = trial.download(update=True)
    assert summary.exit_code != 0
    assert trial.files() == before
    trial.heal()
    trial.assert_complete(trial.download(update=True))


ODD = ["A/B", "A\\B", "..", "CON", "name with spaces", "Müller^Jürgen", "名前", "a", "A", "x" * 64]


def test_fault_28_odd_patient_ids_get_safe_and_distinct_folders(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=ODD, series_per_patient=1, images_per_series=1)
    with new_trial(tmp_path, corpus) as odd:
        summary = odd.download()
        assert summary.exit_code == 0
        root = odd.output / NAME
        folders = [path.name for path in root.iterdir() if path.is_dir() and path.name[0] != "."]
        assert len({name.casefold() for name in folders}) == len(ODD)
        assert all(name.isascii() for name in folders)
        text = (root / "metadata.csv").read_text(encoding="utf-8")
        assert all(patient in text for patient in ODD)


def test_fault_25_an_interrupted_update_is_still_reported_without_update(trial: Trial) -> None:
    trial.download()
    before = trial.files()
    trial.corpus.put(_grown(trial))
    trial.add(Status("getSingleImage", code=503, times=None))
    trial.download(update=True)
    assert trial.tree.series_in_staging() == {trial.series.uid}
    trial.heal()
    summary = trial.download()
    assert summary.failures[0].reason == "changed"
    assert trial.files() == before
    trial.assert_complete(trial.download(update=True))


def test_fault_25_an_image_that_was_submitted_again_is_noticed_by_its_date(trial: Trial) -> None:
    trial.download()
    series = trial.series
    trial.corpus.put(replace(_with_other_bytes(trial, 2), submitted="2026-01-01"))
    (failure,) = trial.download().failures
    assert failure.reason == "changed"
    assert f"until {series.submitted} are on disk, 2026-01-01 are listed" in failure.detail
    trial.assert_complete(trial.download(update=True))
    assert trial.asked("getSingleImage") <= 1
    trial.assert_complete(trial.download())


def test_fault_24_a_receipt_with_a_wrong_size_is_repaired(trial: Trial) -> None:
    trial.download()
    path = trial.tree.receipts.path(trial.series.uid)
    document = json.loads(path.read_bytes())
    document["images"][0]["size"] = 1
    path.write_text(json.dumps(document), encoding="utf-8")
    assert verify_directory(trial.output).exit_code == 1
    trial.assert_complete(trial.download())
    assert trial.asked("getSingleImage") == 0
    assert verify_directory(trial.output).exit_code == 0


def test_fault_20_a_destination_that_cannot_be_made_is_refused(trial: Trial) -> None:
    trial.output = Path("/proc/nowhere")
    with pytest.raises(DestinationError, match="/proc/nowhere"):
        trial.download()


@pytest.mark.parametrize("change", [lambda text: text[:-50], lambda text: text + "0" * 32])
def test_fault_24_a_changed_manifest_is_found_and_written_again(
    trial: Trial, change: Callable[[str], str]
) -> None:
    trial.download()
    manifest = trial.tree.root / "manifest-md5.txt"
    right = manifest.read_text("utf-8")
    assert verify_directory(trial.output).damage == []
    manifest.write_text(change(right), "utf-8")
    (found,) = verify_directory(trial.output).damage
    assert (found.file, found.reason.value, found.repairable) == (
        f"{NAME}/manifest-md5.txt",
        "changed",
        True,
    )
    trial.assert_complete(trial.download())
    assert trial.asked("getImage") == 0
    assert manifest.read_text("utf-8") == right
    assert verify_directory(trial.output).damage == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_link_in_the_place_of_a_staging_folder_is_not_followed(
    trial: Trial,
) -> None:
    outside = trial.folder / "outside"
    outside.mkdir()
    (outside / "mine.txt").write_text("mine")
    begun = trial.tree.staging / trial.series.uid
    begun.mkdir(parents=True)
    (begun / "run").symlink_to(outside)
    trial.assert_complete(trial.download())
    assert (outside / "mine.txt").exists()


@pytest.mark.parametrize("what", ["receipt", "lock", "staging"])
def test_fault_20_what_is_in_the_way_is_named(trial: Trial, what: str) -> None:
    uid = trial.series.uid
    places = {
        "receipt": trial.tree.receipts.path(uid),
        "lock": trial.tree.state / "locks" / f"{uid}.lock",
        "staging": trial.tree.staging / uid,
    }
    place = places[what]
    if what == "staging":
        place.parent.mkdir(parents=True)
        place.write_bytes(b"")
    else:
        place.mkdir(parents=True)
    with pytest.raises(DestinationError, match="cannot write to") as caught:
        raise trial.download().error or AssertionError
    assert str(place) in caught.value.message
    assert "move away" in caught.value.hint
    place.rmdir() if place.is_dir() else place.unlink()
    trial.assert_heals()
