"""The words of the domain as values: series, images, receipts, and how a series ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Series:
    """One series as an archive or the catalog lists it.

    Dates are ISO `yyyy-mm-dd` as archived (shifted by de-identification). None means that the
    archive does not say.
    """

    uid: str
    """SeriesInstanceUID."""
    collection: str
    """The collection as the archive spells it."""
    patient: str
    """PatientID, as archived."""
    study: str
    """StudyInstanceUID."""
    modality: str | None = None
    body_part: str | None = None
    description: str | None = None
    number: int | None = None
    date: str | None = None
    study_date: str | None = None
    study_description: str | None = None
    manufacturer: str | None = None
    manufacturer_model: str | None = None
    image_count: int | None = None
    """Images the archive has on record."""
    size: int | None = None
    """Bytes of all images, uncompressed, as the archive has on record."""
    license: str | None = None
    license_url: str | None = None
    data_url: str | None = None
    """The DOI link of the collection or analysis result that the series belongs to."""
    released: str | None = None
    submitted: str | None = None
    """When the last of its images was submitted to the archive of record."""
    third_party: bool = False
    """Whether the series is somebody's analysis result, not an original acquisition."""
    bucket: str | None = None
    """IDC: the public bucket on AWS that mirrors the series."""
    crdc_uuid: str | None = None
    """IDC: the folder of the series in that bucket."""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """One image as an archive lists it; which fields are known depends on the archive."""

    uid: str | None = None
    """SOPInstanceUID; None where only the file's header tells (IDC)."""
    key: str | None = None
    """The archive's own name of the image (an S3 key)."""
    size: int | None = None
    md5: str | None = None
    """32 hex digits."""
    version: str | None = None
    """What must stay the same while it is fetched (an ETag)."""


class Check(str, Enum):
    """How an image was proved to be what the archive has; ordered strongest first."""

    MD5 = "md5"
    """Its own MD5, as the archive publishes it."""
    SERIES_MD5 = "series-md5"
    """The archive's hash over the MD5s of all images of the series."""
    SIZE = "size"
    """Only count, bytes and header: the archive has no hash for it."""


ADOPTED = "adopted"
"""The source of an image that was found on disk, and that no archive is known to have given."""


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
    """What its file's name ends in."""

    @property
    def file(self) -> str:
        """The file's name in the series folder."""
        return f"{self.uid}{self.suffix}"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is known of a series that stands in the tree."""

    series: Series
    folder: str
    """Relative to the collection's folder, with forward slashes."""
    images: tuple[StoredImage, ...]
    finished: str
    """UTC, ISO 8601."""
    program: str
    """Name and version of the program that wrote it."""

    @property
    def size(self) -> int:
        """Bytes of all images."""
        return sum(image.size for image in self.images)

    @property
    def is_dicom(self) -> bool:
        """Whether its images are DICOM files; the archives have no others."""
        return all(image.suffix == ".dcm" for image in self.images)

    def differs_from(self, series: Series) -> bool:
        """Whether what an archive lists is no longer what was fetched.

        Told by count, bytes and day of submission, which are all that lists say. An archive may
        have another number on record than it has bytes: what it listed then is no change.
        """
        then = self.series
        facts = (
            (series.image_count, then.image_count, len(self.images)),
            (series.size, then.size, self.size),
            (series.submitted, then.submitted, then.submitted),
        )
        return any(
            listed not in (None, listed_then, here) and here is not None
            for listed, listed_then, here in facts
        )

    @property
    def check(self) -> Check:
        """The weakest proof among the images."""
        if any(image.check is Check.SIZE for image in self.images):
            return Check.SIZE
        if any(image.check is Check.SERIES_MD5 for image in self.images):
            return Check.SERIES_MD5
        return Check.MD5


class State(str, Enum):
    """How one series ended in a run."""

    COMPLETE = "complete"
    ALREADY = "already complete"
    FAILED = "failed"
    LOCKED = "locked by another run"
    REMAINING = "remaining"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a series, or part of a listing, is not there."""

    series: str
    """SeriesInstanceUID, or empty where the failure is of a whole listing."""
    reason: str
    detail: str
    missing: tuple[str, ...] = ()
    """SOPInstanceUIDs."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one series ended."""

    series: Series
    state: State
    receipt: Receipt | None = None
    failure: Failure | None = None
