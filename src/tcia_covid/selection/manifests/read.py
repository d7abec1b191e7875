"""Reads manifests.

Reading is lenient in form and strict in content: line ends, byte order marks, blank lines and
order do not matter, but a line that names no series is an error.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from tcia_covid.core.errors import ManifestError
from tcia_covid.core.safe_names import is_uid
from tcia_covid.selection.manifests.model import Manifest

Format = Literal["tcia", "csv", "txt"]
Numbered = Iterator[tuple[int, str]]
"""Line numbers, counted from 1, with content."""
MAX_MANIFEST_SIZE = 64 * 1024 * 1024
"""A manifest of every series in TCIA is smaller than this."""
_LIST_KEY = "listofseriestodownload"
_TCIA_KEYS = (_LIST_KEY, "downloadserverurl", "manifestversion")
_COLUMNS = ("seriesinstanceuid", "seriesuid", "seriesid")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_.]*)\s*=")
_SERVER = re.compile(r"^[ \t]*downloadServerUrl[ \t]*=[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
_TCIA_LINE = re.compile(rf"^[ \t]*(?:{'|'.join(_TCIA_KEYS)})\s*=", re.IGNORECASE | re.MULTILINE)
_ANY_UID = re.compile(r"[0-9]\.[0-9]")
_LARGE = 1024 * 1024
"""Characters; a longer list is searched for a UID before its lines are read one by one."""
_SHOWN = 64


def read_manifest(source: Path | str, *, stdin: BinaryIO | None = None) -> Manifest:
    """Read a manifest: `.tcia`, CSV, TSV, or one UID per line; `-` is standard input.

    The content decides the format, and otherwise the suffix of the name.

    Raises:
        ManifestError: it cannot be read, is no text or too large, names no series, or holds
            something that is not a SeriesInstanceUID: with the number of its line.
    """
    name = "standard input" if str(source) == "-" else str(source)
    text = _decode(name, _read(name, source, stdin)).replace("\r\n", "\n").replace("\r", "\n")
    if len(text) > _LARGE and not _ANY_UID.search(text):
        raise _no_series(name)
    kind = _kind(text, Path(source).suffix.lower())
    entries = list(_checked(name, _READERS[kind](name, text)))
    if not entries:
        raise _no_series(name)
    series = {uid: number for number, uid in reversed(entries)}
    series = {uid: series[uid] for _, uid in entries}
    server = _SERVER.search(text) if kind == "tcia" else None
    repeated = len(entries) - len(series)
    return Manifest(name, kind, {"series": series}, repeated, server=server and server[1])


def _no_series(name: str) -> ManifestError:
    return ManifestError(f"{name} names no series", hint="is it the right file, and whole?")


def _read(name: str, source: Path | str, stdin: BinaryIO | None) -> bytes:
    try:
        if str(source) == "-":
            # There is no standard input if the caller closed it.
            given: BinaryIO | None = stdin or getattr(sys.stdin, "buffer", None)
            data = given.read(MAX_MANIFEST_SIZE + 1) if given else b""
        else:
            with Path(source).open("rb") as file:
                data = file.read(MAX_MANIFEST_SIZE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ManifestError(f"the manifest {name} cannot be read: {reason}") from error
    if len(data) > MAX_MANIFEST_SIZE:
        raise ManifestError(
            f"{name} is not a manifest: it is larger than {MAX_MANIFEST_SIZE >> 20} MiB"
        )
    return data


def _decode(name: str, data: bytes) -> str:
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ManifestError(
            f"{name}, line {line}: not UTF-8 text", hint="save the manifest as UTF-8"
        ) from error


def _kind(text: str, suffix: str) -> Format:
    if suffix == ".tcia" or _TCIA_LINE.search(text):
        return "tcia"
    if suffix in {".csv", ".tsv"} or _delimiter(next(_lines(text), (0, ""))[1]):
        return "csv"
    return "txt"


def _tcia(name: str, text: str) -> Numbered:
    listing = False
    for number, line in _lines(text):
        key = _key(line)
        listing = listing or key == _LIST_KEY
        if not key and not listing:
            raise ManifestError(
                f"{name}, line {number}: {_short(line.strip())} before the list of series"
            )
        if not key or key == _LIST_KEY:
            yield from _entries(number, line.partition("=")[2] if key else line)
    if not listing:
        raise ManifestError(
            f"{name} has no line ListOfSeriesToDownload=: it is truncated, or of an old version",
            hint="download the manifest again from TCIA's page of the collection",
        )


def _txt(_name: str, text: str) -> Numbered:
    for number, line in _lines(text):
        yield from _entries(number, line.partition("#")[0])


def _csv(name: str, text: str) -> Numbered:
    delimiter = _delimiter(next(_lines(text), (0, ""))[1]) or ","
    # strict: an unclosed quote would silently swallow the rest of the list
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    rows = (row for row in reader if any(cell.strip() for cell in row))
    try:
        header = next(rows, None)
        if header is None:
            return
        column = _column(header)
        if column is None:
            raise ManifestError(
                f"{name}, line {reader.line_num}: no column SeriesInstanceUID or Series UID",
                hint="the first line of a CSV manifest names its columns",
            )
        for row in rows:
            yield reader.line_num, row[column].strip() if column < len(row) else ""
    except csv.Error as error:
        raise ManifestError(f"{name}, line {reader.line_num}: {error}") from error


_READERS = {"tcia": _tcia, "csv": _csv, "txt": _txt}


def _lines(text: str) -> Numbered:
    """Yield the lines that are not blank."""
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, line


def _key(line: str) -> str:
    """The key of a line `key=value`, in lower case; empty for other lines."""
    match = _KEY.match(line.strip())
    return match[1].lower() if match else ""


def _entries(number: int, line: str) -> Numbered:
    if _plain(line.strip(",; \t")) not in _COLUMNS:
        yield from ((number, word.strip("\"'")) for word in re.split(r"[,;\s]+", line) if word)


def _delimiter(header: str) -> str | None:
    """The separator of the columns of `header`, if one has UIDs."""
    for delimiter in ",\t;":
        if any(_plain(cell) in _COLUMNS for cell in header.split(delimiter)):
            return delimiter
    return None


def _column(header: list[str]) -> int | None:
    """The index of the column of UIDs, the best name first."""
    plain = [_plain(cell) for cell in header]
    return next((plain.index(name) for name in _COLUMNS if name in plain), None)


def _plain(cell: str) -> str:
    return re.sub('[ _"]', "", cell).casefold()


def _checked(name: str, entries: Numbered) -> Numbered:
    for number, uid in entries:
        if not uid:
            raise ManifestError(f"{name}, line {number}: no SeriesInstanceUID in this row")
        if not (is_uid(uid) and "." in uid):
            raise ManifestError(f"{name}, line {number}: {_short(uid)} is not a SeriesInstanceUID")
        yield number, uid


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")
