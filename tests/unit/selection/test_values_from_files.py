"""Values of filters from files: lists, and the columns that clinical tables have."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcia_covid.api.options import request_from
from tcia_covid.catalog import series_catalog
from tcia_covid.cli.main import run
from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.filters import Filters, apply_filters
from tests.unit.formats.test_xlsx import workbook_file

AR = series_catalog.load("COVID-19-AR")
FIRST, LAST = AR[0], AR[-1]


def filters(**given: object) -> Filters:
    return request_from("A", **given).filters  # type: ignore[arg-type]


def test_a_list_has_one_value_per_line(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"# mine\n{FIRST.patient}\n{LAST.patient}\n")
    assert filters(patient=f"@{listed}").patients == (FIRST.patient, LAST.patient)
    listed.write_text(f"{FIRST.uid}\r\n{LAST.uid}\r\n")
    assert filters(series=["1.2", f"@{listed}"]).series == ("1.2", FIRST.uid, LAST.uid)
    assert filters(study=f"@{listed}").studies == (FIRST.uid, LAST.uid)
    listed.write_text("CT\nDX\n")
    assert filters(modality=f"@{listed}").modalities == ("CT", "DX")


def test_the_column_of_the_option_is_read_from_a_table(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text(
        "PatientID,StudyInstanceUID,SeriesInstanceUID,Modality,BodyPartExamined\n"
        "P1,1.2,1.2.3,CT,CHEST\nP2,1.3,1.3.4,DX,\nP2,1.3,1.3.5,DX,KNEE\n"
    )
    at = f"@{table}"
    found = filters(patient=at, study=at, series=at, modality=at, body_part=at)
    assert found == Filters(
        patients=("P1", "P2"),
        studies=("1.2", "1.3"),
        series=("1.2.3", "1.3.4", "1.3.5"),
        modalities=("CT", "DX"),
        body_parts=("CHEST", "KNEE"),
    )


@pytest.mark.parametrize(
    ("header", "option", "value", "expected"),
    [
        ("to_patient_id,age", "patient", "A000801,59", "A000801"),
        ("PATIENT_ID,AGE", "patient", "COVID-19-AR-16406488,59", "COVID-19-AR-16406488"),
        ("Anon MRN,Anon Study UID", "patient", "419639-000082,1.2.3", "419639-000082"),
        ("Anon MRN,Anon Study UID", "study", "419639-000082,1.2.3", "1.2.3"),
        ("Subject ID,x", "patient", "P1,x", "P1"),
    ],
)
def test_columns_of_clinical_tables_are_known(
    tmp_path: Path, header: str, option: str, value: str, expected: str
) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text(f"{header}\n{value}\n")
    found = filters(**{option: f"@{table}"})
    assert (found.patients or found.studies) == (expected,)


def test_a_workbook_with_a_heading_selects_patients(tmp_path: Path) -> None:
    table = tmp_path / "clinical.xlsx"
    short = FIRST.patient.removeprefix("COVID-19-AR-")
    rows = (["Clinical data"], ["PATIENT_ID", "SEX"], [short, "M"])
    cells = (
        "".join(f'<c t="inlineStr"><is><t>{text}</t></is></c>' for text in row) for row in rows
    )
    table.write_bytes(workbook_file("".join(f"<row>{row}</row>" for row in cells)))
    found = apply_filters(filters(patient=f"@{table}"), AR)
    assert {item.patient for item in found.series} == {FIRST.patient}


def test_a_table_without_such_a_column_is_answered_with_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text("name,age\nMiller,59\n")
    with pytest.raises(ManifestError) as raised:
        filters(patient=f"@{table}")
    assert "no column names patients; the columns are 'name', 'age'" in raised.value.message
    assert raised.value.hint == "the header must have a column PatientID"


def test_rows_without_a_value_are_skipped(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("PatientID,Modality\nP1,CT\n,DX\nP2,\n")
    assert filters(patient=f"@{table}").patients == ("P1", "P2")
    assert filters(modality=f"@{table}").modalities == ("CT", "DX")


def test_a_file_without_such_values_never_selects_everything(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text(f"{FIRST.crdc_uuid}\n")
    with pytest.raises(ManifestError, match="values of crdc_series_uuid, and none of series"):
        filters(series=f"@{listed}")
    listed.write_text("\n")
    with pytest.raises(ManifestError, match="names no series"):
        filters(patient=f"@{listed}")


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"nothing\.csv"):
        filters(patient=f"@{tmp_path}/nothing.csv")


def test_the_command_line_reads_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "clinical.csv"
    table.write_text(f"PATIENT_ID,AGE\n{FIRST.patient},59\n")
    options = ("--patient", f"@{table}", "--format", "txt", "-q")
    assert run(["series", "COVID-19-AR", *options]) == 0
    listed = capsys.readouterr().out.split()
    assert set(listed) == {item.uid for item in AR if item.patient == FIRST.patient}
