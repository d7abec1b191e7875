"""Intact trees: what is counted, and the JSON document."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tcia_covid.core.errors import (
    RequestError,
)
from tcia_covid.core.events import Event, ImagesChecked
from tcia_covid.core.models import Check, Receipt
from tcia_covid.operations.verify import verify_directory
from tcia_covid.output.json_documents import verify_document
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree
from tests.unit.operations.verify.helpers import image_files
from tests.unit.trees import NAME, files, grow, new_tree, series_of


def test_an_intact_tree_gives_exit_code_0(tree: Tree, tmp_path: Path) -> None:
    sizes = [grow(tree, series_of(n), images=n).size for n in (1, 2, 3)]
    result = verify_directory(tmp_path)
    assert (result.series.checked, result.series.intact, result.series.damaged) == (3, 3, 0)
    assert (result.images.checked, result.images.intact, result.images.damaged) == (6, 6, 0)
    assert (result.size, result.damage, result.exit_code) == (sum(sizes), [], 0)


def test_a_series_of_several_batches_is_counted_once(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1), images=150)
    events: list[Event] = []
    result = verify_directory(tmp_path, emit=events.append)
    assert (result.series.checked, result.images.intact) == (1, 150)
    batches = [event for event in events if isinstance(event, ImagesChecked)]
    assert len(batches) == 3
    assert sum(batch.size for batch in batches) == receipt.size
    assert sum(batch.images for batch in batches) == 150


def test_several_collections_or_one_of_them_can_be_checked(tmp_path: Path) -> None:
    for name in ("A", "B"):
        grow(new_tree(tmp_path, name), series_of(1, collection=name))
    assert verify_directory(tmp_path).series.checked == 2
    assert verify_directory(tmp_path / "B").series.checked == 1


def test_file_names_are_relative_to_the_given_folder(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    files(tree, receipt)[0].unlink()
    name = f"{receipt.folder}/{receipt.images[0].file}"
    assert [damage.file for damage in verify_directory(tmp_path).damage] == [f"{NAME}/{name}"]
    assert [damage.file for damage in verify_directory(tree.root).damage] == [name]


def test_unverified_series_are_counted(tree: Tree, tmp_path: Path) -> None:
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


def test_the_json_document(tree: Tree, receipt: Receipt, tmp_path: Path) -> None:
    files(tree, receipt)[0].unlink()
    output = json.loads(json.dumps(verify_document(verify_directory(tmp_path))))
    assert (output["command"], output["output"], output["exit_code"]) == (
        "verify",
        str(tmp_path),
        1,
    )
    assert {k: output["series"][k] for k in ("checked", "intact", "damaged")} == {
        "checked": 1,
        "intact": 0,
        "damaged": 1,
    }
    assert output["images"] == {"checked": 3, "intact": 2, "damaged": 1}
    (damage,) = output["damage"]
    assert damage["SeriesInstanceUID"] == receipt.series.uid
    assert damage["file"] == f"{NAME}/{receipt.folder}/{image_files(receipt)[0]}"
    assert damage["reason"] == "missing"
    assert output["online"] is None


def test_a_locked_series_without_damage_is_intact(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    with Lock(tree.state / "locks" / f"{receipt.series.uid}.lock", "the series"):
        assert verify_directory(tmp_path).series.intact == 1


def test_images_without_receipts_give_exit_code_1(
    tree: Tree, receipt: Receipt, tmp_path: Path
) -> None:
    shutil.copytree(tree.path(receipt), tmp_path / "OTHER" / "P1")
    result = verify_directory(tmp_path)
    assert not result.damage
    assert [(item.folder, item.images) for item in result.unchecked] == [
        ("OTHER", len(image_files(receipt)))
    ]
    assert result.exit_code == 1
    assert verify_document(result)["unchecked"][0]["folder"] == "OTHER"
    assert verify_directory(tree.root).exit_code == 0
