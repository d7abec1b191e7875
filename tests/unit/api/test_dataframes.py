"""Tables for pandas, from synthetic files of the form that TCIA publishes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import tcia_covid
from tcia_covid.core.errors import RequestError, UsageError
from tcia_covid.store.tree import Tree
from tests.unit.api.clinical_files import (
    ANNOTATIONS,
    add_clinical,
    add_supporting,
    workbook,
)
from tests.unit.trees import grow, new_tree, series_of

pandas = pytest.importorskip("pandas")
pytest.importorskip("openpyxl")


@pytest.fixture
def ar(tmp_path: Path) -> Tree:
    """A folder of COVID-19-AR with two complete series."""
    tree = new_tree(tmp_path)
    grow(tree, series_of(1, image_count=3, size=1000, number=2))
    grow(tree, series_of(2))
    return tree


def test_a_folder_is_a_table_of_its_complete_series(ar: Tree, tmp_path: Path) -> None:
    frame = tcia_covid.to_dataframe(tmp_path)

    assert list(frame["SeriesInstanceUID"]) == [series_of(1).uid, series_of(2).uid]
    assert list(frame["PATIENT_ID"]) == ["PATIENT-1", "PATIENT-2"]
    assert all(Path(path).is_dir() for path in frame["path"])
    assert str(frame["ImageCount"].dtype) == "Int64"
    assert frame["ImageCount"].isna().tolist() == [False, True]
    assert frame.equals(tcia_covid.to_dataframe(ar.root)) is True


def test_series_local_series_and_dicts_make_the_same_rows(ar: Tree) -> None:
    local = tcia_covid.local_series(ar.root)
    whole = tcia_covid.to_dataframe(local)
    assert whole["path"].tolist() == [str(series.path) for series in local]
    plain = tcia_covid.to_dataframe(series.series for series in local)
    assert plain.equals(whole.drop(columns="path"))
    dicts = tcia_covid.to_dataframe([series.to_dict() for series in local])
    assert dicts.equals(whole.drop(columns="PATIENT_ID"))
    assert len(tcia_covid.to_dataframe(local[0])) == 1


def test_a_collection_is_a_table_of_its_series_in_the_catalog() -> None:
    frame = tcia_covid.to_dataframe("MIDRC-RICORD-1C")

    assert len(frame) == 1241
    assert ("MIDRC-RICORD-1C-" + frame["Anon MRN"]).tolist() == frame["PatientID"].tolist()
    assert frame["Anon Study UID"].equals(frame["StudyInstanceUID"].rename("Anon Study UID"))


def test_no_series_make_an_empty_table_with_columns() -> None:
    frame = tcia_covid.to_dataframe([])

    assert len(frame) == 0
    assert "SeriesInstanceUID" in frame.columns


@pytest.mark.parametrize("source", [5, [5], None])
def test_what_is_no_series_is_refused(source: Any) -> None:
    with pytest.raises(UsageError, match="a table of series cannot be made of"):
        tcia_covid.to_dataframe(source)


def test_column_names_are_found_below_a_heading(ar: Tree) -> None:
    add_clinical(
        ar,
        "COVID-19 AR Clinical Correlates July202020.xlsx",
        {
            "Notes": [["see the other sheet"]],
            "Data": [
                ["Clinical correlates", None, None],
                ["PATIENT_ID ", " AGE", "ICU  Admit"],
                ["PATIENT-1", 61, "Y"],
                [None, None, None],
                ["PATIENT-2", 7, None],
            ],
        },
    )
    frame = tcia_covid.clinical("covid-19-ar", ar.root)

    assert list(frame.columns) == ["PATIENT_ID", "AGE", "ICU Admit"]
    assert frame["AGE"].tolist() == [61, 7]
    assert frame["ICU Admit"].isna().tolist() == [False, True]
    joined = tcia_covid.to_dataframe(ar.root).merge(frame, on="PATIENT_ID", how="left")
    assert joined["AGE"].tolist() == [61, 7]


def test_identifiers_and_codes_stay_text_and_only_empty_cells_are_missing(tmp_path: Path) -> None:
    tree = new_tree(tmp_path, "COVID-19-NY-SBU")
    text = (
        "to_patient_id,age,code,smoking,empty,age\n"
        "00123,61,007,None,,1\n"
        "A000802,62.5,010,NA, ,2\n"
        "00124,,011,,,3\n"
    )
    name = "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
    add_supporting(tree, name, f"\ufeff{text}".encode(), "clinical")
    frame = tcia_covid.clinical("COVID-19-NY-SBU", tmp_path)

    assert frame["to_patient_id"].tolist() == ["00123", "A000802", "00124"]
    assert frame["age"].tolist()[:2] == [61, 62.5]
    assert frame["code"].tolist() == ["007", "010", "011"]
    assert frame["smoking"].tolist()[:2] == ["None", "NA"]
    assert frame["smoking"].isna().tolist() == [False, False, True]
    assert frame["empty"].isna().all()
    assert list(frame.columns)[-1] == "age.1"


def test_join_columns_are_spelled_as_in_metadata_csv(tmp_path: Path) -> None:
    file = tmp_path / "table.xlsx"
    file.write_bytes(
        workbook({"s": [["anon_mrn", "Anon  Study UID "], ["419639-000082", "1.2.3"]]})
    )
    frame = tcia_covid.clinical("ricord-1b", file=file)

    assert list(frame.columns) == ["Anon MRN", "Anon Study UID"]
    assert frame.iloc[0].tolist() == ["419639-000082", "1.2.3"]


def test_without_the_file_the_error_says_how_to_get_it(ar: Tree) -> None:
    with pytest.raises(RequestError, match="no clinical file of COVID-19-AR") as caught:
        tcia_covid.clinical("COVID-19-AR", ar.root)
    assert "--supporting-only" in caught.value.hint


@pytest.mark.parametrize("name", ["table.xlsx", "table.csv"])
def test_a_file_that_is_no_clinical_table_is_refused(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    file.write_bytes(b"a,b\n1,2\n")
    with pytest.raises(RequestError, match="table"):
        tcia_covid.clinical("COVID-19-AR", file=file)
    with pytest.raises(RequestError, match="cannot be read: No such file"):
        tcia_covid.clinical("COVID-19-AR", file=tmp_path / f"no-{name}")


def test_annotations_are_labels_per_study(tmp_path: Path) -> None:
    tree = new_tree(tmp_path, "MIDRC-RICORD-1C")
    add_supporting(tree, "labels.json", json.dumps(ANNOTATIONS).encode(), "annotations")
    frame = tcia_covid.labels("ricord-1c", tmp_path)

    assert list(frame.columns) == [
        "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "group", "label", "annotations",
    ]  # fmt: skip
    outlined = frame[frame["SOPInstanceUID"].notna()]
    assert outlined.iloc[0].tolist() == ["1.2.1", "1.2.1.1", "1.2.1.1.1", "Reader A", "Opacity", 2]
    wide = pandas.crosstab(frame["StudyInstanceUID"], frame["label"])
    assert wide.loc["1.2.1", "Typical Appearance"] == 2  # by two readers
    assert wide.loc["1.2.2", "Typical Appearance"] == 0


@pytest.mark.parametrize(
    "content",
    [
        b"no JSON",
        b"[]",
        b"{}",
        b'{"labelGroups": [], "datasets": [{"annotations": [{"labelId": "L"}]}]}',
    ],
)
def test_a_file_that_is_no_export_of_mdai_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "labels.json"
    file.write_bytes(content)
    with pytest.raises(RequestError, match=r"not a JSON export of MD\.ai"):
        tcia_covid.labels("ricord-1a", file=file)


def test_no_annotations_make_an_empty_table(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text('{"labelGroups": [], "datasets": []}')
    assert tcia_covid.labels("ricord-1a", file=file).empty


@pytest.mark.parametrize("call", ["to_dataframe('.')", "clinical('ricord-1a')"])
def test_without_pandas_the_error_says_what_to_install(tmp_path: Path, call: str) -> None:
    program = (
        "import sys; sys.modules['pandas'] = None\n"
        "import tcia_covid\n"
        "try:\n"
        f"    tcia_covid.{call}\n"
        "except tcia_covid.RequestError as error:\n"
        "    print(error.hint)\n"
    )
    command = [sys.executable, "-c", program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert ran.stdout == "install it: pip install 'tcia-covid[pandas]'\n"


def test_pandas_is_imported_for_tables_only() -> None:
    program = "import sys, tcia_covid.api.functions, tcia_covid.api.dataframes; "
    program += "print('pandas' in sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout == "False\n"
