"""Reads the cells of an Excel workbook (.xlsx, ECMA-376), row by row.

Only text and numbers as stored: no formulas, dates or styles. The parts are read as streams with
bounds, and XML with a document type definition is refused, since that is where entities that expand
without limit are defined.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from posixpath import normpath
from typing import IO
from xml.parsers import expat

MAX_PART = 1024**3
"""Bytes of the largest sheet: a million rows of ten long cells have less."""
_MAX_TEXT = 32_767
"""Characters of a cell, by Excel's specification."""
_MAX_COLUMNS = 16_384
_BLOCK = 256 * 1024
_CELL = re.compile(r"([A-Z]{1,3})[0-9]{1,7}")
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONS = "xl/_rels/workbook.xml.rels"
_WORKBOOK = "xl/workbook.xml"
_SHARED_TEXTS = "xl/sharedStrings.xml"
_DIGITS = 9
_ERRORS = (zipfile.BadZipFile, expat.ExpatError, zlib.error, EOFError, NotImplementedError)


class XlsxError(ValueError):
    """A workbook that cannot be read, or should not be."""


class Workbook:
    """An open workbook; its file must be seekable, and stays open.

    Raises:
        XlsxError: it is not a workbook.
    """

    def __init__(self, file: IO[bytes]) -> None:
        try:
            self._zip = zipfile.ZipFile(file)
        except _ERRORS as error:
            raise XlsxError(f"the workbook is damaged: {error}") from error
        self._texts: list[str] | None = None

    def sheets(self) -> dict[str, str]:
        """Map the names of the sheets, in order, to their parts."""
        relations = self._elements(_RELATIONS, "Relationship")
        targets = {element.get("Id", ""): element.get("Target", "") for element in relations}
        named = {
            element.get("name", ""): targets.get(element.get(f"{_OFFICE} id", ""), "")
            for element in self._elements(_WORKBOOK, "sheet")
        }
        return {
            name: normpath(target[1:] if target.startswith("/") else f"xl/{target}")
            for name, target in named.items()
            if target
        }

    def rows(self, part: str) -> Iterator[tuple[int, list[str]]]:
        """Yield the rows of a sheet that are not empty: number, and text of the cells.

        `part` is one of the values of `sheets`.

        Raises:
            XlsxError: the sheet is damaged, too large, or hostile.
        """
        reader = _Rows(self._shared_texts())
        for _ in self._parse(part, reader.start, reader.end, reader.text):
            yield from reader.rows
            reader.rows.clear()

    def _shared_texts(self) -> list[str]:
        """The table of texts to which cells refer."""
        if self._texts is None:
            reader = _SharedTexts()
            if _SHARED_TEXTS in self._zip.namelist():
                for _ in self._parse(_SHARED_TEXTS, reader.start, reader.end, reader.text):
                    pass
            self._texts = reader.texts
        return self._texts

    def _elements(self, part: str, name: str) -> list[dict[str, str]]:
        """The attributes of all elements of one name."""
        elements: list[dict[str, str]] = []

        def start(tag: str, attributes: dict[str, str]) -> None:
            if _local(tag) == name:
                elements.append(attributes)

        for _ in self._parse(part, start):
            pass
        return elements

    def _parse(
        self,
        part: str,
        start: Callable[[str, dict[str, str]], None],
        end: Callable[[str], None] | None = None,
        text: Callable[[str], None] | None = None,
    ) -> Iterator[None]:
        """Parse a part block by block; yields after each. Names are `namespace name`."""
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.StartElementHandler = start
        parser.EndElementHandler = end
        parser.CharacterDataHandler = text
        try:
            if self._zip.getinfo(part).file_size > MAX_PART:
                raise XlsxError(f"{part} of the workbook has more than {MAX_PART >> 20} MiB")
            with self._zip.open(part) as file:
                while block := file.read(_BLOCK):
                    parser.Parse(block)
                    yield
            parser.Parse(b"", True)  # noqa: FBT003 - it takes no keyword
        except KeyError:
            raise XlsxError(f"the workbook has no {part}") from None
        except (*_ERRORS, RuntimeError, OSError) as error:
            raise XlsxError(f"{part} of the workbook is damaged: {error}") from error
        yield


class _SharedTexts:
    """Collects the texts of `si` elements, without the phonetic guides (`rPh`) in them."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._pieces: list[str] = []
        self._is_text = False
        self._is_guide = False

    def start(self, tag: str, attributes: dict[str, str]) -> None:  # noqa: ARG002
        name = _local(tag)
        self._is_guide = self._is_guide or name == "rPh"
        self._is_text = name == "t" and not self._is_guide

    def end(self, tag: str) -> None:
        name = _local(tag)
        self._is_text = False
        if name == "rPh":
            self._is_guide = False
        elif name == "si":
            self.texts.append("".join(self._pieces)[:_MAX_TEXT])
            self._pieces.clear()

    def text(self, data: str) -> None:
        if self._is_text:
            self._pieces.append(data)


class _Rows:
    """Collects the rows of a sheet."""

    def __init__(self, texts: list[str]) -> None:
        self.rows: list[tuple[int, list[str]]] = []
        self._texts = texts
        self._number = 0
        self._cells: list[str] = []
        self._column = 0
        self._is_shared = False
        self._pieces: list[str] | None = None

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if name == "row":
            self._number = _integer(attributes.get("r", ""), self._number + 1)
            self._cells, self._column = [], 0
        elif name == "c":
            self._column = _column(attributes.get("r", ""), self._column + 1)
            self._is_shared = attributes.get("t") == "s"
        elif name in ("v", "t"):
            self._pieces = []

    def end(self, tag: str) -> None:
        name = _local(tag)
        if name in ("v", "t") and self._pieces is not None:
            self._store("".join(self._pieces)[:_MAX_TEXT])
            self._pieces = None
        elif name == "row" and self._cells:
            self.rows.append((self._number, self._cells))

    def text(self, data: str) -> None:
        if self._pieces is not None:
            self._pieces.append(data)

    def _store(self, value: str) -> None:
        if self._is_shared:
            index = _integer(value, len(self._texts))
            value = self._texts[index] if index < len(self._texts) else ""
        if 0 < self._column <= _MAX_COLUMNS:
            self._cells += [""] * (self._column - len(self._cells))
            self._cells[self._column - 1] += value


def _integer(text: str, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else default


def _column(reference: str, default: int) -> int:
    """The number, from 1, of the column of a cell such as `AB12`."""
    match = _CELL.fullmatch(reference)
    if match is None:
        return default
    number = 0
    for letter in match[1]:
        number = 26 * number + ord(letter) - ord("A") + 1
    return number


def _local(tag: str) -> str:
    return tag.rpartition(" ")[2]


def _refuse_doctype(*_declaration: object) -> None:
    raise XlsxError("the workbook has XML with a document type definition, which is not read")
