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
    columns: int | None = None,
) -> str:
    """Aligned columns; the widest one is cut where the line would not fit.

    Args:
        heads: of the columns.
        rows: of cells; None is shown as nothing.
        right: columns that are flush right.
        columns: the most that a line may have; None for as many as it takes.
    """
    cells = [[_cell(one) for one in row] for row in rows]
    widths = [max(map(_columns, column)) for column in zip(heads, *cells, strict=True)]
    if columns is not None:
        _squeeze(widths, columns - len(_BETWEEN) * (len(widths) - 1))
    return "\n".join(_line(row, widths, right) for row in [list(heads), *cells])


def facts(pairs: Iterable[tuple[str, object]], columns: int | None = None) -> str:
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


def number(value: int | None) -> str:
    """A number with its thousands set apart."""
    return "" if value is None else f"{value:,}"


def count(value: int, noun: str) -> str:
    """A number of things: `1 image`, `2,464 images`, `1 series`."""
    plain = value == 1 or noun.endswith("s")
    return f"{value:,} {noun if plain else noun + 's'}"


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


def _squeeze(widths: list[int], room: int) -> None:
    while sum(widths) > room and max(widths) > _LEAST:
        widths[widths.index(max(widths))] -= 1


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[int]) -> str:
    padded = [
        _padded(_cut(cell, columns), columns, flush_right=place in right)
        for place, (cell, columns) in enumerate(zip(cells, widths, strict=True))
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
