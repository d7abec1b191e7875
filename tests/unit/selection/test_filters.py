"""Filters: alternatives, combinations, missing fields, limits, order."""

from __future__ import annotations

import random
import tracemalloc
from itertools import product

import pytest

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series
from tcia_covid.selection.filters import Filters, apply_filters, in_order, natural


def series(uid: str, **known: object) -> Series:
    facts: dict[str, object] = {"collection": "C", "patient": "P1", "study": "1.2", **known}
    return Series(uid=uid, **facts)  # type: ignore[arg-type]


SOME = [
    series("1.1", modality="CT", body_part="CHEST", description="Lung 1.0", number=2, size=100),
    series("1.2", modality="CT", body_part=None, description="LUNG 5.0", number=1, size=50),
    series("1.3", patient="P2", modality="DX", body_part="Chest", description=None, size=30),
    series("1.4", patient="P10", modality="CR", body_part="ABDOMEN", description="AP", size=20),
    series("1.5", patient="p10", modality="CR", body_part=None, description="PA", size=10),
    series("1.6", patient="P9", study="1.9", modality=None, body_part="CHEST", size=None),
]


def selected(**filters: object) -> set[str]:
    return {item.uid for item in apply_filters(Filters(**filters), SOME).series}  # type: ignore[arg-type]


def test_no_filter_selects_everything() -> None:
    result = apply_filters(Filters(), iter(SOME))
    assert len(result.series) == len(SOME)
    assert result.without_value == {}
    assert result.unmatched == []


def test_values_of_one_filter_are_alternatives_and_filters_combine() -> None:
    assert selected(modalities=("CT", "DX")) == {"1.1", "1.2", "1.3"}
    assert selected(modalities=("CT", "DX"), patients=("P2",)) == {"1.3"}
    assert selected(studies=("1.9",)) == {"1.6"}
    assert selected(series=("1.1", "1.4"), modalities=("CR",)) == {"1.4"}


def test_modality_and_body_part_match_in_any_case() -> None:
    assert selected(modalities=("ct",)) == {"1.1", "1.2"}
    assert selected(body_parts=("chest",)) == {"1.1", "1.3", "1.6"}


def test_an_exact_patient_is_preferred_to_other_cases() -> None:
    assert selected(patients=("P10",)) == {"1.4"}
    assert selected(patients=("p10",)) == {"1.5"}
    assert selected(patients=("p2",)) == {"1.3"}
    assert selected(patients=("P10", "p2")) == {"1.4", "1.3"}


def test_descriptions_match_regular_expressions() -> None:
    assert selected(descriptions=("lung",)) == {"1.1", "1.2"}
    assert selected(descriptions=(r"^lung 5\.", "^pa$")) == {"1.2", "1.5"}
    assert selected(descriptions=("",)) == {"1.1", "1.2", "1.4", "1.5"}


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "*", "(?P<1>a)", "a{99999999999999999999}"])
def test_an_invalid_regular_expression_is_refused_at_once(pattern: str) -> None:
    with pytest.raises(UsageError, match="is not a regular expression") as raised:
        Filters(descriptions=(pattern,))
    assert "backslash" in raised.value.hint


@pytest.mark.parametrize("limit", ["first_patients", "max_series", "max_size"])
def test_a_negative_limit_is_refused(limit: str) -> None:
    with pytest.raises(UsageError, match=f"{limit.replace('_', ' ')} cannot be negative: -1"):
        Filters(**{limit: -1})  # type: ignore[arg-type]


def test_a_missing_field_matches_nothing_and_is_counted() -> None:
    assert apply_filters(Filters(body_parts=("CHEST",)), SOME).without_value == {"--body-part": 2}
    assert apply_filters(Filters(descriptions=(".",)), SOME).without_value == {"--description": 2}
    empty = [series("1.1", modality=""), series("1.2", modality=None)]
    assert apply_filters(Filters(modalities=("",)), empty).without_value == {"--modality": 2}
    assert apply_filters(Filters(modalities=("",)), empty).series == []


def test_series_that_another_filter_excludes_are_not_counted_as_without_value() -> None:
    result = apply_filters(Filters(body_parts=("CHEST",), modalities=("CT",)), SOME)
    assert result.without_value == {
        "--body-part": 1,
        "--modality": 1,
    }  # not 1.5, a CR
    nothing = [series("1.1")]
    both = apply_filters(Filters(body_parts=("CHEST",), modalities=("CT",)), nothing)
    assert both.without_value == {"--body-part": 1, "--modality": 1}


def test_a_value_that_no_series_has_is_reported() -> None:
    filters = Filters(
        patients=("P1", "P3"), modalities=("CTT",), series=("9.9",), descriptions=("zzz",)
    )
    assert apply_filters(filters, SOME).unmatched == [
        ("--patient", "P3"), ("--series", "9.9"), ("--modality", "CTT"), ("--description", "zzz"),
    ]  # fmt: skip


def test_a_value_that_only_another_filter_excludes_is_not_reported() -> None:
    assert apply_filters(Filters(patients=("P2",), modalities=("CT",)), SOME).unmatched == []


def test_first_patients_are_in_natural_order() -> None:
    assert selected(first_patients=2) == {"1.1", "1.2", "1.3"}
    assert selected(first_patients=3) == {"1.1", "1.2", "1.3", "1.6"}
    assert selected(first_patients=0) == set()
    assert selected(first_patients=1, modalities=("CR",)) == {"1.4"}


def test_first_patients_are_per_collection() -> None:
    two = [*SOME, series("2.1", collection="D", patient="P1"), series("2.2", collection="D")]
    two.append(series("2.3", collection="D", patient="P2"))
    uids = [item.uid for item in apply_filters(Filters(first_patients=1), two).series]
    assert uids == ["1.2", "1.1", "2.1", "2.2"]


def test_max_series_is_applied_last() -> None:
    assert selected(max_series=2) == {"1.1", "1.2"}
    assert selected(max_series=1, modalities=("CR",)) == {"1.4"}
    assert selected(max_series=0) == set()


def test_max_size_selects_series_in_order_while_they_fit() -> None:
    assert selected(max_size=180) == {"1.2", "1.1", "1.3"}
    assert selected(max_size=179) == {"1.2", "1.1"}
    assert selected(max_size=49) == set()


def test_max_size_excludes_series_of_unknown_size() -> None:
    result = apply_filters(Filters(max_size=10**12, max_series=5), SOME)
    assert {item.uid for item in result.series} == {"1.1", "1.2", "1.3", "1.4", "1.5"}
    assert result.without_value == {"--max-size": 1}


def test_the_order_does_not_depend_on_the_archive() -> None:
    expected = ["1.2", "1.1", "1.3", "1.6", "1.4", "1.5"]
    for seed in range(5):
        shuffled = random.Random(seed).sample(SOME, len(SOME))
        assert [item.uid for item in apply_filters(Filters(), shuffled).series] == expected


def test_series_without_a_number_come_after_those_with_one() -> None:
    some = [series("1.1"), series("1.2", number=7), series("1.3", number=-1)]
    assert [item.uid for item in apply_filters(Filters(), some).series] == ["1.3", "1.2", "1.1"]


def test_natural_order_is_total_and_counts() -> None:
    names = ["A10", "a9", "A9", "9", "A", "", "A9b", "10", "A09", "A" + "9" * 30, "²"]
    assert len({natural(name) for name in names}) == len(names)
    backwards = list(reversed(names))
    assert sorted(names, key=natural) == sorted(backwards, key=natural)
    assert sorted(["P10", "P9", "P1"], key=natural) == ["P1", "P9", "P10"]


def test_thousands_of_values_are_no_slower_than_one() -> None:
    many = [series(f"1.{n}", patient=f"P{n}") for n in range(5000)]
    wanted = tuple(f"1.{n}" for n in range(0, 10000, 2))
    result = apply_filters(Filters(series=wanted), many)
    assert len(result.series) == 2500
    assert len(result.unmatched) == 2500


def test_a_regular_expression_that_does_not_end_is_refused() -> None:
    one = series("1.1", description="a" * 60 + "b")
    with pytest.raises(UsageError, match=r"--description \(a\+\)\+\$ takes more than 5 s"):
        apply_filters(Filters(descriptions=("(a+)+$",)), [one])


@pytest.mark.parametrize("pattern", ["lung.*0$", "lung [0-9.]+", "LUNG|nothing"])
def test_a_regular_expression_finds_the_same_in_a_process_of_its_own(pattern: str) -> None:
    assert selected(descriptions=(pattern,)) == {"1.1", "1.2"}


def test_descriptions_of_any_characters_are_matched() -> None:
    texts = ["Größe 1\n", "\udcff x1", "日本1", "none"]
    some = [series(f"1.{number}", description=text) for number, text in enumerate(texts)]
    result = apply_filters(Filters(descriptions=(".*1",)), some)
    assert [item.description for item in result.series] == texts[:3]


def test_series_are_in_the_same_order_for_any_order_of_the_list() -> None:
    listed = [
        series(uid=f"1.{position}", patient=patient, study=study, number=known, collection=name)
        for position, (name, patient, study, known) in enumerate(
            product("BA", ("P10", "P9"), ("2.2", "2.1"), (None, 2, 1, 1))
        )
    ]
    expected = [
        (name, patient, study, number)
        for name, patient, study in product("AB", ("P9", "P10"), ("2.1", "2.2"))
        for number in (1, 1, 2, None)
    ]
    ordered = in_order(listed)
    facts = [(item.collection, item.patient, item.study, item.number) for item in ordered]
    assert facts == expected
    assert in_order(reversed(listed)) == ordered


def test_sorting_many_series_takes_little_memory() -> None:
    count = 10_000
    listed = [series(uid=f"1.{number}", patient=f"P{number // 6}") for number in range(count)]
    tracemalloc.start()
    try:
        in_order(listed)
        assert tracemalloc.get_traced_memory()[1] < 80 * count
    finally:
        tracemalloc.stop()
