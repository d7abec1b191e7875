"""The vocabulary of a series: the names that JSON, CSV, events and receipts use."""

from __future__ import annotations

import json
import pickle
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from tcia_covid.archives.nbia.archive import series_of
from tcia_covid.core.models import SERIES_NAMES, Failure, Receipt, Series

FULL = Series(
    uid="1.2.3",
    collection="COVID-19-AR",
    patient="P1",
    study="1.2",
    modality="CT",
    body_part="CHEST",
    description="Lung 1.0",
    number=2,
    date="2020-01-02",
    study_date="2020-01-01",
    study_description="CT CHEST",
    manufacturer="GE",
    manufacturer_model="Discovery",
    image_count=100,
    size=52_000_000,
    license="CC BY 4.0",
    license_url="https://creativecommons.org/licenses/by/4.0/",
    data_url="https://doi.org/10.7937/x",
    released="2020-05-01",
    submitted="2020-04-30",
    third_party=True,
    bucket="idc-open-data",
    crdc_uuid="0b1e",
)


def test_every_attribute_has_one_name() -> None:
    assert [field.name for field in fields(Series)] == list(SERIES_NAMES)
    assert len(set(SERIES_NAMES.values())) == len(SERIES_NAMES)


@pytest.mark.parametrize("name", SERIES_NAMES)
def test_each_attribute_is_a_value_of_its_own(name: str) -> None:
    changed = replace(FULL, **{name: "other"})
    assert changed != FULL
    assert getattr(changed, name) == "other"
    assert replace(changed, **{name: getattr(FULL, name)}) == FULL
    before, after = f"{name}={getattr(FULL, name)!r}", f"{name}='other'"
    assert after in repr(changed)
    assert repr(changed).replace(after, before) == repr(FULL)
    with pytest.raises(FrozenInstanceError):
        setattr(FULL, name, "other")


def test_a_series_is_the_same_in_another_process() -> None:
    received = pickle.loads(pickle.dumps([FULL, replace(FULL, uid="1.2.4")]))
    assert received == [FULL, replace(FULL, uid="1.2.4")]
    assert hash(received[0]) == hash(FULL)


def test_from_dict_is_the_inverse_of_to_dict() -> None:
    assert Series.from_dict(json.loads(json.dumps(FULL.to_dict()))) == FULL
    sparse = Series("1.2.3", "C", "P1", "1.2")
    assert Series.from_dict(sparse.to_dict()) == sparse
    assert Series.from_dict({**sparse.to_dict(), "Site": "another key"}) == sparse


def test_the_names_are_those_of_nbia() -> None:
    ours = {**FULL.to_dict(), "ThirdPartyAnalysis": "YES", "StudyDesc": FULL.study_description}
    known = series_of(ours)
    assert known is not None
    assert {**known.to_dict(), "aws_bucket": "", "crdc_series_uuid": ""} == {
        **FULL.to_dict(),
        "aws_bucket": "",
        "crdc_series_uuid": "",
    }


@pytest.mark.parametrize(
    "values",
    [
        {"SeriesInstanceUID": "1.2.3"},
        {**FULL.to_dict(), "ImageCount": "100"},
        {**FULL.to_dict(), "SeriesNumber": True},
        {**FULL.to_dict(), "PatientID": 7},
        {**FULL.to_dict(), "ThirdPartyAnalysis": "YES"},
    ],
)
def test_values_of_other_types_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        Series.from_dict(values)


def test_a_failure_of_no_series_has_a_null_uid() -> None:
    assert Failure("", "archive-error", "no answer").to_dict() == {
        "SeriesInstanceUID": None,
        "reason": "archive-error",
        "detail": "no answer",
        "missing": [],
        "hint": "",
    }


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (None, ""),
        ({}, ""),
        ({"StudyID": "45/A"}, "45/A"),
        ({"StudyID": ["", "45/A", "7"]}, "45/A"),
        ({"StudyID": [3, None]}, ""),
        ({"StudyID": {"a": 1}}, ""),
    ],
)
def test_the_study_id_is_the_first_that_a_header_has(
    headers: dict[str, Any] | None, expected: str
) -> None:
    series = Series("1.2.3", "COVID-19-AR", "P", "1.2")
    assert Receipt(series, "P", (), "", "", headers).study_id == expected
