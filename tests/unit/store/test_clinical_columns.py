"""Join keys: what the clinical file of each collection calls a patient and a study."""

from __future__ import annotations

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.models import Series
from tcia_covid.store.report_files import join_columns, join_keys

RICORD = ("MIDRC-RICORD-1A", "MIDRC-RICORD-1B", "MIDRC-RICORD-1C")


def of(patient: str, collection: str = "") -> Series:
    return Series(uid="1.2.3", collection=collection, patient=patient, study="1.2")


@pytest.mark.parametrize(
    ("collection", "column", "patient"),
    [
        ("COVID-19-AR", "PATIENT_ID", "COVID-19-AR-16406491"),
        ("COVID-19-NY-SBU", "to_patient_id", "A000801"),
    ],
)
def test_where_a_row_is_a_patient_the_key_is_the_patient_id(
    collection: str, column: str, patient: str
) -> None:
    assert join_keys(collection, of(patient)) == {column: patient}


@pytest.mark.parametrize("collection", RICORD)
def test_where_a_row_is_a_study_the_keys_are_number_and_study(collection: str) -> None:
    keys = join_keys(collection, of(f"{collection}-419639-000082"))
    assert keys == {"Anon MRN": "419639-000082", "Anon Study UID": "1.2"}


def test_patients_of_1a_and_1c_share_their_number() -> None:
    numbers = {
        name: {join_keys(name, item)["Anon MRN"] for item in series_catalog.load(name)}
        for name in RICORD
    }
    first, second, third = (numbers[name] for name in RICORD)
    assert len(first & third) == 64
    assert not second & (first | third)


def test_every_series_of_the_catalog_has_its_keys() -> None:
    for entry in series_catalog.info().entries:
        columns = join_columns(entry.collection)
        for item in series_catalog.load(entry.collection):
            keys = join_keys(entry.collection, item)
            assert tuple(keys) == columns
            assert all(keys.values())


def test_a_patient_id_of_another_form_gives_no_key() -> None:
    assert join_keys(RICORD[2], of("somebody"))["Anon MRN"] == ""


def test_collections_without_a_known_clinical_file_have_no_keys() -> None:
    for name in ("CT Images in COVID-19", "LIDC-IDRI"):
        assert join_columns(name) == ()
        assert join_keys(name, of("x")) == {}


def test_names_are_matched_in_any_case() -> None:
    assert join_columns("covid-19-ar") == ("PATIENT_ID",)
    known = {item.name for item in load_registry() if item.is_dicom}
    assert all(join_columns(name) for name in known)
