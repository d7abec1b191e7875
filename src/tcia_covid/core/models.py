"""Data classes of the domain: series, images, receipts, and how a series ended."""

from __future__ import annotations

import hashlib
import os
import re
from collections import namedtuple
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from tcia_covid.core.errors import FailureReason, TciaCovidError

SERIES_NAMES: Mapping[str, str] = {
    "uid": "SeriesInstanceUID",
    "collection": "Collection",
    "patient": "PatientID",
    "study": "StudyInstanceUID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "description": "SeriesDescription",
    "number": "SeriesNumber",
    "date": "SeriesDate",
    "study_date": "StudyDate",
    "study_description": "StudyDescription",
    "manufacturer": "Manufacturer",
    "manufacturer_model": "ManufacturerModelName",
    "patient_sex": "PatientSex",
    "patient_age": "PatientAge",
    "sop_class": "SOPClassUID",
    "transfer_syntax": "TransferSyntaxUID",
    "photometric_interpretation": "PhotometricInterpretation",
    "image_count": "ImageCount",
    "size": "FileSize",
    "license": "LicenseName",
    "license_url": "LicenseURI",
    "data_url": "DataDescriptionURI",
    "released": "DateReleased",
    "submitted": "MaxSubmissionTimestamp",
    "third_party": "ThirdPartyAnalysis",
    "bucket": "aws_bucket",
    "crdc_uuid": "crdc_series_uuid",
    "md5": "series_hash",
}
"""Attribute of `Series` to its name outside Python: in JSON, CSV, events and receipts.

The names are those of DICOM and of NBIA's getSeries; the last three are IDC's.
"""
_ATTRIBUTES = {name: attribute for attribute, name in SERIES_NAMES.items()}
_TYPES = {"number": int, "image_count": int, "size": int, "third_party": bool}
"""Attributes that are not text."""


_COMMON = (
    "collection",
    "modality",
    "body_part",
    "study_description",
    "manufacturer",
    "manufacturer_model",
    "patient_sex",
    "sop_class",
    "transfer_syntax",
    "photometric_interpretation",
    "license",
    "license_url",
    "data_url",
    "released",
    "third_party",
    "bucket",
)
"""Attributes of which most series of a collection have the same values."""
_OWN = tuple(name for name in SERIES_NAMES if name not in _COMMON)
_share = lru_cache(maxsize=10_000)(namedtuple("_Common", _COMMON))
"""Gives a tuple of the values of `_COMMON`, the same one for the same values."""


@dataclass(frozen=True, init=False)
class Series:
    """One series as an archive or the catalog lists it.

    Dates are ISO `yyyy-mm-dd` as archived (shifted by de-identification). None means that the
    archive does not give the value.
    """

    # A list may have a million series. Each of them keeps its `_OWN` values, and the tuple of its
    # common values, which it shares with others: that takes half of the memory.
    __slots__ = (*_OWN, "_common")

    uid: str
    """SeriesInstanceUID."""
    collection: str
    """The collection as the archive spells it."""
    patient: str
    """PatientID, as archived."""
    study: str
    """StudyInstanceUID."""
    modality: str | None
    body_part: str | None
    description: str | None
    number: int | None
    date: str | None
    study_date: str | None
    study_description: str | None
    manufacturer: str | None
    manufacturer_model: str | None
    patient_sex: str | None
    """`F`, `M` or `O`."""
    patient_age: str | None
    """At the time of the study, as DICOM writes it: `064Y`, `018M`."""
    sop_class: str | None
    """SOPClassUID, the kind of DICOM object."""
    transfer_syntax: str | None
    """TransferSyntaxUID of the archived files; several are separated by commas."""
    photometric_interpretation: str | None
    """Such as `MONOCHROME2`; several are separated by commas."""
    image_count: int | None
    """Number of images, as the archive records it."""
    size: int | None
    """Bytes of all images, uncompressed, as the archive records them."""
    license: str | None
    license_url: str | None
    data_url: str | None
    """The DOI link of the collection or analysis result that the series belongs to."""
    released: str | None
    submitted: str | None
    """When the last of its images was submitted to the archive of record."""
    third_party: bool
    """Whether the series is an analysis result, not an original acquisition."""
    bucket: str | None
    """IDC: the public bucket on AWS that mirrors the series."""
    crdc_uuid: str | None
    """IDC: the folder of the series in that bucket; each version of a series has its own."""
    md5: str | None
    """The MD5 of the series (`series_md5`) as a lock file has it; lists of archives have none."""

    def __init__(
        self,
        uid: str,
        collection: str,
        patient: str,
        study: str,
        modality: str | None = None,
        body_part: str | None = None,
        description: str | None = None,
        number: int | None = None,
        date: str | None = None,
        study_date: str | None = None,
        study_description: str | None = None,
        manufacturer: str | None = None,
        manufacturer_model: str | None = None,
        patient_sex: str | None = None,
        patient_age: str | None = None,
        sop_class: str | None = None,
        transfer_syntax: str | None = None,
        photometric_interpretation: str | None = None,
        image_count: int | None = None,
        size: int | None = None,
        license: str | None = None,
        license_url: str | None = None,
        data_url: str | None = None,
        released: str | None = None,
        submitted: str | None = None,
        third_party: bool = False,  # noqa: FBT001, FBT002 - as dataclasses have it
        bucket: str | None = None,
        crdc_uuid: str | None = None,
        md5: str | None = None,
    ) -> None:
        put = object.__setattr__  # the class is frozen
        put(self, "uid", uid)
        put(self, "patient", patient)
        put(self, "study", study)
        put(self, "description", description)
        put(self, "number", number)
        put(self, "date", date)
        put(self, "study_date", study_date)
        put(self, "patient_age", patient_age)
        put(self, "image_count", image_count)
        put(self, "size", size)
        put(self, "submitted", submitted)
        put(self, "crdc_uuid", crdc_uuid)
        put(self, "md5", md5)
        common = _share(
            collection,
            modality,
            body_part,
            study_description,
            manufacturer,
            manufacturer_model,
            patient_sex,
            sop_class,
            transfer_syntax,
            photometric_interpretation,
            license,
            license_url,
            data_url,
            released,
            third_party,
            bucket,
        )
        put(self, "_common", common)

    def __reduce__(self) -> tuple[type[Series], tuple[Any, ...]]:
        """Pickle the values: building the series again shares what is common."""
        return type(self), tuple(getattr(self, name) for name in SERIES_NAMES)

    def to_dict(self) -> dict[str, Any]:
        """Return the series under the names of `SERIES_NAMES`; unknown values are None."""
        return {name: getattr(self, attribute) for attribute, name in SERIES_NAMES.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Series:
        """Build a series from what `to_dict` returns; other keys are ignored.

        Raises:
            TypeError: a value has another type, or an identifier is missing.
        """
        known: dict[str, Any] = {}
        for name, value in values.items():
            attribute = _ATTRIBUTES.get(name)
            if attribute is None or value is None:
                continue
            if type(value) is not _TYPES.get(attribute, str):
                raise TypeError(f"{name} cannot be {value!r}"[:200])
            known[attribute] = value
        return cls(**known)


for _name in _COMMON:
    setattr(Series, _name, property(attrgetter(f"_common.{_name}")))


@dataclass(frozen=True, slots=True)
class Totals:
    """A number of series, and their images and bytes as an archive lists them."""

    series: int = 0
    images: int = 0
    size: int = 0
    """Bytes."""

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            self.series + other.series, self.images + other.images, self.size + other.size
        )

    @classmethod
    def of(cls, series: Sequence[Series]) -> Totals:
        """Add up series."""
        return cls(
            len(series),
            sum(item.image_count or 0 for item in series),
            sum(item.size or 0 for item in series),
        )


def series_md5(images: Iterable[str]) -> str:
    """MD5 over the sorted MD5s of the images: how NBIA and IDC hash a series."""
    return hashlib.md5("".join(sorted(images)).encode(), usedforsecurity=False).hexdigest()


_REFERENCES = {"series": SERIES_NAMES["uid"], "collection": SERIES_NAMES["collection"]}


def name_series(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Rename the fields of a value that belongs to a series; an empty identifier becomes None."""
    return {
        _REFERENCES.get(name, name): value or None if name in _REFERENCES else value
        for name, value in fields.items()
    }


class RemoteImage(NamedTuple):
    """One image as an archive lists it; the known fields depend on the archive."""

    uid: str | None = None
    """SOPInstanceUID; None where only the file's header has it (IDC)."""
    key: str | None = None
    """The archive's name of the image (an S3 key)."""
    size: int | None = None
    md5: str | None = None
    """32 hex digits."""
    version: str | None = None
    """The version (an ETag), which must stay the same during the download."""


class Check(str, Enum):
    """How an image was verified, strongest first."""

    MD5 = "md5"
    """By its own MD5, as the archive publishes it, or the MD5 over the MD5s of its parts."""
    SERIES_MD5 = "series-md5"
    """By the archive's hash over the MD5s of all images of the series."""
    SIZE = "size"
    """By count, bytes and header alone: the archive has no hash for it."""


CHECKS = {check.value: check for check in Check}
"""By value; calling `Check` takes five times as long, and receipts do it per image."""
_WEAKEST_FIRST = tuple(reversed(CHECKS))


IMAGE_NAMES: Mapping[str, str] = {
    "sop_class": "SOPClassUID",
    "number": "InstanceNumber",
    "acquisition": "AcquisitionNumber",
    "position": "ImagePositionPatient",
    "orientation": "ImageOrientationPatient",
    "transfer_syntax": "TransferSyntaxUID",
    "study_id": "StudyID",
}
"""Attribute of `ImageAttributes` to its DICOM keyword, which JSON, CSV and receipts use."""
_NUMBERS = frozenset({"InstanceNumber", "AcquisitionNumber"})
_is_number = re.compile(r"[+-]?\d{1,11}").fullmatch


class ImageAttributes(NamedTuple):
    """What the header of one image says about it, as text; empty where it has no valid value.

    An enhanced multi-frame image has positions per frame: `position` and `orientation` are empty.
    """

    sop_class: str = ""
    number: str = ""
    """InstanceNumber, a whole number."""
    acquisition: str = ""
    position: str = ""
    """ImagePositionPatient in mm: x, y and z, separated by backslashes as in DICOM."""
    orientation: str = ""
    """ImageOrientationPatient: the directions of rows and columns, six numbers."""
    transfer_syntax: str = ""
    study_id: str = ""
    """StudyID, which the lists of the archives do not have; empty if it is not ASCII."""


ADOPTED = "adopted"
"""The source of an image that was on disk, from an unknown archive."""


def archive_label(name: str) -> str:
    """How a sentence names an archive, or the server of packages."""
    return "Aspera" if name == "aspera" else name.upper()


@dataclass(frozen=True, slots=True)
class StoredImage:
    """One image on disk."""

    uid: str
    """SOPInstanceUID, from the file's header."""
    size: int
    md5: str
    """32 hex digits, of the bytes on disk."""
    check: Check = Check.SIZE
    source: str = "nbia"
    """The archive it came from, or `ADOPTED`."""
    suffix: str = ".dcm"
    """Of its file name."""
    attributes: ImageAttributes | None = field(default=None, compare=False, repr=False)
    """From its header, while the series is in staging; later `Receipt.attributes` has them."""
    name: str = ""
    """Its file name in the series folder, if that is not its UID."""

    @property
    def file(self) -> str:
        """The file name in the series folder."""
        return self.name or f"{self.uid}{self.suffix}"

    def renamed(self, name: str) -> StoredImage:
        """The same image with another `name`."""
        return self if name == self.name else replace(self, name=name)


def shared_headers(attributes: Sequence[ImageAttributes | None]) -> dict[str, Any] | None:
    """The `headers` of a receipt; None if those of an image are not known."""
    known = [each for each in attributes if each is not None]
    if len(known) < len(attributes):
        return None
    headers: dict[str, Any] = {}
    for name, keyword in IMAGE_NAMES.items():
        values = [getattr(each, name) for each in known]
        if any(values):
            headers[keyword] = values[0] if len(set(values)) == 1 else values
    return headers


@dataclass(frozen=True, slots=True)
class Receipt:
    """The record of a series that is complete in the tree."""

    series: Series
    folder: str
    """Relative to the collection's folder, with forward slashes."""
    images: tuple[StoredImage, ...]
    finished: str
    """UTC, ISO 8601."""
    program: str
    """Name and version of the program that wrote it."""
    headers: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    """The attributes of the images by DICOM keyword: a text where all images have the same, else a
    list of one per image. None where they were not recorded. Not validated before they are used:
    most commands read every receipt, and none of the headers."""

    def path(self, root: Path) -> str:
        """Its folder, as the system writes it; `root` is the collection's folder."""
        # Joining Paths takes five times as long.
        return f"{root}{os.sep}{self.folder.replace('/', os.sep)}"

    def attributes(self) -> list[ImageAttributes] | None:
        """What the headers of `images` say, in their order; None where this was not recorded."""
        if not isinstance(self.headers, Mapping):
            return None
        columns: list[list[str]] = []
        for keyword in IMAGE_NAMES.values():
            value = self.headers.get(keyword, "")
            column = value if isinstance(value, list) else [value] * len(self.images)
            if len(column) != len(self.images) or not {str}.issuperset(map(type, column)):
                return None
            if keyword in _NUMBERS and not all(map(_is_number, filter(None, column))):
                return None
            columns.append(column)
        return [ImageAttributes(*values) for values in zip(*columns, strict=True)]

    @property
    def study_id(self) -> str:
        """StudyID, as the headers of the images have it; empty where it is not known."""
        ids = self.headers.get("StudyID") if isinstance(self.headers, dict) else None
        texts = ids if isinstance(ids, list) else [ids]
        return next((text for text in texts if text and isinstance(text, str)), "")

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(image.size for image in self.images)

    @property
    def md5(self) -> str:
        """The MD5 of the series."""
        return series_md5(image.md5 for image in self.images)

    @property
    def is_dicom(self) -> bool:
        """Whether its images are DICOM files, as all images in the archives are."""
        return all(image.suffix == ".dcm" for image in self.images)

    def differs_from(self, series: Series) -> bool:
        """Whether an archive lists the series differently than it was downloaded.

        Lists have count, bytes, day of submission and IDC's UUID of the version; lock files may
        have the MD5. An archive may record other bytes than it has: the same record as before is no
        change.
        """
        before = self.series
        facts = (
            (series.image_count, before.image_count, len(self.images)),
            (series.size, before.size, self.size),
            (series.submitted, before.submitted, before.submitted),
            (series.crdc_uuid, before.crdc_uuid, before.crdc_uuid),
        )
        is_other = series.md5 is not None and series.md5 != self.md5
        return is_other or any(
            listed not in (None, listed_before, stored) and stored is not None
            for listed, listed_before, stored in facts
        )

    @property
    def check(self) -> Check:
        """The weakest check among the images."""
        checks = {image.check.value for image in self.images}  # members hash in Python: slowly
        return next((CHECKS[value] for value in _WEAKEST_FIRST if value in checks), Check.MD5)


class State(str, Enum):
    """How one series ended in a run."""

    COMPLETE = "complete"
    ALREADY = "already-complete"
    FAILED = "failed"
    LOCKED = "locked"
    REMAINING = "remaining"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a series, or a listing, is missing."""

    series: str
    """SeriesInstanceUID; empty for a whole listing."""
    reason: FailureReason
    detail: str
    missing: tuple[str, ...] = ()
    """SOPInstanceUIDs."""
    hint: str = ""

    @classmethod
    def of(cls, error: TciaCovidError, series: str = "", subject: str = "") -> Failure:
        """The record of an error; `subject` is what its message is about."""
        detail = f"{subject}: {error.message}" if subject else error.message
        return cls(series, error.reason, detail, error.missing, error.hint)

    def to_dict(self) -> dict[str, Any]:
        """Return the failure as JSON documents and events show it."""
        return name_series({**asdict(self), "missing": list(self.missing)})


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one series ended."""

    series: Series
    state: State
    receipt: Receipt | None = None
    failure: Failure | None = None
