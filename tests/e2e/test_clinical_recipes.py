"""The recipes of docs/clinical-data.md run, on synthetic files of the form that TCIA publishes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.api.clinical_files import ANNOTATIONS, add_clinical, add_supporting
from tests.unit.trees import grow, new_tree, series_of

pytest.importorskip("pandas")
pytest.importorskip("openpyxl")
TEXT = (Path(__file__).resolve().parents[2] / "docs" / "clinical-data.md").read_text("utf-8")
RECIPES = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
RICORD = {
    "MIDRC-RICORD-1A": "MIDRC-RICORD-1a-Clinical-Data-Jan-13-2021.xlsx",
    "MIDRC-RICORD-1B": "MIDRC-RICORD-1b-Clinical-Data-Feb-2021.xlsx",
    "MIDRC-RICORD-1C": "MIDRC-RICORD-1c_Clinical_Data_Jan_13_2021.xlsx",
}
CHECK = """
for table, column, expected in (
    (covid_19_ar, "AGE", [61, 61, 62]),
    (ny_sbu, "was_ventilated", ["Yes", "Yes", "No"]),
    (ricord_1a, "Anon Exam Description", ["CT CHEST"] * 2),
    (ricord_1b, "Anon Exam Description", ["CT CHEST"] * 2),
    (ricord_1c, "Anon Exam Description", ["CT CHEST"] * 2),
    (ricord_1a, "Typical Appearance", [2, 0]),
    (ricord_1c, "Opacity", [1, 1]),
):
    assert table[column].tolist() == expected, (column, table[column].tolist())
"""


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    ar = new_tree(tmp_path / "data", "COVID-19-AR")
    sbu = new_tree(tmp_path / "data", "COVID-19-NY-SBU")
    for number, patient in ((1, "P1"), (2, "P1"), (3, "P2")):
        grow(ar, series_of(number, patient=patient), images=1)
        grow(
            sbu, series_of(number, patient=f"A00{patient}", collection="COVID-19-NY-SBU"), images=1
        )
    rows = [["Clinical correlates"], [" PATIENT_ID", "AGE "], ["P1", 61], ["P2", 62]]
    add_clinical(ar, "COVID-19_AR_Clinical_Correlates_July202020.xlsx", {"Sheet1": rows})
    table = b"to_patient_id,was_ventilated\nA00P1,Yes\nA00P2,No\n"
    name = "deidentified_overlap_tcia.csv.cleaned.csv_20210806.csv"
    add_supporting(sbu, name, table, "clinical")
    heads = ["Anon MRN", "Anon TCIA Study Date", "Anon Exam Description", "Anon Study UID "]
    for collection, file in RICORD.items():
        tree = new_tree(tmp_path / "data", collection)
        for number in (1, 2):
            patient, study = f"{collection}-419639-00000{number}", f"1.2.{number}"
            grow(
                tree,
                series_of(number, collection=collection, patient=patient, study=study),
                images=1,
            )
        rows = [
            heads,
            *([f"419639-00000{n}", "1/2/2003", "CT CHEST", f"1.2.{n}"] for n in (1, 2, 3)),
        ]
        add_clinical(tree, file, {"Legend": [["x"]], "CR Pos - TCIA Submission": rows})
        add_supporting(tree, "labels.json", json.dumps(ANNOTATIONS).encode(), "annotations")
    return tmp_path


def test_every_recipe_joins_series_with_the_clinical_table(home: Path) -> None:
    program = "\n".join([*RECIPES, CHECK])
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert (home / "ventilated.csv").read_text().splitlines()[1:] == ["A00P1,Yes"]


def test_there_is_a_recipe_for_each_collection_with_a_clinical_file() -> None:
    for collection in ("COVID-19-AR", "COVID-19-NY-SBU", *RICORD):
        assert any(f'clinical("{collection}"' in recipe for recipe in RECIPES)
