"""Manifests in JSON: lists of UIDs or objects, NBIA's answers, this program's documents."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TextIO

from tcia_covid.core.errors import ManifestError
from tcia_covid.selection.manifests.croissant import is_croissant, read_croissant
from tcia_covid.selection.manifests.model import (
    Entries,
    Kind,
    Manifest,
    column_kind,
    is_wanted,
    quote,
)

_SPACE = re.compile(r"[\s,\x00\x1a\ufeff]*")
_MAX_DEPTH = 50
_BLOCK = 256 * 1024
_SHOWN = 20
"""Characters of invalid JSON that a message quotes."""
_SHOWN_KEYS = 20
_LISTS_OF_UIDS = ("damaged", "missing_files")
"""Keys of `status` whose values are SeriesInstanceUIDs."""
_OTHER_SERIES = ("catalog_differences", "collections")
"""Keys of this program's documents with series that were not requested, or that are read apart."""
_NESTED = ("study", "patient")
"""Kinds of objects that may contain their series."""


def read_json(
    file: TextIO,
    entries: Entries,
    load: Callable[[str, str | None], Manifest],
    *,
    only: Kind | None = None,
) -> None:
    """Read a document, an array, or documents one after another (JSON Lines).

    Args:
        file: the text.
        entries: where to add to.
        load: reads the manifest at an address; its second argument is the SHA-256 or None.
        only: use only the keys of this kind.
    """
    is_empty, keys = True, ""
    walk = _Walk(entries, only)
    for item in _Stream(file, entries).items():
        value = item.value
        if isinstance(value, dict):
            keys = keys or ", ".join(quote(key) for key in list(value)[:_SHOWN_KEYS])
            if is_croissant(value):
                entries.format = "Croissant"
                read_croissant(value, entries, load)
                continue
            if isinstance(value.get("command"), str):
                entries.format = f"{value['command'][:20]!r} document"
                value = _own(value)
        if walk.add_item(item, value):
            is_empty = False
    if is_empty and entries.format != "Croissant":
        shown_keys = f"; its keys are {keys}" if keys else ""
        raise ManifestError(
            f"{entries.name} ({entries.format}) names no series{shown_keys}",
            hint="series are objects with SeriesInstanceUID, or UIDs in an array; documents of "
            "'status' and 'verify' name only series that are incomplete or damaged",
        )


def _own(document: Mapping[str, Any]) -> list[Any]:
    """Return the parts of a document of this program that name series of its request."""
    collections = document.get("collections")
    inner = collections if isinstance(collections, list) else []
    parts: list[Any] = []
    for part in (document, *(part for part in inner if isinstance(part, dict))):
        parts.append({key: value for key, value in part.items() if key not in _OTHER_SERIES})
        parts[-1]["against"] = _wanted(part.get("against"))
        lists = (part.get(key) for key in _LISTS_OF_UIDS)
        parts += [{"SeriesInstanceUID": uids} for uids in lists if isinstance(uids, list)]
    return parts


def _wanted(against: Any) -> list[Any]:
    """Return what `verify --against` found missing or changed, without what is extra."""
    mismatches = against.get("mismatches") if isinstance(against, dict) else None
    listed = mismatches if isinstance(mismatches, list) else []
    return [row for row in listed if isinstance(row, dict) and row.get("state") != "extra"]


class _Item(NamedTuple):
    """One element of the outermost array, or one document."""

    value: Any
    line: int
    text: str
    start: int
    """Its offset in the text."""


class _Stream:
    """JSON that is parsed value by value: a list of a million series needs little memory."""

    def __init__(self, file: TextIO, entries: Entries) -> None:
        self._file = file
        self._entries = entries
        self._text = ""
        self._position = 0
        self._line, self._counted = 1, 0
        self._decode = json.JSONDecoder().raw_decode

    def items(self) -> Iterator[_Item]:
        """Yield the elements of the outermost array, or documents one after another.

        Raises:
            ManifestError: it is not JSON.
        """
        is_array = self._peek() == "["
        self._position += is_array
        while (following := self._peek()) and not (is_array and following == "]"):
            yield self._item()
        if is_array and not following:
            raise self._error("not JSON: the array does not end; is it truncated?")

    def _item(self) -> _Item:
        while True:
            try:
                value, end = self._decode(self._text, self._position)
            except RecursionError as error:
                raise self._error("it is nested too deeply") from error
            except ValueError as error:
                if self._fill():
                    continue
                at = getattr(error, "pos", self._position)
                what = getattr(error, "msg", str(error)).removesuffix(" at")
                rest = quote(self._text[at : at + _SHOWN])
                raise self._error(f"not JSON: {what} at {rest}", at) from error
            item = _Item(value, self._line_at(self._position), self._text, self._position)
            self._position = end
            return item

    def _peek(self) -> str:
        """The next character that is no space or comma; empty at the end."""
        while True:
            space = _SPACE.match(self._text, self._position)
            self._position = space.end() if space else self._position
            if self._position < len(self._text) or not self._fill():
                return self._text[self._position : self._position + 1]

    def _fill(self) -> bool:
        """Read on, twice as much as is left, and forget what was parsed."""
        rest = self._text[self._position :]
        more = self._file.read(max(_BLOCK, 2 * len(rest)))
        if more:
            self._line_at(self._position)
            self._text, self._position, self._counted = rest + more, 0, 0
        return bool(more)

    def _line_at(self, position: int) -> int:
        self._line += self._text.count("\n", self._counted, position)
        self._counted = max(self._counted, position)
        return self._line

    def _error(self, problem: str, at: int | None = None) -> ManifestError:
        return self._entries.error(self._line_at(self._position if at is None else at), problem)


class _Walk:
    """Collects the identifiers in items, at any depth."""

    def __init__(self, entries: Entries, only: Kind | None) -> None:
        self._entries = entries
        self._only = only

    def add_item(self, item: _Item, value: Any) -> int:
        """Add the identifiers in `value`, which is what matters of an item; returns how many."""
        self._item = item
        self._text = item.text
        self._line, self._position = item.line, item.start
        return self.add(value)

    def add(self, value: Any, depth: int = 0) -> int:
        """Add the identifiers in a value; returns how many."""
        if depth > _MAX_DEPTH:
            raise self._entries.error(self._item.line, "it is nested too deeply")
        if isinstance(value, dict):
            return self._add_object(value, depth)
        if isinstance(value, list):
            return sum(self.add(element, depth + 1) for element in value)
        if isinstance(value, str) and value.strip() and depth == 0:
            self._entries.add_word(value.strip(), self._line_of(value))
            return 1
        return 0

    def _add_object(self, value: Mapping[str, Any], depth: int) -> int:
        identifier = self._identifier(value)
        added = 0
        if identifier is None or identifier[0] in _NESTED:
            children = (child for child in value.values() if isinstance(child, dict | list))
            added = sum(self.add(child, depth + 1) for child in children)
        if identifier is None or added:
            return added
        kind, texts = identifier
        if self._entries.pinned and kind == "series" and len(texts) == 1:
            uid = texts[0].strip()
            self._entries.add(kind, uid, self._line_of(texts[0]))
            self._entries.pin(uid, value, self._line)
            return 1
        return self._add(kind, texts)

    def _identifier(self, value: Mapping[str, Any]) -> tuple[Kind, list[str]] | None:
        """The kind and values of the best key of an object."""
        for kind, key in _columns(tuple(value), self._only):
            if texts := _texts(value[key]):
                return kind, texts
        return None

    def _add(self, kind: Kind, texts: list[str]) -> int:
        for text in texts:
            self._entries.add(kind, text.strip(), self._line_of(text))
        return len(texts)

    def _line_of(self, value: str) -> int:
        """The line of a value: they are added in their order, so the search only moves on.

        After one that is not found (it has an escape sequence), lines are not known any more.
        """
        position = self._text.find(f'"{value}"', self._position)
        if position >= 0:
            self._line += self._text.count("\n", self._position, position)
        self._position = position if position >= 0 else len(self._text)
        return self._line


@lru_cache(maxsize=256)
def _columns(keys: tuple[str, ...], only: Kind | None) -> list[tuple[Kind, str]]:
    """The kinds of those keys that identify series, and the keys, the best first."""
    columns = [(column_kind(key), key) for key in keys]
    known = [(*kind, key) for kind, key in columns if kind and is_wanted(kind[0], only)]
    return [(kind, key) for kind, _, key in sorted(known, key=itemgetter(1))]


def _texts(content: Any) -> list[str]:
    """The texts of a value: one, a list, or an object of them, as pandas writes a column."""
    if isinstance(content, str):
        return [content] if content.strip() else []
    if isinstance(content, dict):
        content = list(content.values())
    values = content if isinstance(content, list) else [content]
    return [value for value in values if isinstance(value, str) and value.strip()]
