"""Rows of CSV: no cell is a formula for a spreadsheet, and numbers stay numbers."""

from __future__ import annotations

import pytest

from tcia_covid.core.csv_rows import csv_lines, safe_row


@pytest.mark.parametrize(
    ("value", "safe"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("@SUM(A1)", "'@SUM(A1)"),
        (" =1+1", "' =1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-1+2", "'-1+2"),
        ("-12.5", "-12.5"),
        ("-100.5\\-90\\1e3", "-100.5\\-90\\1e3"),
        ("-", "-"),
        ("a\r\nb", "a  b"),
        (7, 7),
        (None, None),
    ],
)
def test_only_what_a_spreadsheet_evaluates_is_quoted(value: object, safe: object) -> None:
    assert safe_row([value]) == [safe]


def test_formulas_can_be_kept_but_not_control_characters() -> None:
    assert safe_row(["=A1\x1b[2J"], keep_formulas=True) == ["=A1 [2J"]


def test_lines_are_quoted_where_necessary() -> None:
    rows = [("a", 'say "b"', None), ("é", "c,d", 3)]
    assert b"".join(csv_lines(rows)) == 'a,"say ""b""",\r\né,"c,d",3\r\n'.encode()
