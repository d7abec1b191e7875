"""Results as text: tables, lists and paragraphs that fit the terminal."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, repeat
from typing import TYPE_CHECKING, TypeVar

from tcia_covid.core.redaction import clean_line, printable
from tcia_covid.core.units import count, display_width, terminal_width

if TYPE_CHECKING:
    from tcia_covid.core.models import Failure
    from tcia_covid.store.discovery import UncheckedFolder


T = TypeVar("T")
_MIN_WIDTH = 12
"""Columns that a cut column keeps, however narrow the terminal is."""
_SEPARATOR = "  "
NOT_SHORTENED: Mapping[str, Callable[[str], str]] = {}
MAX_LINES = 20
"""Lines of each kind; --json lists all."""


def width() -> int | None:
    """Columns of the terminal; None if standard output is none: then nothing is cut."""
    return terminal_width(sys.stdout)


def table(
    heads: Sequence[str],
    items: Collection[T],
    row: Callable[[T], Sequence[object]],
    *,
    right: Sequence[str] = (),
    keep: Sequence[str] = (),
    drop: Sequence[str] = (),
    short: Mapping[str, Callable[[str], str]] = NOT_SHORTENED,
    columns: int | None = None,
) -> Iterator[str]:
    """The lines of aligned columns; to fit, cells are shortened and cut, and columns left out.

    Cells are cut between words.

    Args:
        heads: the names of the columns.
        items: of each row.
        row: gives the cells of an item; None is an empty one. It is called more than once, so that
            the rows of a million items need not be in memory.
        right: columns that are right-aligned: numbers, which are never cut.
        keep: further columns that are never cut: names that people copy.
        drop: columns that are left out in turn if cutting is not enough.
        short: columns with a short form, which is used before any other column is cut.
        columns: the maximal width of a line; None for any.
    """
    shown = NOT_SHORTENED
    widths = _widths(heads, map(row, items), shown)
    if columns is not None:
        if _length(widths.values()) > columns:
            shown = short
            widths = _widths(heads, map(row, items), shown)
        _fit(widths, {*right, *keep}, drop, columns)
    yield _line(heads, heads, widths, right)
    for item in items:
        yield _line(heads, _cells(heads, row(item), shown), widths, right)


def key_values(pairs: Iterable[tuple[str, object]], columns: int | None = None) -> str:
    """Names with their values, one pair per line: wrapped, and left out if they are empty."""
    shown = [(name, str(value)) for name, value in pairs if value not in (None, "", ())]
    indent = max((len(name) for name, _ in shown), default=0) + len(_SEPARATOR)
    room = max(_MIN_WIDTH, (columns or 100) - indent)
    lines = []
    for name, value in shown:
        wrapped = [
            piece
            for line in value.splitlines()
            for piece in textwrap.wrap(
                _cell(line), room, break_long_words=False, break_on_hyphens=False
            )
        ]
        heads = chain([name], repeat(""))
        lines += [f"{head:{indent}}{piece}" for head, piece in zip(heads, wrapped, strict=False)]
    return "\n".join(lines)


def paragraphs(texts: Iterable[str], columns: int | None = None) -> str:
    """Texts as items of a list, wrapped."""
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
    """A number with thousands separators."""
    return "" if value is None else f"{value:,}"


def _cell(value: object) -> str:
    """One line of text without control characters."""
    return "" if value is None else printable(str(value)).strip()


def _cells(
    heads: Sequence[str], row: Sequence[object], short: Mapping[str, Callable[[str], str]]
) -> list[str]:
    """The cells of a row as text, those of the columns in `short` in their short form."""
    cells = [_cell(value) for value in row]
    for head, shorten in short.items():
        position = heads.index(head)
        cells[position] = shorten(cells[position])
    return cells


def _widths(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    short: Mapping[str, Callable[[str], str]],
) -> dict[str, int]:
    """The width of each column, by its head."""
    widths = [display_width(head) for head in heads]
    for row in rows:
        widths = list(map(max, widths, map(display_width, _cells(heads, row, short))))
    return dict(zip(heads, widths, strict=True))


def _length(widths: Iterable[int]) -> int:
    """Columns that a line of cells takes."""
    cells = [*widths]
    return sum(cells) + len(_SEPARATOR) * (len(cells) - 1)


def _fit(widths: dict[str, int], fixed: set[str], drop: Sequence[str], columns: int) -> None:
    """Leave columns out, then narrow the widest of those that may be cut, until a line fits."""

    def narrowest(head: str) -> int:
        return widths[head] if head in fixed else min(widths[head], _MIN_WIDTH)

    for head in drop:
        if _length(map(narrowest, widths)) > columns:
            del widths[head]
    while _length(widths.values()) > columns:
        widest = max(widths, key=lambda head: widths[head] - narrowest(head))
        if widths[widest] == narrowest(widest):
            return
        widths[widest] -= 1


def _line(
    heads: Sequence[str], cells: Sequence[str], widths: Mapping[str, int], right: Sequence[str]
) -> str:
    """A row with the columns in `widths`."""
    padded = []
    for head, cell in zip(heads, cells, strict=True):
        width = widths.get(head)
        if width is None:
            continue
        text = _cut(cell, width)
        blanks = " " * max(0, width - display_width(text))
        padded.append(blanks + text if head in right else text + blanks)
    return _SEPARATOR.join(padded).rstrip()


def _cut(text: str, columns: int) -> str:
    """Cut text between words: letters and digits that belong together stay together."""
    if display_width(text) <= columns:
        return text
    end = len(text)
    while end and (display_width(text[:end]) >= columns or text[end - 1 : end + 1].isalnum()):
        end -= 1
    return f"{text[:end].rstrip(' ,')}…"


def first_lines(lines: Iterable[str], indent: str = "  ", what: str = "") -> Iterator[str]:
    """The first lines, and how many more there are; `what` begins each of them."""
    rest = iter(lines)
    yield from (f"{indent}{what}{clean_line(line)}" for line in islice(rest, MAX_LINES))
    if more := sum(1 for _ in rest):
        yield f"{indent}{what or 'and '}{more:,} more: --json lists all"


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """The first failures, each with what to do; a hint that several share is shown once.

    Series with the same failure share a line; their UIDs follow it.
    """
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        key = (failure.reason, failure.detail, failure.hint, *failure.missing)
        groups.setdefault(key, []).append(failure)
    shown_hint = ""
    rest = len(failures)
    for group in list(groups.values())[:MAX_LINES]:
        first, rest = group[0], rest - len(group)
        yield f"  {first.reason}: {_group_line(group)}"
        if first.hint and first.hint != shown_hint:
            shown_hint = first.hint
            yield f"    {clean_line(first.hint)}"
        if len(group) > 1:
            uids = [failure.series for failure in group if failure.series]
            yield from first_lines(uids, indent="    ")
    if rest:
        yield f"  and {rest:,} more: --json lists all"


def failure_line(failure: Failure) -> str:
    """Why a series is missing; names the series once."""
    is_named = not failure.series or failure.series in failure.detail
    return clean_line(f"{'' if is_named else f'series {failure.series}: '}{failure.detail}")


def _group_line(group: Sequence[Failure]) -> str:
    first = group[0]
    unnamed = [uid for uid in first.missing if uid not in first.detail]
    more = f" and {len(unnamed) - 1:,} more" if len(unnamed) > 1 else ""
    missing = f" (missing: {unnamed[0]}{more})" if unnamed else ""
    if len(group) == 1:
        return f"{failure_line(first)}{missing}"
    return clean_line(f"{count(len(group), 'series')}: {first.detail}{missing}")


def unchecked_line(folder: UncheckedFolder) -> str:
    """A folder with images that no receipt covers."""
    return clean_line(
        f"not checked: {folder.folder} ({count(folder.images, 'image')}, no receipts); "
        f"'download {folder.folder}' imports what is correct"
    )


def outdated_line(files: Sequence[str]) -> str:
    """Report files that do not cover what is complete."""
    return clean_line(
        f"out of date: {', '.join(files)}; the next 'download' or 'adopt' writes them"
    )
