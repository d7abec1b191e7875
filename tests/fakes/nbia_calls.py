"""The calls of NBIA's v1, v2 and v4, their parameters, and the columns of each version."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO

from pydicom import dcmread

from tests.fakes import nbia_replies as replies
from tests.fakes.corpus import DemoCollection, DemoSeries
from tests.fakes.java_zips import BundleOptions, shuffled, write_zip, zip_entries
from tests.fakes.nbia_replies import (
    JSON,
    TEXT,
    Call,
    Reply,
    Row,
    Value,
    american,
    failure,
    refusal,
)

LIST_TYPES = ("application/xml", "application/json", "text/html", "text/csv", "text/plain")
IMAGE_TYPES = ("application/octet-stream",)
DICOM_TYPES = ("application/dicom",)
TEXT_TYPES = ("text/plain",)
JSON_TYPES = ("application/json",)
MANIFEST = "application/x-nbia-manifest-file"


@dataclass(frozen=True, slots=True)
class Rules:
    """One call of one version."""

    answer: Callable[[Call], Reply]
    params: tuple[str, ...] = ()
    """Every known parameter; v4 refuses others, older versions ignore them."""
    required: tuple[str, ...] = ()
    sentence: str = ""
    """What the server says if a required parameter is missing."""
    produces: tuple[str, ...] = LIST_TYPES
    method: str = "GET"


def refused(rules: Rules, call: Call) -> Reply | None:
    """The reply to a call that does not reach its endpoint, in the order in which NBIA checks."""
    if rules.method != ("GET" if call.method == "HEAD" else call.method):
        return failure("HTTP 405 Method Not Allowed")
    if not _acceptable(call.headers.get("Accept", "*/*"), rules.produces):
        return failure("HTTP 406 Not Acceptable")
    if not _logged_in(call):
        return failure()
    return _unknown_parameter(rules, call) or _missing_parameter(rules, call)


def _acceptable(accept: str, produces: tuple[str, ...]) -> bool:
    ranges = {part.split(";")[0].strip() for part in accept.split(",")}
    families = {f"{kind.split('/')[0]}/*" for kind in produces}
    return bool(ranges & {"*/*", *produces, *families})


def _logged_in(call: Call) -> bool:
    if call.version in ("v1", "v4") or call.endpoint in ("up", "token"):
        return True
    return "Authorization" in call.headers


def _unknown_parameter(rules: Rules, call: Call) -> Reply | None:
    if call.version != "v4" or rules.method != "GET":
        return None
    unknown = next((name for name in call.params if name not in rules.params), None)
    if unknown is None:
        return None
    allowed = ", ".join(rules.params)
    body = f"Invalid query parameter: '{unknown}'. Allowed parameters are: [{allowed}]"
    return Reply(body.encode(), 400, rules.produces[0])


def _missing_parameter(rules: Rules, call: Call) -> Reply | None:
    missing = any(name not in call.params for name in rules.required)
    return refusal(rules.sentence) if missing else None


# The rows of each version.


def date(call: Call, iso: str | None) -> str | None:
    """An ISO date as the version writes it: `MM-dd-yyyy`, or a time stamp before v4."""
    if iso is None:
        return None
    return american(iso) if call.version == "v4" else f"{iso} 00:00:00.0"


def authorized(call: Call) -> dict[str, Value]:
    """The column that v4 has in addition."""
    return {"Authorized": 1} if call.version == "v4" else {}


def birth_date(call: Call) -> dict[str, Value]:
    """The column that v4 no longer has."""
    return {} if call.version == "v4" else {"PatientBirthDate": None}


def series_row(call: Call, series: DemoSeries) -> Row:
    """A row of getSeries."""
    collection = _collection(call, series)
    if call.version == "v4":
        return replies.series_row(series, collection)
    return {
        "SeriesInstanceUID": series.uid,
        "StudyInstanceUID": series.study.uid,
        "Modality": series.modality,
        "ProtocolName": series.protocol,
        "SeriesDate": date(call, series.date),
        "SeriesDescription": series.description,
        "BodyPartExamined": series.body_part,
        "SeriesNumber": series.number,
        "AnnotationsFlag": False,
        "Collection": collection.name,
        "PatientID": series.patient.id,
        "Manufacturer": series.manufacturer,
        "ManufacturerModelName": series.model,
        "SoftwareVersions": series.software,
        "ImageCount": len(series.images),
        "TimeStamp": date(call, series.submitted),
        "LicenseName": collection.license,
        "LicenseURI": collection.license_url,
        "CollectionURI": collection.data_url,
        "FileSize": float(series.size),
        "DateReleased": date(call, series.released),
        "StudyDesc": series.study.description,
        "StudyDate": date(call, series.study.date),
        "ThirdPartyAnalysis": "YES" if series.third_party else "NO",
    }


def updated_series_row(call: Call, series: DemoSeries) -> Row:
    """A row of getUpdatedSeries: before v4 it ends at ImageCount and the date of release."""
    row = series_row(call, series)
    if call.version == "v4":
        return row
    return {**_upto(row, "ImageCount"), "DateReleased": row["DateReleased"]}


def cart_row(call: Call, series: DemoSeries) -> Row:
    """A row of getContentsByName, whose last column really has a space in its name."""
    row = series_row(call, series)
    return {**_upto(row, "ImageCount"), "Date Released": row["DateReleased"]}


def patient_row(call: Call, series: DemoSeries) -> Row:
    """A row of getPatient, for the patient of `series`."""
    return {
        "PatientId": series.patient.id,
        **replies.patient_columns(series),
        **birth_date(call),
        "Collection": series.collection,
        **authorized(call),
    }


def study_row(call: Call, series: DemoSeries, series_count: int) -> Row:
    """A row of getPatientStudy, for the study of `series`."""
    study, patient = series.study, series.patient
    return {
        "StudyInstanceUID": study.uid,
        "StudyDate": date(call, study.date),
        "StudyDescription": study.description,
        "AdmittingDiagnosesDescription": study.diagnosis,
        "StudyID": study.id,
        "PatientAge": study.age,
        "PatientID": patient.id,
        "PatientName": patient.name,
        **birth_date(call),
        "PatientSex": patient.sex,
        "EthnicGroup": patient.ethnic_group,
        "Collection": series.collection,
        "SeriesCount": series_count,
        "LongitudinalTemporalEventType": None,
        "LongitudinalTemporalOffsetFromEvent": None,
        **authorized(call),
    }


def old_metadata_row(call: Call, series: DemoSeries) -> Row:
    """The row of v1's getSeriesMetaData: keys with spaces, every value a string."""
    collection = _collection(call, series)
    return {
        "Series UID": series.uid,
        "Collection": collection.name,
        "3rd Party Analysis": "YES" if series.third_party else "NO",
        "Data Description URI": collection.data_url,
        "Subject ID": series.patient.id,
        "Study UID": series.study.uid,
        "Study Description": _plain(series.study.description),
        "Study Date": american(series.study.date),
        "Series Description": _plain(series.description),
        "Manufacturer": (series.manufacturer or "").replace(",", " "),
        "Modality": series.modality,
        "SOP Class UID": series.images[0].sop_class,
        "Number of Images": str(len(series.images)),
        "File Size": str(series.size),
        "File Location": series.study.id,
        "Series Number": None if series.number is None else f"{series.number:.6f}",
        "License Name": collection.license,
        "License URL": collection.license_url,
        "Annotation Size": "0",
        "Date Released": american(series.released),
        "Series Date": american(series.date),
        "Protocol Name": series.protocol,
        "Body Part Examined": series.body_part,
        "Annotations Flag": None,
        "Manufacturer Model Name": series.model,
        "Software Versions": series.software,
        "TimeStamp": american(series.submitted),
    }


def _upto(row: Row, last: str) -> Row:
    columns = list(row)
    return {column: row[column] for column in columns[: columns.index(last) + 1]}


def _plain(text: str | None) -> str | None:
    return None if text is None else re.sub(r"[^a-zA-Z0-9 .-]", "", text)


class RowCache:
    """The JSON of each series' row, made once: a list of 20,000 series costs milliseconds."""

    def __init__(self) -> None:
        self._rows: dict[tuple[bool, str], tuple[DemoSeries, bytes]] = {}
        self._lock = threading.Lock()

    def json(self, call: Call, series: DemoSeries) -> bytes:
        """The row of getSeries; made again when another series has this UID."""
        key = (call.version == "v4", series.uid)
        cached = self._rows.get(key)
        if cached is None or cached[0] is not series:
            cached = (series, replies.json_object(series_row(call, series)))
            with self._lock:
                self._rows[key] = cached
        return cached[1]


_CACHE = RowCache()


# The lists.


def modality_values(call: Call) -> Reply:
    """Answer getModalityValues."""
    return _values(call, "Modality", lambda series: series.modality)


def body_part_values(call: Call) -> Reply:
    """Answer getBodyPartValues; a NULL is an empty object."""
    return _values(call, "BodyPartExamined", lambda series: series.body_part)


def manufacturer_values(call: Call) -> Reply:
    """Answer getManufacturerValues."""
    return _values(call, "Manufacturer", lambda series: series.manufacturer)


def patients(call: Call) -> Reply:
    """Answer getPatient."""
    first = _first_by_patient(_selected(call))
    return call.archive.list_reply(call, [patient_row(call, series) for series in first])


def patients_by_modality(call: Call) -> Reply:
    """Answer getPatientByCollectionAndModality."""
    first = _first_by_patient(_selected(call))
    rows = [{"PatientId": series.patient.id, **authorized(call)} for series in first]
    return call.archive.list_reply(call, rows)


def studies(call: Call) -> Reply:
    """Answer getPatientStudy."""
    return _studies(call, _selected(call))


def list_series(call: Call) -> Reply:
    """Answer getSeries."""
    selected = _selected(call)
    if selected and call.params.get("format", "JSON").upper() == "JSON":
        rows = [_CACHE.json(call, series) for series in shuffled(selected, call.archive.order)]
        return Reply(replies.json_list(rows), content_type=JSON)
    return call.archive.list_reply(call, [series_row(call, series) for series in selected])


def updated_series(call: Call) -> Reply:
    """Answer getUpdatedSeries: released after the date, nothing if it cannot be read."""
    form = "%m-%d-%Y" if call.version == "v4" else "%d/%m/%Y"
    since = _read_date(call.params.get("fromDate", "01/01/1900"), form)
    later = [item for item in call.archive.corpus if since is not None and item.released > since]
    return call.archive.list_reply(call, [updated_series_row(call, item) for item in later])


def new_patients(call: Call) -> Reply:
    """Answer NewPatientsInCollection."""
    first = _first_by_patient(_released_since(call))
    return call.archive.list_reply(call, [patient_row(call, series) for series in first])


def new_studies(call: Call) -> Reply:
    """Answer NewStudiesInPatientCollection."""
    return _studies(call, _released_since(call))


def series_size(call: Call) -> Reply:
    """Answer getSeriesSize; before v4 an unknown series has a row without a size."""
    selected = _selected(call)
    if not selected and call.version == "v4":
        return Reply()
    size = float(selected[0].size) if selected else None
    count = len(selected[0].images) if selected else 0
    return call.archive.list_reply(call, [{"TotalSizeInBytes": size, "ObjectCount": count}])


def old_metadata(call: Call) -> Reply:
    """v1's getSeriesMetaData; an unknown series gives 204."""
    selected = _selected(call)
    if not selected:
        return Reply(status=204)
    return call.archive.list_reply(call, [old_metadata_row(call, series) for series in selected])


def cart(call: Call) -> Reply:
    """Answer getContentsByName: the series of a shared cart."""
    uids = call.archive.carts.get(call.params["name"], [])
    known = [series for uid in uids if (series := call.archive.corpus.series(uid))]
    return call.archive.list_reply(call, [cart_row(call, series) for series in known])


def denied_series(call: Call) -> Reply:
    """Answer getDeniedSeries: the unknown ones among the UIDs, 204 if there are none."""
    uids = replies.requested_uids([call.params.get("seriesList", "")])
    unknown = [uid for uid in uids if call.archive.corpus.series(uid) is None]
    rows = [{"SeriesInstanceUID": uid} for uid in unknown]
    return call.archive.list_reply(call, rows) if rows else Reply(status=204)


def _selected(call: Call) -> list[DemoSeries]:
    return call.archive.corpus.select(call.filters)


def _collection(call: Call, series: DemoSeries) -> DemoCollection:
    return call.archive.corpus.collection_of(series)


def _values(call: Call, column: str, value: Callable[[DemoSeries], str | None]) -> Reply:
    values = dict.fromkeys(value(series) for series in _selected(call))
    return call.archive.list_reply(call, [{column: value} for value in values])


def _studies(call: Call, selected: Iterable[DemoSeries]) -> Reply:
    members: dict[str, list[DemoSeries]] = {}
    for series in selected:
        members.setdefault(series.study.uid, []).append(series)
    rows = [study_row(call, group[0], len(group)) for group in members.values()]
    return call.archive.list_reply(call, rows)


def _first_by_patient(selected: Iterable[DemoSeries]) -> list[DemoSeries]:
    first: dict[tuple[str, str], DemoSeries] = {}
    for series in selected:
        first.setdefault((series.collection, series.patient.id), series)
    return list(first.values())


def _released_since(call: Call) -> list[DemoSeries]:
    modern = call.version == "v4"
    text = call.params["fromDate" if modern else "Date"]
    since = _read_date(text, "%m-%d-%Y" if modern else "%Y/%m/%d")
    return [series for series in _selected(call) if since is not None and series.released >= since]


def _read_date(text: str, form: str) -> str | None:
    try:
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 -- a plain date
    except ValueError:
        return None


# Images and their hashes.


def series_zip(call: Call) -> Reply:
    """Answer getImage."""
    md5 = call.version == "v4" and _yes(call, "IncludeMD5")
    return _zip(call, BundleOptions(license=True, new_names=_yes(call, "NewFileNames"), md5=md5))


def series_zip_with_md5(call: Call) -> Reply:
    """Answer getImageWithMD5Hash: no license, and an empty ZIP if a digest is NULL."""
    return _zip(call, BundleOptions(license=False, new_names=False, md5=True), all_hashed=True)


def series_zip_of_retriever(call: Call) -> Reply:
    """Answer getDCMImage, which NBIA's own command line uses."""
    md5 = call.params.get("MD5Verification", "").lower() == "true"
    return _zip(call, BundleOptions(license=False, new_names=True, md5=md5, nulls_as_text=True))


def image_md5(call: Call) -> Reply:
    """Answer getM5HashForImage, v1's spelling of getMD5HashForImage."""
    image = call.archive.corpus.image(call.params["SOPInstanceUid"])
    return Reply((image.md5 or "").encode() if image else b"", content_type=TEXT)


def md5_hierarchy(call: Call) -> Reply:
    """Answer getMD5Hierarchy: one hash over a series, a study, a patient or a collection."""
    selected, filters = _selected(call), call.filters
    hashes: Iterable[str]
    if filters.series is not None:
        hashes = map(_series_hash, selected)
    elif filters.study is not None:
        hashes = _study_hashes(selected)
    elif filters.patient is not None:
        hashes = _patient_hashes(selected)
    else:
        hashes = [replies.md5_over(_patient_hashes(selected))] if selected else []
    return Reply(next(iter(hashes), "").encode(), content_type=TEXT)


def _zip(call: Call, options: BundleOptions, *, all_hashed: bool = False) -> Reply:
    uid = call.params["SeriesInstanceUID"]
    series = call.archive.corpus.series(uid)
    if series is None:
        return not_granted(call)
    empty = all_hashed and any(image.md5 is None for image in series.images)
    collection = _collection(call, series)
    entries = iter(()) if empty else zip_entries(series, collection, options, call.archive.order)
    edited = call.archive.entries(call, entries)
    return replies.zip_reply(uid, write_zip(edited, level=call.archive.compression))


def not_granted(call: Call) -> Reply:
    """The reply for a series that does not exist or is not public."""
    uid = call.params.get("SeriesInstanceUID", "")
    if call.version == "v1":
        return refusal(f"Image with given SeriesInstanceUID,{uid}, is not in public domain.")
    return replies.not_granted(uid)


def _yes(call: Call, name: str) -> bool:
    return call.params.get(name, "").lower() == "yes"


def _series_hash(series: DemoSeries) -> str:
    return replies.md5_over(image.md5 or "" for image in series.images)


def _study_hashes(selected: Iterable[DemoSeries]) -> Iterator[str]:
    studies: dict[str, list[str]] = {}
    for series in selected:
        studies.setdefault(series.study.uid, []).append(_series_hash(series))
    return map(replies.md5_over, studies.values())


def _patient_hashes(selected: Iterable[DemoSeries]) -> Iterator[str]:
    patients: dict[str, list[DemoSeries]] = {}
    for series in selected:
        patients.setdefault(series.patient.id, []).append(series)
    return (replies.md5_over(_study_hashes(group)) for group in patients.values())


# Documents and the rest.


def descriptions(call: Call) -> Reply:
    """Answer getCollectionDescriptions: `[]` if there is none."""
    wanted = call.params.get("collectionName")
    return _json_reply(
        [
            {
                "description": f"<p>{item.name}</p>",
                "id": number,
                "collectionName": item.name,
                "descriptionURI": item.data_url,
            }
            for number, item in enumerate(call.archive.corpus.collections, start=1)
            if wanted is None or wanted.upper() == item.name.upper()
        ]
    )


def dicom_tags(call: Call) -> Reply:
    """Answer getDicomTags: the header of the first image of a series."""
    series = call.archive.corpus.series(call.params["SeriesUID"])
    if series is None:
        return refusal("The user has not been granted the access to the series.")
    header = dcmread(BytesIO(series.images[0].read()), stop_before_pixels=True)
    return _json_reply(
        [
            {
                "element": f"({element.tag.group:04x},{element.tag.element:04x})",
                "name": element.name,
                "data": str(element.value),
            }
            for element in header
        ]
    )


def manifest(call: Call) -> Reply:
    """Answer getManifestText: a `.tcia` file; without includeAnnotation the server fails."""
    if "includeAnnotation" not in call.form:
        return failure()
    name = f"manifest-{int(time.time() * 1000)}.tcia"
    head = (
        "downloadServerUrl=https://nbia.cancerimagingarchive.net"
        "/nbia-download/servlet/DownloadServlet\n"
        f"includeAnnotation={call.params['includeAnnotation']}\nnoOfrRetry=4\n"
        f"databasketId={name}\nmanifestVersion=3.0\nListOfSeriesToDownload=\n"
    )
    lines = "".join(f"{uid}\n" for uid in replies.requested_uids(call.form.get("list", [])))
    return Reply((head + lines).encode(), content_type=MANIFEST)


def collection_counts(call: Call) -> Reply:
    """Answer getCollectionValuesAndCounts: patients of each collection."""
    return _counts(call, lambda series: series.collection)


def modality_counts(call: Call) -> Reply:
    """Answer getModalityValuesAndCounts: patients of each modality."""
    return _counts(call, lambda series: series.modality)


def body_part_counts(call: Call) -> Reply:
    """Answer getBodyPartValuesAndCounts: patients of each body part."""
    return _counts(call, lambda series: series.body_part)


def up(call: Call) -> Reply:
    """Answer the health check."""
    return Reply(b"up", content_type=TEXT)


def _json_reply(value: object) -> Reply:
    """A document as Jackson prints it: nulls are kept, slashes are not escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return Reply(text.encode(), content_type=JSON)


def _counts(call: Call, value: Callable[[DemoSeries], str | None]) -> Reply:
    patients: dict[str, set[str]] = {}
    for series in _selected(call):
        patients.setdefault(value(series) or "", set()).add(series.patient.id)
    rows = sorted(patients.items())
    return _json_reply([{"criteria": name, "count": str(len(ids))} for name, ids in rows])


_SERIES_FILTERS = (
    "Collection",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "Modality",
    "BodyPartExamined",
    "ManufacturerModelName",
    "Manufacturer",
    "format",
)
_A_SERIES = "A parameter, SeriesInstanceUID, is required for this API call."
_AN_IMAGE = "A parameter, SOPInstanceUID, is required for this API call."
_COLLECTION_DATE = "A parameter, Collection and Date are required for this API call."
_COLLECTION_MODALITY = "A parameter, Collection and Modality, are required for this API call."
_BOTH_UIDS = "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call."
_SIZE = "A parameter, SeriesInstanceUID is required for this API call."
_ONE_SERIES = ("SeriesInstanceUID",)
_NO_PATIENT = ("BodyPartExamined", "Collection", "Modality", "format")
_LISTS: Mapping[str, Rules] = {
    "getCollectionValues": Rules(replies.collection_values, ("format",)),
    "getModalityValues": Rules(modality_values, ("Collection", "BodyPartExamined", "format")),
    "getBodyPartValues": Rules(body_part_values, ("Collection", "Modality", "format")),
    "getManufacturerValues": Rules(manufacturer_values, _NO_PATIENT),
    "getPatient": Rules(patients, ("Collection", "PatientId", "format")),
    "getPatientByCollectionAndModality": Rules(
        patients_by_modality,
        ("Collection", "Modality", "format"),
        ("Collection", "Modality"),
        _COLLECTION_MODALITY,
    ),
    "getPatientStudy": Rules(studies, ("Collection", "PatientID", "StudyInstanceUID", "format")),
    "getSeries": Rules(list_series, _SERIES_FILTERS),
    "getUpdatedSeries": Rules(updated_series, ("fromDate", "format")),
    "getSeriesSize": Rules(series_size, ("SeriesInstanceUID", "format"), _ONE_SERIES, _SIZE),
    "getSOPInstanceUIDs": Rules(
        replies.image_uids, ("SeriesInstanceUID", "format"), _ONE_SERIES, _A_SERIES
    ),
    "getDeniedSeries": Rules(denied_series, ("seriesList", "userName", "format")),
}
_IMAGES: Mapping[str, Rules] = {
    "getImageWithMD5Hash": Rules(
        series_zip_with_md5, _ONE_SERIES, _ONE_SERIES, _A_SERIES, IMAGE_TYPES
    ),
    "getDCMImage": Rules(
        series_zip_of_retriever,
        ("SeriesInstanceUID", "IncludeAnnotation", "MD5Verification"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getSingleImage": Rules(
        replies.single_image,
        ("SeriesInstanceUID", "SOPInstanceUID"),
        ("SeriesInstanceUID", "SOPInstanceUID"),
        _BOTH_UIDS,
        DICOM_TYPES,
    ),
}
_V1: Mapping[str, Rules] = {
    **_LISTS,
    **_IMAGES,
    "getImage": Rules(
        series_zip,
        ("SeriesInstanceUID", "NewFileNames"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getM5HashForImage": Rules(
        image_md5,
        ("SOPInstanceUid",),
        ("SOPInstanceUid",),
        _AN_IMAGE,
        TEXT_TYPES,
    ),
    "getSeriesMetaData": Rules(
        old_metadata, ("SeriesInstanceUID", "format"), _ONE_SERIES, _A_SERIES
    ),
    "getContentsByName": Rules(
        cart,
        ("name", "format"),
        ("name",),
        "A parameter, name, is required for this API call.",
    ),
    "NewPatientsInCollection": Rules(
        new_patients,
        ("Collection", "Date", "format"),
        ("Collection", "Date"),
        _COLLECTION_DATE,
    ),
    "NewStudiesInPatientCollection": Rules(
        new_studies,
        ("Collection", "PatientID", "Date", "format"),
        ("Collection", "Date"),
        _COLLECTION_DATE,
    ),
}
_SHARED: Mapping[str, Rules] = {
    "getMD5Hierarchy": Rules(
        md5_hierarchy,
        ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Collection"),
        produces=TEXT_TYPES,
        method="POST",
    ),
    "getManifestText": Rules(manifest, produces=(*TEXT_TYPES, MANIFEST), method="POST"),
    "getCollectionDescriptions": Rules(descriptions, ("collectionName", "format")),
    "getDicomTags": Rules(
        dicom_tags,
        ("SeriesUID", "format"),
        ("SeriesUID",),
        "A parameter, SeriesUID, is required for this API call.",
    ),
    "getCollectionValuesAndCounts": Rules(collection_counts, ("format",)),
    "getModalityValuesAndCounts": Rules(
        modality_counts, ("Collection", "BodyPartExamined", "format")
    ),
    "getBodyPartValuesAndCounts": Rules(body_part_counts, ("Collection", "Modality", "format")),
}
_V4: Mapping[str, Rules] = {
    **_LISTS,
    **_IMAGES,
    **_SHARED,
    "getImage": Rules(
        series_zip,
        ("SeriesInstanceUID", "NewFileNames", "IncludeMD5"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getMD5HashForImage": Rules(
        replies.image_md5, ("SOPInstanceUID",), ("SOPInstanceUID",), _AN_IMAGE, TEXT_TYPES
    ),
    "getSeriesMetadata": Rules(replies.metadata, ("list", "format"), method="POST"),
    "NewPatientsInCollection": Rules(
        new_patients,
        ("Collection", "fromDate", "format"),
        ("Collection", "fromDate"),
        _COLLECTION_DATE,
    ),
    "NewStudiesInPatientCollection": Rules(
        new_studies,
        ("Collection", "PatientID", "fromDate", "format"),
        ("Collection", "fromDate"),
        _COLLECTION_DATE,
    ),
}
_UNVERSIONED: Mapping[str, Rules] = {
    **_SHARED,
    "token": Rules(replies.token, produces=JSON_TYPES, method="POST"),
    "up": Rules(up, produces=TEXT_TYPES),
}
CALLS: Mapping[tuple[str, str], Rules] = {
    (version, name): rules
    for version, calls in (("v1", _V1), ("v4", _V4), ("", _UNVERSIONED))
    for name, rules in calls.items()
}
"""The calls by version and name."""
