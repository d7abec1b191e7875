"""The whole of IDC's index, where the extra `idc` is installed: series beyond the catalogue.

The package `idc-index-data` brings a table of a million series (74 MB). Only the lines asked for
are kept; reading takes a few seconds, and some 300 MB while it lasts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tcia_covid.model import Series

_FILE = "idc_index_data/idc_index.parquet"
_BATCH = 65_536
_COLUMNS = {
    "SeriesInstanceUID": "uid",
    "PatientID": "patient",
    "StudyInstanceUID": "study",
    "Modality": "modality",
    "BodyPartExamined": "body_part",
    "SeriesDescription": "description",
    "SeriesDate": "date",
    "StudyDate": "study_date",
    "StudyDescription": "study_description",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "manufacturer_model",
    "license_short_name": "licence",
    "aws_bucket": "bucket",
    "crdc_series_uuid": "crdc_uuid",
}
_NUMBERS = ("SeriesNumber", "instanceCount", "series_size_MB", "source_DOI")


def load(collection: str) -> list[Series]:
    """Every series of a collection by TCIA's name; empty where the index is not installed."""
    file = _index()
    if file is None:
        return []
    return _read(file, "collection_id", [_collection_id(collection)], collection)


def find(uids: Iterable[str]) -> dict[str, Series]:
    """The series with these UIDs; empty where the index is not installed.

    Their collection is spelled as IDC does, since the index has no other name of it.
    """
    wanted, file = sorted(set(uids)), _index()
    if file is None or not wanted:
        return {}
    return {one.uid: one for one in _read(file, "SeriesInstanceUID", wanted, None)}


@cache
def _index() -> Path | None:
    """The index's file, if it and a reader for it are installed."""
    if find_spec("pyarrow") is None:
        return None
    try:
        file = Path(str(distribution("idc-index-data").locate_file(_FILE)))
    except PackageNotFoundError:
        return None
    return file if file.is_file() else None


def _collection_id(name: str) -> str:
    """IDC's spelling of a collection's name: `LIDC-IDRI` is `lidc_idri`."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _read(file: Path, column: str, values: list[str], collection: str | None) -> list[Series]:
    import pyarrow as pa  # noqa: PLC0415 - an extra, and slow to import
    from pyarrow import compute, parquet  # noqa: PLC0415

    wanted = pa.array(values)
    columns = [*_COLUMNS, *_NUMBERS, "collection_id"]
    series: list[Series] = []
    with parquet.ParquetFile(file, memory_map=True) as table:
        for batch in table.iter_batches(_BATCH, columns=columns, use_threads=False):
            mask = compute.is_in(batch.column(column), value_set=wanted)
            series += [_series(row, collection) for row in batch.filter(mask).to_pylist()]
    return sorted(series, key=lambda one: one.uid)


def _series(row: dict[str, Any], collection: str | None) -> Series:
    text: dict[str, Any] = {
        field: str(row[name]) if row[name] else None for name, field in _COLUMNS.items()
    }
    number, doi = row["SeriesNumber"], row["source_DOI"]
    return Series(
        uid=str(row["SeriesInstanceUID"]),
        collection=collection or str(row["collection_id"]),
        patient=text.pop("patient") or "",
        study=text.pop("study") or "",
        number=int(number) if str(number or "").isdigit() else None,
        image_count=int(row["instanceCount"]),
        size=round(row["series_size_MB"] * 1e6),
        data_url=f"https://doi.org/{doi}" if doi else None,
        **{name: value for name, value in text.items() if name != "uid"},
    )
