"""Which calls each generation of the API has, which parameters they know, and who answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tcia_covid.demo import endpoints
from tcia_covid.demo.corpus import Selection
from tcia_covid.demo.exchange import Call, Reply, failure, refusal
from tcia_covid.demo.rows import Generation

LIST_TYPES = ("application/xml", "application/json", "text/html", "text/csv", "text/plain")
IMAGE_TYPES = ("application/octet-stream",)
DICOM_TYPES = ("application/dicom",)
TEXT_TYPES = ("text/plain",)
JSON_TYPES = ("application/json",)
_FIELDS: Mapping[str, str] = {
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


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call of one generation."""

    answer: Callable[[Call], Reply]
    params: tuple[str, ...] = ()
    """Every parameter that it knows; v4 refuses others, older generations ignore them."""
    required: tuple[str, ...] = ()
    sentence: str = ""
    """What the server says where a required parameter is missing."""
    produces: tuple[str, ...] = LIST_TYPES
    method: str = "GET"

    def wanted(self, params: Mapping[str, str]) -> Selection:
        """What the known ones among `params` ask for."""
        known = (name for name in self.params if name in params and name in _FIELDS)
        return Selection(**{_FIELDS[name]: params[name] for name in known})


def route(generation: Generation, endpoint: str) -> Endpoint | None:
    """The call of this name, or None where the generation has none."""
    return _ROUTES.get((generation, endpoint))


def refused(endpoint: Endpoint | None, call: Call) -> Reply | None:
    """The answer to a call that never reaches its endpoint, in the order the server checks."""
    if endpoint is None:
        return failure("HTTP 404 Not Found")
    method = "GET" if call.record.method == "HEAD" else call.record.method
    if endpoint.method != method:
        return failure("HTTP 405 Method Not Allowed")
    if not _acceptable(call.record.headers.get("Accept", "*/*"), endpoint.produces):
        return failure("HTTP 406 Not Acceptable")
    if not _logged_in(call):
        return failure()
    return _unknown_parameter(endpoint, call) or _missing_parameter(endpoint, call)


def _acceptable(accept: str, produces: tuple[str, ...]) -> bool:
    ranges = {part.split(";")[0].strip() for part in accept.split(",")}
    families = {f"{kind.split('/')[0]}/*" for kind in produces}
    return bool(ranges & {"*/*", *produces, *families})


def _logged_in(call: Call) -> bool:
    if call.generation in (Generation.V1, Generation.V4) or call.endpoint in _OPEN:
        return True
    return "Authorization" in call.record.headers


def _unknown_parameter(endpoint: Endpoint, call: Call) -> Reply | None:
    if not call.generation.modern or endpoint.method != "GET":
        return None
    unknown = next((name for name in call.params if name not in endpoint.params), None)
    if unknown is None:
        return None
    allowed = ", ".join(endpoint.params)
    body = f"Invalid query parameter: '{unknown}'. Allowed parameters are: [{allowed}]"
    return Reply(body.encode(), 400, endpoint.produces[0])


def _missing_parameter(endpoint: Endpoint, call: Call) -> Reply | None:
    lacking = any(name not in call.params for name in endpoint.required)
    return refusal(endpoint.sentence) if lacking else None


_OPEN = ("up", "token")
_A_SERIES = "A parameter, SeriesInstanceUID, is required for this API call."
_AN_IMAGE = "A parameter, SOPInstanceUID, is required for this API call."
_COLLECTION_DATE = "A parameter, Collection and Date are required for this API call."
_COLLECTION_MODALITY = "A parameter, Collection and Modality, are required for this API call."
_BOTH_UIDS = "A parameter, SeriesInstanceUID and SOPInstanceUID, are required for this API call."
_SIZE = "A parameter, SeriesInstanceUID is required for this API call."
_ONE_SERIES = ("SeriesInstanceUID",)
_NO_PATIENT = ("BodyPartExamined", "Collection", "Modality", "format")
_LISTS: Mapping[str, Endpoint] = {
    "getCollectionValues": Endpoint(endpoints.collection_values, ("format",)),
    "getModalityValues": Endpoint(
        endpoints.modality_values, ("Collection", "BodyPartExamined", "format")
    ),
    "getBodyPartValues": Endpoint(endpoints.body_part_values, ("Collection", "Modality", "format")),
    "getManufacturerValues": Endpoint(endpoints.manufacturer_values, _NO_PATIENT),
    "getPatient": Endpoint(endpoints.patients, ("Collection", "PatientId", "format")),
    "getPatientByCollectionAndModality": Endpoint(
        endpoints.patients_by_modality,
        ("Collection", "Modality", "format"),
        ("Collection", "Modality"),
        _COLLECTION_MODALITY,
    ),
    "getPatientStudy": Endpoint(
        endpoints.studies, ("Collection", "PatientID", "StudyInstanceUID", "format")
    ),
    "getSeries": Endpoint(endpoints.series, _SERIES_FILTERS),
    "getUpdatedSeries": Endpoint(endpoints.updated_series, ("fromDate", "format")),
    "getSeriesSize": Endpoint(
        endpoints.series_size, ("SeriesInstanceUID", "format"), _ONE_SERIES, _SIZE
    ),
    "getSOPInstanceUIDs": Endpoint(
        endpoints.image_uids, ("SeriesInstanceUID", "format"), _ONE_SERIES, _A_SERIES
    ),
    "getDeniedSeries": Endpoint(endpoints.denied_series, ("seriesList", "userName", "format")),
}
_IMAGES: Mapping[str, Endpoint] = {
    "getImageWithMD5Hash": Endpoint(
        endpoints.series_zip_with_md5, _ONE_SERIES, _ONE_SERIES, _A_SERIES, IMAGE_TYPES
    ),
    "getDCMImage": Endpoint(
        endpoints.series_zip_of_retriever,
        ("SeriesInstanceUID", "IncludeAnnotation", "MD5Verification"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getSingleImage": Endpoint(
        endpoints.single_image,
        ("SeriesInstanceUID", "SOPInstanceUID"),
        ("SeriesInstanceUID", "SOPInstanceUID"),
        _BOTH_UIDS,
        DICOM_TYPES,
    ),
}
_V1: Mapping[str, Endpoint] = {
    **_LISTS,
    **_IMAGES,
    "getImage": Endpoint(
        endpoints.series_zip,
        ("SeriesInstanceUID", "NewFileNames"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getM5HashForImage": Endpoint(
        endpoints.image_md5,
        ("SOPInstanceUid",),
        ("SOPInstanceUid",),
        _AN_IMAGE,
        TEXT_TYPES,
    ),
    "getSeriesMetaData": Endpoint(
        endpoints.old_metadata, ("SeriesInstanceUID", "format"), _ONE_SERIES, _A_SERIES
    ),
    "getContentsByName": Endpoint(
        endpoints.cart,
        ("name", "format"),
        ("name",),
        "A parameter, name, is required for this API call.",
    ),
    "NewPatientsInCollection": Endpoint(
        endpoints.new_patients,
        ("Collection", "Date", "format"),
        ("Collection", "Date"),
        _COLLECTION_DATE,
    ),
    "NewStudiesInPatientCollection": Endpoint(
        endpoints.new_studies,
        ("Collection", "PatientID", "Date", "format"),
        ("Collection", "Date"),
        _COLLECTION_DATE,
    ),
}
_SHARED: Mapping[str, Endpoint] = {
    "getMD5Hierarchy": Endpoint(
        endpoints.md5_hierarchy,
        ("SeriesInstanceUID", "StudyInstanceUID", "PatientID", "Collection"),
        produces=TEXT_TYPES,
        method="POST",
    ),
    "getManifestText": Endpoint(
        endpoints.manifest, produces=(*TEXT_TYPES, endpoints.MANIFEST), method="POST"
    ),
    "getCollectionDescriptions": Endpoint(endpoints.descriptions, ("collectionName", "format")),
    "getDicomTags": Endpoint(
        endpoints.dicom_tags,
        ("SeriesUID", "format"),
        ("SeriesUID",),
        "A parameter, SeriesUID, is required for this API call.",
    ),
    "getCollectionValuesAndCounts": Endpoint(endpoints.collection_counts, ("format",)),
    "getModalityValuesAndCounts": Endpoint(
        endpoints.modality_counts, ("Collection", "BodyPartExamined", "format")
    ),
    "getBodyPartValuesAndCounts": Endpoint(
        endpoints.body_part_counts, ("Collection", "Modality", "format")
    ),
}
_V4: Mapping[str, Endpoint] = {
    **_LISTS,
    **_IMAGES,
    **_SHARED,
    "getImage": Endpoint(
        endpoints.series_zip,
        ("SeriesInstanceUID", "NewFileNames", "IncludeMD5"),
        _ONE_SERIES,
        _A_SERIES,
        IMAGE_TYPES,
    ),
    "getMD5HashForImage": Endpoint(
        endpoints.image_md5, ("SOPInstanceUID",), ("SOPInstanceUID",), _AN_IMAGE, TEXT_TYPES
    ),
    "getSeriesMetadata": Endpoint(endpoints.metadata, ("list", "format"), method="POST"),
    "NewPatientsInCollection": Endpoint(
        endpoints.new_patients,
        ("Collection", "fromDate", "format"),
        ("Collection", "fromDate"),
        _COLLECTION_DATE,
    ),
    "NewStudiesInPatientCollection": Endpoint(
        endpoints.new_studies,
        ("Collection", "PatientID", "fromDate", "format"),
        ("Collection", "fromDate"),
        _COLLECTION_DATE,
    ),
}
_ADVANCED: Mapping[str, Endpoint] = {
    **_SHARED,
    "token": Endpoint(endpoints.token, produces=JSON_TYPES, method="POST"),
    "up": Endpoint(endpoints.up, produces=TEXT_TYPES),
}
_ROUTES: Mapping[tuple[Generation, str], Endpoint] = {
    (generation, name): endpoint
    for generation, endpoints in (
        (Generation.V1, _V1),
        (Generation.V2, _V1),
        (Generation.V4, _V4),
        (Generation.ADVANCED, _ADVANCED),
    )
    for name, endpoint in endpoints.items()
}
