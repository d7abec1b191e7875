"""Each kind of damage is found, and repaired by the next download."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.operations.verify import verify_directory
from tcia_covid.operations.verify_files import Reason
from tcia_covid.store.tree import Tree
from tests.fakes.nbia import ArchiveServer
from tests.unit.archive_helpers import fetch, pair
from tests.unit.operations.verify.helpers import (
    damage_in,
    image_files,
    needs_permissions,
    unexpected_in,
)
from tests.unit.trees import files, image_of, new_tree, series_of


def _truncate(path: Path, series: Series) -> None:
    path.write_bytes(path.read_bytes()[:-10])


def _flip_last_bit(path: Path, series: Series) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def _replace_by_other_series(path: Path, series: Series) -> None:
    path.write_bytes(image_of(series_of(99), 1))


def _replace_by_web_page(path: Path, series: Series) -> None:
    path.write_bytes(b"<html>" * 100)


def _replace_by_folder(path: Path, series: Series) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path, series: path.unlink(), Reason.MISSING),
        (_truncate, Reason.CHANGED),
        (_flip_last_bit, Reason.CHANGED),
        (_replace_by_web_page, Reason.CHANGED),
        (_replace_by_folder, Reason.CHANGED),
        (_replace_by_other_series, Reason.WRONG_SERIES),
    ],
    ids=["deleted", "cut", "flipped", "garbled", "folder", "swapped"],
)
def test_fault_24_a_damaged_image_is_reported(
    tree: Tree,
    receipt: Receipt,
    tmp_path: Path,
    damage: Callable[[Path, Series], None],
    reason: Reason,
) -> None:
    victim = files(tree, receipt)[1]
    damage(victim, receipt.series)
    result = verify_directory(tmp_path)
    assert damage_in(result) == [(victim.name, reason)]
    assert (result.series.damaged, result.images.intact, result.images.damaged) == (1, 2, 1)
    assert result.exit_code == 1
    assert [note["reason"] for note in tree.damage.read(receipt.series.uid)] == [reason.value]


def test_every_image_of_a_deleted_folder_is_missing(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.path(receipt))
    result = verify_directory(tmp_path)
    assert damage_in(result) == [(name, Reason.MISSING) for name in image_files(receipt)]
    assert (result.series.damaged, result.images.damaged) == (1, 3)
    assert (result.size, result.read) == (receipt.size, 0), "what does not exist was not read"


def test_a_file_in_place_of_a_series_folder_is_reported(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.rmtree(tree.path(receipt))
    tree.path(receipt).write_text("")
    result = verify_directory(tmp_path)
    assert damage_in(result) == [(name, Reason.UNREADABLE) for name in image_files(receipt)]


@needs_permissions
def test_a_file_without_read_permission_is_unreadable(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].chmod(0)
    assert damage_in(verify_directory(tmp_path)) == [(image_files(receipt)[0], Reason.UNREADABLE)]


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"format": 1}', b"\xff", b'{"format": 99, "series": {}}']
)
def test_an_unreadable_receipt_is_damage_and_its_images_are_unexpected(
    tree: Tree, receipt: Receipt, tmp_path: Path, content: bytes
) -> None:
    path = tree.receipts.path(receipt.series.uid)
    path.write_bytes(content)
    result = verify_directory(tmp_path)
    assert damage_in(result) == [(path.name, Reason.UNREADABLE)]
    assert {name for name, _ in unexpected_in(result)} == set(image_files(receipt))
    assert {item.series for item in (*result.damage, *result.unexpected)} == {receipt.series.uid}
    assert (result.series.checked, result.series.damaged) == (1, 1)


def test_a_receipt_under_the_name_of_another_series_is_unreadable(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    other = tree.receipts.path(series_of(2).uid)
    shutil.copy(tree.receipts.path(receipt.series.uid), other)
    result = verify_directory(tmp_path)
    assert damage_in(result) == [(other.name, Reason.UNREADABLE)]
    assert result.series.intact == 1


def test_fault_24_the_next_download_repairs_only_the_damage(
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
    assert unexpected_in(verify_directory(tmp_path)) == [("x.dcm", "not a DICOM file")]
    assert verify_directory(tmp_path).exit_code == 0


def test_deep_finds_an_invalid_image_that_matches_its_md5(tree: Tree, tmp_path: Path) -> None:
    series = series_of(1)
    with tree.stage(series, lambda count: None) as staging:
        staging.receive([image_of(series, 1)], source="nbia")
        staging.receive([image_of(series, 2)[:-100]], source="nbia")
        staging.prove(list(staging.images), Check.MD5)
        receipt = tree.commit(staging)
    assert verify_directory(tmp_path).exit_code == 0
    result = verify_directory(tmp_path, deep=True)
    assert damage_in(result) == [(image_files(receipt)[1], Reason.UNREADABLE)]
    assert not result.damage[0].repairable
    assert tree.damage.uids() == set()


def test_deep_accepts_valid_images(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    assert verify_directory(tmp_path, deep=True).exit_code == 0
