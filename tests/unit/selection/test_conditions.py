"""Conditions on columns: what they mean for each kind of value, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tcia_covid.catalog import series_catalog
from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import SERIES_NAMES
from tcia_covid.selection.conditions import parse_condition, search
from tcia_covid.selection.filters import Filters, apply_filters
from tests.unit.selection.test_filters import series

AR = series_catalog.load("COVID-19-AR")
SOME = [
    series("1.1", patient_age="064Y", study_date="2020-03-31", manufacturer="SIEMENS", number=9),
    series("1.2", patient_age="018M", study_date="2020-03-01", manufacturer="GE, Inc", number=10),
    series("1.3", patient_age="7Y", study_date="2019-12-31", manufacturer=None, size=2_000_000),
    series("1.4", patient_age=None, study_date=None, manufacturer="", third_party=True),
]


def matching(*conditions: str) -> str:
    result = apply_filters(Filters(where=conditions), SOME)
    return " ".join(sorted(item.uid[2:] for item in result.series))


@pytest.mark.parametrize(
    ("condition", "uids"),
    [
        *(("Manufacturer=siemens", "1"), ("manufacturer = Siemens", "1"), ("Manufacturer==ge", "")),
        *(("Manufacturer=GE, Inc", "2"), ("Manufacturer=SIEMENS,GE, Inc", "1")),
        *(("Manufacturer!=SIEMENS", "2"), ("Manufacturer=", "3 4"), ("Manufacturer!=", "1 2")),
        *(("Manufacturer~^s|ge", "1 2"), ("Manufacturer~G.*c$", "2"), ("Manufacturer<H", "2")),
        *(("PatientAge=64", "1"), ("PatientAge=064Y", "1"), ("PatientAge<8", "2 3")),
        *(("PatientAge>1.4", "1 2 3"), ("PatientAge>18M", "1 3"), ("PatientAge~Y$", "1 3")),
        *(("StudyDate=2020", "1 2"), ("StudyDate<2020", "3"), ("StudyDate<=2020", "1 2 3")),
        *(("StudyDate>2020-03-01", "1"), ("StudyDate>=20200301", "1 2"), ("StudyDate=", "4")),
        *(("SeriesNumber>9", "2"), ("SeriesNumber=9,10", "1 2"), ("FileSize>=2MB", "3")),
        *(("ThirdPartyAnalysis=true", "4"), ("series instance uid=1.3", "3")),
    ],
)
def test_a_condition_selects(condition: str, uids: str) -> None:
    assert matching(condition) == uids


def test_all_conditions_must_be_true() -> None:
    assert matching("PatientAge>=1", "PatientAge<10", "StudyDate>=2020") == "2"


@pytest.mark.parametrize("column", SERIES_NAMES.values())
def test_every_column_of_the_vocabulary_can_be_used(column: str) -> None:
    condition = parse_condition(f"{column.lower()}!=")
    assert condition.column == column


def test_the_catalog_answers_for_sex_age_and_encoding() -> None:
    filters = Filters(where=("PatientSex=F", "PatientAge>=60", "Modality=CT"))
    found = apply_filters(filters, AR).series
    expected = [
        item.uid
        for item in AR
        if item.patient_sex == "F"
        and item.modality == "CT"
        and int((item.patient_age or "000Y")[:3]) >= 60
    ]
    assert {item.uid for item in found} == set(expected)
    assert expected


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("PatientSex", "is not a condition", "FIELD=VALUE, in quotes"),
        ("=F", "is not a condition", "PatientSex=F"),
        ("Sex=F", "no column 'Sex'", "did you mean 'PatientSex'? the columns are SeriesInst"),
        ("Modalty=CT", "no column 'Modalty'", "did you mean 'Modality'?"),
        ("zzz=1", "no column 'zzz'", "the columns are SeriesInstanceUID, Collection, PatientID"),
        ("ImageCount>many", "ImageCount cannot be compared with 'many'", "whole number"),
        ("ImageCount=", None, None),
        ("StudyDate<3/31/2020", "StudyDate cannot be compared with '3/31/2020'", "2020-03-31"),
        ("PatientAge>old", "PatientAge cannot be compared with 'old'", "years"),
        ("PatientAge>", "PatientAge cannot be compared with ''", "years"),
        ("FileSize>big", "'big' is not a size", "20GB"),
        ("Manufacturer~(", r"--where Manufacturer~( is not a regular expression", "backslash"),
    ],
)
def test_what_is_no_condition_is_refused_at_once(
    text: str, message: str | None, hint: str | None
) -> None:
    if message is None:
        Filters(where=(text,))
        return
    with pytest.raises(UsageError) as raised:
        Filters(where=(text,))
    assert message in raised.value.message
    assert str(hint) in raised.value.hint


def test_a_regular_expression_that_takes_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match=r"filter --where takes more than 0\.2 s"):
        search("(a+)+$", ["a" * 60 + "b"], "--where", timeout=0.2)


ENDLESS = """
from tcia_covid.core.models import Series
from tcia_covid.selection.filters import Filters, apply_filters
print("ready", flush=True)
series = Series(uid="1.1", collection="C", patient="P", study="1", manufacturer="a" * 60 + "b")
apply_filters(Filters(where=("Manufacturer~(a+)+$",)), [series])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_a_regular_expression_is_interrupted_by_ctrl_c() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", ENDLESS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        started = time.monotonic()
        child.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in child.communicate(timeout=20)[1]
        assert time.monotonic() - started < 4


def explained(**filters: object) -> list[str]:
    return apply_filters(Filters(**filters), AR).notices  # type: ignore[arg-type]


def test_a_value_that_no_series_has_is_answered_with_what_there_is() -> None:
    assert explained(modalities=("MG",)) == [
        "no series has --modality 'MG': COVID-19-AR has DX (236), CT (199), CR (26)"
    ]
    (notice,) = explained(where=("StudyDate<2011",))
    assert notice.startswith("no series has --where 'StudyDate<2011': COVID-19-AR has 20")
    assert " to 20" in notice
    notice = explained(where=("BodyPartExamined=KNEE",))[-1]
    assert "CHEST (329), CHESTABDPELVIS (27)" in notice
    assert notice.endswith("1 more value, 63 not recorded")


def test_a_mistyped_patient_is_answered_with_the_nearest() -> None:
    (notice,) = explained(patients=(AR[0].patient + "x", "nobody"))
    assert f"did you mean '{AR[0].patient}'?" in notice
    assert "'nobody'" in notice


def test_a_patient_may_be_named_without_the_collection() -> None:
    short = AR[0].patient.removeprefix("COVID-19-AR-")
    found = apply_filters(Filters(patients=(short,)), AR).series
    assert {item.patient for item in found} == {AR[0].patient}
