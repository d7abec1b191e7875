"""The `metadata.csv` above all collections: whose it is, and when it is written."""

from __future__ import annotations

import csv
import os
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


@pytest.mark.parametrize("content", [b"Subject ID\r\nM\xfcller\r\n", b"x" * 200_000, b'"=1+1"\r\n'])
def test_fault_31_a_list_that_somebody_changed_is_named_and_left_out(
    tmp_path: Path, content: bytes
) -> None:
    for number, name in enumerate(("A", "B"), start=1):
        tree = tree_of(tmp_path, name)
        grow(tree, series_of(number, collection=name))
        assert update(tree) == []
    (tmp_path / "A" / "metadata.csv").write_bytes(content)
    (tmp_path / "metadata.csv").unlink()
    notices: list[str] = []
    assert not update_reports(tree, None, Registry(), CancelToken(), notices.append)
    (notice,) = notices
    assert f"{tmp_path / 'A' / 'metadata.csv'} was changed" in notice
    assert [row["Collection"] for row in rows(tmp_path)] == ["B"]
    assert outdated_reports(tree) == ["../metadata.csv"]
    assert "may be yours" in update(tree_of(tmp_path, "A"))[0], "other programs' files are kept"
    assert [row["Collection"] for row in rows(tmp_path)] == ["A", "B"]
    assert outdated_reports(tree) == []


def test_fault_23_the_file_of_a_run_at_the_same_time_is_not_moved_aside(tmp_path: Path) -> None:
    trees = []
    for number, name in enumerate(("A", "B", "C"), start=1):
        trees.append(tree_of(tmp_path, name))
        grow(trees[-1], series_of(number, collection=name))
        update(trees[-1])
    (tmp_path / "A" / "metadata.csv").write_text("by hand")
    (tmp_path / "metadata.csv").unlink()
    notices: list[str] = []

    def other_run(text: str) -> None:
        notices.append(text)
        if len(notices) == 1:
            update_reports(trees[1], None, Registry(), CancelToken(), notices.append)
            (tmp_path / "A" / "metadata.csv").unlink()

    update_reports(trees[2], None, Registry(), CancelToken(), other_run)
    assert [notice for notice in notices if "may be yours" in notice] == []
    assert not (tmp_path / "metadata.csv.moved-aside").exists()


def test_a_text_that_is_too_long_for_csv_is_reported(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, "A")
    grow(tree, series_of(1, description="x" * 200_000))
    notices: list[str] = []
    update_reports(tree, None, Registry(), CancelToken(), notices.append)
    assert "cannot be written: field larger than field limit" in notices[0]


@pytest.mark.skipif(not hasattr(os, "lchown") or os.geteuid() != 0, reason="needs other users")
def test_fault_35_another_users_link_next_to_the_collection_is_not_read(tmp_path: Path) -> None:
    private = tree_of(tmp_path / "private", "B")
    grow(private, series_of(2, collection="B"))
    update(private)
    shared = tree_of(tmp_path / "shared", "A")
    grow(shared, series_of(1, collection="A"))
    link = shared.root.with_name("B")
    link.symlink_to(private.root)
    os.lchown(link, 12345, -1)
    update(shared)
    assert [row["Collection"] for row in rows(tmp_path / "shared")] == ["A"]
