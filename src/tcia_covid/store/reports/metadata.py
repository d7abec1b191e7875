"""`metadata.csv`: one row per series; the first columns are those of NBIA's retriever."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from tcia_covid.catalog.collections import fold_name
from tcia_covid.core.models import Receipt, Series
from tcia_covid.core.plain_text import csv_row

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


def metadata(
    receipts: Iterable[Receipt], collection: str = "", *, keep_formulas: bool = False
) -> Iterator[bytes]:
    """The file's content: RFC 4180 with CRLF as NBIA's retriever writes it, UTF-8.

    Values are as archived but for `csv_row`, dates ISO; `File Location` is relative to the file.
    The last columns spell patients and studies as the clinical file of `collection` does, where
    that is known.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow((*COLUMNS, *join_columns(collection)))
    for receipt in receipts:
        keys = join_keys(collection, receipt.series)
        row = (*_row(receipt), *keys.values())
        writer.writerow(csv_row(row, keep_formulas=keep_formulas))
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
        series.license,
        series.license_url,
        receipt.size,
        receipt.check.value,
        " ".join(sorted({image.source for image in receipt.images})),
    )


@dataclass(frozen=True, slots=True)
class _ClinicalFile:
    """How a clinical file names patients and studies."""

    patient: str
    """Its column of patients."""
    prefix: str = ""
    """The start of a PatientID that is missing from the clinical file's identifier."""
    study: str = ""
    """Its column of StudyInstanceUIDs; empty where it has a row a patient."""


_FILES: Mapping[str, _ClinicalFile] = {
    fold_name("COVID-19-AR"): _ClinicalFile("PATIENT_ID"),
    fold_name("COVID-19-NY-SBU"): _ClinicalFile("to_patient_id"),
    fold_name("MIDRC-RICORD-1A"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1A-", "Anon Study UID"),
    fold_name("MIDRC-RICORD-1B"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1B-", "Anon Study UID"),
    fold_name("MIDRC-RICORD-1C"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1C-", "Anon Study UID"),
}


def join_columns(collection: str) -> tuple[str, ...]:
    """The columns that `join_keys` gives for a collection; none where no clinical file is known."""
    file = _FILES.get(fold_name(collection))
    if file is None:
        return ()
    return (file.patient, file.study) if file.study else (file.patient,)


def join_keys(collection: str, series: Series) -> dict[str, str]:
    """The identifiers of one series in its collection's clinical file, by column.

    A PatientID that is not of the form known for the collection gives an empty patient: a blank
    field joins with nothing, a guess might join with somebody else.

    Args:
        collection: TCIA's name of the collection, in any case.
        series: as listed.
    """
    file = _FILES.get(fold_name(collection))
    if file is None:
        return {}
    known = series.patient.startswith(file.prefix)
    keys = {file.patient: series.patient.removeprefix(file.prefix) if known else ""}
    return {**keys, file.study: series.study} if file.study else keys
