"""Filters: by values, then by limits, in one stable order; and messages if nothing matches."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import accumulate, islice
from math import inf
from operator import attrgetter
from sys import intern
from typing import Any, NamedTuple

from tcia_covid.core.errors import UsageError, did_you_mean
from tcia_covid.core.models import Series
from tcia_covid.core.units import count, format_size
from tcia_covid.selection.conditions import (
    DATES,
    WHOLE_NUMBERS,
    compile_regex,
    measure,
    parse_condition,
    search,
)

_MAX_NAMED = 8
"""Values that a message names."""
_END = -1
"""In place of a number, at the end of a sort key: the shorter of two comes first."""


@dataclass(frozen=True, slots=True)
class Filters:
    """What to select. The values of one field are alternatives; the fields combine.

    Raises:
        UsageError: a limit is negative, or a regular expression or condition is invalid.
    """

    patients: tuple[str, ...] = ()
    """PatientIDs, in any case if none matches exactly; the name of the collection at their
    beginning may be left out, as clinical tables do."""
    studies: tuple[str, ...] = ()
    """StudyInstanceUIDs."""
    series: tuple[str, ...] = ()
    """SeriesInstanceUIDs."""
    modalities: tuple[str, ...] = ()
    """DICOM modalities, in any case."""
    body_parts: tuple[str, ...] = ()
    """Values of BodyPartExamined, in any case."""
    descriptions: tuple[str, ...] = ()
    """Regular expressions that match anywhere in SeriesDescription, in any case."""
    where: tuple[str, ...] = ()
    """Conditions on any column, such as `PatientAge>=60` (see `conditions.Condition`); all must
    hold."""
    first_patients: int | None = None
    """At most so many patients per collection, in natural order (`P9` before `P10`)."""
    max_series: int | None = None
    max_size: int | None = None
    """Bytes: series are selected in order until the next one does not fit."""

    @property
    def identifiers(self) -> tuple[str, ...]:
        """The series, else the studies, else the patients: the targets where none is given."""
        return self.series or self.studies or self.patients

    def __post_init__(self) -> None:
        for name in ("first_patients", "max_series", "max_size"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise UsageError(f"{name.replace('_', ' ')} cannot be negative: {limit}")
        for pattern in self.descriptions:
            compile_regex(pattern, f"--description {pattern}")
        for condition in self.where:
            parse_condition(condition)


class Unmatched(NamedTuple):
    """A given value that no series has: probably a typo."""

    option: str
    """Such as `--modality`."""
    value: str


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The series that pass the filters, and facts for messages."""

    series: list[Series]
    """Ordered by collection, patient, study, number and UID."""
    without_value: dict[str, int]
    """Option (`--body-part`, `--max-size`, …) to the number of series that are excluded only
    because the archive does not record the value."""
    unmatched: list[Unmatched] = field(default_factory=list)
    available: dict[str, str] = field(default_factory=dict)
    """Option with unmatched values to the existing values, as text."""
    matching: dict[str, int] = field(default_factory=dict)
    """Option to the number of series that it would select without the others."""

    @property
    def notices(self) -> list[str]:
        """Notices about series that the filters exclude unexpectedly."""
        missing = (
            f"{count} series have no value for the filter {option} and are excluded"
            for option, count in self.without_value.items()
        )
        return [*missing, *(f"no series has {text}" for text in self.mistakes())]

    def mistakes(self) -> Iterator[str]:
        """Name the unmatched values of each option, and the existing values."""
        for option, available in self.available.items():
            values = [value for name, value in self.unmatched if name == option]
            shown = ", ".join(map(repr, values[:_MAX_NAMED]))
            more = f" and {len(values) - _MAX_NAMED:,} more" if len(values) > _MAX_NAMED else ""
            yield f"{option.partition(' ')[0]} {shown}{more}: {available}"


class _Criterion(NamedTuple):
    """One filter, and the values of series that it accepts."""

    option: str
    attribute: str
    accepted: Collection[Any]
    unmatched: tuple[str, ...]
    """Given values that match no series."""

    def read(self, series: Series) -> Any:
        """The value of a series."""
        return getattr(series, self.attribute)


def apply_filters(filters: Filters, series: Iterable[Series]) -> FilterResult:
    """Filter series by their values, then by patients, then by the limits."""
    ordered = in_order(series)
    criteria = list(_criteria(filters, ordered))
    selected, without_value = _by_value(criteria, ordered)
    selected = _first_patients(selected, filters.first_patients)
    if filters.max_size is not None:
        sized = [item for item in selected if item.size is not None]
        without_value += Counter({"--max-size": len(selected) - len(sized)})
        totals = zip(sized, accumulate(item.size or 0 for item in sized), strict=True)
        selected = [item for item, total in totals if total <= filters.max_size]
    return FilterResult(
        series=selected if filters.max_series is None else selected[: filters.max_series],
        without_value=dict(without_value),
        unmatched=[Unmatched(item.option, value) for item in criteria for value in item.unmatched],
        available={
            item.option: _available(item, ordered)
            for item in criteria
            if item.unmatched and ordered
        },
        matching={
            item.option: sum(item.read(series) in item.accepted for series in ordered)
            for item in (criteria if not selected else ())
        },
    )


def nothing_selected(
    filters: Filters, result: FilterResult, series: Iterable[Series]
) -> UsageError:
    """Give the error for filters that exclude everything: a typo must not look like success."""
    hint = "'tcia-covid series' lists all series"
    if result.unmatched:
        return UsageError(f"no series has {'; '.join(result.mistakes())}", hint=hint)
    smallest = min((item.size for item in series if item.size is not None), default=0)
    if filters.max_size is not None and filters.max_size < smallest:
        return UsageError(
            f"no series fits into --max-size {format_size(filters.max_size)}: the smallest has "
            f"{format_size(smallest)}",
            hint="sizes take a unit, such as 20GB",
        )
    alone = [f"{option} {count(number, 'series')}" for option, number in result.matching.items()]
    details = f": alone, {', '.join(alone)}" if len(alone) > 1 else ""
    return UsageError(f"no series matches all filters together{details}", hint=f"omit one; {hint}")


def in_order(series: Iterable[Series]) -> list[Series]:
    """Sort by collection, patient, study, number and UID, for any order of an archive's list.

    The least important first: one sort by five values would need memory for these.
    """
    ordered = sorted(series, key=attrgetter("uid"))
    patients = sorted({item.patient for item in ordered}, key=natural)
    positions = {patient: position for position, patient in enumerate(patients)}
    ordered.sort(key=lambda item: inf if item.number is None else item.number)
    ordered.sort(key=attrgetter("study"))
    ordered.sort(key=lambda item: positions[item.patient])
    ordered.sort(key=attrgetter("collection"))
    return ordered


def natural(text: str) -> tuple[str | int, ...]:
    """A sort key that puts `P9` before `P10`: texts and numbers in turn, and the text itself."""
    parts = re.split(r"([0-9]{1,18})", text.casefold())
    key = (int(part) if index % 2 else intern(part) for index, part in enumerate(parts))
    return (*key, _END, text)


def _criteria(filters: Filters, series: list[Series]) -> Iterator[_Criterion]:
    for name, option, attribute, matcher in _FIELDS:
        values: tuple[str, ...] = getattr(filters, name)
        if not values:
            continue
        lookup = matcher(_present(attribute, series) - {None, ""})
        if attribute == "patient":
            lookup = _patients(lookup, series)
        matched = {value: lookup(value) for value in values}
        accepted = frozenset().union(*matched.values())
        unmatched = tuple(value for value, actual in matched.items() if not actual)
        yield _Criterion(option, attribute, accepted, unmatched)
    for text in filters.where:
        condition = parse_condition(text)
        holding = condition.accepted(_present(condition.attribute, series))
        unmatched = () if holding else (str(condition),)
        yield _Criterion(f"--where {condition.column}", condition.attribute, holding, unmatched)


def _present(attribute: str, series: Iterable[Series]) -> set[Any]:
    return set(map(attrgetter(attribute), series))


def _by_value(
    criteria: list[_Criterion], ordered: list[Series]
) -> tuple[list[Series], Counter[str]]:
    selected: list[Series] = []
    without_value: Counter[str] = Counter()
    if not criteria:
        return ordered, without_value
    for series in ordered:
        failed = [item for item in criteria if item.read(series) not in item.accepted]
        if not failed:
            selected.append(series)
        elif all(item.read(series) in {None, ""} for item in failed):
            without_value.update(item.option for item in failed)
    return selected, without_value


def _first_patients(ordered: list[Series], count: int | None) -> list[Series]:
    if count is None:
        return ordered
    patients: dict[str, dict[str, None]] = {}
    for series in ordered:
        patients.setdefault(series.collection, {})[series.patient] = None
    chosen = {name: set(islice(all_of_it, count)) for name, all_of_it in patients.items()}
    return [series for series in ordered if series.patient in chosen[series.collection]]


Lookup = Callable[[str], set[str]]
"""From a given value to the values of series that match it."""


def _exact(present: set[str]) -> Lookup:
    return lambda value: {value} & present


def _any_case(present: set[str]) -> Lookup:
    folded: dict[str, set[str]] = {}
    for actual in present:
        folded.setdefault(actual.strip().casefold(), set()).add(actual)
    return lambda value: folded.get(value.strip().casefold(), set())


def _exact_or_any_case(present: set[str]) -> Lookup:
    """Exact matches, if there are any: two patients may differ only in case."""
    exact, any_case = _exact(present), _any_case(present)
    return lambda value: exact(value) or any_case(value)


def _patients(lookup: Lookup, series: Iterable[Series]) -> Lookup:
    """Also find patients without the collection's name, as RICORD's clinical tables name them."""
    short: dict[str, set[str]] = {}
    for item in series:
        without = item.patient.removeprefix(f"{item.collection}-")
        short.setdefault(without, set()).add(item.patient)
    return lambda value: lookup(value) or short.get(value.strip(), set())


def _regex(present: set[str]) -> Lookup:
    return lambda pattern: search(pattern, sorted(present), f"--description {pattern}")


_FIELDS: tuple[tuple[str, str, str, Callable[[set[str]], Lookup]], ...] = (
    ("patients", "--patient", "patient", _exact_or_any_case),
    ("studies", "--study", "study", _exact),
    ("series", "--series", "uid", _exact),
    ("modalities", "--modality", "modality", _any_case),
    ("body_parts", "--body-part", "body_part", _any_case),
    ("descriptions", "--description", "description", _regex),
)
"""Filter field, its option, the attribute of a series, how given values are matched."""


def _available(criterion: _Criterion, series: list[Series]) -> str:
    """Describe the values that series have: `COVID-19-AR has DX (236), CT (199), CR (26)`."""
    attribute = criterion.attribute
    numbers = Counter(map(criterion.read, series))
    missing = numbers.pop(None, 0) + numbers.pop("", 0)
    names = sorted({item.collection for item in series})
    subject = f"{names[0]} has" if len(names) == 1 else f"the {len(names)} collections have"
    rest = [f"{missing:,} not recorded"] if missing else []
    if attribute in DATES | WHOLE_NUMBERS | {"patient_age"}:
        known = [(measure(attribute, value), value) for value in numbers]
        known = sorted((key, value) for key, value in known if key is not None)
        span = [f"{known[0][1]} to {known[-1][1]}"] if known else []
        return f"{subject} {', '.join(span + rest)}"
    repeated = len(numbers) < numbers.total()
    common = [
        f"{value} ({number:,})" if repeated else str(value)
        for value, number in numbers.most_common(_MAX_NAMED)
    ]
    if len(numbers) > _MAX_NAMED:
        rest = [count(len(numbers) - _MAX_NAMED, "more value"), *rest]
    near = [did_you_mean(value, numbers) for value in criterion.unmatched[:1]]
    hint = "; ".join(filter(None, near if attribute in {"patient", "study", "uid"} else ()))
    return "; ".join(filter(None, (f"{subject} {', '.join(common + rest)}", hint)))
