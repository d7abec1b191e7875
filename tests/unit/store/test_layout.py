"""Folder templates: what they give, what they refuse, and which names they keep free."""

from __future__ import annotations

import pytest

from tcia_covid.core.errors import UsageError
from tcia_covid.core.safe_names import is_reserved
from tcia_covid.store.layout import DESCRIPTIVE, UID, Layout
from tcia_covid.store.reports import REPORT_FILES
from tcia_covid.supporting.receipts import FOLDER
from tests.unit.trees import ROOT, series_of

SERIES = series_of(
    7, description="CT CHEST w/o", study_description="Ädema", number=3, study_date="2020-03-04"
)


def test_the_uid_layout_is_patient_study_series() -> None:
    assert Layout.parse("uid") is UID
    assert str(UID.folder(SERIES)) == f"PATIENT-7/{ROOT}.7.9/{ROOT}.7"


def test_the_descriptive_layout_is_that_of_the_retriever() -> None:
    assert Layout.parse("descriptive") is DESCRIPTIVE
    expected = "PATIENT-7/2020-03-04-dema-7_7_9/CT-3-CT_CHEST_w_o-_77_7"
    assert str(DESCRIPTIVE.folder(SERIES)) == expected


def test_a_series_has_other_folders_for_when_its_first_one_is_another_series() -> None:
    layout = Layout.parse("{patient}/{series_tail}")
    assert str(layout.folder(SERIES)) == "PATIENT-7/_77_7"
    assert [str(folder) for folder in layout.folders(SERIES)] == [
        "PATIENT-7/_77_7",
        f"PATIENT-7/_77_7-{SERIES.uid}",
        f"PATIENT-7-{SERIES.uid}/_77_7",
    ]


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{patient}/{nonsense}/{series}", "unknown field {nonsense}"),
        ("{patient}/{study}", "several series the same folder"),
        ("{patient", "cannot be read"),
        ("{patient!r}/{series}", "no format or conversion"),
        ("{number:>5}/{series}", "no format or conversion"),
        ("supporting/{series}", "reserved name"),
        ("Metadata.CSV/{series}", "reserved name"),
        ("nul/{series}", "reserved name"),
        (".tcia-covid/{series}", "reserved name"),
    ],
)
def test_an_invalid_template_is_refused(template: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Layout.parse(template)


@pytest.mark.parametrize(
    "name", ["supporting", "SUPPORTING", "License.txt", ".tcia-covid", "CON", "aux.1", "Thumbs.db"]
)
def test_no_series_gets_a_folder_with_a_reserved_name(name: str) -> None:
    series = series_of(1, patient=name, description=name)
    for template in ("uid", "{description}/{series}", "{patient}/{description}/{series}"):
        for part in Layout.parse(template).folder(series).parts:
            assert part.casefold() != name.casefold()
            assert not part.startswith(".")


def test_names_beside_the_patients_folders_are_reserved() -> None:
    assert all(is_reserved(name) for name in (*REPORT_FILES, FOLDER))
