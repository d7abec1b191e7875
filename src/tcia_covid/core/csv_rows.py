"""Rows of CSV files, with values that no spreadsheet evaluates as formulas."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator

from tcia_covid.core.redaction import printable

_DECIMAL = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_NUMBER = re.compile(rf"{_DECIMAL}(?:\\{_DECIMAL})*")
"""A number, or several as DICOM writes them: no spreadsheet evaluates a backslash."""
_FORMULA = ("=", "+", "-", "@")
"""How a cell begins that a spreadsheet evaluates."""


class _Encoder:
    """The file of a `csv.writer`, whose `writerow` returns what `write` returns."""

    def write(self, text: str) -> bytes:
        return text.encode("utf-8", "replace")


def csv_lines(rows: Iterable[Iterable[object]]) -> Iterator[bytes]:
    """Rows as lines of a CSV file: RFC 4180, which ends them with CRLF, in UTF-8."""
    writer = csv.writer(_Encoder())
    return (writer.writerow(row) for row in rows)


def safe_row(values: Iterable[object], *, keep_formulas: bool = False) -> list[object]:
    """Make the values of a row of CSV safe; those that are not text stay as they are.

    A spreadsheet evaluates a cell that begins with `=`, `+`, `-` or `@`, and may so start a program
    or send data away. A quote before it, which spreadsheets do not show, makes it text. Numbers and
    single characters are not changed. With `keep_formulas`, for programs that need the values as
    archived, text is only made printable.
    """
    row: list[object] = []
    for value in values:
        if not isinstance(value, str):
            row.append(value)
            continue
        text = printable(value)
        bare = text.strip()
        is_formula = bare[:1] in _FORMULA and len(bare) > 1
        if is_formula and not keep_formulas and not _NUMBER.fullmatch(bare):
            text = f"'{text}"
        row.append(text)
    return row
