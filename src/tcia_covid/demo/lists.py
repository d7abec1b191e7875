"""The list calls: collections, values, patients, studies, series, sizes, images."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import datetime

from tcia_covid.demo.bundle import shuffled
from tcia_covid.demo.corpus import Corpus
from tcia_covid.demo.exchange import Call, Reply
from tcia_covid.demo.holdings import DemoCollection, DemoSeries
from tcia_covid.demo.metadata import metadata_row, old_metadata_row
from tcia_covid.demo.render import JSON, json_list, json_object, refusal, rows_reply
from tcia_covid.demo.rows import (
    Generation,
    Row,
    cart_row,
    patient_row,
    series_row,
    study_row,
    updated_series_row,
)


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
