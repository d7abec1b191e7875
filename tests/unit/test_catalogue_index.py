"""IDC's whole index, where it is installed: series beyond the catalogue."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tcia_covid.catalogue import index

ROW = {
    "collection_id": "lidc_idri",
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
    "instanceCount": 133,
    "series_size_MB": 70.031456,
    "license_short_name": "CC BY 3.0",
    "source_DOI": "10.7937/k9/tcia.2015.lo9ql9sx",
    "aws_bucket": "idc-open-data",
    "crdc_series_uuid": "a5f4a9de-0000-4a3b-9b3b-000000000000",
}


@pytest.fixture(name="installed")
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "idc_index.parquet"
    other = {**ROW, "collection_id": "other", "SeriesInstanceUID": "1.2.3.5"}
    pq.write_table(pa.Table.from_pylist([ROW, other]), file)
    monkeypatch.setattr(index, "_index", lambda: file)


@pytest.mark.usefixtures("installed")
def test_a_collection_is_found_by_tcias_name() -> None:
    (series,) = index.load("LIDC-IDRI")
    assert (series.uid, series.collection) == ("1.2.3.4", "LIDC-IDRI")
    assert (series.bucket, series.image_count, series.size) == ("idc-open-data", 133, 70031456)
    assert series.number == 3000566


@pytest.mark.usefixtures("installed")
def test_series_are_found_by_uid() -> None:
    found = index.find(["1.2.3.5", "1.2.9"])
    assert list(found) == ["1.2.3.5"]
    assert found["1.2.3.5"].collection == "other"


def test_without_the_index_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "_index", lambda: None)
    assert index.load("LIDC-IDRI") == []
    assert index.find(["1.2.3.4"]) == {}
