"""The contents of the simulated NBIA, as an index in memory; files are read when they are sent."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pydicom.data
from pydicom import FileDataset, dcmread
from pydicom.errors import InvalidDicomError

from tcia_covid.demo.server import COLLECTIONS

_REQUIRED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


@dataclass(frozen=True, slots=True)
class DemoImage:
    """One DICOM file of the archive."""

    uid: str
    """SOPInstanceUID."""
    size: int
    """Bytes of the file."""
    md5: str | None
    """The recorded digest; in NBIA it can be without leading zeros, blank, or NULL (None)."""
    read: Callable[[], bytes]
    """Reads the file; called each time the image is sent."""
    sop_class: str = ""
    number: int | None = None
    """InstanceNumber."""
    acquisition: int | None = None
    """AcquisitionNumber."""


@dataclass(frozen=True, slots=True)
class DemoPatient:
    """One patient, as described in the headers of the images."""

    id: str
    name: str = ""
    sex: str | None = None
    ethnic_group: str | None = None


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """One study; `date` is ISO `yyyy-mm-dd`."""

    uid: str
    date: str | None = None
    description: str | None = None
    id: str | None = None
    age: str | None = None
    """The patient's age at the time, in DICOM's notation (`042Y`)."""
    diagnosis: str | None = None


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """One series with its images; None is the database's NULL; dates are ISO."""

    uid: str
    collection: str
    patient: DemoPatient
    study: DemoStudy
    images: tuple[DemoImage, ...]
    modality: str | None = None
    description: str | None = None
    body_part: str | None = None
    number: float | None = None
    date: str | None = None
    protocol: str | None = None
    manufacturer: str | None = None
    model: str | None = None
    software: str | None = None
    pixel_spacing: str | None = None
    slice_thickness: float | None = None
    third_party: bool = False
    submitted: str = "2024-01-10"
    released: str = "2024-01-15"

    @property
    def size(self) -> int:
        """Size of all images in bytes."""
        return sum(image.size for image in self.images)


@dataclass(frozen=True, slots=True)
class DemoCollection:
    """What all series of a collection have in common."""

    name: str
    license: str | None = "Creative Commons Attribution 4.0 International License"
    license_url: str | None = "https://creativecommons.org/licenses/by/4.0/"
    data_url: str | None = None
    site: str = "demo"


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of NBIA's lists; None selects everything."""

    collection: str | None = None
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    modality: str | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def match(self, series: DemoSeries) -> bool:
        """Whether `series` is selected. As in NBIA, names match in any case, UIDs exactly."""
        return (
            self.study in (None, series.study.uid)
            and self.series in (None, series.uid)
            and _same(self.collection, series.collection)
            and _same(self.patient, series.patient.id)
            and _same(self.modality, series.modality)
            and _same(self.body_part, series.body_part)
            and _same(self.manufacturer, series.manufacturer)
            and _same(self.model, series.model)
        )


def _same(wanted: str | None, value: str | None) -> bool:
    return wanted is None or (value is not None and wanted.upper() == value.upper())


class Corpus:
    """Collections and their series; `put` and `remove` change it while it is being served."""

    def __init__(
        self, collections: Iterable[DemoCollection], series: Iterable[DemoSeries] = ()
    ) -> None:
        self._collections = {item.name.upper(): item for item in collections}
        self._series: dict[str, DemoSeries] = {}
        for item in series:
            self.put(item)

    @property
    def collections(self) -> list[DemoCollection]:
        """Collections that have a series."""
        names = dict.fromkeys(series.collection.upper() for series in self)
        return [item for name, item in self._collections.items() if name in names]

    def put(self, series: DemoSeries) -> None:
        """Add `series`, or replace the one with the same UID."""
        self._collections.setdefault(series.collection.upper(), DemoCollection(series.collection))
        self._series.pop(series.uid, None)
        self._series[series.uid] = series

    def remove(self, uid: str) -> None:
        """Remove series `uid`, if it exists."""
        self._series.pop(uid, None)

    def series(self, uid: str) -> DemoSeries | None:
        """The series with this SeriesInstanceUID."""
        return self._series.get(uid)

    def image(self, uid: str) -> DemoImage | None:
        """The image with this SOPInstanceUID."""
        images = (image for series in self for image in series.images)
        return next((image for image in images if image.uid == uid), None)

    def collection_of(self, series: DemoSeries) -> DemoCollection:
        """The collection that `series` belongs to."""
        return self._collections[series.collection.upper()]

    def select(self, filters: Filters) -> list[DemoSeries]:
        """The series that `filters` select."""
        if filters.series is not None:
            series = self._series.get(filters.series)
            return [series] if series and filters.match(series) else []
        return [series for series in self if filters.match(series)]

    def __iter__(self) -> Iterator[DemoSeries]:
        return iter(list(self._series.values()))

    def __len__(self) -> int:
        return len(self._series)


def demo_corpus() -> Corpus:
    """The series of the demo archive: DICOM files of real scanners, from pydicom's wheel."""
    root = Path(pydicom.data.__file__).parent / "test_files"
    corpus = Corpus(
        DemoCollection(
            name=name,
            license="MIT License",
            license_url="https://github.com/pydicom/pydicom/blob/main/LICENSE",
            data_url="https://github.com/pydicom/pydicom",
            site="pydicom",
        )
        for name in COLLECTIONS
    )
    for name, patterns in COLLECTIONS.items():
        files = (file for pattern in patterns for file in sorted(root.glob(pattern)))
        for series in series_of_files(files, name):
            corpus.put(series)
    return corpus


def series_of_files(files: Iterable[Path], collection: str) -> list[DemoSeries]:
    """Group DICOM files into the series of `collection`, in the order of their first files.

    Left out are files that are not DICOM, that have no PatientID or miss one of the three UIDs, and
    those whose SOPInstanceUID occurred before.
    """
    images: dict[str, DemoImage] = {}
    groups: dict[str, list[tuple[FileDataset, DemoImage]]] = {}
    for file in files:
        content = file.read_bytes()
        header = _header(content)
        if header is not None and header.SOPInstanceUID not in images:
            image = images[header.SOPInstanceUID] = _image(header, content, file.read_bytes)
            groups.setdefault(str(header.SeriesInstanceUID), []).append((header, image))
    return [
        _series(uid, collection, members[0][0], tuple(image for _, image in members))
        for uid, members in groups.items()
    ]


def _header(content: bytes) -> FileDataset | None:
    """The header of a complete DICOM file that names its image, series, study and patient."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # unusual values in old headers are served as they are
        try:
            header = dcmread(BytesIO(content), stop_before_pixels=True)
            complete = all(str(header.get(keyword, "")) for keyword in _REQUIRED)
        except InvalidDicomError:
            return None
    return header if complete else None


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


def _series(
    uid: str, collection: str, header: FileDataset, images: tuple[DemoImage, ...]
) -> DemoSeries:
    return DemoSeries(
        uid=uid,
        collection=collection,
        patient=DemoPatient(
            id=str(header.PatientID),
            name=str(header.get("PatientName", "") or ""),
            sex=_text(header, "PatientSex"),
            ethnic_group=_text(header, "EthnicGroup"),
        ),
        study=DemoStudy(
            uid=str(header.StudyInstanceUID),
            date=_date(header, "StudyDate"),
            description=_text(header, "StudyDescription"),
            id=_text(header, "StudyID"),
            age=_text(header, "PatientAge"),
            diagnosis=_text(header, "AdmittingDiagnosesDescription"),
        ),
        images=images,
        modality=_text(header, "Modality"),
        description=_text(header, "SeriesDescription"),
        body_part=_text(header, "BodyPartExamined"),
        number=_number(header, "SeriesNumber"),
        date=_date(header, "SeriesDate"),
        protocol=_text(header, "ProtocolName"),
        manufacturer=_text(header, "Manufacturer"),
        model=_text(header, "ManufacturerModelName"),
        software=_text(header, "SoftwareVersions"),
        pixel_spacing=str(header.PixelSpacing[0]) if header.get("PixelSpacing") else None,
        slice_thickness=_number(header, "SliceThickness"),
    )


def _text(header: FileDataset, keyword: str) -> str | None:
    value = header.get(keyword)
    if value is None or isinstance(value, str):
        return value or None
    return ", ".join(str(part) for part in value) or None


def _number(header: FileDataset, keyword: str) -> float | None:
    value = header.get(keyword)
    return None if value in (None, "") else float(value)


def _int(header: FileDataset, keyword: str) -> int | None:
    value = _number(header, keyword)
    return None if value is None else int(value)


def _date(header: FileDataset, keyword: str) -> str | None:
    value = str(header.get(keyword, "") or "")
    return f"{value[:4]}-{value[4:6]}-{value[6:]}" if len(value) == len("yyyymmdd") else None
