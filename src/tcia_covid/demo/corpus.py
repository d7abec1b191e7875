"""The archive's contents as an index in memory; the bytes of a file are read when it is sent."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import FileDataset

SHIPPED: Mapping[str, tuple[str, ...]] = {
    "DEMO-CT": (
        "693_J2KI.dcm",
        "CT_small.dcm",
        "J2K_pixelrep_mismatch.dcm",
        "dicomdirtests/TINY_ALPHA/*/*/*/IM*",
    ),
    "DEMO-MULTI": (
        "MR_small.dcm",
        "examples_overlay.dcm",
        "dicomdirtests/77654033/*/*",
        "dicomdirtests/98892001/*/*",
        "dicomdirtests/98892003/*/*",
    ),
    "DEMO-OTHER": (
        "JPEG-lossy.dcm",
        "examples_jpeg2k.dcm",
        "examples_rgb_color.dcm",
        "liver_1frame.dcm",
        "waveform_ecg.dcm",
    ),
}
"""Which of the files in pydicom's wheel stand in which collection.

They are named one by one, or by folders of fixed content, so that the counts in the
demonstration registry stay true whatever a later pydicom adds.
"""
_TITLES = {
    "DEMO-CT": "CT images among pydicom's test files",
    "DEMO-MULTI": "Two patients with radiographs, CT and MR, and two MR images on their own",
    "DEMO-OTHER": "Ultrasound, nuclear medicine, a segmentation and an ECG",
}
NEEDED = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID")


@dataclass(slots=True)
class Selection:
    """What NBIA's list calls may ask for; None asks for nothing in particular."""

    collection: str | None = None
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    modality: str | None = None
    body_part: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def takes(self, series: DemoSeries) -> bool:
        """Whether `series` is asked for: names in any case, UIDs exactly, as NBIA compares."""
        return (
            _same(self.patient, series.patient.id)
            and self.study in (None, series.study.uid)
            and _same(self.modality, series.modality)
            and _same(self.body_part, series.body_part)
            and _same(self.manufacturer, series.manufacturer)
            and _same(self.model, series.model)
        )


class Corpus:
    """Collections and their series; `put` and `remove` change it while it is being served."""

    def __init__(
        self, collections: Iterable[DemoCollection], series: Iterable[DemoSeries] = ()
    ) -> None:
        self._collections = {item.name.upper(): item for item in collections}
        self._series: dict[str, DemoSeries] = {}
        self._by_collection: dict[str, dict[str, DemoSeries]] = {}
        self._by_image: dict[str, DemoSeries] = {}
        self.carts: dict[str, list[str]] = {}
        """Shared carts: the SeriesInstanceUIDs behind each name."""
        for item in series:
            self.put(item)

    @property
    def collections(self) -> list[DemoCollection]:
        """Collections that have a series."""
        return [self._collections[name] for name, members in self._by_collection.items() if members]

    def put(self, series: DemoSeries) -> None:
        """Add `series`, or set it in the place of the one with the same UID."""
        self.remove(series.uid)
        name = series.collection.upper()
        self._collections.setdefault(name, DemoCollection(series.collection))
        self._series[series.uid] = series
        self._by_collection.setdefault(name, {})[series.uid] = series
        self._by_image.update(dict.fromkeys((image.uid for image in series.images), series))

    def remove(self, uid: str) -> None:
        """Withdraw series `uid`, if it is there."""
        series = self._series.pop(uid, None)
        if series is not None:
            del self._by_collection[series.collection.upper()][uid]
            for image in series.images:
                self._by_image.pop(image.uid, None)

    def series(self, uid: str) -> DemoSeries | None:
        """The series with this SeriesInstanceUID."""
        return self._series.get(uid)

    def image(self, uid: str) -> DemoImage | None:
        """The image with this SOPInstanceUID."""
        series = self._by_image.get(uid)
        if series is None:
            return None
        return next(image for image in series.images if image.uid == uid)

    def collection(self, name: str) -> DemoCollection | None:
        """The collection of this name, in any case."""
        return self._collections.get(name.upper())

    def select(self, wanted: Selection) -> list[DemoSeries]:
        """The series that `wanted` asks for."""
        return [series for series in self._candidates(wanted) if wanted.takes(series)]

    def __iter__(self) -> Iterator[DemoSeries]:
        return iter(list(self._series.values()))

    def __len__(self) -> int:
        return len(self._series)

    def _candidates(self, wanted: Selection) -> Iterable[DemoSeries]:
        if wanted.series is not None:
            series = self._series.get(wanted.series)
            return [series] if series and _same(wanted.collection, series.collection) else []
        if wanted.collection is not None:
            return list(self._by_collection.get(wanted.collection.upper(), {}).values())
        return self


def corpus_of(files: Mapping[str, Iterable[Path | bytes]]) -> Corpus:
    """A corpus of the DICOM files, or the bytes of such, that stand behind each collection's name.

    What `series_of_files` leaves out is not in it.
    """
    series = (series_of_files(members, name) for name, members in files.items())
    return Corpus([DemoCollection(name) for name in files], chain.from_iterable(series))


def corpus_of_folder(folder: Path, collection: str) -> Corpus:
    """A corpus of one collection: every DICOM file below `folder`."""
    return corpus_of({collection: sorted(path for path in folder.rglob("*") if path.is_file())})


def demo_corpus() -> Corpus:
    """The demonstration archive: the real scanner files that pydicom's wheel brings along."""
    root = shipped_folder()
    series = (series_of_files(_shipped(root, patterns), name) for name, patterns in SHIPPED.items())
    return Corpus([_shipped_collection(name) for name in SHIPPED], chain.from_iterable(series))


def demo_registry() -> Path:
    """The registry file that describes the collections of `demo_corpus`."""
    return Path(__file__).with_name("registry.yaml")


def shipped_folder() -> Path:
    """Where the installed pydicom keeps its test files; nothing is fetched."""
    import pydicom.data  # noqa: PLC0415 -- costs half a second

    return Path(pydicom.data.__file__).parent / "test_files"


def _shipped(root: Path, patterns: Iterable[str]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(root.glob(pattern))


def _shipped_collection(name: str) -> DemoCollection:
    return DemoCollection(
        name=name,
        title=_TITLES[name],
        license="MIT License",
        license_url="https://github.com/pydicom/pydicom/blob/main/LICENSE",
        data_url="https://github.com/pydicom/pydicom",
        site="pydicom",
    )


def _same(wanted: str | None, value: str | None) -> bool:
    return wanted is None or (value is not None and wanted.upper() == value.upper())


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


@dataclass(frozen=True, slots=True)
class DemoImage:
    """One DICOM file as the archive has it."""

    uid: str
    """SOPInstanceUID."""
    size: int
    """Bytes of the file."""
    md5: str | None
    """The stored digest: as NBIA, it may lack leading zeros, be blank, or be NULL (None)."""
    read: Callable[[], bytes]
    """Gives the file's bytes; called each time the image is sent."""
    sop_class: str = ""
    number: int | None = None
    """InstanceNumber."""
    acquisition: int | None = None
    """AcquisitionNumber."""


@dataclass(frozen=True, slots=True)
class DemoPatient:
    """One patient, as the headers of the images say."""

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
    """The patient's age at the time, in DICOM's spelling (`042Y`)."""
    diagnosis: str | None = None


@dataclass(frozen=True, slots=True)
class DemoSeries:
    """One series with its images; None stands for the database's NULL; dates are ISO."""

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
        """Bytes of all images."""
        return sum(image.size for image in self.images)


@dataclass(frozen=True, slots=True)
class DemoCollection:
    """One collection: what is the same for all of its series."""

    name: str
    title: str = ""
    license: str | None = "Creative Commons Attribution 4.0 International License"
    license_url: str | None = "https://creativecommons.org/licenses/by/4.0/"
    data_url: str | None = None
    site: str = "demo"
