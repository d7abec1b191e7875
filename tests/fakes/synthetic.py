"""Synthetic DICOM images, made fast and the same each time, and corpora of them."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial

from tests.fakes.corpus import (
    Corpus,
    DemoCollection,
    DemoImage,
    DemoPatient,
    DemoSeries,
    DemoStudy,
)

ROOT = "1.3.6.1.4.1.14519.5.2.1.9999"
SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
}
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
LONG_FORM = ("OB", "OW", "SQ", "UN", "UT")
SPARE = 1 << 16


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """What the header of a synthetic image says, and how large it is."""

    uid: str
    series: str
    study: str
    patient: str
    modality: str = "CT"
    number: int = 1
    description: str = "Chest"
    rows: int = 16
    columns: int = 16
    seed: int = 0
    study_time: str = ""
    position: str = ""
    """ImagePositionPatient; with it, the image is axial."""
    study_id: str = ""
    """StudyID; without it, the element is missing."""


def synthetic_image(spec: ImageSpec) -> bytes:
    """The DICOM file: 16-bit pixels of a noisy body in air, explicit VR little endian."""
    pixels = _pixels(spec.rows, spec.columns, spec.seed)
    return synthetic_header(spec) + _element(0x7FE0, 0x0010, "OW", pixels)


def padded_image(spec: ImageSpec, size: int) -> bytes:
    """The DICOM file with trailing padding, so that it has `size` bytes, an even number."""
    image = synthetic_image(spec)
    empty = len(_element(0xFFFC, 0xFFFC, "OB", b""))
    return image + _element(0xFFFC, 0xFFFC, "OB", bytes(size - len(image) - empty))


def synthetic_header(spec: ImageSpec) -> bytes:
    """The file up to its pixel data."""
    sop_class = SOP_CLASSES.get(spec.modality, SOP_CLASSES["CT"])
    meta = b"".join(
        (
            _element(0x0002, 0x0001, "OB", b"\0\1"),
            _uid(0x0002, 0x0002, sop_class),
            _uid(0x0002, 0x0003, spec.uid),
            _uid(0x0002, 0x0010, EXPLICIT_LITTLE_ENDIAN),
            _uid(0x0002, 0x0012, f"{ROOT}.1"),
        )
    )
    length = _element(0x0002, 0x0000, "UL", struct.pack("<I", len(meta)))
    return b"\0" * 128 + b"DICM" + length + meta + _dataset(spec, sop_class)


def synthetic_series(
    uid: str,
    collection: str,
    patient: DemoPatient,
    study: DemoStudy,
    *,
    images: int,
    modality: str = "CT",
    rows: int = 16,
    columns: int = 16,
    seed: int = 0,
    number: int = 1,
    hashed: bool = True,
) -> DemoSeries:
    """A series of `images` images; unhashed ones have a blank MD5 and cost nothing to make."""
    specs = [
        ImageSpec(
            f"{uid}.{index}",
            uid,
            study.uid,
            patient.id,
            modality,
            index,
            f"{modality} {number}",
            rows,
            columns,
            random.Random(f"{seed} {uid} {index}").getrandbits(62),
        )
        for index in range(1, images + 1)
    ]
    return DemoSeries(
        uid=uid,
        collection=collection,
        patient=patient,
        study=study,
        images=tuple(demo_image(spec, hashed=hashed) for spec in specs),
        modality=modality,
        description=f"{modality} {number}",
        body_part="CHEST",
        number=float(number),
        date=study.date,
        manufacturer="ACME",
        model="Phantom 1",
    )


def demo_image(spec: ImageSpec, *, hashed: bool = True) -> DemoImage:
    """The archive's image of `spec`: made again each time it is sent."""
    if hashed:
        content = synthetic_image(spec)
        size, md5 = len(content), hashlib.md5(content).hexdigest()
    else:
        size, md5 = len(synthetic_header(spec)) + 12 + 2 * spec.rows * spec.columns, " "
    sop_class = SOP_CLASSES.get(spec.modality, SOP_CLASSES["CT"])
    return DemoImage(spec.uid, size, md5, partial(synthetic_image, spec), sop_class, spec.number, 1)


def synthetic_corpus(
    collection: str = "SYNTHETIC",
    *,
    patients: int | Sequence[str] = 2,
    series_per_patient: int = 2,
    images_per_series: int = 4,
    rows: int = 16,
    columns: int = 16,
    modality: str | Sequence[str] = "CT",
    seed: int = 0,
    hashed: bool = True,
) -> Corpus:
    """A corpus of one collection, the same for the same arguments.

    `patients` may be the PatientIDs themselves; several modalities take turns among the series of
    a patient. Each patient has one study.
    """
    names = _patient_ids(collection, patients)
    modalities = [modality] if isinstance(modality, str) else list(modality)
    series = [
        synthetic_series(
            f"{ROOT}.{seed}.{place}.{number}",
            collection,
            DemoPatient(name, name="", sex="F" if place % 2 else "M"),
            DemoStudy(f"{ROOT}.{seed}.{place}", "1901-02-03", "CHEST", f"S{place}", "042Y"),
            images=images_per_series,
            modality=modalities[(number - 1) % len(modalities)],
            rows=rows,
            columns=columns,
            seed=seed,
            number=number,
            hashed=hashed,
        )
        for place, name in enumerate(names, start=1)
        for number in range(1, series_per_patient + 1)
    ]
    return Corpus([DemoCollection(collection)], series)


def with_md5s(series: DemoSeries, stored: dict[str, str | None]) -> DemoSeries:
    """`series` with other digests on record for the images named by UID."""
    images = tuple(replace(image, md5=stored.get(image.uid, image.md5)) for image in series.images)
    return replace(series, images=images)


def with_unpadded_md5s(series: DemoSeries) -> DemoSeries:
    """`series` with an image whose MD5 begins with zeros, all stored without leading zeros."""
    images = [*series.images[:-1], _with_leading_zero(series, series.images[-1].uid)]
    stripped = [replace(image, md5=(image.md5 or "").lstrip("0")) for image in images]
    return replace(series, images=tuple(stripped))


def _with_leading_zero(series: DemoSeries, uid: str) -> DemoImage:
    for seed in range(10_000):
        spec = ImageSpec(uid, series.uid, series.study.uid, series.patient.id, seed=seed)
        image = demo_image(spec)
        if (image.md5 or "").startswith("0"):
            return image
    raise AssertionError("no MD5 with a leading zero")


def _patient_ids(collection: str, patients: int | Sequence[str]) -> Sequence[str]:
    if isinstance(patients, int):
        return [f"{collection}-{place:06d}" for place in range(1, patients + 1)]
    return patients


def _dataset(spec: ImageSpec, sop_class: str) -> bytes:
    return b"".join(
        (
            _text(0x0008, 0x0005, "CS", "ISO_IR 192"),
            _uid(0x0008, 0x0016, sop_class),
            _uid(0x0008, 0x0018, spec.uid),
            _text(0x0008, 0x0020, "DA", "19010203"),
            _text(0x0008, 0x0021, "DA", "19010203"),
            *([_text(0x0008, 0x0030, "TM", spec.study_time)] if spec.study_time else []),
            _text(0x0008, 0x0060, "CS", spec.modality),
            _text(0x0008, 0x0070, "LO", "ACME"),
            _text(0x0008, 0x103E, "LO", spec.description),
            _text(0x0010, 0x0010, "PN", ""),
            _text(0x0010, 0x0020, "LO", spec.patient),
            _text(0x0018, 0x0015, "CS", "CHEST"),
            _uid(0x0020, 0x000D, spec.study),
            _uid(0x0020, 0x000E, spec.series),
            *([_text(0x0020, 0x0010, "SH", spec.study_id)] if spec.study_id else []),
            _text(0x0020, 0x0011, "IS", "1"),
            _text(0x0020, 0x0012, "IS", "1"),
            _text(0x0020, 0x0013, "IS", str(spec.number)),
            _place(spec.position),
            _short(0x0028, 0x0002, 1),
            _text(0x0028, 0x0004, "CS", "MONOCHROME2"),
            _short(0x0028, 0x0010, spec.rows),
            _short(0x0028, 0x0011, spec.columns),
            _short(0x0028, 0x0100, 16),
            _short(0x0028, 0x0101, 16),
            _short(0x0028, 0x0102, 15),
            _short(0x0028, 0x0103, 0),
        )
    )


def _place(position: str) -> bytes:
    if not position:
        return b""
    axial = _text(0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0")
    return _text(0x0020, 0x0032, "DS", position) + axial


def _element(group: int, number: int, vr: str, value: bytes) -> bytes:
    tag = struct.pack("<HH2s", group, number, vr.encode())
    if vr in LONG_FORM:
        return tag + struct.pack("<HI", 0, len(value)) + value
    return tag + struct.pack("<H", len(value)) + value


def _uid(group: int, number: int, value: str) -> bytes:
    data = value.encode()
    return _element(group, number, "UI", data + b"\0" * (len(data) % 2))


def _text(group: int, number: int, vr: str, value: str) -> bytes:
    data = value.encode()
    return _element(group, number, vr, data + b" " * (len(data) % 2))


def _short(group: int, number: int, value: int) -> bytes:
    return _element(group, number, "US", struct.pack("<H", value))


def _pixels(rows: int, columns: int, seed: int) -> bytes:
    count = rows * columns
    noise = _noise(count)
    start = seed % SPARE
    pixels = bytearray(2 * count)
    pixels[0::2] = noise[start : start + count]
    pixels[1::2] = _body(rows, columns)
    pixels[-8:] = seed.to_bytes(8, "little")  # two images are never the same
    return bytes(pixels)


@lru_cache(maxsize=4)
def _noise(count: int) -> bytes:
    """About five bits of noise a pixel, as the quantum noise of a CT."""
    table = bytes((value & 15) + (value >> 4) for value in range(256))
    return random.Random(count).randbytes(count + SPARE).translate(table)


@lru_cache(maxsize=4)
def _body(rows: int, columns: int) -> bytes:
    """The high bytes: an ellipse of tissue in air."""
    lines = []
    for row in range(rows):
        height = (2 * row + 1) / rows - 1
        half = int(columns * 0.45 * max(0.0, 1 - height * height) ** 0.5)
        air = (columns - 2 * half) // 2
        lines.append(b"\0" * air + b"\4" * (columns - 2 * air) + b"\0" * air)
    return b"".join(lines)
