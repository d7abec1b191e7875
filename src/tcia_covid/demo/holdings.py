"""What the demonstration archive holds: collections, patients, studies, series, images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
    licence: str | None = "Creative Commons Attribution 4.0 International License"
    licence_url: str | None = "https://creativecommons.org/licenses/by/4.0/"
    data_url: str | None = None
    site: str = "demo"
