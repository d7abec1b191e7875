"""Turns DICOM files into the archive's series: each header is read once, the bytes stay outside."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.demo.holdings import DemoImage, DemoPatient, DemoSeries, DemoStudy

if TYPE_CHECKING:
    from pydicom import FileDataset

NEEDED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


@dataclass(frozen=True, slots=True)
class _Instance:
    """One file: the image, and the header that says what it belongs to."""

    image: DemoImage
    header: FileDataset


def series_of_files(files: Iterable[Path | bytes], collection: str) -> list[DemoSeries]:
    """Group DICOM files into the series of `collection`, ordered as first met.

    What is not a DICOM file, or lacks PatientID or one of the three UIDs, is left out, and so is
    a file whose SOPInstanceUID came before.
    """
    seen: set[str] = set()
    groups: dict[str, list[_Instance]] = {}
    for instance in _instances(files):
        if instance.image.uid not in seen:
            seen.add(instance.image.uid)
            groups.setdefault(str(instance.header.SeriesInstanceUID), []).append(instance)
    return [_series(uid, collection, members) for uid, members in groups.items()]


def _instances(files: Iterable[Path | bytes]) -> Iterator[_Instance]:
    for file in files:
        content = file if isinstance(file, bytes) else file.read_bytes()
        header = _header(content)
        if header is not None:
            yield _Instance(_image(header, content, _reader(file)), header)


def _reader(file: Path | bytes) -> Callable[[], bytes]:
    return file.read_bytes if isinstance(file, Path) else lambda: file


def _header(content: bytes) -> FileDataset | None:
    """The header of a whole DICOM file that names its image, series, study and patient."""
    from pydicom import dcmread  # noqa: PLC0415 -- costs half a second
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # odd values in old headers are served as they are
        try:
            header = dcmread(BytesIO(content), stop_before_pixels=True)
            known = all(str(header.get(keyword, "")) for keyword in NEEDED)
        except InvalidDicomError:
            return None
    return header if known else None


def _image(header: FileDataset, content: bytes, read: Callable[[], bytes]) -> DemoImage:
    return DemoImage(
        uid=str(header.SOPInstanceUID),
        size=len(content),
        md5=hashlib.md5(content, usedforsecurity=False).hexdigest(),
        read=read,
        sop_class=str(header.get("SOPClassUID", "")),
        number=_int(header, "InstanceNumber"),
        acquisition=_int(header, "AcquisitionNumber"),
    )


def _series(uid: str, collection: str, members: list[_Instance]) -> DemoSeries:
    header = members[0].header
    return DemoSeries(
        uid=uid,
        collection=collection,
        patient=_patient(header),
        study=_study(header),
        images=tuple(member.image for member in members),
        modality=_text(header, "Modality"),
        description=_text(header, "SeriesDescription"),
        body_part=_text(header, "BodyPartExamined"),
        number=_number(header, "SeriesNumber"),
        date=_date(header, "SeriesDate"),
        protocol=_text(header, "ProtocolName"),
        manufacturer=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
        software=_text(header, "SoftwareVersions"),
        pixel_spacing=_first(header, "PixelSpacing"),
        slice_thickness=_number(header, "SliceThickness"),
    )


def _patient(header: FileDataset) -> DemoPatient:
    return DemoPatient(
        id=str(header.PatientID),
        name=str(header.get("PatientName", "") or ""),
        sex=_text(header, "PatientSex"),
        ethnic_group=_text(header, "EthnicGroup"),
    )


def _study(header: FileDataset) -> DemoStudy:
    return DemoStudy(
        uid=str(header.StudyInstanceUID),
        date=_date(header, "StudyDate"),
        description=_text(header, "StudyDescription"),
        id=_text(header, "StudyID"),
        age=_text(header, "PatientAge"),
        diagnosis=_text(header, "AdmittingDiagnosesDescription"),
    )


def _text(header: FileDataset, keyword: str) -> str | None:
    value = header.get(keyword)
    if value is None or isinstance(value, str):
        return value or None
    return ", ".join(str(part) for part in value) or None


def _first(header: FileDataset, keyword: str) -> str | None:
    value = header.get(keyword)
    return str(value[0]) if value else None


def _number(header: FileDataset, keyword: str) -> float | None:
    value = header.get(keyword)
    return None if value in (None, "") else float(value)


def _int(header: FileDataset, keyword: str) -> int | None:
    value = _number(header, keyword)
    return None if value is None else int(value)


def _date(header: FileDataset, keyword: str) -> str | None:
    value = str(header.get(keyword, "") or "")
    if len(value) != len("yyyymmdd"):
        return None
    return f"{value[:4]}-{value[4:6]}-{value[6:]}"
