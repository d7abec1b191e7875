"""`relayout`: every series gets the names of the layout, and nothing else moves."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    DestinationError,
    InterruptedRunError,
    RequestError,
    TciaCovidError,
    UsageError,
)
from tcia_covid.core.models import Receipt, Series
from tcia_covid.operations.relayout import RelayoutResult, relayout_directory
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout
from tcia_covid.store.locks import Lock
from tcia_covid.store.reports import REPORT_FILES, outdated_reports
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Relayout, Tree
from tests.fakes.crashing_disk import CountingDisk, Crash, PausingDisk, PowerLossDisk
from tests.fakes.synthetic import ImageSpec, synthetic_image
from tests.unit.archive_helpers import files_of as all_files_of
from tests.unit.trees import NAME, md5_of, series_of

USERS_FILES = {"notes.txt": b"by hand", "masks/lung.dcm": b"mine", "1-1.dcm": b"mine, too"}
NUMBERED = "{patient}/{study}/{series}/{instance_number}.dcm"


def files_of(root: Path) -> dict[str, str]:
    """The files of a tree without its reports, by path, with their MD5s."""
    return {path: md5 for path, md5 in all_files_of(root).items() if path not in REPORT_FILES}


def listed(number: int, images: int = 3) -> Series:
    return series_of(
        number,
        number=number,
        study_date="2020-03-04",
        study_description="CT CHEST",
        description="LUNG",
        image_count=images,
    )


ONE, OTHER = listed(1), listed(2, images=1)


def contents(series: Series) -> list[bytes]:
    """Images by InstanceNumber, whose UIDs sort the other way round."""
    return [
        synthetic_image(
            ImageSpec(
                f"{series.uid}.{9 - number}",
                series.uid,
                series.study,
                series.patient,
                number=number,
                seed=number,
            )
        )
        for number in range(1, (series.image_count or 0) + 1)
    ]


def new_tree(directory: Path, layout: str = "uid", disk: Disk | None = None) -> Tree:
    tree = Tree(directory / NAME, Layout.parse(layout), disk or Disk(durable=False))
    tree.prepare()
    return tree


def grow(tree: Tree, *series: Series) -> list[Receipt]:
    receipts = []
    for each in series:
        with tree.stage(each, lambda count: None) as staging:
            assert isinstance(staging, Staging)
            for image in contents(each):
                staging.receive([image], source="nbia")
            receipts.append(tree.commit(staging))
    return receipts


def add_users_files(folder: Path) -> None:
    for name, content in USERS_FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def paths_in(layout: str, *series: Series) -> dict[str, str]:
    """What a clean tree in this layout has: MD5s by path."""
    parsed = Layout.parse(layout)
    expected = {}
    for each in series:
        images = dict(enumerate(contents(each), start=1))
        for number, content in images.items():
            digits = {"retriever": f"1-{number}", "retriever-classic": f"1-{number}"}
            uid_name = f"{each.uid}.{9 - number}"
            name = str(number) if layout == NUMBERED else digits.get(layout, uid_name)
            expected[f"{parsed.folder(each)}/{name}.dcm"] = md5_of(content)
    return expected


def relayout(directory: Path, layout: str = "retriever", **options: object) -> RelayoutResult:
    return relayout_directory(directory, layout, durable=False, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("before", ["uid", "descriptive", "retriever", NUMBERED])
@pytest.mark.parametrize("after", ["uid", "retriever", "retriever-classic", NUMBERED])
def test_every_series_gets_the_names_of_the_layout(tmp_path: Path, before: str, after: str) -> None:
    grow(new_tree(tmp_path, before), ONE, OTHER)
    result = relayout(tmp_path, after)
    assert files_of(tmp_path / NAME) == paths_in(after, ONE, OTHER)
    renamed = 0 if before == after else 2
    assert (result.series.renamed, result.series.unchanged, result.exit_code) == (
        renamed,
        2 - renamed,
        0,
    )
    again = relayout(tmp_path, after)
    assert (again.series.renamed, again.series.unchanged, again.left_behind) == (0, 2, [])
    assert new_tree(tmp_path).series_in_staging() == set()
    checked = verify_directory(tmp_path)
    assert (checked.exit_code, checked.unexpected, checked.images.intact) == (0, [], 4)
    folders = [path for path in (tmp_path / NAME / ONE.patient).rglob("*") if path.is_dir()]
    assert all(any(folder.iterdir()) for folder in folders), "none is left empty"


def test_files_of_a_user_stay_and_are_named(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt,) = grow(tree, ONE)
    add_users_files(tree.path(receipt))
    result = relayout(tmp_path)
    stay = {f"{receipt.folder}/{name}": md5_of(data) for name, data in USERS_FILES.items()}
    assert files_of(tree.root) == paths_in("retriever", ONE) | stay
    assert sorted(result.left_behind) == [f"{NAME}/{path}" for path in sorted(stay)]
    assert relayout(tmp_path).left_behind == result.left_behind, "as long as they are there"


def test_a_file_of_a_user_that_has_a_new_name_is_moved_aside(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt,) = grow(tree, ONE)
    add_users_files(tree.path(receipt))
    result = relayout(tmp_path, "retriever-classic")
    stay = {
        f"{receipt.folder}/notes.txt": md5_of(b"by hand"),
        f"{receipt.folder}/masks/lung.dcm": md5_of(b"mine"),
        f"{receipt.folder}/1-1.dcm.moved-aside": md5_of(b"mine, too"),
    }
    assert files_of(tree.root) == paths_in("retriever-classic", ONE) | stay
    assert any("was in the way" in notice for notice in result.notices)


def test_a_file_where_the_new_folder_has_to_be_is_moved_aside(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, ONE)
    place = tree.root / Layout.parse("retriever").folder(ONE).parent
    place.write_bytes(b"mine")
    assert relayout(tmp_path).exit_code == 0
    assert place.with_name(f"{place.name}.moved-aside").read_bytes() == b"mine"


def test_hard_links_stay_links(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt,) = grow(tree, ONE)
    image = tree.path(receipt) / receipt.images[0].file
    os.link(image, tmp_path / "second name.dcm")
    relayout(tmp_path)
    stored = tree.receipts.read(ONE.uid)
    assert stored
    moved = tree.path(stored.receipt) / stored.receipt.images[0].file
    assert moved.samefile(tmp_path / "second name.dcm")


def test_a_series_behind_symbolic_links_stays_where_it_is(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt,) = grow(tree, ONE)
    image = tree.path(receipt) / receipt.images[0].file
    image.rename(tmp_path / "elsewhere.dcm")
    image.symlink_to(tmp_path / "elsewhere.dcm")
    before = files_of(tree.root)
    result = relayout(tmp_path)
    assert files_of(tree.root) == before
    assert [(each.series, each.reason) for each in result.skipped] == [(ONE.uid, "linked")]
    assert (result.exit_code, result.series.skipped) == (1, 1)


def test_a_link_to_the_patients_folder_is_followed(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, ONE)
    patient = tree.root / ONE.patient
    elsewhere = tmp_path.with_name(f"{tmp_path.name}-elsewhere")
    patient.rename(elsewhere)
    patient.symlink_to(elsewhere)
    assert relayout(tmp_path).series.renamed == 1
    assert patient.is_symlink()
    assert verify_directory(tmp_path).exit_code == 0


@pytest.mark.parametrize("damage", ["missing", "noted", "overwritten", "a folder"])
def test_fault_31_an_incomplete_series_stays_until_its_repair(tmp_path: Path, damage: str) -> None:
    tree = new_tree(tmp_path)
    (receipt, _) = grow(tree, ONE, OTHER)
    image = tree.path(receipt) / receipt.images[0].file
    if damage == "noted":
        tree.damage.write(ONE.uid, [{"file": image.name}])
    else:
        image.unlink()
    if damage == "overwritten":
        image.write_bytes(b"by hand")
    elif damage == "a folder":
        image.mkdir()
    before = files_of(tree.path(receipt))
    assert relayout(tmp_path, dry_run=True).skipped == (result := relayout(tmp_path)).skipped
    assert [(each.series, each.reason) for each in result.skipped] == [(ONE.uid, "incomplete")]
    assert (result.series.renamed, result.exit_code) == (1, 1)
    assert files_of(tree.path(receipt)) == before, "nothing of it moves"


def test_fault_24_a_series_whose_receipt_cannot_be_read_is_named(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt, _) = grow(tree, ONE, OTHER)
    before = files_of(tree.path(receipt))
    tree.receipts.path(ONE.uid).write_bytes(b"{")
    result = relayout(tmp_path)
    assert [(each.series, each.reason) for each in result.skipped] == [(ONE.uid, "incomplete")]
    assert (result.series.found, result.series.renamed, result.exit_code) == (2, 1, 1)
    assert files_of(tree.path(receipt)) == before


def test_a_series_of_another_run_is_left_to_it(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, ONE)
    with Lock(tree.state / "locks" / f"{ONE.uid}.lock", "the series"):
        result = relayout(tmp_path)
    assert [each.reason for each in result.skipped] == ["locked"]
    assert relayout(tmp_path).series.renamed == 1


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, ONE, OTHER)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    result = relayout(tmp_path, dry_run=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    assert (result.series.renamed, result.images) == (2, 4)
    assert result.renamed[0] == tuple(
        f"{NAME}/{Layout.parse(layout).folder(ONE)}" for layout in ("uid", "retriever")
    )


def test_the_reports_follow(tmp_path: Path) -> None:
    grow(new_tree(tmp_path), ONE)
    relayout(tmp_path)
    tree = new_tree(tmp_path)
    assert outdated_reports(tree, by_hash=True) == []
    manifest = (tree.root / "manifest-md5.txt").read_text()
    assert {line.partition("  ")[2] for line in manifest.splitlines()} == {
        *paths_in("retriever", ONE)
    }


def test_a_series_without_recorded_headers_is_read(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    (receipt,) = grow(tree, ONE)
    stored = tree.receipts.read(ONE.uid)
    assert stored
    tree.receipts.write(replace(stored, receipt=replace(receipt, headers=None)))
    relayout(tmp_path)
    assert files_of(tree.root) == paths_in("retriever", ONE)


def test_a_second_series_of_a_folder_gets_its_uid_appended(tmp_path: Path) -> None:
    first, second = (
        replace(ONE, uid=f"{ONE.uid}.{number}.12345", study="1.2.3") for number in (1, 2)
    )
    tree = new_tree(tmp_path)
    grow(tree, first, second)
    assert relayout(tmp_path).series.renamed == 2
    folders = {receipt.folder.rpartition("/")[2] for receipt in tree.receipts.all()}
    assert folders == {"1.000000-LUNG-12345", f"1.000000-LUNG-12345-{second.uid}"}
    assert relayout(tmp_path).series.unchanged == 2
    assert verify_directory(tmp_path).exit_code == 0


def test_wrong_requests_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        relayout(tmp_path / "nowhere")
    grow(new_tree(tmp_path), ONE)
    with pytest.raises(UsageError, match="unknown field"):
        relayout(tmp_path, "{nonsense}/{series}")


def test_a_run_that_is_stopped_resumes(tmp_path: Path) -> None:
    grow(new_tree(tmp_path), ONE, OTHER)
    stop = CancelToken()
    with pytest.raises(InterruptedRunError):
        relayout(tmp_path, stop=stop, emit=lambda event: stop.set())
    assert relayout(tmp_path).series.renamed == 1
    assert files_of(tmp_path / NAME) == paths_in("retriever", ONE, OTHER)


# Crashes


def plain(directory: Path) -> None:
    grow(new_tree(directory), ONE)


def with_users_files(directory: Path) -> None:
    tree = new_tree(directory)
    (receipt,) = grow(tree, ONE)
    add_users_files(tree.path(receipt))


def permuted(directory: Path) -> None:
    """Names that are other images' names in the new layout, in the same folder."""
    tree = new_tree(directory, "{patient}/{study}/{series}/{instance_number:01}.dcm")
    grow(tree, ONE)


STORIES: dict[str, tuple[Callable[[Path], None], str]] = {
    "folder": (plain, "retriever"),
    "names": (plain, "retriever-classic"),
    "users' files": (with_users_files, "retriever"),
    "users' files in the same folder": (with_users_files, "retriever-classic"),
    "names to names": (permuted, "retriever-classic"),
}
each_story = pytest.mark.parametrize(("before", "layout"), STORIES.values(), ids=STORIES)


def run_once(directory: Path, layout: str, disk: Disk) -> Relayout:
    tree = Tree(directory / NAME, Layout.parse(layout), disk)
    tree.prepare()
    return tree.relayout(ONE)


def states(
    tmp_path: Path, before: Callable[[Path], None], layout: str
) -> Iterator[tuple[int, Path]]:
    """For each side effect of a clean run, its number and a folder that it is to happen in."""
    clean = tmp_path / "clean"
    before(clean)
    disk = CountingDisk()
    assert run_once(clean, layout, disk) is Relayout.RENAMED
    for number in range(disk.count):
        directory = tmp_path / str(number)
        before(directory)
        yield number, directory


def assert_ends_clean(directory: Path, before: dict[str, str], layout: str) -> None:
    """No byte is lost, and the next run ends as a clean one."""
    kept = set(before.values())
    everything = {md5_of(path.read_bytes()) for path in directory.rglob("*") if path.is_file()}
    assert kept <= everything
    result = relayout(directory, layout)
    assert result.exit_code == 0, result.skipped
    now = files_of(directory / NAME)
    assert paths_in(layout, ONE).items() <= now.items()
    assert sorted(now.values()) == sorted(before.values())
    tree = new_tree(directory)
    assert tree.needs_check() == set()
    assert tree.complete_receipt(ONE.uid)


@each_story
@pytest.mark.parametrize("halfway", [False, True])
def test_fault_21_a_crash_at_every_side_effect_of_relayout_is_recovered_from(
    tmp_path: Path, before: Callable[[Path], None], layout: str, halfway: bool
) -> None:
    for number, directory in states(tmp_path, before, layout):
        found = files_of(directory / NAME)
        with contextlib.suppress(Crash):
            run_once(directory, layout, CountingDisk(number, halfway=halfway))
        assert_ends_clean(directory, found, layout)


@each_story
@pytest.mark.parametrize("error", [28, 5, 13], ids=["ENOSPC", "EIO", "EACCES"])
def test_fault_20_a_disk_error_at_every_side_effect_of_relayout_is_recovered_from(
    tmp_path: Path, before: Callable[[Path], None], layout: str, error: int
) -> None:
    for number, directory in states(tmp_path, before, layout):
        found = files_of(directory / NAME)
        with contextlib.suppress(DestinationError, OSError):
            run_once(directory, layout, CountingDisk(number, error))
        assert_ends_clean(directory, found, layout)


@each_story
def test_fault_21_after_a_power_cut_relayout_resumes(
    tmp_path: Path, before: Callable[[Path], None], layout: str
) -> None:
    for number, directory in states(tmp_path, before, layout):
        found = files_of(directory / NAME)
        disk = PowerLossDisk(directory, number)
        with contextlib.suppress(Crash):
            run_once(directory, layout, disk)
        disk.cut_power()
        assert_ends_clean(directory, found, layout)


@each_story
def test_fault_21_a_series_is_never_in_the_tree_in_part(
    tmp_path: Path, before: Callable[[Path], None], layout: str
) -> None:
    """Except where other files are in its folder: then its images move one by one."""
    if before is with_users_files:
        pytest.skip("see the sentence above")
    for number, directory in states(tmp_path, before, layout):
        with contextlib.suppress(Crash):
            run_once(directory, layout, CountingDisk(number))
        assert len(files_of(directory / NAME)) in (0, 3)


def test_fault_21_a_download_finishes_a_relayout_that_was_killed(tmp_path: Path) -> None:
    for number, directory in states(tmp_path, with_users_files, "retriever"):
        with contextlib.suppress(Crash):
            run_once(directory, "retriever", CountingDisk(number))
        tree = new_tree(directory)
        with tree.stage(ONE, lambda count: None) as staging:
            if isinstance(staging, Staging):  # nothing is downloaded
                assert len(staging.images) == 3
                tree.commit(staging)
        assert tree.complete_receipt(ONE.uid)


def test_fault_23_relayout_refuses_where_locks_have_no_effect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grow(new_tree(tmp_path), ONE)
    before = files_of(tmp_path / NAME)
    monkeypatch.setattr(Lock, "lock_file", staticmethod(lambda handle: None))
    with pytest.raises(DestinationError, match="locks have no effect"):
        relayout(tmp_path)
    assert files_of(tmp_path / NAME) == before


def test_fault_23_two_runs_at_once_rename_every_series_once(tmp_path: Path) -> None:
    for attempt in range(3):
        directory = tmp_path / str(attempt)
        grow(new_tree(directory), ONE, OTHER)
        random = Random(attempt)

        def run(seed: int, directory: Path = directory) -> None:
            for series in (ONE, OTHER):
                disk = PausingDisk(Random(seed))
                with contextlib.suppress(TciaCovidError):
                    tree = Tree(directory / NAME, Layout.parse("retriever"), disk)
                    tree.prepare()
                    tree.relayout(series)

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(run, [random.getrandbits(32), random.getrandbits(32)]))
        result = relayout(directory)
        assert result.exit_code == 0, result.skipped
        assert files_of(directory / NAME) == paths_in("retriever", ONE, OTHER)
