"""The identifiers by which a series is found in the clinical file of its collection.

Each column of `metadata.csv` that this gives is called as the clinical file calls it, and holds
what stands there: the two tables are joined on the column of the same name. docs/clinical-data.md
says for each collection where this is known from, and what to beware of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tcia_covid.model import Series
from tcia_covid.registry.names import fold


@dataclass(frozen=True, slots=True)
class _ClinicalFile:
    """How a clinical file names patients and studies."""

    patient: str
    """Its column of patients."""
    prefix: str = ""
    """What PatientID begins with, and the clinical file's identifier lacks."""
    study: str = ""
    """Its column of StudyInstanceUIDs; empty where it has a row a patient."""


_FILES: Mapping[str, _ClinicalFile] = {
    fold("COVID-19-AR"): _ClinicalFile("PATIENT_ID"),
    fold("COVID-19-NY-SBU"): _ClinicalFile("to_patient_id"),
    fold("MIDRC-RICORD-1A"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1A-", "Anon Study UID"),
    fold("MIDRC-RICORD-1B"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1B-", "Anon Study UID"),
    fold("MIDRC-RICORD-1C"): _ClinicalFile("Anon MRN", "MIDRC-RICORD-1C-", "Anon Study UID"),
}


def join_columns(collection: str) -> tuple[str, ...]:
    """The columns that `join_keys` gives for a collection; none where no clinical file is known."""
    file = _FILES.get(fold(collection))
    if file is None:
        return ()
    return (file.patient, file.study) if file.study else (file.patient,)


def join_keys(collection: str, series: Series) -> dict[str, str]:
    """The identifiers of one series in its collection's clinical file, by column.

    A PatientID that is not of the form known for the collection gives an empty patient: a blank
    field joins with nothing, a guess might join with somebody else.

    Args:
        collection: TCIA's name of the collection, in any case.
        series: as listed.
    """
    file = _FILES.get(fold(collection))
    if file is None:
        return {}
    known = series.patient.startswith(file.prefix)
    keys = {file.patient: series.patient.removeprefix(file.prefix) if known else ""}
    return {**keys, file.study: series.study} if file.study else keys
