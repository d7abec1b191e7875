"""images.csv: one row per image, in slice order, from headers that were read on the way."""

from __future__ import annotations

import builtins
import csv
import hashlib
import io
import json
from pathlib import Path

import pytest

from tcia_covid.catalog.collections import Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.models import Check, Receipt, Series
from tcia_covid.store.locks import Lock
from tcia_covid.store.reports import outdated_reports, update_reports, write_reports
from tcia_covid.store.staging import Staging
from tcia_covid.store.tree import Tree
from tests.fakes.synthetic import SOP_CLASSES, ImageSpec, synthetic_image
from tests.unit.trees import new_tree, series_of

COLUMNS = [
    "path",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "SOPClassUID",
    "InstanceNumber",
    "AcquisitionNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "TransferSyntaxUID",
    "bytes",
    "md5",
]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def add(tree: Tree, series: Series, images: int = 12) -> Receipt:
    """Commit axial images whose numbers fall while their position rises."""
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        for place in range(1, images + 1):
            spec = ImageSpec(
                f"{series.uid}.{place}",
                series.uid,
                series.study,
                series.patient,
                number=images + 1 - place,
                seed=place,
                position=f"-100.5\\-90\\{-200 + 1.25 * place}",
            )
            staging.receive([synthetic_image(spec)], source="nbia")
        staging.prove(list(staging.images), Check.MD5)
        return tree.commit(staging)


def rows(tree: Tree) -> list[dict[str, str]]:
    text = (tree.root / "images.csv").read_bytes().decode("utf-8")
    return list(csv.DictReader(io.StringIO(text, newline="")))


def report(tree: Tree) -> None:
    write_reports(tree, None, Registry())


def forget_headers(tree: Tree, receipt: Receipt) -> Path:
    """Make a receipt what an older version of the program wrote."""
    path = tree.receipts.path(receipt.series.uid)
    document = json.loads(path.read_text())
    del document["headers"]
    path.write_text(json.dumps(document))
    return path


def test_each_image_has_a_row_in_slice_order(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    add(tree, series_of(2))
    report(tree)

    found = rows(tree)
    assert list(found[0]) == COLUMNS
    assert len(found) == 24
    assert [row["InstanceNumber"] for row in found[:12]] == [str(n) for n in range(12, 0, -1)]
    first = found[0]
    image = (tree.root / first["path"]).read_bytes()
    assert first == {
        "path": f"{receipt.folder}/{receipt.series.uid}.1.dcm",
        "SOPInstanceUID": f"{receipt.series.uid}.1",
        "SeriesInstanceUID": receipt.series.uid,
        "SOPClassUID": SOP_CLASSES["CT"],
        "InstanceNumber": "12",
        "AcquisitionNumber": "1",
        "ImagePositionPatient": "-100.5\\-90\\-198.75",
        "ImageOrientationPatient": "1\\0\\0\\0\\1\\0",
        "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "bytes": str(len(image)),
        "md5": hashlib.md5(image).hexdigest(),
    }


def test_writing_it_opens_no_image(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    add(tree, series_of(1))
    opened: list[str] = []
    real = builtins.open

    def watched(file, *arguments, **keywords):
        opened.append(str(file))
        return real(file, *arguments, **keywords)

    monkeypatch.setattr(builtins, "open", watched)
    report(tree)
    assert rows(tree)
    assert not [file for file in opened if file.endswith(".dcm")]


def test_headers_of_images_that_an_older_version_downloaded_are_read_once(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    report(tree)
    expected = rows(tree)
    path = forget_headers(tree, receipt)
    notices: list[str] = []

    write_reports(tree, None, Registry(), notices.append)
    assert rows(tree) == expected
    assert len(notices) == 1
    assert "images.csv" in notices[0]
    assert "headers" in json.loads(path.read_text())

    write_reports(tree, None, Registry(), notices.append)
    assert len(notices) == 1


def test_a_tree_of_an_older_version_is_out_of_date(tree: Tree) -> None:
    add(tree, series_of(1))
    report(tree)
    stamp = json.loads(tree.reports_stamp.read_text())
    del stamp["images.csv"]
    tree.reports_stamp.write_text(json.dumps(stamp))
    (tree.root / "images.csv").unlink()

    assert "images.csv" in outdated_reports(tree)


def test_a_canceled_run_reads_no_headers_and_leaves_the_file_out_of_date(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    forget_headers(tree, receipt)
    stop = CancelToken()
    stop.set()

    assert not update_reports(tree, None, Registry(), stop)
    assert outdated_reports(tree) == ["images.csv"]
    assert update_reports(tree, None, Registry(), CancelToken())
    assert rows(tree)[0]["SOPClassUID"] == SOP_CLASSES["CT"]


def test_a_receipt_that_another_run_works_on_is_not_changed(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    path = forget_headers(tree, receipt)
    before = path.read_bytes()
    with Lock(tree.state / "locks" / f"{receipt.series.uid}.lock", "series"):
        report(tree)

    assert path.read_bytes() == before
    assert rows(tree)[0]["InstanceNumber"] == "12"


def test_an_image_that_cannot_be_read_has_empty_attributes(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    forget_headers(tree, receipt)
    damaged = tree.path(receipt) / receipt.images[0].file
    damaged.write_bytes(b"damaged")
    report(tree)

    damaged_rows = [row for row in rows(tree) if not row["SOPClassUID"]]
    assert [row["SOPInstanceUID"] for row in damaged_rows] == [receipt.images[0].uid]


@pytest.mark.parametrize(
    "headers",
    [
        "text",
        {"InstanceNumber": ["1"]},
        {"InstanceNumber": 5},
        {"ImagePositionPatient": [None] * 12},
    ],
)
def test_headers_in_a_changed_receipt_are_not_trusted(tree: Tree, headers: object) -> None:
    receipt = add(tree, series_of(1))
    path = tree.receipts.path(receipt.series.uid)
    path.write_text(json.dumps({**json.loads(path.read_text()), "headers": headers}))
    report(tree)

    assert len(rows(tree)) == 12


def test_formulas_are_made_text_and_numbers_are_not(tree: Tree) -> None:
    receipt = add(tree, series_of(1))
    path = tree.receipts.path(receipt.series.uid)
    document = json.loads(path.read_text())
    document["headers"]["SOPClassUID"] = '=HYPERLINK("http://x")'
    path.write_text(json.dumps(document))
    report(tree)

    first = rows(tree)[0]
    assert first["SOPClassUID"] == '\'=HYPERLINK("http://x")'
    assert first["ImagePositionPatient"].startswith("-100.5\\-90\\")


def test_a_user_s_own_images_csv_is_moved_aside_visibly(tree: Tree) -> None:
    add(tree, series_of(1))
    (tree.root / "images.csv").write_text("my own notes")
    notices: list[str] = []
    write_reports(tree, None, Registry(), notices.append)

    assert rows(tree)
    kept = [file for file in tree.root.glob("images.csv*") if file.name != "images.csv"]
    assert [file.read_text() for file in kept] == ["my own notes"]
    assert any(kept[0].name in notice for notice in notices)


def test_an_image_left_in_staging_by_a_dead_run_has_its_attributes(tree: Tree) -> None:
    series = series_of(1)
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        spec = ImageSpec(f"{series.uid}.1", series.uid, series.study, series.patient, number=7)
        staging.receive([synthetic_image(spec)], source="nbia")
    with tree.stage(series, lambda count: None) as staging:
        assert isinstance(staging, Staging)
        staging.prove(list(staging.images), Check.MD5)
        tree.commit(staging)
    report(tree)

    assert rows(tree)[0]["InstanceNumber"] == "7"
