"""The rows of the two metadata calls, whose columns are those of no other list."""

from __future__ import annotations

import re

from tcia_covid.demo.holdings import DemoCollection, DemoSeries
from tcia_covid.demo.rows import Generation, Row, american, patient_row, series_row

_PATIENT = ("PatientName", "PatientSex", "EthnicGroup", "Phantom", "SpeciesCode")


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
        "License Name": collection.licence,
        "License URL": collection.licence_url,
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
