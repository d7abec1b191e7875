"""Receipts and notes: what is written is what is read, and nothing else counts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.models import Check, Receipt, Series, StoredImage
from tcia_covid.store.disk import Disk
from tcia_covid.store.receipts import Notes, Receipts, StoredReceipt
from tests.unit.trees import series_of

IMAGES = (
    StoredImage("1.2.3", 10, "0" * 31 + "a", Check.MD5, "nbia"),
    StoredImage("1.2.4", 0, "f" * 32, Check.SIZE, "adopted"),
    StoredImage("0042_lung", 7, "1" * 32, Check.MD5, "faspex", ".nii.gz"),
)
SERIES = series_of(1, description="Thorax: à plat", number=3, image_count=3, third_party=True)
RECEIPT = Receipt(SERIES, "P/1.2/1.2.3", IMAGES, "2026-01-02T03:04:05Z", "tcia-covid 0.1.0")


@pytest.fixture
def receipts(tmp_path: Path) -> Receipts:
    return Receipts(tmp_path / "series", Disk(durable=False), tmp_path / "tmp")


def test_a_receipt_is_read_as_it_was_written(receipts: Receipts) -> None:
    filed = StoredReceipt(RECEIPT, "machine-1-abcd")
    receipts.write(filed)
    assert receipts.read(SERIES.uid) == filed
    assert receipts.uids() == {SERIES.uid}
    assert list(receipts.all()) == [RECEIPT]


def test_a_receipt_is_text_that_people_can_read(receipts: Receipts) -> None:
    receipts.write(StoredReceipt(RECEIPT, ""))
    text = receipts.path(SERIES.uid).read_text(encoding="utf-8")
    assert "Thorax: à plat" in text
    assert text.endswith("}\n")


def test_a_receipt_that_is_replaced_leaves_nothing_of_the_old_one(receipts: Receipts) -> None:
    receipts.write(StoredReceipt(RECEIPT, "one"))
    newer = StoredReceipt(replace(RECEIPT, images=IMAGES[:1]), "two")
    receipts.write(newer)
    assert receipts.read(SERIES.uid) == newer
    assert list(receipts.folder.parent.rglob("*.part")) == []


def test_unknown_keys_in_a_receipt_are_ignored(receipts: Receipts) -> None:
    receipts.write(StoredReceipt(RECEIPT, ""))
    path = receipts.path(SERIES.uid)
    document = json.loads(path.read_bytes())
    document["signature"] = document["series"]["colour"] = "blue"
    path.write_text(json.dumps(document), encoding="utf-8")
    assert receipts.read(SERIES.uid) == StoredReceipt(RECEIPT, "")


def test_receipts_describe_a_series_with_the_archives_names(receipts: Receipts) -> None:
    receipts.write(StoredReceipt(RECEIPT, ""))
    document = json.loads(receipts.path(SERIES.uid).read_bytes())
    assert Series.from_dict(document["series"]) == SERIES


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"format": 1}', '{"format": 3}', "\0" * 512]
)
def test_a_receipt_that_cannot_be_read_is_none(receipts: Receipts, text: str) -> None:
    receipts.write(StoredReceipt(RECEIPT, ""))
    receipts.path(SERIES.uid).write_text(text)
    assert receipts.read(SERIES.uid) is None
    assert receipts.uids() == {SERIES.uid}
    assert list(receipts.all()) == []


def test_a_receipt_under_another_series_name_is_none(receipts: Receipts) -> None:
    receipts.write(StoredReceipt(RECEIPT, ""))
    receipts.path(SERIES.uid).rename(receipts.path("1.2.3"))
    assert receipts.read("1.2.3") is None
    assert receipts.read(SERIES.uid) is None


def test_files_that_are_not_receipts_are_ignored(receipts: Receipts) -> None:
    assert receipts.uids() == set()
    receipts.write(StoredReceipt(RECEIPT, ""))
    for name in (".DS_Store", "._1.2.3.json", "notes.txt"):
        (receipts.folder / name).write_text("x")
    assert receipts.uids() == {SERIES.uid}


def test_notes_are_read_as_they_were_written_until_they_are_cleared(tmp_path: Path) -> None:
    notes = Notes(tmp_path / "damaged", Disk(durable=False), tmp_path / "tmp")
    assert notes.uids() == set()
    notes.clear("1.2.3")
    lines = [{"file": "a.dcm", "detail": "à"}, {"file": "b.dcm"}]
    notes.write("1.2.3", lines)
    assert notes.read("1.2.3") == lines
    assert notes.uids() == {"1.2.3"}
    notes.clear("1.2.3")
    assert notes.read("1.2.3") == []
    assert notes.uids() == set()


@pytest.mark.parametrize("text", ["", "7", '{"file": 1}', "[1, null]"])
def test_a_note_that_cannot_be_read_is_still_counted(tmp_path: Path, text: str) -> None:
    notes = Notes(tmp_path / "damaged", Disk(durable=False), tmp_path / "tmp")
    notes.write("1.2.3", [])
    (tmp_path / "damaged" / "1.2.3.json").write_text(text)
    assert notes.read("1.2.3") == []
    assert notes.uids() == {"1.2.3"}
