"""The calls that send images and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

from tcia_covid.demo.bundle import BundleOptions, bundle
from tcia_covid.demo.exchange import TEXT, Call, Reply
from tcia_covid.demo.holdings import DemoCollection, DemoSeries
from tcia_covid.demo.javazip import write_zip
from tcia_covid.demo.render import failure, refusal
from tcia_covid.demo.rows import Generation

BINARY = "application/octet-stream"


def series_zip(call: Call) -> Reply:
    """Answer getImage."""
    new_names = _yes(call, "NewFileNames")
    md5 = call.generation.modern and _yes(call, "IncludeMD5")
    return _zip(call, BundleOptions(licence=True, new_names=new_names, md5=md5))


def series_zip_with_md5(call: Call) -> Reply:
    """Answer getImageWithMD5Hash: no licence, and an empty ZIP where one image's digest is NULL."""
    return _zip(call, BundleOptions(licence=False, new_names=False, md5=True), all_hashed=True)


def series_zip_of_retriever(call: Call) -> Reply:
    """Answer getDCMImage, which NBIA's own command line uses."""
    md5 = call.params.get("MD5Verification", "").lower() == "true"
    return _zip(call, BundleOptions(licence=False, new_names=True, md5=md5, nulls_as_text=True))


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
    entries = iter(()) if lost else bundle(series, collection, options, call.order)
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
