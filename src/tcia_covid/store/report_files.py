"""What is in `metadata.csv`, `images.csv`, `manifest-md5.txt` and `LICENSE.txt`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from itertools import chain

from tcia_covid.catalog.citation import license_text
from tcia_covid.catalog.collections import DICOM, DOI, Collection, bare_doi, fold_name
from tcia_covid.catalog.licenses import License
from tcia_covid.core.csv_rows import csv_lines, safe_row
from tcia_covid.core.models import ImageAttributes, Receipt, Series, StoredImage
from tcia_covid.core.redaction import printable
from tcia_covid.formats.dicom import sop_class_name
from tcia_covid.formats.slice_order import slice_order

_COLUMNS: Mapping[str, Callable[[Receipt], object]] = {
    "Series UID": lambda receipt: receipt.series.uid,
    "Collection": lambda receipt: receipt.series.collection,
    "3rd Party Analysis": lambda receipt: "YES" if receipt.series.third_party else "NO",
    "Data Description URI": lambda receipt: receipt.series.data_url,
    "Subject ID": lambda receipt: receipt.series.patient,
    "Study UID": lambda receipt: receipt.series.study,
    "Study Description": lambda receipt: receipt.series.study_description,
    "Study Date": lambda receipt: receipt.series.study_date,
    "Series Description": lambda receipt: receipt.series.description,
    "Manufacturer": lambda receipt: receipt.series.manufacturer,
    "Modality": lambda receipt: receipt.series.modality,
    "SOP Class Name": lambda receipt: ",".join(map(sop_class_name, _sop_classes(receipt))),
    "SOP Class UID": lambda receipt: ",".join(_sop_classes(receipt)),
    "Number of Images": lambda receipt: len(receipt.images),
    "File Size": lambda receipt: f"{receipt.size / 1e6:.2f} MB",
    "File Location": lambda receipt: f"./{receipt.folder}",
    "Download Timestamp": lambda receipt: receipt.finished,
    "Series Number": lambda receipt: receipt.series.number,
    "Series Date": lambda receipt: receipt.series.date,
    "Body Part Examined": lambda receipt: receipt.series.body_part,
    "Manufacturer Model Name": lambda receipt: receipt.series.manufacturer_model,
    "License Name": lambda receipt: receipt.series.license,
    "License URL": lambda receipt: receipt.series.license_url,
    "Bytes": lambda receipt: receipt.size,
    "Checked": lambda receipt: receipt.check.value,
    "Source": lambda receipt: " ".join(sorted({image.source for image in receipt.images})),
}
"""Columns of `metadata.csv`: up to the download's time as NBIA's retriever names and orders them.
None becomes an empty field."""


def _sop_classes(receipt: Receipt) -> list[str]:
    """The SOP classes of a series' images, from their headers, else from the archive's list."""
    headers = receipt.headers if isinstance(receipt.headers, Mapping) else {}
    known = headers.get("SOPClassUID") or receipt.series.sop_class or ""
    return sorted({*map(str, known)} if isinstance(known, list) else {str(known)})


def metadata_columns(collection: str) -> tuple[str, ...]:
    """The columns of `metadata.csv`."""
    return (*_COLUMNS, *join_columns(collection))


def metadata(
    receipts: Iterable[Receipt], collection: str = "", *, keep_formulas: bool = False
) -> Iterator[bytes]:
    """The rows of `metadata.csv`, with the line ends of NBIA's retriever.

    Values are as archived but for `safe_row`, dates ISO; `File Location` is relative to the file.
    The last columns spell patients and studies as the clinical file of `collection` does, where
    that is known.
    """
    rows = (
        [value(receipt) for value in _COLUMNS.values()]
        + list(join_keys(collection, receipt.series).values())
        for receipt in receipts
    )
    safe_rows = (safe_row(row, keep_formulas=keep_formulas) for row in rows)
    return csv_lines(chain([metadata_columns(collection)], safe_rows))


@dataclass(frozen=True, slots=True)
class _ClinicalFile:
    """How a clinical file names patients and studies."""

    patient: str
    """Its column of patients."""
    prefix: str = ""
    """The start of a PatientID that is missing from the clinical file's identifier."""
    study: str = ""
    """Its column of StudyInstanceUIDs; empty where it has a row a patient."""


_CLINICAL_FILES: Mapping[str, _ClinicalFile] = {
    fold_name("COVID-19-AR"): _ClinicalFile("PATIENT_ID"),
    fold_name("COVID-19-NY-SBU"): _ClinicalFile("to_patient_id"),
    fold_name("MIDRC-RICORD-1A"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1A-", "Anon Study UID"),
    fold_name("MIDRC-RICORD-1B"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1B-", "Anon Study UID"),
    fold_name("MIDRC-RICORD-1C"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1C-", "Anon Study UID"),
}


def join_columns(collection: str) -> tuple[str, ...]:
    """The columns that `join_keys` gives for a collection; none where no clinical file is known."""
    file = _CLINICAL_FILES.get(fold_name(collection))
    return tuple(filter(None, (file.patient, file.study))) if file else ()


def join_keys(collection: str, series: Series) -> dict[str, str]:
    """The identifiers of one series in its collection's clinical file, by column.

    A PatientID that is not of the form known for the collection gives an empty patient: an empty
    field matches no row, a guess could match another patient.
    """
    file = _CLINICAL_FILES.get(fold_name(collection))
    if file is None:
        return {}
    known = series.patient.startswith(file.prefix)
    patient = series.patient.removeprefix(file.prefix) if known else ""
    return dict(zip(join_columns(collection), (patient, series.study), strict=False))


_IMAGE_COLUMNS = (
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
)
"""Columns of `images.csv`."""
_HEADER_COLUMNS = slice(3, 9)
_NUMBERS = re.compile(r"[0-9.\\eE+ -]*")
"""UIDs and numbers, which need no quotes in CSV, and that no spreadsheet evaluates."""
_PLAIN = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*")
"""The same of paths."""


def images_header() -> bytes:
    """The first line of `images.csv`."""
    return b"".join(csv_lines([_IMAGE_COLUMNS]))


def _in_slice_order(receipt: Receipt) -> Iterator[tuple[StoredImage, ImageAttributes]]:
    attributes = receipt.attributes() or [ImageAttributes()] * len(receipt.images)
    for index in slice_order(attributes, [image.uid for image in receipt.images]):
        yield receipt.images[index], attributes[index]


def slice_files(receipt: Receipt) -> list[str]:
    """The names of a series' files, in slice order."""
    return [image.file for image, _ in _in_slice_order(receipt)]


def image_rows(receipt: Receipt, *, above: str = "", keep_formulas: bool = False) -> bytes:
    """The rows of `images.csv` for one series, in slice order; CSV as in `metadata`.

    `path` is relative to the file, or begins with `above`. Values of the header are as archived:
    numbers of one value are separated by backslashes. They are empty where a header has no valid
    value, and where the images are not DICOM; a receipt without headers has none of them.
    """
    folder = f"{above}{receipt.folder}"
    rows = [_image_row(receipt, folder, *pair) for pair in _in_slice_order(receipt)]
    numbers = "".join(["".join(row[_HEADER_COLUMNS]) for row in rows])
    if _NUMBERS.fullmatch(numbers) and _PLAIN.fullmatch("".join([row[0] for row in rows])):
        return "".join([f"{','.join(row)}\r\n" for row in rows]).encode()
    # Text that CSV has to quote, or that a spreadsheet evaluates: rare in these columns.
    return b"".join(csv_lines(safe_row(row, keep_formulas=keep_formulas) for row in rows))


def _image_row(
    receipt: Receipt, folder: str, image: StoredImage, known: ImageAttributes
) -> tuple[str, ...]:
    return (
        f"{folder}/{image.file}",
        image.uid if image.suffix == ".dcm" else "",
        receipt.series.uid if image.suffix == ".dcm" else "",
        known.sop_class,
        known.number,
        known.acquisition,
        known.position,
        known.orientation,
        known.transfer_syntax,
        str(image.size),
        image.md5,
    )


def manifest(receipts: Iterable[Receipt]) -> Iterator[bytes]:
    """The content of `manifest-md5.txt`: a line for each image, in the format of `md5sum`.

    No name in the tree has a character that `md5sum` escapes.
    """
    for receipt in receipts:
        lines = [f"{image.md5}  {receipt.folder}/{image.file}\n" for image in receipt.images]
        yield "".join(lines).encode()


_RESULTS = """\
Series with YES under '3rd Party Analysis' in metadata.csv are analysis results
of others, with their own license and citation:"""


@dataclass(frozen=True, slots=True, order=True)
class LicenseTerms:
    """The terms of a series as the archive gives them; empty if it gives none."""

    license: str
    license_url: str
    data_url: str
    third_party: bool

    @classmethod
    def of(cls, series: Series) -> LicenseTerms:
        """The terms of one series."""
        return cls(
            printable(series.license or ""),
            printable(series.license_url or ""),
            printable(series.data_url or ""),
            series.third_party,
        )


def license_file(collection: Collection, terms: Set[LicenseTerms]) -> bytes:
    """The content of `LICENSE.txt`; what the archive says of single series comes last."""
    text = license_text(collection)
    if collection.license is None:
        original = [term for term in terms if not term.third_party]
        text += _listed("The archive lists the series under:", original)
    return (text + _listed(_RESULTS, [term for term in terms if term.third_party])).encode()


def _listed(heading: str, terms: list[LicenseTerms]) -> str:
    lines = set()
    for term in terms:
        parts = filter(None, (term.license, term.license_url, term.data_url))
        lines.add("  " + (" ".join(parts) or "no license on record"))
    return "\n".join(["", heading, *sorted(lines), ""]) if lines else ""


def unregistered_collection(name: str, terms: Set[LicenseTerms]) -> Collection:
    """An entry for a collection that no registry has, from the terms of its series.

    It has only values that are the same for all series.
    """
    name = printable(name)
    original = [term for term in terms if not term.third_party] or list(terms)
    licenses = {License.named(term.license, term.license_url or None) for term in original}
    license = licenses.pop() if len(licenses) == 1 else None
    dois = {bare_doi(term.data_url) for term in original}
    doi = dois.pop() if len(dois) == 1 else ""
    return Collection(
        name=name,
        format=DICOM,
        title=name,
        license=license if license and license.name else None,
        doi=doi if DOI.fullmatch(doi) else None,
    )
