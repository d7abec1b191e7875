"""IDC's whole index, if the extra `idc` is installed: series that the catalog does not have.

The package `idc-index-data` has a table of a million series (74 MB). Only the requested rows are
kept. Reading takes 1 s and 300 MB; the largest collection, NLST (204,346 series), 4 s and 450 MB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from sys import intern
from typing import Any

from tcia_covid.catalog.series_catalog import IDC_NAMES
from tcia_covid.core.models import Series

_FILE = "idc_index_data/idc_index.parquet"
_NAMES = "collections_index.parquet"
_BATCH = 65_536
_OTHERS = (
    "SeriesNumber",
    "instanceCount",
    "series_size_MB",
    "source_DOI",
    "collection_id",
    "analysis_result_id",
)


def load(collection: str, *, index: Path | None = None) -> list[Series]:
    """List a collection by TCIA's name, in any case; empty if there is no index.

    Analysis results are excluded; `find` has them. `index` is that of the installed package if it
    is not given.
    """
    file = index or installed_index()
    if file is None or not file.is_file():
        return []
    collection_id = re.sub(r"[^a-z0-9]+", "_", collection.lower()).strip("_")
    name = _names(file.parent / _NAMES).get(collection_id, collection)
    rows = _rows(file, "collection_id", [collection_id], results=False)
    return sorted((_series(row, name) for row in rows), key=lambda series: series.uid)


def find(uids: Iterable[str], *, index: Path | None = None) -> dict[str, Series]:
    """Find series by UID, sorted; empty if there is no index."""
    by_uid = search("SeriesInstanceUID", uids, index=index)
    return {uid: series[0] for uid, series in sorted(by_uid.items())}


def search(
    column: str, values: Iterable[str], *, index: Path | None = None
) -> dict[str, list[Series]]:
    """Find the series with each value in one of the columns `IDENTIFIERS`; case matters.

    Empty if there is no index; `index` is the installed one if it is not given.
    """
    wanted, file = sorted(set(values)), index or installed_index()
    if not wanted or file is None or not file.is_file():
        return {}
    names = _names(file.parent / _NAMES)
    found: dict[str, list[Series]] = {}
    for row in _rows(file, column, wanted, results=True):
        name = str(row["collection_id"])
        found.setdefault(str(row[column]), []).append(_series(row, names.get(name, name)))
    return found


@cache
def installed_index() -> Path | None:
    """Find the index of the package `idc-index-data`, if it and pyarrow are installed."""
    if find_spec("pyarrow") is None:
        return None
    from importlib import metadata  # noqa: PLC0415 - slow, and the catalog does for most

    try:
        return Path(str(metadata.distribution("idc-index-data").locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        return None


def _names(file: Path) -> dict[str, str]:
    """Map IDC's names of collections to TCIA's."""
    from pyarrow import parquet  # noqa: PLC0415 - an extra, and slow to import

    if not file.is_file():
        return {}
    table = parquet.read_table(file, columns=["collection_id", "collection_name"])
    return {str(row["collection_id"]): str(row["collection_name"]) for row in table.to_pylist()}


def _rows(file: Path, column: str, values: list[str], *, results: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows with one of `values` in `column`; with `results`, analysis results, too."""
    from pyarrow import array, compute, parquet  # noqa: PLC0415

    wanted = array(values)
    columns = [*IDC_NAMES, *_OTHERS]
    with parquet.ParquetFile(file, memory_map=True) as table:
        for batch in table.iter_batches(_BATCH, columns=columns, use_threads=False):
            mask = compute.is_in(batch.column(column), value_set=wanted)
            if not results:
                mask = compute.and_(mask, compute.is_null(batch.column("analysis_result_id")))
            yield from batch.filter(mask).to_pylist()


def _series(row: dict[str, Any], collection: str) -> Series:
    text: dict[str, Any] = {
        field: intern(str(row[name])) if row[name] else None for name, field in IDC_NAMES.items()
    }
    number, doi = row["SeriesNumber"], row["source_DOI"]
    return Series(
        uid=str(row["SeriesInstanceUID"]),
        collection=collection,
        patient=text.pop("patient") or "",
        study=text.pop("study") or "",
        number=int(number) if str(number or "").isdigit() else None,
        image_count=int(row["instanceCount"]),
        size=round(row["series_size_MB"] * 1e6),
        data_url=intern(f"https://doi.org/{doi}") if doi else None,
        third_party=row["analysis_result_id"] is not None,
        **{name: value for name, value in text.items() if name != "uid"},
    )
