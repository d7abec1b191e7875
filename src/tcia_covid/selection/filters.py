"""Which of many series a user wants: value filters, then limits, in one stable order."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series

Natural = tuple[tuple[str | int, ...], str]


@dataclass(frozen=True, slots=True)
class Filters:
    """What to keep. The values of one field are alternatives; the fields combine.

    Raises:
        UsageError: a limit is negative, or a regular expression cannot be read.
    """

    patients: tuple[str, ...] = ()
    """PatientIDs: as archived, or in another case where none matches exactly."""
    studies: tuple[str, ...] = ()
    """StudyInstanceUIDs."""
    series: tuple[str, ...] = ()
    """SeriesInstanceUIDs."""
    modalities: tuple[str, ...] = ()
    """DICOM modalities, in any case."""
    body_parts: tuple[str, ...] = ()
    """Values of BodyPartExamined, in any case."""
    descriptions: tuple[str, ...] = ()
    """Regular expressions, found anywhere in the series' description, in any case."""
    first_patients: int | None = None
    """At most so many patients of each collection, in natural order (`P9` before `P10`)."""
    max_series: int | None = None
    max_size: int | None = None
    """Bytes: series are taken in order until the next one would not fit."""

    def __post_init__(self) -> None:
        for name in ("first_patients", "max_series", "max_size"):
            limit = getattr(self, name)
            if limit is not None and limit < 0:
                raise UsageError(f"{name.replace('_', ' ')} cannot be negative: {limit}")
        for pattern in self.descriptions:
            _compile(pattern)


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the filters left, and what a user should know of it."""

    series: list[Series]
    """Ordered by collection, patient, study, number and UID."""
    lacking: dict[str, int]
    """Filter field (`body_parts`, `max_size`, …) to the number of series left out for no other
    reason than that the archive does not record the value."""
    unmatched: list[tuple[str, str]] = field(default_factory=list)
    """(filter field, value) of each value given that no series at all has: likely a typo."""


Lookup = Callable[[str], set[str]]
"""A value as given to the values of series that it stands for."""


@dataclass(frozen=True, slots=True)
class _Criterion:
    """One filter field, settled against the values that the series have."""

    name: str
    read: Callable[[Series], str | None]
    accepted: frozenset[str]
    unmatched: tuple[str, ...]
    """Values given that stand for nothing."""

    def passes(self, series: Series) -> bool:
        return self.read(series) in self.accepted

    def lacks(self, series: Series) -> bool:
        return not self.read(series)


def apply_filters(filters: Filters, series: Iterable[Series]) -> Filtered:
    """Keep of `series` what `filters` ask for: values first, then patients, then the limits."""
    everything = sorted(series, key=sort_series)
    criteria = list(_criteria(filters, everything))
    kept, lacking = _by_value(criteria, everything)
    kept = _first_patients(kept, filters.first_patients)
    if filters.max_size is not None:
        sized = [one for one in kept if one.size is not None]
        lacking += Counter(max_size=len(kept) - len(sized))
        kept = list(_while_they_fit(sized, filters.max_size))
    kept = kept[: filters.max_series]
    unmatched = [(one.name, value) for one in criteria for value in one.unmatched]
    return Filtered(kept, dict(lacking), unmatched)


def sort_series(series: Series) -> tuple[str, Natural, str, tuple[bool, int], str]:
    """The sort key of every list of series: independent of the order in which archives answer."""
    number = (series.number is None, series.number or 0)
    return series.collection, natural(series.patient), series.study, number, series.uid


def natural(text: str) -> Natural:
    """A sort key that counts: `P9` comes before `P10`."""
    pieces = re.split(r"([0-9]{1,18})", text.casefold())
    return tuple(int(one) if place % 2 else one for place, one in enumerate(pieces)), text


def _criteria(filters: Filters, everything: list[Series]) -> Iterator[_Criterion]:
    for name, read, matcher in _FIELDS:
        values: tuple[str, ...] = getattr(filters, name)
        if not values:
            continue
        lookup = matcher({actual for one in everything if (actual := read(one))})
        matched = {value: lookup(value) for value in values}
        accepted = frozenset().union(*matched.values())
        unmatched = tuple(value for value, actual in matched.items() if not actual)
        yield _Criterion(name, read, accepted, unmatched)


def _by_value(
    criteria: list[_Criterion], everything: list[Series]
) -> tuple[list[Series], Counter[str]]:
    kept: list[Series] = []
    lacking: Counter[str] = Counter()
    for one in everything:
        failed = [criterion for criterion in criteria if not criterion.passes(one)]
        if not failed:
            kept.append(one)
        elif all(criterion.lacks(one) for criterion in failed):
            lacking.update(criterion.name for criterion in failed)
    return kept, lacking


def _first_patients(ordered: list[Series], count: int | None) -> list[Series]:
    if count is None:
        return ordered
    patients: dict[str, dict[str, None]] = {}
    for one in ordered:
        patients.setdefault(one.collection, {})[one.patient] = None
    chosen = {name: set(islice(some, count)) for name, some in patients.items()}
    return [one for one in ordered if one.patient in chosen[one.collection]]


def _while_they_fit(ordered: list[Series], room: int) -> Iterator[Series]:
    for one in ordered:
        room -= one.size or 0
        if room < 0:
            return
        yield one


def _exact(present: set[str]) -> Lookup:
    return lambda value: {value} & present


def _any_case(present: set[str]) -> Lookup:
    folded: dict[str, set[str]] = {}
    for actual in present:
        folded.setdefault(actual.strip().casefold(), set()).add(actual)
    return lambda value: folded.get(value.strip().casefold(), set())


def _patients(present: set[str]) -> Lookup:
    """As spelled, where some patient is: two patients may differ in case alone."""
    exact, any_case = _exact(present), _any_case(present)
    return lambda value: exact(value) or any_case(value)


def _found_in(present: set[str]) -> Lookup:
    def lookup(pattern: str) -> set[str]:
        search = _compile(pattern).search
        return {actual for actual in present if search(actual)}

    return lookup


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"the description filter {pattern!r} is not a regular expression: {error}",
            hint="put a backslash before a character that is meant literally: . + * ? ( ) [ ] |",
        ) from error


_FIELDS: tuple[tuple[str, Callable[[Series], str | None], Callable[[set[str]], Lookup]], ...] = (
    ("patients", lambda one: one.patient, _patients),
    ("studies", lambda one: one.study, _exact),
    ("series", lambda one: one.uid, _exact),
    ("modalities", lambda one: one.modality, _any_case),
    ("body_parts", lambda one: one.body_part, _any_case),
    ("descriptions", lambda one: one.description, _found_in),
)
"""Filter field, how to read it off a series, how the values given are matched."""
