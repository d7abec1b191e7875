"""Conditions on columns (`PatientSex=F`, `StudyDate>=2020-03`), and bounded regular expressions."""

from __future__ import annotations

import json
import operator
import re
import subprocess
import sys
from collections.abc import Callable, Collection, Mapping
from functools import cache
from typing import Any, NamedTuple

from tcia_covid.core.errors import UsageError, did_you_mean, suggest
from tcia_covid.core.models import SERIES_NAMES
from tcia_covid.core.units import parse_size

MATCH_TIMEOUT = 5.0
"""Seconds for a regular expression and all values of a column."""
DATES = {"date", "study_date", "released", "submitted"}
WHOLE_NUMBERS = {"number", "image_count", "size"}
_REPEATS = frozenset("*+?{")
_MATCH = """
import faulthandler, json, re, sys
pattern, texts, timeout = json.load(sys.stdin)
faulthandler.dump_traceback_later(timeout, exit=True)  # its thread needs no lock of Python
search = re.compile(pattern, re.IGNORECASE).search
print(json.dumps([index for index, text in enumerate(texts) if search(text)]))
"""
RELATIONS = ("=", "!=", "~", "<", "<=", ">", ">=")
_SIGNS = "|".join(sorted(("==", *RELATIONS), key=len, reverse=True))
_FORM = re.compile(rf"([\w\s]+?)\s*({_SIGNS})(.*)", re.DOTALL)
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_AGE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,3})?)\s*([YMWD]?)", re.IGNORECASE)
_PER_YEAR = {"": 1, "Y": 1, "M": 12, "W": 365.25 / 7, "D": 365.25}
_DATE = re.compile(r"([0-9]{4})(?:-?([0-9]{2})(?:-?([0-9]{2}))?)?")


def fold_column(name: str) -> str:
    """Normalize the name of a column: case, spaces and underscores do not matter."""
    return re.sub(r"[\s_]+", "", name).casefold()


_ATTRIBUTES = {fold_column(name): attribute for attribute, name in SERIES_NAMES.items()}


class Condition(NamedTuple):
    """A comparison of one column with a value.

    `=` and `!=` compare whole values, in any case; commas separate alternatives, and no value
    means not recorded. `~` finds a regular expression anywhere in the value. `<` and `>` compare
    numbers, dates (`2020`, `2020-03`, `2020-03-31`), ages in years, and otherwise texts.
    """

    attribute: str
    """Of `Series`."""
    relation: str
    """One of `RELATIONS`."""
    value: str

    @property
    def column(self) -> str:
        """The name of the column."""
        return SERIES_NAMES[self.attribute]

    def __str__(self) -> str:
        return f"{self.column}{self.relation}{self.value}"

    def accepted(self, present: Collection[Any]) -> set[Any]:
        """Return the values of series for which the condition is true.

        Raises:
            UsageError: a regular expression takes too long.
        """
        recorded = {value for value in present if value not in {None, ""}}
        if self.relation in {"=", "!="}:
            if not self.value:
                return set(present) - recorded if self.relation == "=" else recorded
            equal = {value for value in recorded if self._equals(value)}
            return equal if self.relation == "=" else recorded - equal
        if self.relation == "~":
            texts = {str(value) for value in recorded}
            matches = search(self.value, sorted(texts), f"--where {self}")
            return {value for value in recorded if str(value) in matches}
        order, given = _ORDERS[self.relation], _key(self.attribute, self.value)
        return {value for value in recorded if self._compared(value, given, order)}

    def _equals(self, value: Any) -> bool:
        if _folded(value) == _folded(self.value):
            return True
        return any(
            self._compared(value, _key(self.attribute, part), operator.eq)
            for part in self.value.split(",")
        )

    def _compared(self, value: Any, given: Any, order: Callable[[Any, Any], bool]) -> bool:
        if self.attribute in DATES:
            return order(str(value)[: len(given)], given)
        measured = measure(self.attribute, value)
        return measured is not None and order(measured, given)

    def check(self) -> None:
        """Refuse a value that cannot be compared with the column.

        Raises:
            UsageError: it is none, or an invalid regular expression.
        """
        if self.relation == "~":
            compile_regex(self.value, f"--where {self}")
        elif self.relation in _ORDERS:
            _key(self.attribute, self.value)
        elif self.value:
            for part in self.value.split(","):
                _key(self.attribute, part)


@cache
def parse_condition(text: str) -> Condition:
    """Parse `FIELD=VALUE`, or another comparison.

    Raises:
        UsageError: it has another form, the column is unknown, or the value does not fit it.
    """
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{text[:80]!r} is not a condition",
            hint="write FIELD=VALUE, in quotes, such as 'PatientSex=F'; instead of =, one of "
            "!= ~ < <= > >= is possible",
        )
    name, relation, value = match.groups()
    attribute = _ATTRIBUTES.get(fold_column(name))
    if attribute is None:
        raise _unknown_column(name)
    condition = Condition(attribute, "=" if relation == "==" else relation, value.strip())
    condition.check()
    return condition


def _unknown_column(name: str) -> UsageError:
    columns = list(SERIES_NAMES.values())
    containing = [column for column in columns if fold_column(name) in fold_column(column)]
    suggestion = suggest(containing[:3]) or did_you_mean(name, columns)
    return UsageError(
        f"there is no column {name[:80]!r} to filter by",
        hint=f"{suggestion} the columns are {', '.join(columns)}".lstrip(),
    )


def measure(attribute: str, value: Any) -> Any:
    """Convert a value to what is compared: a number, years, or text in lower case.

    An age that is not written as DICOM requires becomes None.
    """
    if attribute == "patient_age":
        match = _AGE.fullmatch(str(value).strip())
        return float(match[1]) / _PER_YEAR[match[2].upper()] if match else None
    return value if attribute in WHOLE_NUMBERS else _folded(value)


def _key(attribute: str, text: str) -> Any:
    """Convert a given value to what it is compared with.

    Raises:
        UsageError: it does not fit the column.
    """
    text = text.strip()
    if attribute in DATES:
        if match := _DATE.fullmatch(text):
            return "-".join(filter(None, match.groups()))
        raise _not_comparable(attribute, text, "write a date as 2020, 2020-03 or 2020-03-31")
    if attribute == "patient_age":
        years = measure(attribute, text)
        if years is None:
            raise _not_comparable(attribute, text, "write an age in years, such as 64, or as 018M")
        return years
    if attribute == "size":
        return parse_size(text)
    if attribute in WHOLE_NUMBERS:
        try:
            return int(text)
        except ValueError as error:
            raise _not_comparable(attribute, text, "write a whole number") from error
    return _folded(text)


def _not_comparable(attribute: str, text: str, hint: str) -> UsageError:
    return UsageError(f"{SERIES_NAMES[attribute]} cannot be compared with {text[:80]!r}", hint=hint)


def _folded(value: Any) -> str:
    return str(value).strip().casefold()


def search(
    pattern: str, texts: list[str], option: str, *, timeout: float = MATCH_TIMEOUT
) -> set[str]:
    """Return the texts in which a regular expression matches, in any case.

    One that repeats something may take years (`(a+)+$`), and no signal or thread interrupts it. It
    runs in a process of its own, which ends itself after `timeout` seconds. `option` names the
    filter in messages.

    Raises:
        UsageError: it is invalid or takes too long.
    """
    compiled = compile_regex(pattern, option)
    is_embedded = not sys.executable or getattr(sys, "frozen", False)
    if is_embedded or not _REPEATS & set(pattern):
        return {text for text in texts if compiled.search(text)}
    child = subprocess.run(  # noqa: S603 - this interpreter, with a fixed program
        [sys.executable, "-I", "-S", "-c", _MATCH],
        input=json.dumps([pattern, texts, timeout]).encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C ends the run, not the child before it
        check=False,
    )
    if child.returncode:
        raise UsageError(
            f"the filter {option} takes more than {timeout:g} s",
            hint="do not repeat a group that itself repeats something, as (a+)+ does",
        )
    return {texts[index] for index in json.loads(child.stdout)}


@cache
def compile_regex(pattern: str, option: str) -> re.Pattern[str]:
    """Compile a regular expression that ignores case.

    Raises:
        UsageError: it is not one.
    """
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(
            f"the filter {option} is not a regular expression: {error}",
            hint="put a backslash before a literal . + * ? ( ) [ ] |",
        ) from error
