"""Checking a tree again: each kind of damage, what is noted of it, and the archive's own hashes."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    DestinationError,
    InterruptedRunError,
    RequestError,
    UnreachableError,
)
from tcia_covid.core.events import DamageFound, Event, Notice
from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.operations.verify.result import Reason, VerifyResult, document
from tcia_covid.operations.verify.verify import verify_directory
from tcia_covid.store.locks import Lock
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.verification import series_md5
from tests.fakes.nbia import ArchiveServer
from tests.unit.archive_helpers import fetch, nbia_of, pair
from tests.unit.trees import NAME, files, grow, image_of, new_tree, series_of, stage

needs_rights = pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="nothing is forbidden to this user"
)
needs_links = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


@pytest.fixture
def receipt(tree: Tree) -> Receipt:
    """Of the only series in the tree."""
    return grow(tree, series_of(1))


def found(result: VerifyResult) -> list[tuple[str, Reason]]:
    """Each damaged file's name, without the folders, and what is wrong with it."""
    return [(Path(damage.file).name, damage.reason) for damage in result.damage]


def unexpected(result: VerifyResult) -> list[tuple[str, str]]:
    """Each unexpected file's name, without the folders, and its description."""
    return [(one.file.rstrip("/").rpartition("/")[2], one.detail) for one in result.unexpected]


def names(receipt: Receipt) -> list[str]:
    return [image.file for image in receipt.images]


# Nothing wrong


def test_an_intact_tree_is_counted_and_ends_with_0(tree: Tree, tmp_path: Path) -> None:
    sizes = [grow(tree, series_of(n), images=n).size for n in (1, 2, 3)]
    result = verify_directory(tmp_path)
    assert (result.series.checked, result.series.intact, result.series.damaged) == (3, 3, 0)
    assert (result.images.checked, result.images.intact, result.images.damaged) == (6, 6, 0)
    assert (result.size, result.damage, result.exit_code) == (sum(sizes), [], 0)


def test_a_series_of_many_pieces_is_one_series(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1), images=150)
    progress: list[tuple[int, int]] = []
    result = verify_directory(
        tmp_path, on_progress=lambda size, images: progress.append((size, images))
    )
    assert (result.series.checked, result.images.intact) == (1, 150)
    assert len(progress) == 3
    assert (sum(s for s, _ in progress), sum(n for _, n in progress)) == (receipt.size, 150)


def test_several_collections_or_one_of_them_can_be_checked(tmp_path: Path) -> None:
    for name in ("A", "B"):
        grow(new_tree(tmp_path, name), series_of(1, collection=name))
    assert verify_directory(tmp_path).series.checked == 2
    assert verify_directory(tmp_path / "B").series.checked == 1


def test_files_are_named_relative_to_the_folder_that_was_given(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    name = f"{receipt.folder}/{receipt.images[0].file}"
    assert [damage.file for damage in verify_directory(tmp_path).damage] == [f"{NAME}/{name}"]
    assert [damage.file for damage in verify_directory(tree.root).damage] == [name]


def test_series_that_no_hash_ever_proved_are_counted(tree: Tree, tmp_path: Path) -> None:
    grow(tree, series_of(1), check=Check.SIZE)
    grow(tree, series_of(2), check=Check.SERIES_MD5)
    result = verify_directory(tmp_path)
    assert (result.series.intact, result.series.unverified, result.exit_code) == (2, 1, 0)


@pytest.mark.parametrize("name", ["nothing-here", "empty"])
def test_a_folder_without_collections_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match=name) as refusal:
        verify_directory(tmp_path / name)
    assert refusal.value.exit_code == 2
    assert refusal.value.hint


# Each kind of damage (row 24 of the faults: `verify` finds it)


def _cut(path: Path, series: Series) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip(path: Path, series: Series) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _swap(path: Path, series: Series) -> None:
    path.write_bytes(image_of(series_of(99), 1))


def _garble(path: Path, series: Series) -> None:
    path.write_bytes(b"<html>" * 100)


def _turn_into_folder(path: Path, series: Series) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path, series: path.unlink(), Reason.MISSING),
        (_cut, Reason.CHANGED),
        (_flip, Reason.CHANGED),
        (_garble, Reason.CHANGED),
        (_turn_into_folder, Reason.CHANGED),
        (_swap, Reason.WRONG_SERIES),
    ],
    ids=["deleted", "cut", "flipped", "garbled", "folder", "swapped"],
)
def test_fault_24_a_damaged_image_is_named(
    tree: Tree,
    receipt: Receipt,
    tmp_path: Path,
    damage: Callable[[Path, Series], None],
    reason: Reason,
) -> None:
    victim = files(tree, receipt)[1]
    damage(victim, receipt.series)
    result = verify_directory(tmp_path)
    assert found(result) == [(victim.name, reason)]
    assert (result.series.damaged, result.images.intact, result.images.damaged) == (1, 2, 1)
    assert result.exit_code == 1
    assert [note["reason"] for note in tree.damage.read(receipt.series.uid)] == [reason.value]


@pytest.mark.parametrize(
    ("name", "content", "detail"),
    [
        ("notes.txt", b"mine", "not a DICOM file"),
        ("more.dcm", image_of(series_of(1), 7), "an image of this series"),
        ("other.dcm", image_of(series_of(2), 1), f"an image of series {series_of(2).uid}"),
        ("other", image_of(series_of(2), 1), f"an image of series {series_of(2).uid}"),
        ("stub.dcm", b"DICM" * 50, "not a DICOM file"),
    ],
)
def test_fault_31_a_file_of_the_user_in_a_series_folder_is_listed_and_is_no_damage(
    tree: Tree, receipt: Receipt, tmp_path: Path, name: str, content: bytes, detail: str
) -> None:
    (tree.path(receipt) / name).write_bytes(content)
    result = verify_directory(tmp_path)
    assert (unexpected(result), found(result)) == ([(name, detail)], [])
    assert (result.series.intact, result.images.damaged, result.exit_code) == (1, 0, 0)
    assert verify_directory(tmp_path, strict=True).exit_code == 1
    assert tree.damage.uids() == set()


def test_files_in_a_folder_in_a_series_folder_are_unexpected(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    for name in ("inner/volume.nii", ".git/objects/a", ".git/objects/b"):
        path = tree.path(receipt) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (tree.root / ".git").mkdir()
    (tree.root / ".git" / "HEAD").write_text("mine")
    assert sorted(unexpected(verify_directory(tmp_path))) == [
        (".git", "a hidden folder"),
        ("volume.nii", "in no receipt"),
    ]


def test_every_image_of_a_lost_folder_is_missing(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.path(receipt))
    result = verify_directory(tmp_path)
    assert found(result) == [(name, Reason.MISSING) for name in names(receipt)]
    assert (result.series.damaged, result.images.damaged) == (1, 3)


def test_a_file_in_the_place_of_a_folder_is_told(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.path(receipt))
    tree.path(receipt).write_text("")
    result = verify_directory(tmp_path)
    assert found(result) == [(name, Reason.UNREADABLE) for name in names(receipt)]


@needs_rights
def test_what_may_not_be_read_is_unreadable(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    files(tree, receipt)[0].chmod(0)
    assert found(verify_directory(tmp_path)) == [(names(receipt)[0], Reason.UNREADABLE)]


def test_images_and_files_beside_the_series_are_unexpected(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    lost = series_of(7)
    folder = tree.root / "P" / lost.study / lost.uid
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(image_of(lost, 1))
    (tree.root / "P" / "notes.txt").write_text("mine")
    result = verify_directory(tmp_path)
    assert sorted(name for name, _ in unexpected(result)) == ["a.dcm", "notes.txt"]
    assert {one.series for one in result.unexpected} == {lost.uid, ""}
    assert (result.series.damaged, result.exit_code) == (0, 0)


def test_a_users_own_files_beside_the_reports_are_let_be_unless_they_are_dicom(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    (tree.root / "clinical.csv").write_text("mine")
    (tree.root / "metadata.csv").write_text("ours")
    assert verify_directory(tmp_path).exit_code == 0
    (tree.root / "stray.dcm").write_bytes(image_of(series_of(2), 1))
    assert unexpected(verify_directory(tmp_path)) == [("stray.dcm", "in no receipt")]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"format": 99, "series": {}}']
)
def test_a_receipt_that_cannot_be_read_is_named_and_so_are_its_images(
    tree: Tree, receipt: Receipt, tmp_path: Path, content: bytes
) -> None:
    path = tree.receipts.path(receipt.series.uid)
    path.write_bytes(content)
    result = verify_directory(tmp_path)
    assert found(result) == [(path.name, Reason.UNREADABLE)]
    assert {name for name, _ in unexpected(result)} == set(names(receipt))
    assert {one.series for one in (*result.damage, *result.unexpected)} == {receipt.series.uid}
    assert (result.series.checked, result.series.damaged) == (1, 1)


def test_a_receipt_under_another_series_name_proves_nothing(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    other = tree.receipts.path(series_of(2).uid)
    shutil.copy(tree.receipts.path(receipt.series.uid), other)
    result = verify_directory(tmp_path)
    assert found(result) == [(other.name, Reason.UNREADABLE)]
    assert result.series.intact == 1


def test_fault_24_the_next_download_repairs_only_what_was_found(
    server: ArchiveServer, tmp_path: Path
) -> None:
    series = pair(server)
    tree = new_tree(tmp_path, series.collection)
    receipt = fetch(server, tree, series.uid).receipt
    assert receipt is not None
    files(tree, receipt)[0].unlink()
    files(tree, receipt)[0].with_name("x.dcm").touch()
    assert verify_directory(tmp_path).exit_code == 1
    streams = server.count("getImage")
    fetch(server, tree, series.uid)
    assert server.count("getImage") == streams
    assert server.count("getSingleImage") == 1
    assert unexpected(verify_directory(tmp_path)) == [("x.dcm", "not a DICOM file")]
    assert verify_directory(tmp_path).exit_code == 0


# Names that lead elsewhere


@needs_links
def test_fault_32_a_link_to_the_right_bytes_is_intact(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    image, elsewhere = files(tree, receipt)[0], tmp_path / "elsewhere"
    image.rename(elsewhere)
    image.symlink_to(elsewhere)
    assert (found(verify_directory(tmp_path)), unexpected(verify_directory(tmp_path))) == ([], [])
    elsewhere.write_bytes(elsewhere.read_bytes()[:-1] + b"?")
    assert found(verify_directory(tmp_path)) == [(image.name, Reason.CHANGED)]
    elsewhere.unlink()
    assert found(verify_directory(tmp_path)) == [(image.name, Reason.MISSING)]


@needs_links
@pytest.mark.parametrize("above", [0, 1, 2], ids=["series", "study", "patient"])
def test_a_folder_that_a_user_moved_is_looked_into_behind_the_link_in_its_place(
    tree: Tree, receipt: Receipt, tmp_path: Path, above: int
) -> None:
    folder = [tree.path(receipt), *tree.path(receipt).parents][above]
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    assert tree.committed(receipt.series.uid) is not None
    result = verify_directory(tree.root)
    assert (found(result), result.images.intact) == ([], 3)
    victim = files(tree, receipt)[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert found(verify_directory(tree.root)) == [(victim.name, Reason.CHANGED)]


@pytest.mark.parametrize("folder", ["../../elsewhere", "/elsewhere"])
def test_a_receipt_that_points_out_of_the_tree_is_not_followed(
    tree: Tree, receipt: Receipt, tmp_path: Path, folder: str
) -> None:
    outside = tmp_path / "elsewhere"
    shutil.copytree(tree.path(receipt), outside)
    where = str(outside) if folder.startswith("/") else folder
    tree.receipts.write(StoredReceipt(replace(receipt, folder=where), ""))
    result = verify_directory(tree.root)
    assert result.images.intact == 0
    assert result.exit_code == 1


@needs_links
def test_links_beside_the_series_are_named_and_not_followed(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.dcm").write_bytes(image_of(series_of(2), 1))
    tree.path(receipt).parent.joinpath("link").symlink_to(outside)
    assert unexpected(verify_directory(tmp_path)) == [("link", "in no receipt")]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders there")
def test_a_pipe_does_not_hang_the_check(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    os.mkfifo(tree.path(receipt) / "pipe")
    os.mkfifo(tree.root / "P.dcm")
    assert unexpected(verify_directory(tmp_path)) == [("pipe", "not a regular file")]


# The deep look


def test_a_deep_look_finds_an_image_that_came_broken(tree: Tree, tmp_path: Path) -> None:
    series = series_of(1)
    with tree.stage(series, lambda count: None) as staging:
        staging.receive([image_of(series, 1)], source="nbia")
        staging.receive([image_of(series, 2)[:-100]], source="nbia")
        staging.prove(list(staging.images), Check.MD5)
        receipt = tree.commit(staging)
    assert verify_directory(tmp_path).exit_code == 0
    result = verify_directory(tmp_path, deep=True)
    assert found(result) == [(names(receipt)[1], Reason.UNREADABLE)]
    assert not result.damage[0].repairable
    assert tree.damage.uids() == set()


def test_a_deep_look_accepts_sound_images(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    assert verify_directory(tmp_path, deep=True).exit_code == 0


# What is noted, and other runs


def test_the_note_of_a_series_that_is_intact_again_is_cleared(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    victim = files(tree, receipt)[0]
    content = victim.read_bytes()
    victim.unlink()
    verify_directory(tmp_path)
    assert tree.damage.uids() == {receipt.series.uid}
    victim.write_bytes(content)
    assert verify_directory(tmp_path).exit_code == 0
    assert tree.damage.uids() == set()


def test_a_series_that_a_running_download_mends_is_left_out(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    grow(tree, series_of(2))
    uid = receipt.series.uid
    tree.damage.write(uid, [{"file": "x"}])
    with tree.stage(receipt.series, lambda count: None):
        result = verify_directory(tmp_path)
    assert (result.series.in_progress, result.series.checked, result.exit_code) == (1, 1, 0)


def test_a_series_that_a_dead_run_left_half_mended_is_damaged(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    tree.damage.write(receipt.series.uid, [{"file": "x"}])
    with tree.stage(receipt.series, lambda count: None):
        pass
    result = verify_directory(tmp_path)
    assert {reason for _, reason in found(result)} == {Reason.MISSING}
    assert len(result.damage) == 3


def test_a_series_that_is_published_anew_meanwhile_is_looked_at_again(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    """The receipt is read, then an update replaces the series, then the files are hashed."""
    fresh = replace(receipt, images=receipt.images[:2], finished="2099-01-01T00:00:00Z")
    checks = iter([receipt, fresh, fresh])
    tree_read = type(tree.receipts).read

    def read(self: object, uid: str) -> StoredReceipt:
        return StoredReceipt(next(checks), "")

    files(tree, receipt)[2].unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(tree.receipts), "read", read)
        result = verify_directory(tmp_path)
    assert type(tree.receipts).read is tree_read
    assert (result.series.intact, result.images.checked, result.damage) == (1, 2, [])


def test_a_series_under_way_for_the_first_time_is_no_damage(tree: Tree, tmp_path: Path) -> None:
    stage(tree, series_of(1), images=2)
    result = verify_directory(tmp_path)
    assert (result.series.checked, result.damage) == (0, [])


def test_damage_is_noted_where_empty_folders_were_not_copied(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.state / "locks")
    files(tree, receipt)[0].unlink()
    assert verify_directory(tmp_path).recorded
    assert tree.damage.uids() == {receipt.series.uid}


def test_a_tree_that_cannot_be_written_is_checked_all_the_same(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    for name in ("locks", "tmp"):
        shutil.rmtree(tree.state / name)
        (tree.state / name).write_text("in the way, as a read-only disk is")
    events: list[Event] = []
    result = verify_directory(tmp_path, emit=events.append)
    assert found(result) == [(names(receipt)[0], Reason.MISSING)]
    assert not result.recorded
    assert [type(event) for event in events] == [DamageFound, Notice]


@needs_rights
def test_a_read_only_tree_is_checked_all_the_same(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    folders = [tree.state, tree.state / "locks"]
    for folder in folders:
        folder.chmod(0o555)
    try:
        result = verify_directory(tmp_path)
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert (len(result.damage), result.recorded) == (1, False)


def test_a_state_folder_that_cannot_be_read_is_told(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.receipts.folder)
    tree.receipts.folder.write_text("in the way")
    with pytest.raises(DestinationError, match="cannot be read"):
        verify_directory(tmp_path)


def test_an_interruption_ends_the_check(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 80):
        grow(tree, series_of(number), images=1)
    stop = CancelToken()
    looked = 0

    def interrupt(size: int, images: int) -> None:
        nonlocal looked
        looked += images
        stop.set()

    with pytest.raises(InterruptedRunError):
        verify_directory(tmp_path, jobs=1, stop=stop, on_progress=interrupt)
    assert looked < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("verify")]


# The archive's own hashes


@pytest.mark.parametrize("zeros", [False, True], ids=["padded", "without leading zeros"])
def test_online_one_request_proves_a_series(
    server: ArchiveServer, tmp_path: Path, zeros: bool
) -> None:
    series = pair(server)
    images = tuple(replace(i, md5=i.md5.lstrip("0") if zeros else i.md5) for i in series.images)
    server.corpus.put(replace(series, images=images))
    tree = new_tree(tmp_path, series.collection)
    fetch(server, tree, series.uid)
    before = server.count("getMD5Hierarchy")
    with nbia_of(server) as nbia:
        result = verify_directory(tmp_path, archive=nbia)
    assert server.count("getMD5Hierarchy") == before + 1
    assert result.online is not None
    assert (result.online.verified, result.exit_code) == (1, 0)


def test_online_a_series_that_changed_in_the_archive_is_told(
    server: ArchiveServer, tmp_path: Path
) -> None:
    series = pair(server)
    tree = new_tree(tmp_path, series.collection)
    receipt = fetch(server, tree, series.uid).receipt
    assert receipt is not None
    changed = replace(series.images[0], md5="f" * 32)
    server.corpus.put(replace(series, images=(changed, *series.images[1:])))
    with nbia_of(server) as nbia:
        result = verify_directory(tree.root, archive=nbia)
    (damage,) = result.damage
    assert (damage.file, damage.reason) == (receipt.folder, Reason.CHANGED)
    assert (damage.repairable, damage.option) == (True, "--update")
    assert tree.changed.uids() == {series.uid}
    assert (result.series.damaged, result.series.intact, result.images.damaged) == (1, 0, 0)
    assert tree.damage.uids() == set(), "the files are as they came: nothing to mend"


@pytest.mark.parametrize("blank", ["", " "])
def test_online_blank_hashes_prove_nothing_and_damage_nothing(
    server: ArchiveServer, tmp_path: Path, blank: str
) -> None:
    series = pair(server)
    images = (replace(series.images[0], md5=blank), *series.images[1:])
    server.corpus.put(replace(series, images=images))
    fetch(server, new_tree(tmp_path, series.collection), series.uid)
    with nbia_of(server) as nbia:
        result = verify_directory(tmp_path, archive=nbia)
    assert result.online is not None
    assert (result.online.no_hash, result.series.unverified, result.exit_code) == (1, 1, 0)


def test_online_a_damaged_series_is_not_asked_about(server: ArchiveServer, tmp_path: Path) -> None:
    tree = new_tree(tmp_path, pair(server).collection)
    receipt = fetch(server, tree, pair(server).uid).receipt
    assert receipt is not None
    files(tree, receipt)[0].unlink()
    before = server.count("getMD5Hierarchy")
    with nbia_of(server) as nbia:
        verify_directory(tmp_path, archive=nbia)
    assert server.count("getMD5Hierarchy") == before


class _Hashes:
    """An archive that knows hashes, or fails, as told."""

    name = "nbia"

    def __init__(self, stored: dict[str, str], error: ArchiveError | None = None) -> None:
        self.stored = stored
        self.error = error
        self.failing: set[str] = set()
        self.asked = 0

    def series_md5(self, series: Series) -> str | None:
        self.asked += 1
        if self.error is not None and (not self.failing or series.uid in self.failing):
            raise self.error
        own = [md5 for uid, md5 in self.stored.items() if uid.rpartition(".")[0] == series.uid]
        return series_md5(own) if own else None

    def image_md5(self, series: Series, uid: str) -> str | None:
        return self.stored.get(uid)


def _stored(*receipts: Receipt) -> dict[str, str]:
    return {image.uid: image.md5 for receipt in receipts for image in receipt.images}


def test_online_hashes_of_which_only_some_lack_their_zeros_prove_a_series(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = grow(tree, series_of(1), images=90)
    zeros = [image for image in receipt.images if image.md5.startswith("0")]
    assert len(zeros) > 1
    stored = _stored(receipt) | {zeros[0].uid: zeros[0].md5.lstrip("0")}
    result = verify_directory(tmp_path, archive=_Hashes(stored))
    assert result.online is not None
    assert (result.online.verified, result.damage) == (1, [])
    del stored[zeros[1].uid]
    assert verify_directory(tmp_path, archive=_Hashes(stored)).online.changed == 1


def test_online_a_series_that_the_archive_has_no_hash_for_is_only_counted(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    result = verify_directory(tmp_path, archive=_Hashes({}))
    assert result.online is not None
    assert (result.online.no_hash, result.exit_code) == (1, 0)


def test_online_an_archive_that_fails_for_one_series_makes_the_check_partial(
    tree: Tree, tmp_path: Path
) -> None:
    receipts = [grow(tree, series_of(n)) for n in (1, 2)]
    archive = _Hashes(_stored(*receipts), BadResponseError("an HTML page"))
    archive.failing = {receipts[0].series.uid}
    result = verify_directory(tmp_path, archive=archive)
    assert result.online is not None
    assert (result.online.verified, result.online.no_response, result.exit_code) == (1, 1, 1)


def test_occasional_errors_do_not_end_the_comparison(tree: Tree, tmp_path: Path) -> None:
    receipts = [grow(tree, series_of(number), images=1) for number in range(1, 13)]
    archive = _Hashes(_stored(*receipts), BadResponseError("an HTML page", retryable=True))
    uids = sorted(receipt.series.uid for receipt in receipts)
    archive.failing = set(uids[::2])
    result = verify_directory(tmp_path, archive=archive, jobs=1)
    assert result.online is not None
    assert (result.online.verified, result.online.no_response) == (6, 6)


def test_online_an_archive_that_is_gone_is_given_up(tree: Tree, tmp_path: Path) -> None:
    for number in range(1, 31):
        grow(tree, series_of(number), images=1)
    archive = _Hashes({}, UnreachableError("no route"))
    events: list[Event] = []
    result = verify_directory(tmp_path, archive=archive, jobs=2, emit=events.append)
    assert result.online is not None
    assert (result.online.no_response, result.series.intact, result.exit_code) == (30, 30, 3)
    assert archive.asked < 20
    assert len(events) == 1


# The JSON document


def test_the_document_has_the_contract_s_keys(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    files(tree, receipt)[0].unlink()
    told = json.loads(json.dumps(document(verify_directory(tmp_path))))
    assert (told["command"], told["output"], told["exit_code"]) == ("verify", str(tmp_path), 1)
    assert {k: told["series"][k] for k in ("checked", "intact", "damaged")} == {
        "checked": 1,
        "intact": 0,
        "damaged": 1,
    }
    assert told["images"] == {"checked": 3, "intact": 2, "damaged": 1}
    (damage,) = told["damage"]
    assert damage["SeriesInstanceUID"] == receipt.series.uid
    assert damage["file"] == f"{NAME}/{receipt.folder}/{names(receipt)[0]}"
    assert damage["reason"] == "missing"
    assert told["online"] is None


def test_a_lock_without_damage_hinders_nothing(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    with Lock(tree.state / "locks" / f"{receipt.series.uid}.lock", "the series"):
        assert verify_directory(tmp_path).series.intact == 1


def test_images_that_no_receipt_covers_are_no_success(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.copytree(tree.path(receipt), tmp_path / "OTHER" / "P1")
    result = verify_directory(tmp_path)
    assert not result.damage
    assert [(one.folder, one.images) for one in result.unchecked] == [
        ("OTHER", len(names(receipt)))
    ]
    assert result.exit_code == 1
    assert document(result)["unchecked"][0]["folder"] == "OTHER"
    assert verify_directory(tree.root).exit_code == 0
