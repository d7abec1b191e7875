"""Filters: by values, then by limits, in one stable order. Shards: disjoint, balanced parts.

Tasks of a job array list their targets at different times, some from the archive and some from
the catalog, so their lists may differ. All of them put a series into the same shard nevertheless:
that depends only on its UID, the number of shards, and the selected series of the shipped catalog.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from heapq import heapify, heapreplace
from itertools import accumulate, islice

from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Series

MAX_SHARDS = 100_000
MATCH_TIMEOUT = 5.0
"""Seconds for a regular expression and all descriptions."""
_REPEATS = frozenset("*+?{")
_MATCH = """
import faulthandler, json, re, sys
pattern, texts, timeout = json.load(sys.stdin)
faulthandler.dump_traceback_later(timeout, exit=True)  # its thread needs no lock of Python
search = re.compile(pattern, re.IGNORECASE).search
print(json.dumps([index for index, text in enumerate(texts) if search(text)]))
"""
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
        sized = [item for item in selected if item.size is not None]
        without_value += Counter(max_size=len(selected) - len(sized))
        totals = zip(sized, accumulate(item.size or 0 for item in sized), strict=True)
        selected = [item for item, total in totals if total <= filters.max_size]
    unmatched = [(criterion.name, value) for criterion in criteria for value in criterion.unmatched]
    return FilterResult(selected[: filters.max_series], dict(without_value), unmatched)


def sort_series(series: Series) -> tuple[str, Natural, str, tuple[bool, int], str]:
    """The sort key of series, independent of the order of an archive's list."""
    number = (series.number is None, series.number or 0)
    return series.collection, natural(series.patient), series.study, number, series.uid


@lru_cache(maxsize=4096)  # a patient has many series
def natural(text: str) -> Natural:
    """A sort key that puts `P9` before `P10`."""
    parts = re.split(r"([0-9]{1,18})", text.casefold())
    return tuple(int(part) if index % 2 else part for index, part in enumerate(parts)), text


def _criteria(filters: Filters, series: list[Series]) -> Iterator[_Criterion]:
    for name, read, matcher in _FIELDS:
        values: tuple[str, ...] = getattr(filters, name)
        if not values:
            continue
        lookup = matcher({actual for item in series if (actual := read(item))})
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
        failed = [field for field in criteria if field.read(series) not in field.accepted]
        if not failed:
            selected.append(series)
        elif not any(field.read(series) for field in failed):
            without_value.update(field.name for field in failed)
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
    return lambda pattern: _matching(pattern, sorted(present))


def _matching(pattern: str, texts: list[str]) -> set[str]:
    """The texts in which a regular expression matches.

    One that repeats something may take years (`(a+)+$`), and no signal or thread interrupts it. It
    runs in a process of its own, which ends itself.

    Raises:
        UsageError: it takes too long.
    """
    compiled = _compile(pattern)
    is_embedded = not sys.executable or getattr(sys, "frozen", False)
    if is_embedded or not _REPEATS & set(pattern):
        return {text for text in texts if compiled.search(text)}
    child = subprocess.run(  # noqa: S603 - this interpreter, with a fixed program
        [sys.executable, "-I", "-S", "-c", _MATCH],
        input=json.dumps([pattern, texts, MATCH_TIMEOUT]).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the run, not the child before it
        check=False,
    )
    if child.returncode:
        raise UsageError(
            f"the description filter {pattern!r} takes more than {MATCH_TIMEOUT:g} s",
            hint="do not repeat a group that itself repeats something, as (a+)+ does",
        )
    return {texts[index] for index in json.loads(child.stdout)}


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
    ("patients", lambda series: series.patient, _patients),
    ("studies", lambda series: series.study, _exact),
    ("series", lambda series: series.uid, _exact),
    ("modalities", lambda series: series.modality, _any_case),
    ("body_parts", lambda series: series.body_part, _any_case),
    ("descriptions", lambda series: series.description, _regex),
)
"""Filter field, the value of a series, how given values are matched."""


@dataclass(frozen=True, slots=True)
class Shard:
    """The `index`-th, counted from 1, of `count` shards.

    Raises:
        UsageError: `index` is not one of 1 … `count`.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.count <= MAX_SHARDS:
            raise UsageError(f"a selection has 1 to {MAX_SHARDS:,} shards, not {self.count}")
        if not 1 <= self.index <= self.count:
            raise UsageError(
                f"there is no shard {self.index} of {self.count}",
                hint="shards are counted from 1: a job array that counts from 0 must add one",
            )


def parse_shard(text: str) -> Shard:
    """Read `I/N`.

    Raises:
        UsageError: it is not of this form, or I is not one of 1 … N.
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    if match is None:
        raise UsageError(f"{text[:40]!r} is not a shard", hint="write it as I/N, such as 1/8")
    return Shard(int(match[1]), int(match[2]))


def shard_filter(shard: Shard, balanced: Iterable[Series]) -> Callable[[str], bool]:
    """Give a function that tells whether a SeriesInstanceUID is in `shard`.

    Args:
        shard: the shard.
        balanced: series that all tasks know. They are distributed by size, the largest first, each
            to the shard with the fewest bytes so far, so no two shards differ by more than the
            largest series. Other series are distributed by a hash of their UID.
    """
    indexes = _balanced({series.uid: series.size or 0 for series in balanced}, shard.count)
    return lambda uid: (indexes.get(uid) or _hashed(uid, shard.count)) == shard.index


def _balanced(sizes: Mapping[str, int], count: int) -> dict[str, int]:
    """Give the index of the shard of each UID, counted from 1."""
    loads = [(0, 0, index) for index in range(1, count + 1)]  # bytes, series, shard
    heapify(loads)
    indexes = {}
    for uid in sorted(sizes, key=lambda uid: (-sizes[uid], uid)):
        size, series, index = loads[0]
        heapreplace(loads, (size + sizes[uid], series + 1, index))
        indexes[uid] = index
    return indexes


def _hashed(uid: str, count: int) -> int:
    digest = hashlib.md5(uid.encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest, "big") % count + 1
