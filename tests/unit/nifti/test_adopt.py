from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    InterruptedRunError,
    NoSpaceError,
    RequestError,
    UsageError,
)
from tcia_covid.core.events import BytesStored, Event, SeriesFinished
from tcia_covid.core.models import Check, State
from tcia_covid.nifti.adopt import VolumeAdoption, adopt_volumes, install_volumes
from tcia_covid.nifti.scan import find_volumes
from tcia_covid.nifti.tree import Inventory, VolumeTree
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk, StrPath
from tcia_covid.store.locks import Lock
from tests.fakes import nifti as fake

ONE, TWO, EARLY, LATE = fake.whole()
SUBJECT = "volume-covid19-A-0700"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return fake.write(tmp_path / "have", {f"some/{k}": v for k, v in fake.whole().items()})


def adopt(source: Path, tmp_path: Path, *, jobs: int = 2, **how: object) -> VolumeAdoption:
    return adopt_volumes(
        source,
        tmp_path / "data",
        fake.collection(),
        Registry(),
        durable=False,
        jobs=jobs,
        **how,  # type: ignore[arg-type]
    )


def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / fake.NAME


def volumes_in(tmp_path: Path) -> dict[str, bytes]:
    """The volumes of the layout."""
    return {
        file.relative_to(root(tmp_path)).as_posix(): file.read_bytes()
        for file in sorted(root(tmp_path).rglob("*.nii.gz"))
        if ".tcia-covid" not in file.parts
    }


def intact(tmp_path: Path) -> bool:
    """Whether `verify` finds every volume as its receipt says, next to any other files."""
    found = verify_directory(tmp_path / "data")
    return found.images.damaged == 0 and not found.damage


WHOLE = {
    f"0001/{ONE}": fake.whole()[ONE],
    f"0002/{TWO}": fake.whole()[TWO],
    f"0700/{EARLY}": fake.whole()[EARLY],
    f"0700/{LATE}": fake.whole()[LATE],
}


def test_volumes_are_adopted_into_one_folder_per_patient(source: Path, tmp_path: Path) -> None:
    events: list[Event] = []
    result = adopt(source, tmp_path, emit=events.append)
    assert volumes_in(tmp_path) == WHOLE
    assert (result.patients.adopted, result.volumes.adopted) == (3, 4)
    assert result.size == sum(map(len, WHOLE.values()))
    assert result.placed == {"link": 4}
    assert result.inventory == Inventory(3, 4, result.size, 3, 4)
    assert result.inventory.is_complete
    ended = [event.outcome for event in events if isinstance(event, SeriesFinished)]
    assert [outcome.state for outcome in ended] == [State.COMPLETE] * 3
    read = sum(event.count for event in events if isinstance(event, BytesStored))
    assert read == result.size == sum(outcome.series.size or 0 for outcome in ended)


def test_receipts_record_volumes_and_their_checks(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    tree = VolumeTree(tmp_path / "data", fake.collection())
    receipt = tree.complete_receipts()[SUBJECT]
    series = receipt.series
    assert (series.patient, series.collection, series.modality) == ("0700", fake.NAME, "CT")
    assert (series.image_count, series.size) == (2, receipt.size)
    assert series.license == "CC BY 4.0"
    assert [image.file for image in receipt.images] == [EARLY, LATE]
    assert {(image.check, image.source) for image in receipt.images} == {(Check.SIZE, "adopted")}
    assert receipt.images[0].md5 == hashlib.md5(fake.whole()[EARLY]).hexdigest()


def test_report_files_are_written_as_for_dicom(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    checked = subprocess.run(
        ["md5sum", "-c", "manifest-md5.txt"], cwd=root(tmp_path), capture_output=True, check=True
    )
    assert checked.stdout.count(b": OK") == 4
    rows = (root(tmp_path) / "metadata.csv").read_text().splitlines()
    assert len(rows) == 4
    assert f"{SUBJECT},{fake.NAME},NO" in rows[3]
    assert "CC BY 4.0" in (root(tmp_path) / "LICENSE.txt").read_text()


def test_verify_and_status_treat_volumes_as_images(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    result = verify_directory(tmp_path / "data", deep=True)
    assert (result.exit_code, result.series.intact, result.images.intact) == (0, 3, 4)
    registry = load_registry()
    (found,) = read_status(tmp_path / "data", registry).collections
    assert (found.name, found.complete.series, found.complete.images) == (fake.NAME, 3, 4)
    assert found.expected is not None
    assert (found.expected.series, found.expected.images) == (661, 771)


@pytest.mark.parametrize("mode", ["link", "copy", "move"])
def test_originals_are_unchanged_unless_moved(source: Path, tmp_path: Path, mode: str) -> None:
    result = adopt(source, tmp_path, mode=mode)
    assert volumes_in(tmp_path) == WHOLE
    originals = list(source.rglob("*.nii.gz"))
    assert len(originals) == (0 if mode == "move" else 4)
    if mode == "copy":
        assert result.placed.keys() <= {"copy", "reflink"}
        assert all(file.stat().st_nlink == 1 for file in root(tmp_path).rglob("*.nii.gz"))
    if mode == "link":
        assert all(file.stat().st_nlink == 2 for file in originals)


class _NoLinks(Disk):
    """A file system without second names."""

    def link(self, source: Path, target: Path) -> None:
        raise OSError(95, "not supported")


class _Elsewhere(_NoLinks):
    """Another file system."""

    def replace(self, source: Path, target: Path) -> None:
        if "have" in source.parts:
            raise OSError(18, "cross-device link")
        super().replace(source, target)


@pytest.mark.parametrize(
    ("disk", "mode", "methods"),
    [
        (_NoLinks, "move", {"copy", "reflink"}),
        (_NoLinks, "take", {"rename"}),
        (_Elsewhere, "move", {"copy", "reflink"}),
        (_Elsewhere, "link", {"copy", "reflink"}),
    ],
)
def test_without_links_files_are_renamed_or_copied(
    source: Path, tmp_path: Path, disk: type[Disk], mode: str, methods: set[str]
) -> None:
    tree = VolumeTree(tmp_path / "data", fake.collection(), disk(durable=False))
    tree.prepare()
    result = install_volumes(find_volumes(source, tree.pattern), tree, mode=mode)
    assert volumes_in(tmp_path) == WHOLE
    assert result.placed.keys() <= methods
    assert len(list(source.rglob("*.nii.gz"))) == (4 if mode == "link" else 0)


def test_adopting_the_same_files_again_changes_nothing(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    before = {file: file.stat().st_mtime_ns for file in root(tmp_path).rglob("*")}
    result = adopt(source, tmp_path)
    assert (
        result.patients.adopted,
        result.patients.already_complete,
        result.volumes.already_complete,
    ) == (0, 3, 4)
    assert {file: file.stat().st_mtime_ns for file in root(tmp_path).rglob("*")} == {
        **before,
        **{
            file: file.stat().st_mtime_ns
            for file in before
            if ".tcia-covid" in file.parts and not file.name.endswith(".json")
        },
    }


def test_further_volumes_of_a_patient_are_added(tmp_path: Path) -> None:
    files = fake.whole()
    adopt(fake.write(tmp_path / "a", {EARLY: files[EARLY]}), tmp_path)
    adopt(fake.write(tmp_path / "b", {LATE: files[LATE]}), tmp_path)
    assert volumes_in(tmp_path) == {f"0700/{name}": files[name] for name in (EARLY, LATE)}
    assert verify_directory(root(tmp_path)).exit_code == 0
    assert not list((root(tmp_path) / ".tcia-covid" / "staging").iterdir())


def test_hashes_of_a_sums_file_verify_volumes(source: Path, tmp_path: Path) -> None:
    listed = {**fake.whole(), fake.name(3): b"not here"}
    (source / "CT.sums").write_bytes(fake.sums(listed))
    result = adopt(source, tmp_path)
    assert result.volumes.verified == 4
    assert result.missing == [fake.name(3)]
    tree = VolumeTree(tmp_path / "data", fake.collection())
    assert all(receipt.check is Check.MD5 for receipt in tree.complete_receipts().values())


def test_a_volume_that_differs_from_its_published_hash_is_refused(
    source: Path, tmp_path: Path
) -> None:
    (source / "CT.sums").write_bytes(fake.sums({ONE: fake.volume(99)}))
    result = adopt(source, tmp_path)
    assert f"0001/{ONE}" not in volumes_in(tmp_path)
    (rejected,) = result.rejected
    assert (rejected.file, rejected.reason) == (f"some/{ONE}", "damaged")
    assert ".sums" in rejected.detail
    assert result.lost == [ONE]


def test_damaged_foreign_and_unfinished_files_are_named(source: Path, tmp_path: Path) -> None:
    content = fake.whole()
    fake.write(
        source,
        {
            f"some/{ONE}": content[ONE][:-3],
            f"some/{TWO}": b"<html>",
            "some/readme.txt": b"hello",
            "some/.DS_Store": b"x",
            f"some/{EARLY[:-3]}": b"unpacked",
            "some/volume.nii.gz.aspx": b"x",
        },
    )
    (source / "link.nii.gz").symlink_to(source / "some" / LATE)
    result = adopt(source, tmp_path)
    assert {(file.file, file.reason) for file in result.rejected} == {
        (f"some/{ONE}", "damaged"),
        (f"some/{TWO}", "foreign"),
        ("some/readme.txt", "foreign"),
        (f"some/{EARLY[:-3]}", "foreign"),
        ("some/volume.nii.gz.aspx", "unfinished"),
        ("link.nii.gz", "foreign"),
    }
    assert list(volumes_in(tmp_path)) == [f"0700/{EARLY}", f"0700/{LATE}"]
    assert sorted(result.lost) == sorted([ONE, TWO])
    (failed,) = {
        failure.detail
        for failure in read_status(root(tmp_path)).collections[0].failed
        if ONE in failure.detail
    }
    assert "no intact file" in failed


def test_a_second_file_of_the_same_bytes_is_a_duplicate(source: Path, tmp_path: Path) -> None:
    fake.write(source / "again", {ONE: fake.whole()[ONE]})
    result = adopt(source, tmp_path, mode="move")
    assert volumes_in(tmp_path) == WHOLE
    (duplicate,) = result.of("duplicate")
    assert (source / duplicate.file).exists()


def test_of_two_versions_none_is_adopted_unless_a_hash_decides(
    source: Path, tmp_path: Path
) -> None:
    fake.write(source / "other", {ONE: fake.volume(99)})
    result = adopt(source, tmp_path)
    assert len(result.of("conflict")) == 2
    assert f"0001/{ONE}" not in volumes_in(tmp_path)
    (source / "CT.sums").write_bytes(fake.sums({ONE: fake.whole()[ONE]}))
    result = adopt(source, tmp_path)
    assert volumes_in(tmp_path) == WHOLE
    assert [file.file for file in result.of("damaged")] == [f"other/{ONE}"]
    assert not result.lost


def test_another_version_does_not_replace_an_installed_volume(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    result = adopt(fake.write(tmp_path / "new", {ONE: fake.volume(99)}), tmp_path)
    assert volumes_in(tmp_path) == WHOLE
    (rejected,) = result.of("conflict")
    assert "another version" in rejected.detail
    assert (result.exit_code, result.lost) == (1, [])


def test_installed_volumes_are_compared_with_published_hashes(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path, mode="copy")
    published = fake.sums({EARLY: fake.whole()[EARLY], LATE: fake.volume(99)})
    sums = fake.write(tmp_path / "sums", {"CT.sums": published, ONE: fake.whole()[ONE]})
    result = adopt(sums, tmp_path)
    assert (result.mismatched, result.missing, result.exit_code) == ([LATE], [], 1)
    tree = VolumeTree(tmp_path / "data", fake.collection())
    assert SUBJECT not in tree.complete_receipts()
    stored = tree.receipts.read(SUBJECT)
    assert stored is not None
    assert [image.check for image in stored.receipt.images] == [Check.MD5, Check.SIZE]
    repaired = adopt(fake.write(sums, {LATE: fake.volume(99)}), tmp_path)
    assert (repaired.mismatched, repaired.exit_code) == ([], 0)
    assert volumes_in(tmp_path)[f"0700/{LATE}"] == fake.volume(99)
    aside = tree.quarantine / "0700" / f"{LATE}.bad"
    assert aside.read_bytes() == fake.whole()[LATE]


def test_a_damaged_copy_of_an_installed_volume_changes_nothing(
    source: Path, tmp_path: Path
) -> None:
    adopt(source, tmp_path)
    result = adopt(fake.write(tmp_path / "bad", {ONE: fake.whole()[ONE][:200]}), tmp_path)
    assert (result.lost, [file.reason for file in result.rejected]) == ([], ["damaged"])
    assert result.exit_code == 1
    assert read_status(tmp_path / "data").collections[0].failed == []


def test_more_volumes_than_in_the_registry_are_reported(source: Path, tmp_path: Path) -> None:
    fake.write(source, {fake.name(700, "_day099"): fake.volume(5)})
    result = adopt(source, tmp_path)
    assert "5 volumes of 3 patients are installed" in result.inventory.compared()
    assert result.exit_code == 1


@pytest.mark.parametrize("below", ["", fake.NAME, f"{fake.NAME}/0700"])
def test_volumes_are_not_moved_out_of_a_tree_of_this_program(
    source: Path, tmp_path: Path, below: str
) -> None:
    adopt(source, tmp_path)
    old = (tmp_path / "data").rename(tmp_path / "old")
    with pytest.raises(UsageError, match="receipts"):
        adopt(old / below, tmp_path, mode="move")
    assert verify_directory(old).exit_code == 0
    assert adopt(old / below, tmp_path, mode="link").exit_code == 0


def test_moving_again_removes_originals_of_installed_volumes(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path, mode="copy")
    (root(tmp_path) / "0001" / ONE).write_bytes(b"x" * len(fake.whole()[ONE]))
    result = adopt(source, tmp_path, mode="move")
    assert [file.name for file in source.rglob("*.nii.gz")] == [ONE]
    assert (result.volumes.already_complete, result.not_removed) == (4, 1)


def test_volumes_that_a_dead_run_left_are_shown_as_in_progress(tmp_path: Path) -> None:
    tree = VolumeTree(tmp_path / "data", fake.collection(), Disk(durable=False))
    tree.prepare()
    fake.write(tree.staging / SUBJECT / "host-1-dead", {EARLY: b"1234", ".1.part": b"1"})
    (partial,) = read_status(tmp_path / "data").collections[0].partial
    assert (partial.series, partial.images, partial.size) == (SUBJECT, 1, 4)
    assert sum(tree.staged_sizes(SUBJECT)) == 4


@pytest.mark.parametrize("how", ["changed", "deleted", "cut"])
def test_a_damaged_volume_is_repaired_from_an_intact_one(
    source: Path, tmp_path: Path, how: str
) -> None:
    adopt(source, tmp_path, mode="copy")
    damaged_file = root(tmp_path) / "0700" / LATE
    if how == "deleted":
        damaged_file.unlink()
    else:
        damaged_file.write_bytes(b"x" * len(fake.whole()[LATE]) if how == "changed" else b"x")
    found = verify_directory(tmp_path / "data")
    assert [file.file for file in found.damage] == [f"{fake.NAME}/0700/{LATE}"]
    result = adopt(fake.write(tmp_path / "single", {LATE: fake.whole()[LATE]}), tmp_path)
    assert result.patients.adopted == 1
    assert volumes_in(tmp_path) == WHOLE
    assert intact(tmp_path)


def test_a_damaged_patient_is_unchanged_until_all_volumes_are_available(
    source: Path, tmp_path: Path
) -> None:
    adopt(source, tmp_path, mode="copy")
    (root(tmp_path) / "0700" / LATE).unlink()
    result = adopt(fake.write(tmp_path / "single", {EARLY: fake.whole()[EARLY]}), tmp_path)
    (failure,) = result.failures
    assert (failure.series, failure.reason, failure.missing) == (SUBJECT, "incomplete", (LATE,))
    assert (root(tmp_path) / "0700" / EARLY).exists()


def test_a_patient_without_a_receipt_is_read_again(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path, mode="copy")
    (root(tmp_path) / ".tcia-covid" / "series" / f"{SUBJECT}.json").unlink()
    result = adopt(source, tmp_path)
    assert result.patients.adopted == 1
    assert volumes_in(tmp_path) == WHOLE


def test_volumes_that_a_dead_run_left_in_staging_are_verified_again(
    source: Path, tmp_path: Path
) -> None:
    tree = VolumeTree(tmp_path / "data", fake.collection(), Disk(durable=False))
    tree.prepare()
    dead = tree.staging / SUBJECT / "host-1-dead"
    fake.write(dead, {EARLY: fake.whole()[EARLY][:-1], LATE: fake.whole()[LATE]})
    adopt(source, tmp_path)
    assert volumes_in(tmp_path) == WHOLE
    assert not tree.series_in_staging()
    assert not tree.quarantine.exists()


def test_a_patient_that_another_run_locked_is_skipped(source: Path, tmp_path: Path) -> None:
    tree = VolumeTree(tmp_path / "data", fake.collection(), Disk(durable=False))
    tree.prepare()
    with Lock(tree.state / "locks" / f"{SUBJECT}.lock", "it"):
        result = adopt(source, tmp_path)
    (failure,) = result.failures
    assert (failure.series, failure.reason) == (SUBJECT, "locked")
    assert result.patients.adopted == 2


def test_a_stopped_run_keeps_complete_patients(source: Path, tmp_path: Path) -> None:
    stop = CancelToken()

    def emit(event: Event) -> None:
        if isinstance(event, SeriesFinished):
            stop.set()

    with contextlib.suppress(InterruptedRunError):  # not if the last volume was in place already
        adopt(source, tmp_path, stop=stop, emit=emit)
    before_interrupt = volumes_in(tmp_path)
    assert before_interrupt
    assert before_interrupt.items() <= WHOLE.items()
    adopt(source, tmp_path)
    assert volumes_in(tmp_path) == WHOLE


class _Full(Disk):
    """A disk that is full once the second volume is to be synced."""

    synced = 0

    def sync_file(self, path: StrPath) -> None:
        if str(path).endswith(".nii.gz"):
            self.synced += 1
            if self.synced > 1:
                raise OSError(28, "No space left on device")


def test_a_full_disk_ends_the_run(source: Path, tmp_path: Path) -> None:
    tree = VolumeTree(tmp_path / "data", fake.collection(), _Full())
    tree.prepare()
    with pytest.raises(NoSpaceError):
        install_volumes(find_volumes(source, tree.pattern), tree, jobs=1)
    assert len(volumes_in(tmp_path)) == 1


def test_fault_34_moving_again_from_an_emptied_folder_succeeds(
    source: Path, tmp_path: Path
) -> None:
    """As after a kill that came when the last original was gone."""
    assert adopt(source, tmp_path, mode="move").volumes.adopted == 4
    VolumeTree(tmp_path / "data", fake.collection()).invalidate_reports()
    again = adopt(source, tmp_path, mode="move")
    assert (again.exit_code, again.volumes.found) == (0, 0)
    assert volumes_in(tmp_path) == WHOLE
    assert read_status(tmp_path / "data").collections[0].outdated_reports == []


def test_fault_34_an_interrupted_adoption_of_volumes_writes_the_reports(
    source: Path, tmp_path: Path
) -> None:
    stop = CancelToken()

    def listen(event: Event) -> None:
        if isinstance(event, SeriesFinished):
            stop.set(InterruptedRunError())

    with pytest.raises(InterruptedRunError):
        adopt(source, tmp_path, emit=listen, stop=stop, jobs=1)
    lines = (root(tmp_path) / "manifest-md5.txt").read_text("utf-8").splitlines()
    assert sorted(line[34:] for line in lines) == sorted(volumes_in(tmp_path))
    assert read_status(tmp_path / "data").collections[0].outdated_reports == []


def test_folders_that_cannot_be_adopted_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="there is no folder"):
        adopt(tmp_path / "nothing", tmp_path)
    with pytest.raises(RequestError, match="no volume of CT Images"):
        adopt(fake.write(tmp_path / "empty", {"a.txt": b"x"}), tmp_path)
    assert not root(tmp_path).exists()
    adopt(source, tmp_path)
    with pytest.raises(RequestError, match="own folder"):
        adopt(root(tmp_path) / "0001", tmp_path)


def test_the_output_inside_the_scanned_folder_is_skipped(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path, mode="move")
    with pytest.raises(RequestError, match="no volume"):
        adopt(tmp_path / "data", tmp_path)
    assert volumes_in(tmp_path) == WHOLE


def test_counts_are_compared_with_the_registry(tmp_path: Path) -> None:
    source = fake.write(tmp_path / "half", {ONE: fake.whole()[ONE]})
    inventory = adopt(source, tmp_path).inventory
    assert inventory is not None
    assert not inventory.is_complete
    assert inventory.compared() == "1 of 4 volumes of 1 of 3 patients are installed"


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="this user may read everything"
)
def test_an_unreadable_file_is_named(source: Path, tmp_path: Path) -> None:
    (source / "some" / ONE).chmod(0)
    assert [file.file for file in adopt(source, tmp_path).of("unreadable")] == [f"some/{ONE}"]


def test_a_read_only_file_is_copied_because_it_cannot_be_synced(tmp_path: Path) -> None:
    source = fake.write(tmp_path / "have", {ONE: fake.whole()[ONE]})
    (source / ONE).chmod(0o444)
    adopt(source, tmp_path)
    assert len(volumes_in(tmp_path)) == 1


class _Changing(_NoLinks):
    """Another program writes to a volume after it was read, and before it is copied."""

    def __init__(self, file: Path, *, same_time: bool) -> None:
        super().__init__(durable=False)
        self.file = file
        self.same_time = same_time

    def make_folder(self, path: Path) -> bool:
        is_new = super().make_folder(path)
        if path.parent.name == ONE.removesuffix(".nii.gz"):
            before = self.file.stat()
            content = self.file.read_bytes()
            self.file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
            if self.same_time:
                os.utime(self.file, ns=(before.st_atime_ns, before.st_mtime_ns))
        return is_new


@pytest.mark.parametrize("same_time", [False, True])
def test_a_file_that_changes_after_it_was_read_is_not_adopted(
    source: Path, tmp_path: Path, *, same_time: bool
) -> None:
    disk = _Changing(source / "some" / ONE, same_time=same_time)
    tree = VolumeTree(tmp_path / "data", fake.collection(), disk)
    tree.prepare()
    result = install_volumes(find_volumes(source, tree.pattern), tree, jobs=1)
    (failure,) = result.failures
    assert (failure.series, failure.reason) == (ONE.removesuffix(".nii.gz"), "checksum")
    assert "changed since it was read" in failure.detail
    assert volumes_in(tmp_path).keys() == WHOLE.keys() - {f"0001/{ONE}"}
    assert not tree.series_in_staging()


def test_a_receipt_with_a_hostile_name_is_ignored(source: Path, tmp_path: Path) -> None:
    adopt(source, tmp_path)
    path = root(tmp_path) / ".tcia-covid" / "series" / f"{SUBJECT}.json"
    document = json.loads(path.read_bytes())
    for image in ({"uid": "../x"}, {"suffix": "/../../x"}, {"suffix": ".sh"}, {"uid": ""}):
        changed = {**document, "images": [{**document["images"][0], **image}]}
        path.write_text(json.dumps(changed))
        assert VolumeTree(tmp_path / "data", fake.collection()).receipts.read(SUBJECT) is None
