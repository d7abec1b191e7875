"""Filters: by values, then by limits, in one stable order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import accumulate, islice

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series

Natural = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True, slots=True)
class Filters:
    """What to select. The values of one field are alternatives; the fields combine.

    Raises:
        UsageError: a limit is negative, or a regular expression is invalid.
    """

    patients: tuple[str, ...] = ()
    """PatientIDs, in any case if none matches exactly."""
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
    first_patients: int | None = None
    """At most so many patients per collection, in natural order (`P9` before `P10`)."""
    max_series: int | None = None
    max_size: int | None = None
    """Bytes: series are selected in order until the next one does not fit."""

    def __post_init__(self) -> None:
        for name in ("first_patients", "max_series", "max_size"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise UsageError(f"{name.replace('_', ' ')} cannot be negative: {limit}")
        for pattern in self.descriptions:
            _compile(pattern)


@dataclass(frozen=True, slots=True)
class FilterResult:
    """The series that pass the filters, and what the user should know."""

    series: list[Series]
    """Ordered by collection, patient, study, number and UID."""
    without_value: dict[str, int]
    """Filter field (`body_parts`, `max_size`, …) to the number of series that are excluded only
    because the archive does not record the value."""
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    """(filter field, value) of each given value that no series has: probably a typo."""


Lookup = Callable[[str], set[str]]
"""From a given value to the values of series that match it."""


@dataclass(frozen=True, slots=True)
class _Criterion:
    """One filter field, and the values of series that it accepts."""

    name: str
    read: Callable[[Series], str | None]
    accepted: frozenset[str]
    unmatched: tuple[str, ...]
    """Given values that match no series."""


def apply_filters(filters: Filters, series: Iterable[Series]) -> FilterResult:
    """Filter series by their values, then by patients, then by the limits."""
    ordered = sorted(series, key=sort_series)
    criteria = list(_criteria(filters, ordered))
    selected, without_value = _by_value(criteria, ordered)
    selected = _first_patients(selected, filters.first_patients)
    if filters.max_size is not None:
        sized = [one for one in selected if one.size is not None]
        without_value += Counter(max_size=len(selected) - len(sized))
        total = accumulate(one.size or 0 for one in sized)
        selected = [one for one, size in zip(sized, total, strict=True) if size <= filters.max_size]
    unmatched = [(one.name, value) for one in criteria for value in one.unmatched]
    return FilterResult(selected[: filters.max_series], dict(without_value), unmatched)


def sort_series(series: Series) -> tuple[str, Natural, str, tuple[bool, int], str]:
    """The sort key of series, independent of the order of an archive's list."""
    number = (series.number is None, series.number or 0)
    return series.collection, natural(series.patient), series.study, number, series.uid


def natural(text: str) -> Natural:
    """A sort key that puts `P9` before `P10`."""
    parts = re.split(r"([0-9]{1,18})", text.casefold())
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), text


def _criteria(filters: Filters, series: list[Series]) -> Iterator[_Criterion]:
    for name, read, matcher in _FIELDS:
        values: tuple[str, ...] = getattr(filters, name)
        if not values:
            continue
        lookup = matcher({actual for one in series if (actual := read(one))})
        matched = {value: lookup(value) for value in values}
        accepted = frozenset().union(*matched.values())
        unmatched = tuple(value for value, actual in matched.items() if not actual)
        yield _Criterion(name, read, accepted, unmatched)


def _by_value(
    criteria: list[_Criterion], ordered: list[Series]
) -> tuple[list[Series], Counter[str]]:
    selected: list[Series] = []
    without_value: Counter[str] = Counter()
    for series in ordered:
        failed = [one for one in criteria if one.read(series) not in one.accepted]
        if not failed:
            selected.append(series)
        elif not any(one.read(series) for one in failed):
            without_value.update(one.name for one in failed)
    return selected, without_value


def _first_patients(ordered: list[Series], count: int | None) -> list[Series]:
    if count is None:
        return ordered
    patients: dict[str, dict[str, None]] = {}
    for series in ordered:
        patients.setdefault(series.collection, {})[series.patient] = None
    chosen = {name: set(islice(all_of_it, count)) for name, all_of_it in patients.items()}
    return [series for series in ordered if series.patient in chosen[series.collection]]


def _exact(present: set[str]) -> Lookup:
    return lambda value: {value} & present


def _any_case(present: set[str]) -> Lookup:
    folded: dict[str, set[str]] = {}
    for actual in present:
        folded.setdefault(actual.strip().casefold(), set()).add(actual)
    return lambda value: folded.get(value.strip().casefold(), set())


def _patients(present: set[str]) -> Lookup:
    """Exact matches, if there are any: two patients may differ only in case."""
    exact, any_case = _exact(present), _any_case(present)
    return lambda value: exact(value) or any_case(value)


def _regex(present: set[str]) -> Lookup:
    return lambda pattern: {actual for actual in present if _compile(pattern).search(actual)}


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"the description filter {pattern!r} is not a regular expression: {error}",
            hint="put a backslash before a literal . + * ? ( ) [ ] |",
        ) from error


_FIELDS: tuple[tuple[str, Callable[[Series], str | None], Callable[[set[str]], Lookup]], ...] = (
    ("patients", lambda one: one.patient, _patients),
    ("studies", lambda one: one.study, _exact),
    ("series", lambda one: one.uid, _exact),
    ("modalities", lambda one: one.modality, _any_case),
    ("body_parts", lambda one: one.body_part, _any_case),
    ("descriptions", lambda one: one.description, _regex),
)
"""Filter field, the value of a series, how given values are matched."""
