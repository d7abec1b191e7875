"""Series, dicts and tables as targets of the library's functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import tcia_covid
from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import ManifestError, UsageError

SERIES = series_catalog.load("MIDRC-RICORD-1B")[:3]
UIDS = {series.uid for series in SERIES}
ROWS = [series.to_dict() for series in SERIES]


class Table(dict[str, list[Any]]):
    """Columns by name, as pandas and polars have them."""

    @property
    def columns(self) -> list[str]:
        return list(self)


TABLE = Table({name: [row[name] for row in ROWS] for name in ROWS[0]})


def planned(targets: Any) -> set[str]:
    return {series.uid for series in tcia_covid.iter_series(targets)}


@pytest.mark.parametrize(
    "targets",
    [
        SERIES,
        iter(SERIES),
        (series for series in SERIES),
        ROWS,
        [*SERIES[:1], ROWS[1], str(SERIES[2].uid)],
        [Table({"crdc_series_uuid": [series.crdc_uuid for series in SERIES]})],
        TABLE,
        [{"Series Instance UID": series.uid} for series in SERIES],
        [{"seriesuid": series.uid, "PatientID": "another"} for series in SERIES],
        Table(
            {
                "SeriesInstanceUID_x": [None, "", float("nan")],
                "StudyInstanceUID": TABLE["StudyInstanceUID"],
            }
        ),
        Table({"PatientID": TABLE["PatientID"]}),
    ],
)
def test_objects_select_their_series(targets: Any) -> None:
    assert planned(targets) == UIDS


def test_tables_of_pandas_are_accepted() -> None:
    pandas = pytest.importorskip("pandas")
    assert planned(pandas.DataFrame(ROWS)) == UIDS
    assert planned(pandas.DataFrame(ROWS)["SeriesInstanceUID"]) == UIDS
    assert planned([pandas.DataFrame(ROWS[:1]), pandas.DataFrame(ROWS[1:])]) == UIDS


@pytest.mark.parametrize("targets", [SERIES[0], ROWS[0]])
def test_one_object_is_a_target(targets: Any) -> None:
    assert planned(targets) == {SERIES[0].uid}


def test_a_plan_says_what_the_objects_were_taken_for(tmp_path: Path) -> None:
    plan = tcia_covid.plan(SERIES, tmp_path)
    (resolved,) = plan.resolved
    assert resolved.text == "the argument 'targets': Python objects of MIDRC-RICORD-1B, 3 series"
    assert plan.targets == ()


@pytest.mark.parametrize(
    ("targets", "problem"),
    [
        ([{"a": 1, "b": 2}], r"line 1.*no SeriesInstanceUID or other identifier among 'a', 'b'"),
        ([ROWS[0], {}], r"line 2.*among no keys"),
        (Table({"SeriesInstanceUID": ["1.2.3", None]}), "line 2.*in this row"),
        ([{"SeriesInstanceUID": "1.2.x"}], r"line 1.*'1.2.x' is not a SeriesInstanceUID"),
    ],
)
def test_an_object_that_names_no_series_is_refused(targets: Any, problem: str) -> None:
    with pytest.raises(ManifestError, match=problem):
        planned(targets)


@pytest.mark.parametrize("targets", [5, None, [5], [None], [["COVID-19-AR"]]])
def test_other_objects_are_refused(targets: Any) -> None:
    with pytest.raises(UsageError, match="targets must be text, paths, series, dicts"):
        planned(targets)
