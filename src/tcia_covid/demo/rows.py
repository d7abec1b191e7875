"""The rows of NBIA's lists: which columns each generation has, in its order and spelling.

A row is a mapping of column to value with every column present. A float stands for a column of
type decimal(22,6), which JSON shows as an integer where it is one, and CSV in full.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum

from tcia_covid.demo.corpus import DemoCollection, DemoSeries

Value = str | int | float | bool | None
Row = Mapping[str, Value]
_PATIENT = ("PatientName", "PatientSex", "EthnicGroup", "Phantom", "SpeciesCode")


class Generation(str, Enum):
    """A generation of the API: the part of the path after `/services/`."""

    V1 = "v1"
    V2 = "v2"
    V4 = "v4"
    ADVANCED = ""

    @property
    def modern(self) -> bool:
        """Whether columns and dates are those of v4."""
        return self is Generation.V4

    def date(self, iso: str | None) -> str | None:
        """An ISO date as this generation writes it: `MM-dd-yyyy`, or a time stamp before v4."""
        if iso is None:
            return None
        return american(iso) if self.modern else f"{iso} 00:00:00.0"


def american(iso: str | None) -> str | None:
    """`yyyy-mm-dd` as `MM-dd-yyyy`."""
    if iso is None:
        return None
    year, month, day = iso.split("-")
    return f"{month}-{day}-{year}"


def series_row(generation: Generation, series: DemoSeries, collection: DemoCollection) -> Row:
    """A row of getSeries."""
    build = _series_v4 if generation.modern else _series_v1
    return build(generation, series, collection)


def updated_series_row(
    generation: Generation, series: DemoSeries, collection: DemoCollection
) -> Row:
    """A row of getUpdatedSeries: before v4 it ends at ImageCount and the date of release."""
    row = series_row(generation, series, collection)
    if generation.modern:
        return row
    return {**_upto(row, "ImageCount"), "DateReleased": row["DateReleased"]}


def cart_row(series: DemoSeries, collection: DemoCollection) -> Row:
    """A row of getContentsByName, whose last column really has a blank in its name."""
    row = series_row(Generation.V1, series, collection)
    return {**_upto(row, "ImageCount"), "Date Released": row["DateReleased"]}


def patient_row(generation: Generation, series: DemoSeries) -> Row:
    """A row of getPatient, for the patient of `series`."""
    patient = series.patient
    birth: dict[str, Value] = {} if generation.modern else {"PatientBirthDate": None}
    return {
        "PatientId": patient.id,
        "PatientName": patient.name,
        **birth,
        "PatientSex": patient.sex,
        "EthnicGroup": patient.ethnic_group,
        "Collection": series.collection,
        "Phantom": "NO",
        "SpeciesCode": "337915000",
        "SpeciesDescription": "Homo sapiens",
        **_authorized(generation),
    }


def study_row(generation: Generation, series: DemoSeries, series_count: int) -> Row:
    """A row of getPatientStudy, for the study of `series`."""
    study, patient = series.study, series.patient
    birth: dict[str, Value] = {} if generation.modern else {"PatientBirthDate": None}
    return {
        "StudyInstanceUID": study.uid,
        "StudyDate": generation.date(study.date),
        "StudyDescription": study.description,
        "AdmittingDiagnosesDescription": study.diagnosis,
        "StudyID": study.id,
        "PatientAge": study.age,
        "PatientID": patient.id,
        "PatientName": patient.name,
        **birth,
        "PatientSex": patient.sex,
        "EthnicGroup": patient.ethnic_group,
        "Collection": series.collection,
        "SeriesCount": series_count,
        "LongitudinalTemporalEventType": None,
        "LongitudinalTemporalOffsetFromEvent": None,
        **_authorized(generation),
    }


def _series_v1(generation: Generation, series: DemoSeries, collection: DemoCollection) -> Row:
    return {
        **_identity(generation, series),
        "AnnotationsFlag": False,
        "Collection": collection.name,
        "PatientID": series.patient.id,
        "Manufacturer": series.manufacturer,
        "ManufacturerModelName": series.model,
        "SoftwareVersions": series.software,
        "ImageCount": len(series.images),
        "TimeStamp": generation.date(series.submitted),
        "LicenseName": collection.license,
        "LicenseURI": collection.license_url,
        "CollectionURI": collection.data_url,
        "FileSize": float(series.size),
        "DateReleased": generation.date(series.released),
        "StudyDesc": series.study.description,
        "StudyDate": generation.date(series.study.date),
        "ThirdPartyAnalysis": _yes(third_party=series.third_party),
    }


def _series_v4(generation: Generation, series: DemoSeries, collection: DemoCollection) -> Row:
    return {
        **_identity(generation, series),
        "AnnotationsFlag": None,
        "Collection": collection.name,
        "Site": collection.site,
        "PatientID": series.patient.id,
        "PatientSex": series.patient.sex,
        "PatientAge": series.study.age,
        "AdmittingDiagnosisDescription": series.study.diagnosis,
        "Manufacturer": series.manufacturer,
        "ManufacturerModelName": series.model,
        "SoftwareVersions": series.software,
        "ImageCount": len(series.images),
        "MaxSubmissionTimestamp": generation.date(series.submitted),
        "LicenseName": collection.license,
        "LicenseURI": collection.license_url,
        "DataDescriptionURI": collection.data_url,
        "FileSize": float(series.size),
        "ReleasedStatus": "Yes",
        "DateReleased": generation.date(series.released),
        "StudyDesc": series.study.description,
        "StudyDate": generation.date(series.study.date),
        "ThirdPartyAnalysis": _yes(third_party=series.third_party),
        "Authorized": 1,
    }


def _identity(generation: Generation, series: DemoSeries) -> Row:
    return {
        "SeriesInstanceUID": series.uid,
        "StudyInstanceUID": series.study.uid,
        "Modality": series.modality,
        "ProtocolName": series.protocol,
        "SeriesDate": generation.date(series.date),
        "SeriesDescription": series.description,
        "BodyPartExamined": series.body_part,
        "SeriesNumber": series.number,
    }


def _upto(row: Row, last: str) -> Row:
    columns = list(row)
    return {column: row[column] for column in columns[: columns.index(last) + 1]}


def _authorized(generation: Generation) -> dict[str, Value]:
    return {"Authorized": 1} if generation.modern else {}


def _yes(*, third_party: bool) -> str:
    return "YES" if third_party else "NO"


def metadata_row(series: DemoSeries, collection: DemoCollection) -> Row:
    """A row of v4's getSeriesMetadata: 40 columns."""
    patient = patient_row(Generation.V4, series)
    row = series_row(Generation.V4, series, collection)
    middle = ("Modality", "ProtocolName", "SeriesDate", "SeriesDescription", "BodyPartExamined")
    tail = ("SoftwareVersions", "ImageCount", "MaxSubmissionTimestamp", "LicenseName", "LicenseURI")
    end = ("DataDescriptionURI", "FileSize", "ReleasedStatus", "DateReleased", "ThirdPartyAnalysis")
    return {
        "PatientID": series.patient.id,
        **{column: patient[column] for column in _PATIENT},
        "SpeciesDescription": patient["SpeciesDescription"],
        **{column: row[column] for column in ("StudyInstanceUID", "StudyDate", "StudyDesc")},
        "AdmittingDiagnosisDescription": series.study.diagnosis,
        "StudyID": series.study.id,
        "PatientAge": series.study.age,
        "LongitudinalTemporalEventType": None,
        "LongitudinalTemporalOffsetFromEvent": None,
        **{column: row[column] for column in ("SeriesInstanceUID", "Collection", "Site")},
        **{column: row[column] for column in middle},
        **{column: row[column] for column in ("SeriesNumber", "AnnotationsFlag")},
        **{column: row[column] for column in ("Manufacturer", "ManufacturerModelName")},
        "PixelSpacing(mm)-Row": series.pixel_spacing,
        "SliceThickness(mm)": series.slice_thickness,
        **{column: row[column] for column in tail},
        **{column: row[column] for column in end},
        "Authorized": 1,
    }


def old_metadata_row(series: DemoSeries, collection: DemoCollection) -> Row:
    """The row of v1's getSeriesMetaData: keys with blanks, every value a string."""
    return {
        "Series UID": series.uid,
        "Collection": collection.name,
        "3rd Party Analysis": "YES" if series.third_party else "NO",
        "Data Description URI": collection.data_url,
        "Subject ID": series.patient.id,
        "Study UID": series.study.uid,
        "Study Description": _plain(series.study.description),
        "Study Date": american(series.study.date),
        "Series Description": _plain(series.description),
        "Manufacturer": (series.manufacturer or "").replace(",", " "),
        "Modality": series.modality,
        "SOP Class UID": series.images[0].sop_class,
        "Number of Images": str(len(series.images)),
        "File Size": str(series.size),
        "File Location": series.study.id,
        "Series Number": None if series.number is None else f"{series.number:.6f}",
        "License Name": collection.license,
        "License URL": collection.license_url,
        "Annotation Size": "0",
        "Date Released": american(series.released),
        "Series Date": american(series.date),
        "Protocol Name": series.protocol,
        "Body Part Examined": series.body_part,
        "Annotations Flag": None,
        "Manufacturer Model Name": series.model,
        "Software Versions": series.software,
        "TimeStamp": american(series.submitted),
    }


def _plain(text: str | None) -> str | None:
    return None if text is None else re.sub(r"[^a-zA-Z0-9 .-]", "", text)
