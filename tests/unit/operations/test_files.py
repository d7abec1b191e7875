"""From series on disk to their files: which series count, and the order of the files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.core.models import Check, Series
from tcia_covid.operations.files import LocalSelection, select_local
from tcia_covid.selection.filters import Filters
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tests.fakes.synthetic import ImageSpec, synthetic_image
from tests.unit.trees import NAME, grow, new_tree, series_of, stage

REGISTRY = load_registry()


def grow_in_order(tree: Tree, series: Series, images: int = 12) -> None:
    """Commit a series whose slices, sorted by name, are not in order."""
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for number in range(1, images + 1):
            uid, place = f"{series.uid}.{number}", f"0\\0\\{2.5 * number}"
            staging.receive(
                [
                    synthetic_image(
                        ImageSpec(
                            uid, series.uid, series.study, series.patient, "CT", number,
                            seed=number, position=place,
                        )
                    )
                ],
                source="nbia",
            )  # fmt: skip
        staging.prove(list(staging.images), Check.MD5)
        tree.commit(staging)


def names(selection: LocalSelection) -> list[str]:
    return [found.series.uid.rpartition(".")[2] for found in selection.series]


def select(folder: Path, *targets: str, **filters: tuple[str, ...]) -> LocalSelection:
    return select_local(folder, REGISTRY, targets, filters=Filters(**filters))


def test_files_are_in_slice_order_and_exist(tmp_path: Path) -> None:
    grow_in_order(new_tree(tmp_path), series_of(1))
    (found,) = select(tmp_path).series

    assert [file.name for file in found.files] == [
        f"{found.series.uid}.{number}.dcm" for number in range(1, 13)
    ]
    assert sorted(found.files) != found.files
    assert all(file.is_file() for file in found.files)
    assert found.path == found.files[0].parent


def test_to_dict_has_the_names_of_dicom_and_can_be_json(tmp_path: Path) -> None:
    grow(new_tree(tmp_path), series_of(1))
    (found,) = select(tmp_path).series

    shown = json.loads(json.dumps(found.to_dict()))
    assert shown["SeriesInstanceUID"] == found.series.uid
    assert shown["path"] == str(found.path)
    assert shown["files"] == [str(file) for file in found.files]
    assert repr(found) == f"LocalSeries(CT, {str(found.path)!r})"


def test_only_complete_series_count(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    receipt = grow(tree, series_of(1))
    grow(tree, series_of(2))
    grow(tree, series_of(3))
    stage(tree, series_of(4), images=1)
    (tree.path(receipt) / receipt.images[0].file).unlink()
    tree.damage.write(series_of(2).uid, [{"file": "x"}])

    assert names(select(tmp_path)) == ["3"]


def test_headers_of_older_receipts_are_read_from_the_files(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow_in_order(tree, series_of(1))
    expected = select(tmp_path).series[0].files
    path = tree.receipts.path(series_of(1).uid)
    document = json.loads(path.read_text())
    del document["headers"]
    path.write_text(json.dumps(document))

    assert select(tmp_path).series[0].files == expected
    assert "headers" not in json.loads(path.read_text())  # the command only reads


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("covid19ar", ["1", "2"]),
        ("10.7937/tcia.2020.py71-5978", ["1", "2"]),
        (series_of(2).uid, ["2"]),
        (series_of(1).study, ["1"]),
        ("PATIENT-2", ["2"]),
        ("6d1d4ebb-47a3-4d30-9bd6-a5ea1a1a1a1a", ["1"]),
        ("s3://idc-open-data/6d1d4ebb-47a3-4d30-9bd6-a5ea1a1a1a1a/", ["1"]),
    ],
)
def test_targets_select_what_is_on_disk(tmp_path: Path, target: str, expected: list[str]) -> None:
    tree = new_tree(tmp_path)
    grow(tree, series_of(1, crdc_uuid="6d1d4ebb-47a3-4d30-9bd6-a5ea1a1a1a1a"))
    grow(tree, series_of(2))
    grow(new_tree(tmp_path, "OTHER"), series_of(3, collection="OTHER"))
    selection = select(tmp_path, target)

    assert names(selection) == expected
    assert selection.missing == []
    assert selection.exit_code == 0


def test_a_manifest_selects_and_names_what_is_missing(tmp_path: Path) -> None:
    grow(new_tree(tmp_path), series_of(1))
    manifest = tmp_path / "list.txt"
    manifest.write_text(f"{series_of(1).uid}\n{series_of(9).uid}\n")
    selection = select(tmp_path, str(manifest))

    assert names(selection) == ["1"]
    assert selection.missing == [series_of(9).uid]
    assert selection.exit_code == 1


def test_a_collection_outside_the_registry_is_found_by_its_folder(tmp_path: Path) -> None:
    grow(new_tree(tmp_path, "OTHER"), series_of(3, collection="OTHER"))

    assert names(select(tmp_path, "OTHER")) == ["3"]


def test_a_collection_that_is_not_there_is_missing(tmp_path: Path) -> None:
    grow(new_tree(tmp_path), series_of(1))
    selection = select(tmp_path, "ricord-1a")

    assert (selection.series, selection.missing) == ([], ["ricord-1a"])


def test_filters_select_as_they_do_in_a_download(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, series_of(1))
    grow(tree, replace(series_of(2), modality="CR"))

    assert names(select(tmp_path, modalities=("cr",))) == ["2"]
    assert names(select(tmp_path, NAME, patients=("PATIENT-1",))) == ["1"]
    with pytest.raises(UsageError, match="MR"):
        select(tmp_path, modalities=("MR",))


def test_a_series_that_disappears_is_an_error(tmp_path: Path) -> None:
    tree = new_tree(tmp_path)
    grow(tree, series_of(1))
    (found,) = select(tmp_path).series
    tree.receipts.clear(found.series.uid)

    with pytest.raises(RequestError, match="no longer complete"):
        _ = found.files


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        select(tmp_path)
