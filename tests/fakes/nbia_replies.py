"""What calls and replies of the simulated NBIA consist of, and the replies that v1 and v4 share."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.fakes.corpus import Corpus, DemoCollection, DemoImage, DemoSeries, Filters

Value = str | int | float | bool | None
Row = Mapping[str, Value]
"""Column to value, every column present. A float is a decimal: JSON shows it as an integer if it
is one, CSV shows six decimals."""

TEXT = "text/plain"
JSON = "application/json"
CSV = "text/csv"
CSV_FORMATS = ("CSV", "CSVQUOTED", "CSV-DOWNLOAD")
BINARY = "application/octet-stream"
_FAILED = "Server was not able to process your request\n"
_PARAMETERS = {
    "Collection": "collection",
    "PatientID": "patient",
    "PatientId": "patient",
    "StudyInstanceUID": "study",
    "SeriesInstanceUID": "series",
    "Modality": "modality",
    "BodyPartExamined": "body_part",
    "Manufacturer": "manufacturer",
    "ManufacturerModelName": "model",
}


class DisconnectError(Exception):
    """Raised while a reply's body is read: the connection closes before the end of the body."""


@dataclass(slots=True)
class Reply:
    """A response. A `body` in pieces is sent piece by piece."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    content_type: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Call:
    """A request, and what has been sent in reply."""

    archive: Archive
    method: str
    version: str
    """`v4`, another version, or empty for calls outside of the versions."""
    endpoint: str
    """The last part of the path."""
    form: Mapping[str, list[str]]
    """Every value of every form field."""
    params: Mapping[str, str]
    """Query and form parameters, the first value of each."""
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body that were sent."""

    @property
    def filters(self) -> Filters:
        """The series that the parameters select."""
        known = {
            _PARAMETERS[name]: self.params[name] for name in _PARAMETERS if name in self.params
        }
        return Filters(**known)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a ZIP; its content is read when it is written."""

    name: str | bytes
    chunks: Iterable[bytes]
    image: DemoImage | None = None


class Archive:
    """The contents and the calls so far; `nbia.ArchiveServer` serves it.

    Args:
        corpus: the contents; may be changed while they are served.
        compression: zlib's level for ZIPs.
    """

    def __init__(self, corpus: Corpus, *, compression: int = 6) -> None:
        self.corpus = corpus
        self.compression = compression
        self.requests: list[Call] = []
        """Every call so far, in order of arrival."""
        self.errors: list[Exception] = []
        """Internal errors; each was answered with status 500."""

    def list_reply(self, call: Call, rows: Sequence[Row]) -> Reply:
        """A list in the format of the call: JSON or CSV; no rows give 200 without a body."""
        if not rows:
            return Reply()
        kind = call.params.get("format", "JSON").upper()
        if kind == "JSON":
            return Reply(json_list([json_object(row) for row in rows]), content_type=JSON)
        return Reply(csv_table(rows), content_type=CSV) if kind in CSV_FORMATS else failure()


def failure(message: str = "null") -> Reply:
    """NBIA's reply to any uncaught exception."""
    return Reply((_FAILED + message).encode(), 500, TEXT)


def refusal(message: str) -> Reply:
    """A 400 with a sentence, which NBIA labels JSON although it is plain text."""
    return Reply(message.encode(), 400, JSON)


def not_granted(uid: str) -> Reply:
    """NBIA's reply for a series that does not exist or is not public."""
    return refusal(
        "The user has not been granted the access to image with given "
        f"SeriesInstanceUID,{uid}. Please contact System Admin to resolve this issue."
    )


def json_list(objects: Sequence[bytes]) -> bytes:
    """The JSON array of `objects`."""
    return b"[" + b",".join(objects) + b"]"


def json_object(row: Row) -> bytes:
    """One row as NBIA prints it: no nulls, escaped slashes, whole decimals as integers."""
    shown = {
        column: int(value) if isinstance(value, float) and value.is_integer() else value
        for column, value in row.items()
        if value is not None
    }
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"))
    return text.replace("/", "\\/").encode()


def csv_table(rows: Sequence[Row]) -> bytes:
    """Rows as CSV: everything quoted, unless there is only one column."""
    out = io.StringIO()
    several = len(rows[0]) > 1
    writer = csv.writer(
        out, quoting=csv.QUOTE_ALL if several else csv.QUOTE_MINIMAL, lineterminator="\n"
    )
    writer.writerow(rows[0])
    writer.writerows([_cell(value) for value in row.values()] for row in rows)
    return out.getvalue().encode()


def _cell(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def american(iso: str | None) -> str | None:
    """`yyyy-mm-dd` as `MM-dd-yyyy`."""
    return None if iso is None else f"{iso[5:]}-{iso[:4]}"


def series_row(series: DemoSeries, collection: DemoCollection) -> Row:
    """A row of getSeries."""
    return {
        "SeriesInstanceUID": series.uid,
        "StudyInstanceUID": series.study.uid,
        "Modality": series.modality,
        "ProtocolName": series.protocol,
        "SeriesDate": american(series.date),
        "SeriesDescription": series.description,
        "BodyPartExamined": series.body_part,
        "SeriesNumber": series.number,
        "AnnotationsFlag": None,
        "Collection": collection.name,
        "Site": collection.site,
        "PatientID": series.patient.id,
        "PatientSex": series.patient.sex,
        "PatientAge": series.study.age,
        "AdmittingDiagnosisDescription": series.study.diagnosis,
        "Manufacturer": series.manufacturer,
        "ManufacturerModelName": series.model,
        "SoftwareVersions": series.software,
        "ImageCount": len(series.images),
        "MaxSubmissionTimestamp": american(series.submitted),
        "LicenseName": collection.license,
        "LicenseURI": collection.license_url,
        "DataDescriptionURI": collection.data_url,
        "FileSize": float(series.size),
        "ReleasedStatus": "Yes",
        "DateReleased": american(series.released),
        "StudyDesc": series.study.description,
        "StudyDate": american(series.study.date),
        "ThirdPartyAnalysis": "YES" if series.third_party else "NO",
        "Authorized": 1,
    }


def patient_columns(series: DemoSeries) -> Row:
    """The columns of a patient that several lists share."""
    return {
        "PatientName": series.patient.name,
        "PatientSex": series.patient.sex,
        "EthnicGroup": series.patient.ethnic_group,
        "Phantom": "NO",
        "SpeciesCode": "337915000",
        "SpeciesDescription": "Homo sapiens",
    }


def metadata_row(series: DemoSeries, collection: DemoCollection) -> Row:
    """A row of getSeriesMetadata."""
    return {
        **series_row(series, collection),
        **patient_columns(series),
        "StudyID": series.study.id,
        "LongitudinalTemporalEventType": None,
        "LongitudinalTemporalOffsetFromEvent": None,
        "PixelSpacing(mm)-Row": series.pixel_spacing,
        "SliceThickness(mm)": series.slice_thickness,
    }


def collection_values(call: Call) -> Reply:
    """Answer getCollectionValues."""
    rows = [{"Collection": item.name} for item in call.archive.corpus.collections]
    return call.archive.list_reply(call, rows)


def image_uids(call: Call) -> Reply:
    """Answer getSOPInstanceUIDs."""
    selected = call.archive.corpus.select(call.filters)
    rows = [{"SOPInstanceUID": image.uid} for series in selected for image in series.images]
    return call.archive.list_reply(call, rows)


def metadata(call: Call) -> Reply:
    """Answer getSeriesMetadata: a CSV file unless JSON is requested; unknown UIDs are absent."""
    uids = requested_uids(call.form.get("list", []))
    if not uids:
        return refusal(
            "A form parameter, list, containing at least one SeriesInstanceUID is required."
        )
    corpus = call.archive.corpus
    known = [series for uid in dict.fromkeys(uids) if (series := corpus.series(uid))]
    rows = [metadata_row(series, corpus.collection_of(series)) for series in known]
    if "format" in call.params or not rows:
        return call.archive.list_reply(call, rows)
    attachment = 'attachment; filename="SeriesMetaData.csv"'
    return Reply(csv_table(rows), 200, CSV, {"Content-Disposition": attachment})


def requested_uids(lists: Iterable[str]) -> list[str]:
    """The UIDs of comma-separated lists; as in NBIA, characters that no UID has are dropped."""
    texts = ("".join(char for char in item if char in "0123456789,.") for item in lists)
    return [uid for text in texts for uid in text.split(",") if uid]


def zip_reply(uid: str, body: Iterable[bytes]) -> Reply:
    """The reply that sends a ZIP."""
    headers = {"Content-Disposition": f'attachment; filename="{uid}.zip"'}
    return Reply(body, 200, BINARY, headers)


def image_entry(name: str, image: DemoImage) -> Entry:
    """The entry of one image."""
    return Entry(name, (read() for read in (image.read,)), image)


def license_entry(collection: DemoCollection) -> Entry:
    """NBIA's LICENSE."""
    text = (
        f"License Information. The {collection.name} collection is distributed under the "
        f"{collection.license or 'Not Specified'} at "
        f"{collection.license_url or 'Not Specified'} "
        "By downloading the data, you agree to abide by terms of this license.\n"
        "Data Usage Policy\n\nAnyone may use the files of this demo archive as their license says: "
        "they are test files of scanners, and identify no patient.\n"
    )
    return Entry("LICENSE", [text.encode()])


def md5_entry(images: Iterable[tuple[str, DemoImage]]) -> Entry:
    """NBIA's md5hashes.csv: digests as they are recorded."""
    lines = [f"{name},{'null' if image.md5 is None else image.md5}\n" for name, image in images]
    return Entry("md5hashes.csv", [("Filename,MD5Hash\n" + "".join(lines)).encode()])


def single_image(call: Call) -> Reply:
    """Answer getSingleImage; every error is a 500."""
    series = call.archive.corpus.series(call.params.get("SeriesInstanceUID", ""))
    uid = call.params.get("SOPInstanceUID", "")
    for image in series.images if series else ():
        if image.uid == uid:
            headers = {"Content-Disposition": f"attachment; filename={uid}.dcm"}
            return Reply(image.read(), 200, "application/dicom", headers)
    return failure()


def image_md5(call: Call) -> Reply:
    """Answer getMD5HashForImage: empty if the image is unknown."""
    image = call.archive.corpus.image(call.params.get("SOPInstanceUID", ""))
    return Reply((image.md5 or "").encode() if image else b"", content_type=TEXT)


def series_md5(call: Call) -> Reply:
    """Answer getMD5Hierarchy: the MD5 of the sorted MD5s of the images of a series."""
    series = call.archive.corpus.series(call.params.get("SeriesInstanceUID", ""))
    digest = md5_over(image.md5 or "" for image in series.images) if series else ""
    return Reply(digest.encode(), content_type=TEXT)


def md5_over(digests: Iterable[str]) -> str:
    """The MD5 of sorted MD5s."""
    return hashlib.md5("".join(sorted(digests)).encode(), usedforsecurity=False).hexdigest()


def token(call: Call) -> Reply:
    """Answer the log-in of clients that always log in: everybody is the guest here."""
    del call
    body = {
        "access_token": "guest",
        "refresh_token": "guest",
        "expires_in": 7200,
        "refresh_expires_in": 7200,
        "token_type": "Bearer",
        "scope": "openid",
    }
    return Reply(json.dumps(body).encode(), content_type=JSON)
