"""Build the shipped catalog from the package `idc-index-data` (for maintainers).

    pip install --upgrade -e '.[dev]'
    python scripts/build_catalog.py

The same release of `idc-index-data` and the same `--built` produce the same bytes. Review the
diff of catalog.json before you commit it: a different total means that a collection changed.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

import click

from tcia_covid.catalog.series_catalog import COLUMNS, INDEX, CatalogEntry, CatalogInfo

PACKAGE = "idc-index-data"
COLLECTIONS = {
    "covid_19_ar": "COVID-19-AR",
    "covid_19_ny_sbu": "COVID-19-NY-SBU",
    "midrc_ricord_1a": "MIDRC-RICORD-1A",
    "midrc_ricord_1b": "MIDRC-RICORD-1B",
    "midrc_ricord_1c": "MIDRC-RICORD-1C",
}
"""IDC's collection_id, and TCIA's name of the collection."""
TARGET = Path(__file__).resolve().parent.parent / "src" / "tcia_covid" / "catalog"

Row = Mapping[str, Any]
"""One row of idc_index.parquet."""


def exact_bytes(megabytes: float) -> int:
    """Return the exact number of bytes for IDC's size in MB (bytes divided by 1,000,000).

    Raises:
        ValueError: `megabytes` does not correspond to a whole number of bytes.
    """
    size = round(megabytes * 1e6)
    if abs(megabytes * 1e6 - size) > 1e-3:  # noqa: PLR2004  a float's rounding error at 1 TB is 1e-4
        raise ValueError(f"{megabytes!r} MB is not a whole number of bytes")
    return size


def fields(row: Row) -> tuple[str, ...]:
    """Return the fields of one line, in the order of COLUMNS.

    Raises:
        ValueError: a value has an unprintable character, or the series is an analysis result.
    """
    if row["analysis_result_id"] is not None:
        raise ValueError(f"{row['SeriesInstanceUID']} is an analysis result: extend the columns")
    named = {**row, "series_size_bytes": exact_bytes(row["series_size_MB"])}
    values = tuple("" if named[name] is None else str(named[name]) for name in COLUMNS)
    if not all(value.isprintable() for value in values):
        raise ValueError(f"{row['SeriesInstanceUID']} has an unprintable character in a field")
    return values


def order(row: Row) -> tuple[str, str, int, str]:
    """Return the sort key of a table's lines; equal values in adjacent lines compress best."""
    number = int(row["SeriesNumber"] or -1)
    return row["PatientID"], row["StudyInstanceUID"], number, row["SeriesInstanceUID"]


def table(rows: Iterable[Row]) -> bytes:
    """Return the compressed table of one collection; the order of `rows` does not matter."""
    lines = [COLUMNS, *(fields(row) for row in sorted(rows, key=order))]
    text = "".join("\t".join(line) + "\n" for line in lines)
    return gzip.compress(text.encode(), compresslevel=9, mtime=0)


def describe(collection: str, rows: list[Row]) -> CatalogEntry:
    """Return the totals of one collection."""
    return CatalogEntry(
        collection=collection,
        file=f"{collection.lower()}.tsv.gz",
        patients=len({row["PatientID"] for row in rows}),
        studies=len({row["StudyInstanceUID"] for row in rows}),
        series=len({row["SeriesInstanceUID"] for row in rows}),
        images=sum(row["instanceCount"] for row in rows),
        size=sum(exact_bytes(row["series_size_MB"]) for row in rows),
    )


def read_index() -> list[Row]:
    """Return the rows of the five collections in the installed `idc-index-data`.

    Raises:
        ClickException: `idc-index-data` or pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: PLC0415  not needed by the tests of this script

        path = distribution(PACKAGE).locate_file("idc_index_data/idc_index.parquet")
    except (ImportError, PackageNotFoundError) as error:
        raise click.ClickException(
            f"{PACKAGE} and pyarrow must be installed: pip install -e '.[dev]'"
        ) from error
    selection = [("collection_id", "in", list(COLLECTIONS))]
    rows: list[Row] = pyarrow.parquet.read_table(str(path), filters=selection).to_pylist()
    return rows


def build(rows: list[Row], *, release: str, built: str, target: Path) -> CatalogInfo:
    """Write one table per collection and catalog.json into `target`; return their totals."""
    entries = []
    for collection_id, collection in COLLECTIONS.items():
        own = [row for row in rows if row["collection_id"] == collection_id]
        entry = describe(collection, own)
        (target / entry.file).write_bytes(table(own))
        entries.append(entry)
    catalog = CatalogInfo(
        version=release,
        idc_version=release.partition(".")[0],  # idc-index-data 25.0.5 describes IDC v25
        built=built,
        entries=tuple(entries),
    )
    document = catalog._asdict() | {"entries": [entry._asdict() for entry in entries]}
    (target / INDEX).write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    return catalog


@click.command(help=__doc__)
@click.option("--built", default=None, help="The date to record, yyyy-mm-dd; today by default.")
@click.option(
    "--target",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=TARGET,
    help="The folder to write to.",
)
def main(built: str | None, target: Path) -> None:
    """Build the catalog and print its totals."""
    day = built or datetime.now(timezone.utc).date().isoformat()
    catalog = build(read_index(), release=version(PACKAGE), built=day, target=target)
    for entry in catalog.entries:
        click.echo(
            f"{entry.collection}: {entry.series} series, {entry.images} images, {entry.size} bytes"
        )


if __name__ == "__main__":
    main()
