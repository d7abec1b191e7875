"""Manifests in tables: CSV, TSV, and sheets of workbooks."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice

from tcia_covid.core.safe_names import is_uid
from tcia_covid.selection.manifests.model import (
    INVISIBLE,
    PINNED,
    Entries,
    Kind,
    column_kind,
    is_identifier,
    is_wanted,
    quote,
)

Rows = Iterable[tuple[int, Sequence[str]]]
"""Line or row numbers, counted from 1, with cells."""
_HEADER_ROWS = 100
"""Rows that are searched for the header, below what exports write before it."""
_MAX_HEADER = 64 * 1024
"""Characters of the line of a header."""
_AROUND_CELLS = f' \t\r\n"{INVISIBLE}'
_AROUND_NAMES = f"{_AROUND_CELLS}'"
_DELIMITERS = ",\t;|"
_SEPARATOR_LINE = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
_TAG = re.compile(r"\(([0-9]{4}),([0-9A-Fa-f]{4})\)")
_QUOTED_FORMULA = re.compile(r"=\"(.*)\"")
_NOTHING = frozenset({"", "nan", "none", "null", "na", "n/a", "#n/a", "-", "nat", "<na>"})
_LONGEST_NOTHING = 5
_TOTAL = re.compile(
    r"(?:grand |sub)?total\b.*|sum|count|\d+ (?:rows?|series)\b.*|:?-{2,}:?", re.IGNORECASE
)
_SHOWN_COLUMNS = 20
_NOT_SERIES = {
    "drsuri": "DRS objects, which need an account at the NCI",
    "imageurl": "images of TCIA's pathology portal",
    "sopinstanceuid": "single images",
}
"""Columns, in lower case and without punctuation, of what cannot be downloaded from here."""


_SERIES_NAMES = "SeriesInstanceUID, StudyInstanceUID, PatientID or crdc_series_uuid"
_NAMES: dict[Kind | None, str] = {
    "series": "SeriesInstanceUID",
    "study": "StudyInstanceUID",
    "patient": "PatientID",
    "modality": "Modality",
    "body_part": "BodyPartExamined",
}
_PLURALS: dict[Kind | None, str] = {
    "series": "series",
    "study": "studies",
    "patient": "patients",
    "modality": "modalities",
    "body_part": "body parts",
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a table that identify series, the best first."""

    known: tuple[tuple[Kind, int], ...]
    """Kind and index of each column."""
    pinned: tuple[tuple[str, int], ...] = ()
    """Name and index of each column that a lock file has for the version of a series."""

    @classmethod
    def of(cls, header: Sequence[str], only: Kind | None = None) -> Columns | None:
        """Recognize the columns of a header; None if it has no known one.

        Patients count only where no column is more exact: a series that is empty in a row is not
        replaced by all series of its patient.

        Args:
            header: its cells.
            only: use only the columns of this kind.
        """
        kinds = [(column_kind(cell), index) for index, cell in enumerate(header)]
        known = [(kind[1], at, kind[0]) for kind, at in kinds if kind and is_wanted(kind[0], only)]
        exact = [column for column in known if column[2] != "patient"]
        ordered = sorted(exact or known)
        if not ordered:
            return None
        names = ((cell.strip(_AROUND_NAMES), index) for index, cell in enumerate(header))
        pinned = tuple((name, index) for name, index in names if name in PINNED)
        return cls(tuple((kind, index) for _, index, kind in ordered), pinned)

    def read(self, cells: Sequence[str]) -> tuple[Kind, str]:
        """The best identifier of a row; empty if it has none."""
        for kind, index in self.known:
            if index < len(cells) and (value := _value(cells[index])):
                return kind, value
        return "word", ""

    def pins(self, cells: Sequence[str]) -> dict[str, str]:
        """The version of the series in a row."""
        return {name: cells[index] if index < len(cells) else "" for name, index in self.pinned}


def read_csv(lines: Iterable[str], entries: Entries, *, only: Kind | None = None) -> None:
    """Read a table in text. Its header and delimiter are found below a preamble.

    Args:
        lines: with their line ends.
        entries: where to add to.
        only: use only the columns of this kind.
    """
    remaining = iter(lines)
    # The comma in the tag of `Series Instance UID (0020,000e)` separates no columns.
    first_lines = [_TAG.sub(r"(\1|\2)", line) for line in islice(remaining, _HEADER_ROWS)]
    start, delimiter = _find_delimiter(first_lines, only)
    # strict: an unclosed quote would silently swallow the rest of the list
    reader = csv.reader(chain(first_lines[start:], remaining), delimiter=delimiter, strict=True)
    rows = ((start + reader.line_num, cells) for cells in reader)
    try:
        read_rows(rows, entries, only=only)
    except csv.Error as error:
        hint = "is a quote missing, or the end of the file?"
        raise entries.error(start + reader.line_num, str(error), hint=hint) from error


def is_table(lines: Sequence[str]) -> bool:
    """Whether one of the lines is the header of a table."""
    return any(Columns.of(_split(line, mark)) for line in lines for mark in _DELIMITERS)


def has_header(rows: Rows) -> bool:
    """Whether one of the first rows is a header."""
    return find_header([cells for _, cells in islice(rows, _HEADER_ROWS)])[1] is not None


def read_rows(rows: Rows, entries: Entries, *, only: Kind | None = None) -> None:
    """Read the rows of a table: below its header, or without one if a column has UIDs."""
    remaining = iter(rows)
    first_rows = list(islice(remaining, _HEADER_ROWS))
    start, columns = find_header([cells for _, cells in first_rows], only)
    if columns is None:
        columns = _guess_columns(first_rows, entries, only)
    elif start:
        header = first_rows[start - 1][1]
        entries.parts.append(f"column {header[columns.known[0][1]].strip()}")
    for number, cells in chain(first_rows[start:], remaining):
        kind, value = columns.read(cells)
        if _is_of_kind(value, kind):
            _add(entries, columns, (kind, value), (number, cells))
        elif repeated := Columns.of(cells, only):
            columns = repeated  # files were joined
        elif not value and only is None and not _is_empty_or_total(cells):
            raise entries.error(number, f"no SeriesInstanceUID in this row: {_shown(cells)}")
        elif value and not _is_empty_or_total(cells):
            (entries.add_word if kind == "word" else partial(entries.add, kind))(value, number)


def _add(
    entries: Entries, columns: Columns, found: tuple[Kind, str], row: tuple[int, Sequence[str]]
) -> None:
    """Add an identifier and, if wanted, the version of the series."""
    entries.add(*found, row[0])
    if entries.pinned and found[0] == "series":
        entries.pin(found[1], columns.pins(row[1]), row[0], _value)


def _is_of_kind(value: str, kind: Kind) -> bool:
    """Whether a value cannot be a title or total."""
    if kind in ("series", "study"):
        return "." in value and is_uid(value)
    if kind == "patient":
        return bool(value) and column_kind(value) is None and not _TOTAL.fullmatch(value)
    return kind != "word" and is_identifier(value)


def find_header(
    rows: Sequence[Sequence[str]], only: Kind | None = None
) -> tuple[int, Columns | None]:
    """Find the first row that names series, or else studies or patients.

    Returns:
        The index of the row below it, and its columns: 0 and None without a header.
    """
    headers = [(index, Columns.of(cells, only)) for index, cells in enumerate(rows, start=1)]
    known = [(index, columns) for index, columns in headers if columns is not None]
    of_series = [header for header in known if header[1].known[0][0] == "series"]
    return next(iter(of_series or known), (0, None))


def _find_delimiter(lines: Sequence[str], only: Kind | None) -> tuple[int, str]:
    """The index of the line of the header, or of the first row, and the delimiter."""
    start, declared = 0, ""
    if lines and (match := _SEPARATOR_LINE.fullmatch(lines[0].strip("\ufeff \r\n"))):
        start, declared = 1, match[1]
    delimiters = declared or _DELIMITERS
    headers = []
    for delimiter in delimiters:
        rows = [_split(line, delimiter) for line in lines]
        below, columns = find_header(rows, only)
        if columns is not None:
            is_other = columns.known[0][0] != "series"
            headers.append((is_other, below - 1, -len(rows[below - 1]), delimiter))
    if headers:
        _, start, _, delimiter = min(headers)
        return start, delimiter
    counts = {mark: sum(line.count(mark) for line in lines) for mark in delimiters}
    return start, max(counts, key=lambda mark: counts[mark])


def _split(line: str, delimiter: str) -> list[str]:
    return [cell.strip(" \"'\r\n") for cell in line[:_MAX_HEADER].split(delimiter)]


def _guess_columns(
    rows: Sequence[tuple[int, Sequence[str]]], entries: Entries, only: Kind | None
) -> Columns:
    """The column of UIDs of a table without a header.

    Raises:
        ManifestError: there is none, or there are several.
    """
    filled = [(number, cells) for number, cells in rows if any(cell.strip() for cell in cells)]
    if not filled:
        return Columns(())
    number, cells = filled[0]
    indexes = [index for index, cell in enumerate(cells) if is_identifier(_value(cell))]
    if len(indexes) == 1:
        return Columns(((only or "word", indexes[0]),))
    if indexes:
        named = " and ".join(str(index + 1) for index in indexes)
        raise entries.error(
            number,
            f"the table has no header, and UIDs in the columns {named}",
            hint="name the column SeriesInstanceUID in the first line",
        )
    others = {_NOT_SERIES[plain] for cell in cells if (plain := _plain(cell)) in _NOT_SERIES}
    raise entries.error(
        number,
        f"no column names {_PLURALS.get(only, 'series, studies or patients')}; "
        f"the columns are {_shown(cells)}",
        hint=f"it names {' and '.join(sorted(others))}"
        if others
        else f"the header must have a column {_NAMES.get(only, _SERIES_NAMES)}",
    )


def _value(cell: str) -> str:
    """The value of a cell: without what spreadsheets write around text; empty for `nan` etc."""
    value = cell.strip(_AROUND_CELLS)
    if value[:1] in ("=", "'"):
        formula = _QUOTED_FORMULA.fullmatch(cell.strip())
        value = formula[1].strip() if formula else value.lstrip("'")
    return "" if len(value) < _LONGEST_NOTHING and value.casefold() in _NOTHING else value


def _is_empty_or_total(cells: Sequence[str]) -> bool:
    """Whether a row has no content, is a comment, or the sum of the others."""
    first = next((cell.strip() for cell in cells if cell.strip()), "")
    return not first or first[0] == "#" or _TOTAL.fullmatch(first) is not None


def _plain(cell: str) -> str:
    return re.sub(r"[\W_]", "", cell).casefold()


def _shown(cells: Sequence[str]) -> str:
    """Quote the cells for a message."""
    shown = ", ".join(quote(cell.strip()) for cell in cells[:_SHOWN_COLUMNS] if cell.strip())
    return f"{shown}, …" if len(cells) > _SHOWN_COLUMNS else shown
