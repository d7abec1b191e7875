"""Tables and paragraphs that fit."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import Any

import pytest

from tcia_covid.output import tables


def table(heads: Sequence[str], rows: Sequence[Sequence[object]], **choices: Any) -> str:
    return "\n".join(tables.table(heads, rows, tuple, **choices))


def test_columns_are_aligned() -> None:
    shown = table(("name", "size"), [("a", "1"), ("bcdef", "234567")], right=("size",))
    assert shown.splitlines() == ["name     size", "a           1", "bcdef  234567"]


def test_the_widest_column_is_cut_on_a_narrow_terminal() -> None:
    rows = [("COVID-19-AR", "x " * 100, "end")]
    lines = table(("name", "title", "e"), rows, columns=60).splitlines()
    assert all(len(line) <= 60 for line in lines)
    assert lines[1].endswith("x…  end")
    assert lines[1].startswith("COVID-19-AR")


def test_names_and_numbers_are_never_cut_columns_are_left_out_instead() -> None:
    heads, rows = ("name", "size", "what", "title"), [("N" * 20, "1,234", "w " * 10, "t " * 10)]
    shown = {
        columns: table(
            heads, rows, right=("size",), keep=("name",), drop=("title", "what"), columns=columns
        ).splitlines()[1]
        for columns in (71, 60, 50, 30, 10)
    }
    names = f"{'N' * 20}  1,234"
    assert shown[71] == f"{names}  {'w ' * 9}w  {'t ' * 9}t"
    assert shown[60].startswith(f"{names}  w")
    assert shown[60].endswith("…")
    assert shown[50] == f"{names}  {'w ' * 9}w"
    assert shown[30] == shown[10] == names


def test_no_terminal_is_too_narrow_for_a_table() -> None:
    assert table(("name", "title"), [("a" * 30, "b" * 30)], columns=3)


def test_wide_and_combining_characters_are_aligned() -> None:
    lines = table(("a", "b"), [("日本", "x"), ("e\u0301tat", "x")]).splitlines()
    assert lines == ["a     b", "日本  x", "e\u0301tat  x"]


def test_a_cell_has_no_control_characters_and_no_line_breaks() -> None:
    assert table(("a",), [("x\x1b[2J\ny",)]).splitlines() == ["a", "x [2J y"]


def test_empty_values_are_left_out() -> None:
    shown = tables.key_values([("a", "x"), ("much longer", ""), ("b", None), ("c", 0)])
    assert shown.splitlines() == ["a  x", "c  0"]


def test_long_values_are_wrapped_in_their_column() -> None:
    shown = tables.key_values([("text", "word " * 20)], 40).splitlines()
    assert len(shown) > 1
    assert all(line.startswith("      word") for line in shown[1:])
    assert all(len(line) <= 40 for line in shown)


def test_paragraphs_are_wrapped() -> None:
    shown = tables.paragraphs(["word " * 30], 30).splitlines()
    assert shown[0].startswith("- word")
    assert shown[1].startswith("  word")
    assert all(len(line) <= 30 for line in shown)


CELLS = ("patient-0001", "THORAX_1.25MM lung window", "1,234", "CR, CT, DX, MR", "1.3.6.1.4.5678")


@pytest.mark.parametrize("columns", range(1, 90))
def test_no_word_is_cut_at_any_width(columns: int) -> None:
    heads = ("patient", "description", "images", "types", "series")
    shown = table(
        heads,
        [CELLS],
        right=("images",),
        keep=("patient",),
        drop=("types", "description"),
        short={"series": lambda uid: f"…{uid[-4:]}"},
        columns=columns,
    )
    words = {*heads, *re.findall(r"[^\W_]+", " ".join(CELLS))}
    assert {*re.findall(r"[^\W_]+", shown)} <= words


def test_a_column_is_shortened_before_others_are_cut() -> None:
    def shown(columns: int) -> str:
        rows, short = [("words of it", "1.2.840.1.4711")], {"uid": lambda uid: f"…{uid[-4:]}"}
        return table(("what", "uid"), rows, short=short, columns=columns).splitlines()[1]

    assert shown(27) == "words of it  1.2.840.1.4711"
    assert shown(26) == "words of it  …4711"


def test_text_is_cut_between_words_and_not_after_a_comma() -> None:
    lines = table(("n", "types"), [("a", "CR, CT, DX, MR, NM")], columns=17).splitlines()
    assert lines[1] == "a  CR, CT, DX…"
    assert table(("n", "what"), [("a", "indivisibilities")], columns=15).endswith("a  …")


def test_nothing_is_cut_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tables.width() is None
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "77")
    assert tables.width() == 77
