"""Trees whose layout names the files: everything follows the receipt."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.models import ImageAttributes, Receipt, Series
from tcia_covid.operations.verify import verify_directory
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import RETRIEVER, Layout
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tests.fakes.synthetic import ImageSpec, synthetic_image
from tests.unit.trees import NAME, series_of

SERIES = series_of(
    7, number=2, study_date="2020-03-04", study_description="CT", description="LUNG", image_count=3
)
FOLDER = "PATIENT-7/03-04-2020-NA-CT-7.7.9/2.000000-LUNG-.77.7"


def new_tree(directory: Path, layout: Layout = RETRIEVER) -> Tree:
    tree = Tree(directory / NAME, layout, Disk(durable=False))
    tree.prepare()
    return tree


def numbered(number: int, seed: int = 0, study_id: str = "") -> bytes:
    """An image whose UID sorts against its InstanceNumber."""
    uid = f"{SERIES.uid}.{9 - number}"
    spec = ImageSpec(uid, SERIES.uid, SERIES.study, SERIES.patient, number=number, seed=seed)
    return synthetic_image(replace(spec, study_id=study_id))


def grow(tree: Tree, *images: bytes, update: bool = False, series: Series = SERIES) -> Receipt:
    with tree.stage(series, lambda count: None, update=update) as staging:
        assert isinstance(staging, Staging)
        for image in images:
            staging.receive([image], source="nbia")
        return tree.commit(staging)


def names(tree: Tree, receipt: Receipt) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(tree.path(receipt).iterdir())}


THREE = {f"1-{number}.dcm": numbered(number) for number in (1, 2, 3)}


def test_images_get_the_names_of_the_layout_when_the_series_is_committed(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    receipt = grow(tree, numbered(2), numbered(3), numbered(1))
    assert receipt.folder == FOLDER
    assert names(tree, receipt) == THREE
    assert tree.complete_receipt(SERIES.uid) == receipt
    assert [image.file for image in receipt.images] == ["1-3.dcm", "1-2.dcm", "1-1.dcm"]
    result = verify_directory(tmp_path)
    assert (result.exit_code, result.unexpected, result.images.intact) == (0, [], 3)


def test_the_folder_has_the_study_id_of_the_headers(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    receipt = grow(tree, numbered(1, study_id="45/A"))
    assert receipt.folder == FOLDER.replace("-NA-", "-45A-")
    assert tree.complete_receipt(SERIES.uid) == receipt


def test_a_repaired_series_keeps_its_names(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    receipt = grow(tree, *THREE.values())
    (tree.path(receipt) / "1-2.dcm").unlink()
    (tree.path(receipt) / "notes.txt").write_text("mine")
    for layout in (RETRIEVER, Layout.parse("uid")):
        again = new_tree(tmp_path, layout)
        repaired = grow(again, numbered(2))
        assert names(again, repaired) == {**THREE, "notes.txt": b"mine"}
        (again.path(repaired) / "1-2.dcm").unlink()


def test_an_update_moves_no_image_over_another_one(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, *THREE.values())
    newer = replace(SERIES, image_count=4)
    changed = numbered(3, seed=5), numbered(4)
    receipt = grow(tree, numbered(1), numbered(2), *changed, update=True, series=newer)
    assert sorted(names(tree, receipt).values()) == sorted([numbered(1), numbered(2), *changed])
    assert verify_directory(tmp_path).exit_code == 0


@pytest.mark.parametrize("layout", ["retriever", "{series}/{instance_number:03}.dcm"])
def test_a_series_whose_receipt_is_lost_is_found_by_its_names(tmp_path: Path, layout: str) -> None:
    tree = new_tree(tmp_path, Layout.parse(layout))
    receipt = grow(tree, *THREE.values())
    tree.receipts.path(SERIES.uid).unlink()
    copy = tree.path(receipt) / "0 copy.dcm"
    copy.write_bytes(numbered(1))
    with tree.stage(SERIES, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        assert len(staging.in_place) == 3
        again = tree.commit(staging)
    assert {image.file for image in again.images} == {image.file for image in receipt.images}
    assert copy.exists(), "a user's copy belongs to the user"


def test_a_file_in_the_place_of_an_image_is_moved_aside(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    place = tree.root / FOLDER / "1-1.dcm"
    place.parent.mkdir(parents=True)
    place.write_text("mine")
    receipt = grow(tree, *THREE.values())
    assert names(tree, receipt) == {**THREE, "1-1.dcm.moved-aside": b"mine"}
    assert any("was in the way" in notice for notice in tree.notices)


@pytest.mark.parametrize(
    "name", ["../1.dcm", "a/1.dcm", ".1.dcm", "1.txt", "x" * 260 + ".dcm", "1-2.DCM"]
)
def test_a_receipt_with_an_unsafe_file_name_counts_as_damaged(tmp_path: Path, name: str) -> None:
    tree = new_tree(tmp_path)
    grow(tree, *THREE.values())
    path = tree.receipts.path(SERIES.uid)
    document = json.loads(path.read_text())
    document["images"][0]["name"] = name
    path.write_text(json.dumps(document))
    assert tree.receipts.read(SERIES.uid) is None


def test_a_receipt_that_names_one_file_twice_counts_as_damaged(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, *THREE.values())
    path = tree.receipts.path(SERIES.uid)
    path.write_text(path.read_text().replace("1-2.dcm", "1-1.dcm"))
    assert tree.receipts.read(SERIES.uid) is None


def test_images_without_readable_numbers_have_names_of_their_own() -> None:
    unknown: dict[str, ImageAttributes | None] = {"1.2": None, "1.3": None}
    assert sorted(RETRIEVER.file_names(SERIES, unknown).values()) == ["1-1.dcm", "1-2.dcm"]
