"""croissant.json: what is in it, and that it is read back as a list of series.

`python -m tests.ecosystem croissant` validates and loads it with `mlcroissant`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests.read import read_manifest
from tcia_covid.store.tree import Tree
from tests.unit.store.test_reports import COLLECTION, report
from tests.unit.trees import NAME, grow, new_tree, series_of


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def described(tree: Tree) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((tree.root / "croissant.json").read_text("utf-8"))
    return document


def test_the_description_names_the_files_of_the_folder_with_their_hashes(tree: Tree) -> None:
    grow(tree, series_of(1), images=3)
    report(tree)
    files = {file["@id"]: file for file in described(tree)["distribution"]}
    assert set(files) == {"metadata.csv", "images.csv", "manifest-md5.txt"}
    for name, file in files.items():
        content = (tree.root / name).read_bytes()
        assert file["sha256"] == hashlib.sha256(content).hexdigest()
        assert file["contentSize"] == f"{len(content)} B"
        assert file["contentUrl"] == name


def test_the_description_says_what_is_complete_under_which_license(tree: Tree) -> None:
    grow(tree, series_of(1), images=3)
    grow(tree, series_of(2), images=1)
    report(tree)
    document = described(tree)
    assert document["name"] == NAME
    assert "2 series" in document["description"]
    assert "4 images" in document["description"]
    assert COLLECTION.license is not None
    assert document["license"] == COLLECTION.license.url
    assert "10.7937/x" in document["citeAs"]
    assert document["url"] == "https://doi.org/10.7937/x"


def test_the_record_set_has_a_field_for_each_column_of_the_table(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    header = (tree.root / "metadata.csv").read_text("utf-8").splitlines()[0].split(",")
    (records,) = described(tree)["recordSet"]
    columns = [field["source"]["extract"]["column"] for field in records["field"]]
    assert columns == header
    assert records["key"]["@id"] in {field["@id"] for field in records["field"]}


def test_a_collection_without_entry_has_a_description_too(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree, None)
    assert described(tree)["name"] == NAME
    assert None not in described(tree).values()


def test_the_description_is_a_list_of_the_series_in_the_folder(tree: Tree) -> None:
    uids = [grow(tree, series_of(number)).series.uid for number in (1, 2)]
    report(tree)
    manifest = read_manifest(tree.root / "croissant.json")
    assert sorted(manifest.series) == sorted(uids)


def test_a_table_that_was_changed_since_is_refused(tree: Tree) -> None:
    grow(tree, series_of(1))
    report(tree)
    with (tree.root / "metadata.csv").open("ab") as file:
        file.write(b"\r\n")
    with pytest.raises(ManifestError, match="not the file that was described"):
        read_manifest(tree.root / "croissant.json")


@pytest.mark.parametrize("address", ["../metadata.csv", "/etc/passwd", "sub/metadata.csv"])
def test_a_description_names_no_file_of_another_folder(tree: Tree, address: str) -> None:
    grow(tree, series_of(1))
    report(tree)
    document = described(tree)
    document["distribution"][0]["contentUrl"] = address
    (tree.root / "other.json").write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="not read from here"):
        read_manifest(tree.root / "other.json")
