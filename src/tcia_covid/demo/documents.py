"""The calls that answer with a document: descriptions, tags, manifests, counts, tokens."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from typing import TYPE_CHECKING

from tcia_covid.demo.exchange import TEXT, Call, Reply
from tcia_covid.demo.holdings import DemoSeries
from tcia_covid.demo.lists import requested_uids
from tcia_covid.demo.render import failure, json_reply, refusal

if TYPE_CHECKING:
    from pydicom import DataElement

MANIFEST = "application/x-nbia-manifest-file"


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
