"""The status of a folder, without the network and without opening an image."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.cli.commands.status import status_lines
from tcia_covid.core.errors import DestinationError, RequestError
from tcia_covid.core.models import Check, Failure
from tcia_covid.operations.status import CollectionStatus, Expected, read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.output.json_documents import status_document
from tcia_covid.store.discovery import UncheckedFolder
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.tree import Tree
from tests.unit.trees import NAME, files, grow, image_of, new_tree, series_of, stage

REGISTRY = Registry((Collection(NAME, "DICOM", NAME, series=461, images=31935, size=19927664950),))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def only(directory: Path, registry: Registry = REGISTRY) -> CollectionStatus:
    """The status of the one collection there."""
    (collection,) = read_status(directory, registry).collections
    return collection


def test_complete_series_are_counted_with_their_images_bytes_and_checks(
    tree: Tree, tmp_path: Path
) -> None:
    proofs = (Check.MD5, Check.MD5, Check.SERIES_MD5, Check.SIZE)
    receipts = [grow(tree, series_of(n), n, check=check) for n, check in enumerate(proofs, 1)]
    complete = only(tmp_path).complete
    assert (complete.series, complete.images) == (4, 10)
    assert complete.size == sum(receipt.size for receipt in receipts)
    assert complete.checks == {Check.MD5: 2, Check.SERIES_MD5: 1, Check.SIZE: 1}
    assert complete.sources == {"nbia": 4}


def test_the_weakest_check_and_every_source_of_a_series_count(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1), 2)
    first, second = receipt.images
    images = (first, replace(second, check=Check.SIZE, source="idc"))
    tree.receipts.write(StoredReceipt(replace(receipt, images=images), ""))
    complete = only(tmp_path).complete
    assert complete.checks == {Check.SIZE: 1}
    assert complete.sources == {"nbia": 1, "idc": 1}


def test_last_completed_is_the_time_of_the_latest_series(tree: Tree, tmp_path: Path) -> None:
    assert only(tmp_path).complete.last_completed is None
    for number, finished in enumerate(("2024-05-01T00:00:00Z", "2023-01-01T00:00:00Z"), 1):
        receipt = grow(tree, series_of(number), 1)
        tree.receipts.write(StoredReceipt(replace(receipt, finished=finished), ""))
    assert only(tmp_path).complete.last_completed == "2024-05-01T00:00:00Z"


def test_a_partial_series_is_counted_with_its_staged_images(tree: Tree, tmp_path: Path) -> None:
    series = series_of(1)
    stage(tree, series, images=2)
    (partial,) = only(tmp_path).partial
    assert (partial.series, partial.images) == (series.uid, 2)
    assert partial.size == sum(len(image_of(series, number)) for number in (1, 2))
    assert only(tmp_path).complete.series == 0


def test_a_staging_folder_without_images_is_not_partial(tree: Tree, tmp_path: Path) -> None:
    (tree.staging / series_of(1).uid / "run").mkdir(parents=True)
    assert only(tmp_path).partial == []


def test_a_series_that_verify_found_damaged_is_listed_until_it_is_repaired(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = grow(tree, series_of(1))
    victim = files(tree, receipt)[0]
    content = victim.read_bytes()
    victim.write_bytes(b"x")
    verify_directory(tmp_path)
    assert only(tmp_path).damaged == [receipt.series.uid]
    assert only(tmp_path).complete.series == 0
    victim.write_bytes(content)
    verify_directory(tmp_path)
    assert (only(tmp_path).damaged, only(tmp_path).complete.series) == ([], 1)


@pytest.mark.parametrize("lost", ["file", "folder"])
def test_a_series_without_all_of_its_files_is_not_complete(
    tree: Tree, tmp_path: Path, lost: str
) -> None:
    receipt = grow(tree, series_of(1))
    grow(tree, series_of(2))
    if lost == "file":
        files(tree, receipt)[0].unlink()
    else:
        shutil.rmtree(tree.path(receipt))
    found = only(tmp_path)
    assert (found.missing_files, found.complete.series) == ([receipt.series.uid], 1)


def test_a_series_with_another_file_of_the_same_number_is_not_complete(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = grow(tree, series_of(1))
    victim = files(tree, receipt)[0]
    victim.rename(victim.with_name("other.dcm"))
    assert only(tmp_path).missing_files == [receipt.series.uid]


def test_a_failure_is_listed_with_its_reason(tree: Tree, tmp_path: Path) -> None:
    failure = Failure("1.2.3", "incomplete", "2 images are missing", ("1.2.3.1",), "try again")
    tree.failures.write("1.2.3", [asdict(failure)])
    assert only(tmp_path).failed == [failure]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b"[1]", b'[{"missing": 5}]'])
def test_a_failure_whose_note_cannot_be_read_is_listed_without_detail(
    tree: Tree, tmp_path: Path, content: bytes
) -> None:
    tree.failures.write("1.2.3", [])
    (tree.state / "failed" / "1.2.3.json").write_bytes(content)
    assert only(tmp_path).failed == [Failure("1.2.3", "failed", "")]


def test_the_expected_size_comes_from_the_registry(tree: Tree, tmp_path: Path) -> None:
    assert only(tmp_path).expected == Expected(461, 31935, 19927664950)
    assert only(tmp_path, Registry()).expected is None
    assert only(tmp_path / NAME, REGISTRY).expected is not None


def test_fault_24_a_damaged_receipt_is_listed(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1))
    tree.receipts.path(receipt.series.uid).write_bytes(b"{")
    assert only(tmp_path).complete.series == 0
    assert only(tmp_path).missing_files == [receipt.series.uid]


def test_every_collection_of_a_folder_is_listed_by_name(tmp_path: Path) -> None:
    for name in ("B", "A"):
        grow(new_tree(tmp_path, name), series_of(1, collection=name))
    (tmp_path / "not-ours").mkdir()
    assert [collection.name for collection in read_status(tmp_path).collections] == ["A", "B"]


def test_a_collection_is_called_as_the_archive_spells_it(tmp_path: Path) -> None:
    grow(new_tree(tmp_path, "folder-name"), series_of(1, collection="Übung/1"))
    assert only(tmp_path).name == "Übung/1"


def test_a_folder_without_downloads_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        read_status(tmp_path)
    with pytest.raises(RequestError):
        read_status(tmp_path / "nowhere")


def test_a_state_folder_that_cannot_be_read_is_an_error(tree: Tree, tmp_path: Path) -> None:
    shutil.rmtree(tree.receipts.folder)
    tree.receipts.folder.write_text("in the way")
    with pytest.raises(DestinationError, match="cannot be read"):
        read_status(tmp_path)


def test_the_document_has_everything_in_plain_json(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1))
    stage(tree, series_of(2), images=1)
    tree.failures.write("1.2.3", [asdict(Failure("1.2.3", "checksum", "wrong", ("1.2.3.1",)))])
    parsed = json.loads(json.dumps(status_document(read_status(tmp_path, REGISTRY))))
    assert (parsed["command"], parsed["output"], parsed["exit_code"]) == (
        "status",
        str(tmp_path),
        0,
    )
    (collection,) = parsed["collections"]
    assert collection["collection"] == NAME
    assert collection["series"] == {
        "complete": 1,
        "partial": 1,
        "damaged": 0,
        "missing_files": 0,
        "failed": 1,
        "missing": 461,
        "expected": 461,
    }
    assert collection["images"] == {"stored": 3, "expected": 31935}
    assert collection["bytes"] == {"stored": receipt.size, "expected": 19927664950}
    assert collection["checked"] == {"md5": 1, "series_md5": 0, "size": 0}
    assert collection["failures"][0]["missing"] == ["1.2.3.1"]
    assert collection["partial"][0]["images"] == 1


def test_images_that_no_receipt_covers_are_named(tree: Tree, tmp_path: Path) -> None:
    grow(tree, series_of(1), 1)
    (tmp_path / "OTHER" / "P1").mkdir(parents=True)
    (tmp_path / "OTHER" / "P1" / "1.dcm").write_bytes(b"")
    (tmp_path / "notes").mkdir()
    found = read_status(tmp_path)
    assert found.unchecked == [UncheckedFolder("OTHER", 1)]
    assert status_document(found)["unchecked"] == [{"folder": "OTHER", "images": 1}]
    assert read_status(tree.root).unchecked == []
    assert (
        "not checked: OTHER (1 image, no receipts); 'download OTHER' imports what is correct"
        in status_lines(found)
    )


def test_a_series_with_several_problems_is_listed_once(tree: Tree, tmp_path: Path) -> None:
    receipt = grow(tree, series_of(1), 1)
    (tree.path(receipt) / receipt.images[0].file).unlink()
    verify_directory(tmp_path)
    lines = list(status_lines(read_status(tmp_path)))
    assert sum(receipt.series.uid in line for line in lines) == 1
    assert lines[-1] == "file contents were not checked: use 'tcia-covid verify'"
