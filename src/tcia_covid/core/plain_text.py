"""Text from archives and files that must not steer a terminal or a spreadsheet."""

from __future__ import annotations

import re
from collections.abc import Iterable

_FORMULA_STARTS = ("=", "+", "-", "@")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def printable(text: str) -> str:
    """Replace each character that cannot be printed, such as a line break or an escape, by a blank.

    No terminal, log or file format finds a second line or a command in the result.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def csv_row(values: Iterable[object], *, keep_formulas: bool = False) -> list[object]:
    """Make the values of a row of CSV safe; those that are not text stay as they are.

    A spreadsheet evaluates a cell that begins with `=`, `+`, `-` or `@`, and may so start a program
    or send data away. A quote before it, which spreadsheets do not show, makes it text. Numbers and
    single characters are not changed. With `keep_formulas`, for programs that need the values as
    archived, text is only made printable.
    """
    return [
        _csv_text(value, keep_formulas=keep_formulas) if isinstance(value, str) else value
        for value in values
    ]


def _csv_text(value: str, *, keep_formulas: bool) -> str:
    text = printable(value)
    bare = text.strip()
    is_formula = bare.startswith(_FORMULA_STARTS) and len(bare) > 1 and not _NUMBER.fullmatch(bare)
    return f"'{text}" if is_formula and not keep_formulas else text
