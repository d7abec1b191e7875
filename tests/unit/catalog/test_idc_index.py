"""IDC's index, if it is installed: series outside the catalog."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_covid.catalog import idc_index

ROW = {
    "collection_id": "lidc_idri",
    "analysis_result_id": None,
    "PatientID": "LIDC-IDRI-0001",
    "StudyInstanceUID": "1.2.3",
    "SeriesInstanceUID": "1.2.3.4",
    "Modality": "CT",
    "BodyPartExamined": "CHEST",
    "SeriesDate": "2000-01-01",
    "StudyDate": "2000-01-01",
    "SeriesDescription": None,
    "StudyDescription": None,
    "SeriesNumber": "3000566",
    "Manufacturer": "GE MEDICAL SYSTEMS",
    "ManufacturerModelName": None,
    "PatientSex": "F",
    "PatientAge": "064Y",
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2",
    "TransferSyntaxUID": "1.2.840.10008.1.2.1",
    "PhotometricInterpretation": "MONOCHROME2",
    "instanceCount": 133,
    "series_size_MB": 70.031456,
    "license_short_name": "CC BY 3.0",
    "source_DOI": "10.7937/k9/tcia.2015.lo9ql9sx",
    "aws_bucket": "idc-open-data",
    "crdc_series_uuid": "a5f4a9de-0000-4a3b-9b3b-000000000000",
}


@pytest.fixture
def index(tmp_path: Path) -> Path:
    file = tmp_path / "idc_index.parquet"
    other = {**ROW, "collection_id": "other", "SeriesInstanceUID": "1.2.3.5"}
    result = {**ROW, "SeriesInstanceUID": "1.2.3.6", "analysis_result_id": "nodules"}
    pq.write_table(pa.Table.from_pylist([ROW, other, result]), file)
    names = [{"collection_id": "lidc_idri", "collection_name": "LIDC-IDRI"}]
    pq.write_table(pa.Table.from_pylist(names), tmp_path / "collections_index.parquet")
    return file


def test_a_collection_is_found_by_tcias_name(index: Path) -> None:
    (series,) = idc_index.load("lidc-idri", index=index)
    assert (series.uid, series.collection) == ("1.2.3.4", "LIDC-IDRI")
    assert (series.bucket, series.image_count, series.size) == ("idc-open-data", 133, 70031456)
    assert series.number == 3000566


def test_analysis_results_are_found_only_by_uid(index: Path) -> None:
    assert [series.uid for series in idc_index.load("LIDC-IDRI", index=index)] == ["1.2.3.4"]
    by_uid = idc_index.find(["1.2.3.4", "1.2.3.6"], index=index)
    assert {uid: series.third_party for uid, series in by_uid.items()} == {
        "1.2.3.4": False,
        "1.2.3.6": True,
    }


@pytest.mark.parametrize(
    ("column", "value", "uids"),
    [
        ("StudyInstanceUID", "1.2.3", ["1.2.3.4", "1.2.3.5", "1.2.3.6"]),
        ("PatientID", "LIDC-IDRI-0001", ["1.2.3.4", "1.2.3.5", "1.2.3.6"]),
        ("crdc_series_uuid", ROW["crdc_series_uuid"], ["1.2.3.4", "1.2.3.5", "1.2.3.6"]),
        ("SeriesInstanceUID", "1.2.3.5", ["1.2.3.5"]),
    ],
)
def test_series_are_found_by_any_identifier(
    index: Path, column: str, value: str, uids: list[str]
) -> None:
    matches = idc_index.search(column, [value, "nothing"], index=index)
    assert {key: [series.uid for series in found] for key, found in matches.items()} == {
        value: uids
    }


def test_series_found_by_uid_have_tcias_collection_name(index: Path) -> None:
    assert idc_index.find(["1.2.3.4"], index=index)["1.2.3.4"].collection == "LIDC-IDRI"


def test_series_of_a_collection_without_a_name_are_found_by_uid(index: Path) -> None:
    by_uid = idc_index.find(["1.2.3.5", "1.2.9"], index=index)
    assert list(by_uid) == ["1.2.3.5"]
    assert by_uid["1.2.3.5"].collection == "other"


def test_without_the_index_nothing_is_found(tmp_path: Path) -> None:
    missing = tmp_path / "idc_index.parquet"
    assert idc_index.load("LIDC-IDRI", index=missing) == []
    assert idc_index.find(["1.2.3.4"], index=missing) == {}
