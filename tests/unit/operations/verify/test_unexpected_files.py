"""Files that are in no receipt, and links, are listed and not changed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.models import Receipt
from tcia_covid.operations.verify import verify_directory
from tcia_covid.operations.verify_files import Reason
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tests.unit.operations.verify.helpers import damage_in, needs_symlinks, unexpected_in
from tests.unit.trees import files, image_of, series_of


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
def test_fault_31_a_file_of_the_user_in_a_series_folder_is_unexpected_and_no_damage(
    tree: Tree, receipt: Receipt, tmp_path: Path, name: str, content: bytes, detail: str
) -> None:
    (tree.path(receipt) / name).write_bytes(content)
    result = verify_directory(tmp_path)
    assert (unexpected_in(result), damage_in(result)) == ([(name, detail)], [])
    assert (result.series.intact, result.images.damaged, result.exit_code) == (1, 0, 0)
    assert verify_directory(tmp_path, strict=True).exit_code == 1
    assert tree.damage.uids() == set()


def test_files_in_subfolders_of_a_series_folder_are_unexpected(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    for name in ("inner/volume.nii", ".git/objects/a", ".git/objects/b"):
        path = tree.path(receipt) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (tree.root / ".git").mkdir()
    (tree.root / ".git" / "HEAD").write_text("mine")
    assert sorted(unexpected_in(verify_directory(tmp_path))) == [
        (".git", "a hidden folder"),
        ("volume.nii", "in no receipt"),
    ]


def test_files_outside_series_folders_are_unexpected(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    lost = series_of(7)
    folder = tree.root / "P" / lost.study / lost.uid
    folder.mkdir(parents=True)
    (folder / "a.dcm").write_bytes(image_of(lost, 1))
    (tree.root / "P" / "notes.txt").write_text("mine")
    result = verify_directory(tmp_path)
    assert sorted(name for name, _ in unexpected_in(result)) == ["a.dcm", "notes.txt"]
    assert {extra.series for extra in result.unexpected} == {lost.uid, ""}
    assert (result.series.damaged, result.exit_code) == (0, 0)


def test_files_next_to_the_reports_are_unexpected_only_if_they_are_dicom(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    (tree.root / "clinical.csv").write_text("mine")
    (tree.root / "metadata.csv").write_text("ours")
    assert verify_directory(tmp_path).exit_code == 0
    (tree.root / "stray.dcm").write_bytes(image_of(series_of(2), 1))
    assert unexpected_in(verify_directory(tmp_path)) == [("stray.dcm", "in no receipt")]


@needs_symlinks
def test_fault_32_a_symlink_to_the_right_bytes_is_intact(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    image, elsewhere = files(tree, receipt)[0], tmp_path / "elsewhere"
    image.rename(elsewhere)
    image.symlink_to(elsewhere)
    assert (damage_in(verify_directory(tmp_path)), unexpected_in(verify_directory(tmp_path))) == (
        [],
        [],
    )
    elsewhere.write_bytes(elsewhere.read_bytes()[:-1] + b"?")
    assert damage_in(verify_directory(tmp_path)) == [(image.name, Reason.CHANGED)]
    elsewhere.unlink()
    assert damage_in(verify_directory(tmp_path)) == [(image.name, Reason.MISSING)]


@needs_symlinks
@pytest.mark.parametrize("above", [0, 1, 2], ids=["series", "study", "patient"])
def test_a_symlink_to_a_moved_folder_is_followed(
    tree: Tree, receipt: Receipt, tmp_path: Path, above: int
) -> None:
    folder = [tree.path(receipt), *tree.path(receipt).parents][above]
    outside = tmp_path.parent / f"{tmp_path.name}-outside"
    folder.rename(outside)
    folder.symlink_to(outside)
    assert tree.complete_receipt(receipt.series.uid) is not None
    result = verify_directory(tree.root)
    assert (damage_in(result), result.images.intact) == ([], 3)
    victim = files(tree, receipt)[0]
    victim.write_bytes(victim.read_bytes()[:-1] + b"?")
    assert damage_in(verify_directory(tree.root)) == [(victim.name, Reason.CHANGED)]


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


@needs_symlinks
def test_symlinks_outside_series_folders_are_unexpected_and_not_followed(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.dcm").write_bytes(image_of(series_of(2), 1))
    tree.path(receipt).parent.joinpath("link").symlink_to(outside)
    assert unexpected_in(verify_directory(tmp_path)) == [("link", "in no receipt")]


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes in folders there")
def test_a_pipe_does_not_block_the_check(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    os.mkfifo(tree.path(receipt) / "pipe")
    os.mkfifo(tree.root / "P.dcm")
    assert unexpected_in(verify_directory(tmp_path)) == [("pipe", "not a regular file")]
