"""The calls of the API: lists, images and their hashes, documents."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from tcia_covid.demo.corpus import Corpus, DemoCollection, DemoSeries
from tcia_covid.demo.exchange import (
    JSON,
    TEXT,
    Call,
    Reply,
    failure,
    json_list,
    json_object,
    json_reply,
    refusal,
    rows_reply,
)
from tcia_covid.demo.rows import (
    Generation,
    Row,
    cart_row,
    metadata_row,
    old_metadata_row,
    patient_row,
    series_row,
    study_row,
    updated_series_row,
)
from tcia_covid.demo.zip_writer import BundleOptions, shuffled, write_zip, zip_entries

if TYPE_CHECKING:
    from pydicom import DataElement

BINARY = "application/octet-stream"
MANIFEST = "application/x-nbia-manifest-file"


class RowCache:
    """The JSON of each series' row, made once: a list of 20,000 series costs milliseconds."""

    def __init__(self) -> None:
        self._made: dict[tuple[Generation, str], tuple[DemoSeries, bytes]] = {}
        self._lock = threading.Lock()

    def json(self, generation: Generation, series: DemoSeries, corpus: Corpus) -> bytes:
        """The row of getSeries; made anew when the corpus holds another series of that UID."""
        made = self._made.get((generation, series.uid))
        if made is None or made[0] is not series:
            row = series_row(generation, series, _collection(corpus, series))
            made = (series, json_object(row))
            with self._lock:
                self._made[generation, series.uid] = made
        return made[1]


_CACHE = RowCache()


def collection_values(call: Call) -> Reply:
    """Answer getCollectionValues."""
    return _listed(call, [{"Collection": item.name} for item in call.corpus.collections])


def modality_values(call: Call) -> Reply:
    """Answer getModalityValues; as the other values, a NULL among them shows as an empty object."""
    return _values(call, "Modality", lambda series: series.modality)


def body_part_values(call: Call) -> Reply:
    """Answer getBodyPartValues."""
    return _values(call, "BodyPartExamined", lambda series: series.body_part)


def manufacturer_values(call: Call) -> Reply:
    """Answer getManufacturerValues."""
    return _values(call, "Manufacturer", lambda series: series.manufacturer)


def patients(call: Call) -> Reply:
    """Answer getPatient."""
    found = _first_by_patient(call.corpus.select(call.wanted))
    return _listed(call, [patient_row(call.generation, series) for series in found])


def patients_by_modality(call: Call) -> Reply:
    """Answer getPatientByCollectionAndModality."""
    more = {"Authorized": 1} if call.generation.modern else {}
    found = _first_by_patient(call.corpus.select(call.wanted))
    return _listed(call, [{"PatientId": series.patient.id, **more} for series in found])


def studies(call: Call) -> Reply:
    """Answer getPatientStudy."""
    return _studies(call, call.corpus.select(call.wanted))


def series(call: Call) -> Reply:
    """Answer getSeries."""
    found = shuffled(call.corpus.select(call.wanted), call.order)
    if found and call.params.get("format", "JSON").upper() == "JSON":
        rows = [_CACHE.json(call.generation, item, call.corpus) for item in found]
        return Reply(json_list(rows), content_type=JSON)
    make = [series_row(call.generation, item, _collection(call.corpus, item)) for item in found]
    return rows_reply(make, call.params.get("format"))


def updated_series(call: Call) -> Reply:
    """Answer getUpdatedSeries: released after the date, nothing where it cannot be read."""
    form = "%m-%d-%Y" if call.generation.modern else "%d/%m/%Y"
    since = _date(call.params.get("fromDate", "01/01/1900"), form)
    found = [item for item in call.corpus if since is not None and item.released > since]
    make = (
        updated_series_row(call.generation, item, _collection(call.corpus, item)) for item in found
    )
    return _listed(call, make)


def new_patients(call: Call) -> Reply:
    """Answer NewPatientsInCollection."""
    found = _first_by_patient(_released_since(call))
    return _listed(call, [patient_row(call.generation, item) for item in found])


def new_studies(call: Call) -> Reply:
    """Answer NewStudiesInPatientCollection."""
    return _studies(call, _released_since(call))


def series_size(call: Call) -> Reply:
    """Answer getSeriesSize; before v4 an unknown series has a row without a size."""
    found = call.corpus.select(call.wanted)
    if not found and call.generation.modern:
        return Reply()
    size = float(found[0].size) if found else None
    count = len(found[0].images) if found else 0
    return _listed(call, [{"TotalSizeInBytes": size, "ObjectCount": count}])


def image_uids(call: Call) -> Reply:
    """Answer getSOPInstanceUIDs."""
    found = call.corpus.select(call.wanted)
    return _listed(call, [{"SOPInstanceUID": image.uid} for item in found for image in item.images])


def metadata(call: Call) -> Reply:
    """v4's getSeriesMetadata: CSV to be saved unless JSON is asked for; unknown UIDs are absent."""
    uids = requested_uids(call.form.get("list", []))
    if not uids:
        sentence = "A form parameter, list, containing at least one SeriesInstanceUID is required."
        return refusal(sentence)
    wanted = call.params.get("format", "CSV-DOWNLOAD")
    kind = "CSV-DOWNLOAD" if wanted.upper() == "CSV" else wanted
    rows = [metadata_row(item, _collection(call.corpus, item)) for item in _known(call, uids)]
    return rows_reply(shuffled(rows, call.order), kind)


def old_metadata(call: Call) -> Reply:
    """v1's getSeriesMetaData; an unknown series gives 204."""
    found = call.corpus.select(call.wanted)
    if not found:
        return Reply(status=204)
    rows = [old_metadata_row(item, _collection(call.corpus, item)) for item in found]
    return _listed(call, rows)


def cart(call: Call) -> Reply:
    """Answer getContentsByName: the series of a shared cart."""
    found = _known(call, call.corpus.carts.get(call.params["name"], []))
    return _listed(call, [cart_row(item, _collection(call.corpus, item)) for item in found])


def denied_series(call: Call) -> Reply:
    """Answer getDeniedSeries: the unknown ones among the UIDs, 204 where there is none."""
    uids = requested_uids([call.params.get("seriesList", "")])
    rows = [{"SeriesInstanceUID": uid} for uid in uids if call.corpus.series(uid) is None]
    return _listed(call, rows) if rows else Reply(status=204)


def requested_uids(lists: Iterable[str]) -> list[str]:
    """The UIDs of comma-separated lists; as in NBIA, characters of no UID are dropped."""
    kept = ("".join(char for char in item if char in "0123456789,.") for item in lists)
    return [uid for item in kept for uid in item.split(",") if uid]


def _collection(corpus: Corpus, item: DemoSeries) -> DemoCollection:
    return corpus.collection(item.collection) or DemoCollection(item.collection)


def _listed(call: Call, rows: Iterable[Row]) -> Reply:
    return rows_reply(shuffled(rows, call.order), call.params.get("format"))


def _values(call: Call, column: str, value: Callable[[DemoSeries], str | None]) -> Reply:
    found = dict.fromkeys(value(item) for item in call.corpus.select(call.wanted))
    return _listed(call, [{column: item} for item in found])


def _studies(call: Call, found: Iterable[DemoSeries]) -> Reply:
    members: dict[str, list[DemoSeries]] = {}
    for item in found:
        members.setdefault(item.study.uid, []).append(item)
    rows = [study_row(call.generation, group[0], len(group)) for group in members.values()]
    return _listed(call, rows)


def _first_by_patient(found: Iterable[DemoSeries]) -> list[DemoSeries]:
    first: dict[tuple[str, str], DemoSeries] = {}
    for item in found:
        first.setdefault((item.collection, item.patient.id), item)
    return list(first.values())


def _released_since(call: Call) -> list[DemoSeries]:
    modern = call.generation.modern
    text = call.params["fromDate" if modern else "Date"]
    since = _date(text, "%m-%d-%Y" if modern else "%Y/%m/%d")
    found = call.corpus.select(call.wanted)
    return [item for item in found if since is not None and item.released >= since]


def _known(call: Call, uids: Iterable[str]) -> list[DemoSeries]:
    found = (call.corpus.series(uid) for uid in dict.fromkeys(uids))
    return [item for item in found if item is not None]


def _date(text: str, form: str) -> str | None:
    try:
        return datetime.strptime(text, form).date().isoformat()  # noqa: DTZ007 -- a plain date
    except ValueError:
        return None


def series_zip(call: Call) -> Reply:
    """Answer getImage."""
    new_names = _yes(call, "NewFileNames")
    md5 = call.generation.modern and _yes(call, "IncludeMD5")
    return _zip(call, BundleOptions(license=True, new_names=new_names, md5=md5))


def series_zip_with_md5(call: Call) -> Reply:
    """Answer getImageWithMD5Hash: no license, and an empty ZIP where one image's digest is NULL."""
    return _zip(call, BundleOptions(license=False, new_names=False, md5=True), all_hashed=True)


def series_zip_of_retriever(call: Call) -> Reply:
    """Answer getDCMImage, which NBIA's own command line uses."""
    md5 = call.params.get("MD5Verification", "").lower() == "true"
    return _zip(call, BundleOptions(license=False, new_names=True, md5=md5, nulls_as_text=True))


def single_image(call: Call) -> Reply:
    """Answer getSingleImage; whatever goes wrong, it is a 500."""
    series = call.corpus.series(call.params["SeriesInstanceUID"])
    wanted = call.params["SOPInstanceUID"]
    image = next((item for item in series.images if item.uid == wanted), None) if series else None
    if image is None:
        return failure()
    headers = {"Content-Disposition": f"attachment; filename={wanted}.dcm"}
    return Reply(image.read(), 200, "application/dicom", headers)


def image_md5(call: Call) -> Reply:
    """Answer getM5HashForImage, later getMD5HashForImage: empty where the image is unknown."""
    name = "SOPInstanceUID" if call.generation.modern else "SOPInstanceUid"
    image = call.corpus.image(call.params[name])
    return Reply((image.md5 or "").encode() if image else b"", content_type=TEXT)


def md5_hierarchy(call: Call) -> Reply:
    """Answer getMD5Hierarchy: one hash over a series, a study, a patient or a collection."""
    hashed: Iterable[str]
    found = call.corpus.select(call.wanted)
    if call.wanted.series is not None:
        hashed = map(_series_hash, found)
    elif call.wanted.study is not None:
        hashed = _study_hashes(found)
    elif call.wanted.patient is not None:
        hashed = _patient_hashes(found)
    else:
        hashed = [_over(_patient_hashes(found))] if found else []
    return Reply(next(iter(hashed), "").encode(), content_type=TEXT)


def _zip(call: Call, options: BundleOptions, *, all_hashed: bool = False) -> Reply:
    uid = call.params["SeriesInstanceUID"]
    series = call.corpus.series(uid)
    if series is None:
        return refusal(_not_granted(call.generation, uid))
    collection = call.corpus.collection(series.collection) or DemoCollection(series.collection)
    lost = all_hashed and any(image.md5 is None for image in series.images)
    entries = iter(()) if lost else zip_entries(series, collection, options, call.order)
    body = write_zip(call.entries(entries), level=call.compression)
    return Reply(body, 200, BINARY, {"Content-Disposition": f'attachment; filename="{uid}.zip"'})


def _not_granted(generation: Generation, uid: str) -> str:
    if generation is Generation.V1:
        return f"Image with given SeriesInstanceUID,{uid}, is not in public domain."
    return (
        "The user has not been granted the access to image with given "
        f"SeriesInstanceUID,{uid}. Please contact System Admin to resolve this issue."
    )


def _yes(call: Call, name: str) -> bool:
    return call.params.get(name, "").lower() == "yes"


def _series_hash(series: DemoSeries) -> str:
    return _over(image.md5 or "" for image in series.images)


def _study_hashes(found: Iterable[DemoSeries]) -> Iterator[str]:
    studies: dict[str, list[str]] = {}
    for series in found:
        studies.setdefault(series.study.uid, []).append(_series_hash(series))
    return map(_over, studies.values())


def _patient_hashes(found: Iterable[DemoSeries]) -> Iterator[str]:
    patients: dict[str, list[DemoSeries]] = {}
    for series in found:
        patients.setdefault(series.patient.id, []).append(series)
    return (_over(_study_hashes(group)) for group in patients.values())


def _over(hashes: Iterable[str]) -> str:
    joined = "".join(sorted(hashes)).encode()
    return hashlib.md5(joined, usedforsecurity=False).hexdigest()


def descriptions(call: Call) -> Reply:
    """Answer getCollectionDescriptions: `[]` where there is none."""
    wanted = call.params.get("collectionName")
    found = [
        {
            "description": f"<p>{item.title}</p>",
            "id": number,
            "collectionName": item.name,
            "descriptionURI": item.data_url,
        }
        for number, item in enumerate(call.corpus.collections, start=1)
        if wanted is None or wanted.upper() == item.name.upper()
    ]
    return json_reply(found)


def dicom_tags(call: Call) -> Reply:
    """Answer getDicomTags: the header of the first image of a series."""
    from pydicom import dcmread  # noqa: PLC0415 -- costs half a second

    uid = call.params["SeriesUID"]
    series = call.corpus.series(uid)
    if series is None:
        return refusal(f"The user has not been granted the access to series {uid}.")
    header = dcmread(BytesIO(series.images[0].read()), stop_before_pixels=True)
    return json_reply([_tag(element) for element in header])


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
    lines = "".join(f"{uid}\n" for uid in requested_uids(call.form.get("list", [])))
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


def token(call: Call) -> Reply:
    """The token call of clients that always log in: everybody is the guest here."""
    del call
    return json_reply(
        {
            "access_token": "guest",
            "refresh_token": "guest",
            "expires_in": 7200,
            "refresh_expires_in": 7200,
            "token_type": "Bearer",
            "scope": "openid",
        }
    )


def up(call: Call) -> Reply:
    """The health check."""
    del call
    return Reply(b"up", content_type=TEXT)


def _tag(element: DataElement) -> dict[str, str]:
    tag = f"({element.tag.group:04x},{element.tag.element:04x})"
    return {"element": tag, "name": element.name, "data": str(element.value)}


def _counts(call: Call, value: Callable[[DemoSeries], str | None]) -> Reply:
    patients: dict[str, set[str]] = {}
    for series in call.corpus.select(call.wanted):
        patients.setdefault(value(series) or "", set()).add(series.patient.id)
    found = sorted(patients.items())
    return json_reply([{"criteria": name, "count": str(len(ids))} for name, ids in found])
