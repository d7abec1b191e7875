"""The `metadata.csv` above all collections: whose it is, and when it is written."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import RETRIEVER, UID, Layout
from tcia_covid.store.reports import outdated_reports, update_reports
from tcia_covid.store.tree import Tree
from tests.unit.trees import grow, series_of


def tree_of(directory: Path, name: str, layout: Layout = RETRIEVER) -> Tree:
    tree = Tree(directory / name, layout, Disk(durable=False))
    tree.prepare()
    return tree


def update(tree: Tree) -> list[str]:
    notices: list[str] = []
    assert update_reports(tree, None, Registry(), CancelToken(), notices.append)
    return notices


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "metadata.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_lists_the_series_of_all_collections(tmp_path: Path) -> None:
    for number, name in enumerate(("A", "B"), start=1):
        tree = tree_of(tmp_path, name)
        grow(tree, series_of(number, collection=name))
        assert update(tree) == []
    listed = rows(tmp_path)
    assert [row["Collection"] for row in listed] == ["A", "B"]
    assert all((tmp_path / row["File Location"]).is_dir() for row in listed)
    columns = list(listed[0])
    assert columns[10:14] == ["Modality", "SOP Class Name", "SOP Class UID", "Number of Images"]


def test_only_the_layouts_of_the_retriever_have_it(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, "A", UID)
    grow(tree, series_of(1))
    update(tree)
    assert not (tmp_path / "metadata.csv").exists()


def test_a_file_that_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text("mine")
    tree = tree_of(tmp_path, "A")
    grow(tree, series_of(1))
    (notice,) = update(tree)
    assert "is not this program's, and stays" in notice
    assert (tmp_path / "metadata.csv").read_text() == "mine"
    assert outdated_reports(tree) == []


@pytest.mark.parametrize("change", ["gone", "changed", "another collection"])
def test_it_is_out_of_date_until_somebody_writes_it(tmp_path: Path, change: str) -> None:
    tree = tree_of(tmp_path, "A")
    grow(tree, series_of(1))
    update(tree)
    other = tree_of(tmp_path, "B", UID)
    if change == "gone":
        (tmp_path / "metadata.csv").unlink()
    elif change == "changed":
        (tmp_path / "metadata.csv").write_text("by hand")
    else:
        grow(other, series_of(2))
        update(other)
        assert len(rows(tmp_path)) == 2, "by a run in another layout, too"
        return
    assert outdated_reports(tree) == ["../metadata.csv"]
    notices = update(tree)
    assert len(rows(tmp_path)) == 1
    assert outdated_reports(tree) == []
    aside = tmp_path / "metadata.csv.moved-aside"
    assert aside.exists() == bool(notices) == (change == "changed")


def test_a_damaged_record_counts_as_none(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, "A")
    grow(tree, series_of(1))
    update(tree)
    (tree.state / "combined.json").write_text('{"written": 1}')
    assert outdated_reports(tree) == []
    assert "stays" in update(tree)[0]
