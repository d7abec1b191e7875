"""`metadata.csv`: a row a series, beginning with the columns of NBIA's own retriever."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from tcia_covid.model import Receipt
from tcia_covid.report.clinical import join_columns, join_keys

COLUMNS = (
    "Series UID",
    "Collection",
    "3rd Party Analysis",
    "Data Description URI",
    "Subject ID",
    "Study UID",
    "Study Description",
    "Study Date",
    "Series Description",
    "Manufacturer",
    "Modality",
    "Number of Images",
    "File Size",
    "File Location",
    "Download Timestamp",
    "Series Number",
    "Series Date",
    "Body Part Examined",
    "Manufacturer Model Name",
    "License Name",
    "License URL",
    "Bytes",
    "Checked",
    "Source",
)
"""Up to the download's time as NBIA's retriever names and orders them, without the SOP class,
which the archives' lists do not have."""


def metadata(receipts: Iterable[Receipt], collection: str = "") -> Iterator[bytes]:
    """The file's content: RFC 4180 with CRLF as NBIA's retriever writes it, UTF-8.

    Values are as archived, dates ISO; `File Location` is relative to the file. The last columns
    spell patients and studies as the clinical file of `collection` does, where that is known.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *join_columns(collection)))
    for receipt in receipts:
        keys = join_keys(collection, receipt.series)
        writer.writerow((*_row(receipt), *keys.values()))
        yield _taken(text)
    yield _taken(text)


def _taken(text: io.StringIO) -> bytes:
    """Take out what was written so far."""
    content = text.getvalue().encode("utf-8", "replace")
    text.seek(0)
    text.truncate()
    return content


def _row(receipt: Receipt) -> tuple[object, ...]:
    """Values in the order of `COLUMNS`; None becomes an empty field."""
    series = receipt.series
    return (
        series.uid,
        series.collection,
        "YES" if series.third_party else "NO",
        series.data_url,
        series.patient,
        series.study,
        series.study_description,
        series.study_date,
        series.description,
        series.manufacturer,
        series.modality,
        len(receipt.images),
        f"{receipt.size / 1e6:.2f} MB",
        f"./{receipt.folder}",
        receipt.finished,
        series.number,
        series.date,
        series.body_part,
        series.manufacturer_model,
        series.licence,
        series.licence_url,
        receipt.size,
        receipt.check.value,
        " ".join(sorted({image.source for image in receipt.images})),
    )
