"""A folder is compared with what targets name, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import tcia_covid
from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.operations.verify import VerifyResult
from tcia_covid.operations.verify_against import Mismatch
from tcia_covid.output.json_documents import verify_document
from tcia_covid.selection.manifests.write import csv_lines
from tcia_covid.store.receipts import Receipts, StoredReceipt
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tests.e2e.archive import stand_in
from tests.unit import trees
from tests.unit.trees import files, new_tree, series_of

NAME = "MIDRC-RICORD-1B"
LISTED = series_catalog.load(NAME)
SOME = LISTED[:3]
PATIENTS = ",".join(series.patient for series in SOME)


def grow(tree: Tree, series: Series) -> Receipt:
    """Put a complete series of two images into the tree, under the names of the catalog."""
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for image in stand_in(series, LISTED.index(series) if series in LISTED else 1000).images:
            staging.receive([image.read()], source="nbia")
        staging.prove(list(staging.images), Check.MD5)
        return tree.commit(staging)


@pytest.fixture(name="output")
def _output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three series of the catalog."""
    monkeypatch.chdir(tmp_path)
    tree = new_tree(tmp_path / "data", NAME)
    for series in SOME:
        grow(tree, series)
    return tmp_path / "data"


def tree_of(output: Path) -> Tree:
    return Tree(output / NAME)


def numbers(result: VerifyResult) -> tuple[int, int, int, int, int]:
    """Expected, complete, missing, changed, extra."""
    assert result.against is not None
    series = result.against.series
    assert result.exit_code == bool(result.against.mismatches) or result.damage
    return series.expected, series.complete, series.missing, series.changed, series.extra


def only(result: VerifyResult) -> Mismatch:
    assert result.against is not None
    (mismatch,) = result.against.mismatches
    return mismatch


def lock(series: Iterable[Series], name: str = "lock.csv") -> str:
    Path(name).write_text("\n".join(csv_lines(series)))
    return name


@pytest.mark.parametrize(
    ("against", "filters"),
    [
        ([series.uid for series in SOME], {}),
        (",".join(series.uid for series in SOME), {}),
        ([series.study for series in SOME], {}),
        ([str(series.crdc_uuid) for series in SOME], {}),
        (SOME, {}),
        ([series.to_dict() for series in SOME], {}),
        (NAME, {"patient": PATIENTS}),
        ("midrc ricord 1b", {"max_series": 3}),
        (NAME, {"where": f"PatientID~{PATIENTS.replace(',', '|')}"}),
        (SOME[0].patient, {"series": [SOME[0].uid]}),
    ],
)
def test_any_target_with_filters_can_be_proved(
    output: Path, against: Any, filters: Mapping[str, Any]
) -> None:
    expected = 1 if "series" in filters else 3
    if expected == 1:
        for series in SOME[1:]:
            tree_of(output).receipts.clear(series.uid)
    result = tcia_covid.verify(output, against=against, **filters)
    assert numbers(result) == (expected, expected, 0, 0, 0)


def test_what_is_missing_is_named(output: Path) -> None:
    with tree_of(output).stage(LISTED[3], lambda count: None) as staging:
        assert isinstance(staging, Staging)
        staging.receive([stand_in(LISTED[3], 3).images[0].read()], source="nbia")
    result = tcia_covid.verify(output, against=NAME)
    assert numbers(result) == (120, 3, 117, 0, 0)
    assert result.against is not None
    found = {mismatch.series: mismatch for mismatch in result.against.mismatches}
    begun, other = found[LISTED[3].uid], found[LISTED[4].uid]
    assert begun.detail == "only some of its images were downloaded"
    assert other.detail == "nothing of it was downloaded"
    assert (other.collection, other.patient) == (NAME, LISTED[4].patient)
    assert other.image_count == LISTED[4].image_count


def test_what_is_extra_is_named(output: Path) -> None:
    extra = trees.grow(new_tree(output), series_of(1))
    result = tcia_covid.verify(output, against=[series.uid for series in SOME])
    assert numbers(result) == (3, 3, 0, 0, 1)
    mismatch = only(result)
    assert (mismatch.state.value, mismatch.series) == ("extra", extra.series.uid)
    inside = tcia_covid.verify(output / NAME, against=[series.uid for series in SOME])
    assert numbers(inside) == (3, 3, 0, 0, 0)


def test_the_images_of_a_damaged_series_are_named(output: Path) -> None:
    receipt = tree_of(output).complete_receipt(SOME[1].uid)
    assert receipt is not None
    first, second = files(tree_of(output), receipt)
    first.unlink()
    second.write_bytes(b"other")
    result = tcia_covid.verify(output, against=[series.uid for series in SOME])
    assert numbers(result) == (3, 2, 0, 1, 0)
    mismatch = only(result)
    assert mismatch.detail == "1 image missing, 1 image damaged"
    assert sorted(mismatch.images) == sorted([first.stem, second.stem])


@pytest.mark.parametrize(
    ("facts", "detail"),
    [
        ({"image_count": 7}, "2 images of"),
        ({"size": 12}, "2 images of"),
        ({"crdc_uuid": "0" * 8}, "crdc_series_uuid 00000000 is on disk"),
    ],
)
def test_another_version_than_in_the_catalog_is_a_change(
    output: Path, facts: dict[str, Any], detail: str
) -> None:
    grow(tree_of(output), replace(LISTED[3], **facts))
    result = tcia_covid.verify(output, against=NAME, max_series=4)
    assert numbers(result) == (4, 3, 0, 1, 0)
    assert only(result).detail.startswith(detail)


def hashed(output: Path) -> list[Series]:
    """The series in the folder, with their hashes."""
    receipts = [tree_of(output).complete_receipt(series.uid) for series in SOME]
    return [replace(receipt.series, md5=receipt.md5) for receipt in receipts if receipt]


def test_a_lock_file_proves_the_bytes(output: Path) -> None:
    result = tcia_covid.verify(output, against=lock(hashed(output)))
    assert numbers(result) == (3, 3, 0, 0, 0)
    assert result.against is not None
    assert result.against.pinned == ["ImageCount", "FileSize", "crdc_series_uuid", "series_hash"]


@pytest.mark.parametrize(
    "facts",
    [
        {"image_count": 7},
        {"size": None},
        {"crdc_uuid": None},
        {"crdc_uuid": "00000000-0000-4000-8000-000000000000"},
        {"md5": "0" * 32},
    ],
)
def test_no_false_value_of_a_lock_file_is_accepted(output: Path, facts: dict[str, Any]) -> None:
    *others, last = hashed(output)
    result = tcia_covid.verify(output, against=lock([*others, replace(last, **facts)]))
    assert numbers(result) == (3, 2, 0, 1, 0)
    assert only(result).series == last.uid


def test_series_outside_the_catalog_are_compared_by_their_uids(output: Path) -> None:
    receipt = trees.grow(new_tree(output), series_of(1))
    absent = f"{receipt.series.uid}.1"
    words = [*(series.uid for series in SOME), receipt.series.uid]
    assert numbers(tcia_covid.verify(output, against=words)) == (4, 4, 0, 0, 0)
    Path("list.txt").write_text("\n".join([*words, absent]))
    Path("list.tcia").write_text("ListOfSeriesToDownload=\n" + "\n".join([*words, absent]))
    for name in ("list.txt", "list.tcia"):
        result = tcia_covid.verify(output, against=name)
        assert numbers(result) == (5, 4, 1, 0, 0)
        assert only(result).series == absent
        assert "not in the catalog" in only(result).detail


def test_only_receipts_that_exist_are_read_for_a_long_list(
    output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = trees.grow(new_tree(output), series_of(1)).series
    absent = [f"1.2.3.{number}" for number in range(200)]
    Path("list.txt").write_text("\n".join([*absent, stored.uid]))
    read: list[str] = []

    def counted(receipts: Receipts, uid: str) -> StoredReceipt | None:
        read.append(uid)
        return read_receipt(receipts, uid)

    read_receipt = Receipts.read
    monkeypatch.setattr(Receipts, "read", counted)
    result = tcia_covid.verify(output, against="list.txt")
    assert numbers(result) == (201, 1, 200, 0, 3)
    assert set(read) == {stored.uid, *(series.uid for series in SOME)}


def test_what_is_missing_of_a_long_list_takes_little_memory(output: Path) -> None:
    absent = [replace(SOME[0], uid=f"1.2.3.{number}") for number in range(200)]
    result = tcia_covid.verify(output, against=lock(absent))
    assert numbers(result) == (200, 0, 200, 0, 3)
    assert result.against is not None
    missing = [mismatch for mismatch in result.against.mismatches if mismatch.state == "missing"]
    assert len({id(mismatch.detail) for mismatch in missing}) == 1, "one text for all"
    assert len({id(mismatch.images) for mismatch in missing}) == 1


@pytest.mark.parametrize("word", ["ACRIN-NSCLC-FDG-PET", "https://host/list.csv"])
def test_what_only_a_network_knows_is_refused(output: Path, word: str) -> None:
    with pytest.raises(RequestError) as refused:
        tcia_covid.verify(output, against=word)
    assert "lock.csv" in refused.value.hint or "download it" in refused.value.hint


def test_filters_need_targets(output: Path) -> None:
    with pytest.raises(UsageError, match="filters select what the folder is compared with"):
        tcia_covid.verify(output, patient="A")
    with pytest.raises(UsageError, match="no target given"):
        tcia_covid.verify(output, against=[])


def test_volumes_are_counted(output: Path) -> None:
    registry: Registry = load_registry()
    collection = registry.find("CT Images in COVID-19")
    assert collection is not None
    result = tcia_covid.verify(output, against=collection.name)
    assert numbers(result) == (collection.patients, 0, collection.patients, 0, 3)
    assert isinstance(VolumeTree(output, collection), Tree)


def test_the_document_names_each_mismatch(output: Path) -> None:
    result = tcia_covid.verify(output, against=NAME, max_series=4)
    against = verify_document(result)["against"]
    assert against["series"] == {
        "expected": 4,
        "complete": 3,
        "missing": 1,
        "extra": 0,
        "changed": 0,
    }
    (mismatch,) = against["mismatches"]
    assert mismatch.to_dict() == {
        "SeriesInstanceUID": LISTED[3].uid,
        "Collection": NAME,
        "PatientID": LISTED[3].patient,
        "ImageCount": LISTED[3].image_count,
        "state": "missing",
        "detail": "nothing of it was downloaded",
        "images": [],
    }
    assert against["resolved"][0]["kind"] == "collection"
