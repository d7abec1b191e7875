"""Tables and paragraphs that fit the terminal they are written to."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence

_LEAST = 12
"""Columns that the widest column keeps, however narrow the terminal is."""
_BETWEEN = "  "


def width() -> int | None:
    """Columns of the terminal on standard output; None where it is none: then nothing is cut."""
    stream = sys.stdout
    if stream is None or not stream.isatty():
        return None
    return shutil.get_terminal_size().columns


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[int] = (),
    keep: Sequence[int] = (),
    drop: Sequence[int] = (),
    columns: int | None = None,
) -> str:
    """Aligned columns; where the line would not fit, some are left out, the widest one is cut.

    Args:
        heads: of the columns.
        rows: of cells; None is shown as nothing.
        right: columns that are flush right; these are numbers, and never cut.
        keep: further columns that are never cut: names that people copy.
        drop: columns that are left out in turn where cutting would not do.
        columns: the most that a line may have; None for as many as it takes.
    """
    cells = [list(heads), *([_cell(one) for one in row] for row in rows)]
    widths = [max(map(_columns, column)) for column in zip(*cells, strict=True)]
    shown = list(range(len(heads)))
    if columns is not None:
        shown = _shown(widths, {*right, *keep}, drop, columns)
        _squeeze(widths, [one for one in shown if one not in {*right, *keep}], shown, columns)
    return "\n".join(_line(row, widths, shown, right) for row in cells)


def key_values(pairs: Iterable[tuple[str, object]], columns: int | None = None) -> str:
    """Names with their values, a pair a line; long values go on in their own column.

    Args:
        pairs: those whose value is empty are left out.
        columns: the most that a line may have; None for 100.
    """
    told = [(name, str(value)) for name, value in pairs if value not in (None, "", ())]
    indent = max((len(name) for name, _ in told), default=0) + len(_BETWEEN)
    room = max(_LEAST, (columns or 100) - indent)
    lines = []
    for name, value in told:
        wrapped = [
            piece
            for line in value.splitlines()
            for piece in textwrap.wrap(
                _cell(line), room, break_long_words=False, break_on_hyphens=False
            )
        ]
        lines += [f"{head:{indent}}{piece}" for head, piece in zip(_once(name), wrapped)]  # noqa: B905
    return "\n".join(lines)


def paragraphs(texts: Iterable[str], columns: int | None = None) -> str:
    """Texts as items of a list, each filled to the width."""
    room = columns or 100
    return "\n".join(
        textwrap.fill(
            _cell(text),
            room,
            initial_indent="- ",
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for text in texts
    )


def format_number(value: int | None) -> str:
    """A number with its thousands set apart."""
    return "" if value is None else f"{value:,}"


def _once(name: str) -> Iterable[str]:
    yield name
    while True:
        yield ""


def _cell(value: object) -> str:
    """One line of text that cannot steer a terminal."""
    text = "" if value is None else str(value)
    return "".join(one if one.isprintable() else " " for one in text).strip()


def _columns(text: str) -> int:
    """How many columns a text takes on a terminal."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "FW" else 1
        for one in text
    )


def _shown(widths: list[int], whole: set[int], drop: Sequence[int], columns: int) -> list[int]:
    """The places of the columns that fit once all that may be cut are as narrow as they get."""
    least = [one if place in whole else min(one, _LEAST) for place, one in enumerate(widths)]
    shown = list(range(len(widths)))
    for place in drop:
        if _total(least, shown) <= columns:
            break
        shown.remove(place)
    return shown


def _total(widths: Sequence[int], shown: Sequence[int]) -> int:
    return sum(widths[place] for place in shown) + len(_BETWEEN) * (len(shown) - 1)


def _squeeze(widths: list[int], places: Sequence[int], shown: Sequence[int], columns: int) -> None:
    """Narrow the widest of `places` until the line fits."""
    while places and _total(widths, shown) > columns:
        widest = max(places, key=lambda place: widths[place])
        if widths[widest] <= _LEAST:
            return
        widths[widest] -= 1


def _line(
    cells: Sequence[str], widths: Sequence[int], shown: Sequence[int], right: Sequence[int]
) -> str:
    padded = [
        _padded(_cut(cells[place], widths[place]), widths[place], flush_right=place in right)
        for place in shown
    ]
    return _BETWEEN.join(padded).rstrip()


def _cut(text: str, columns: int) -> str:
    if _columns(text) <= columns:
        return text
    while text and _columns(text) >= columns:
        text = text[:-1]
    return f"{text}…"


def _padded(text: str, columns: int, *, flush_right: bool) -> str:
    blanks = " " * max(0, columns - _columns(text))
    return blanks + text if flush_right else text + blanks
