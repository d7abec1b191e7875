"""Manifests with one entry per line: TCIA's, s5cmd's, and plain lists."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable, Iterator

from tcia_covid.selection.manifests.model import (
    INVISIBLE,
    Entries,
    Manifest,
    bucket_address,
    column_kind,
    quote,
)

Lines = Iterable[tuple[int, str]]
"""Line numbers, counted from 1, with the text of the lines that are not empty."""
_LIST_KEY = "listofseriestodownload"
_SERVER_KEY = "downloadserverurl"
_KEY = re.compile(r"\s*([A-Za-z][A-Za-z0-9_.]*)\s*=\s*(.*)")
TCIA_LINE = re.compile(
    rf"^[ \t]*(?:{_LIST_KEY}|{_SERVER_KEY}|manifestversion)\s*=", re.IGNORECASE | re.MULTILINE
)
"""A line that only TCIA's manifests have."""
BUCKET_LINE = re.compile(r"^[^#\n]*\b(?:s3|gs)://", re.IGNORECASE | re.MULTILINE)
"""A line with the address of an object or folder."""
_COMMENT = re.compile(r"(?:^|\s)#.*")
_ADDRESS = re.compile(r"\b(?:s3|gs|https?)://[^\s'\",;]+", re.IGNORECASE)
_COPY = re.compile(r"\b(?:cp|sync|mv)\s", re.IGNORECASE)
_ENTRY = re.compile(r"[^,;\t]+")
_AROUND = f" \"'[]\u201c\u201d\u2018\u2019{INVISIBLE}"
"""Spaces, quotes, also those of word processors, and the brackets of a list in Python."""
_UID = re.compile(r"[^,;\s]+")
_ELEMENT = re.compile(
    r"<(URL|SeriesInstanceUID)(?:\s[^<>]{0,200})?>([^<]{1,4096})</\1\s{0,9}>", re.IGNORECASE
)


def read_tcia(lines: Lines, entries: Entries) -> None:
    """Read a `.tcia` manifest: `key=value` lines of any version, and one SeriesInstanceUID a line.

    Old versions have no line `ListOfSeriesToDownload=` before the UIDs.
    """
    for number, line in lines:
        if line[0].isdigit():
            _add_series(line, number, entries)
        elif line[0] == "#":
            continue
        elif key := _KEY.match(line):
            if key[1].lower() == _LIST_KEY:
                _add_series(key[2], number, entries)
            elif key[1].lower() == _SERVER_KEY:
                entries.server = key[2].strip() or None
        elif column_kind(line.strip(",; \t")) is None:
            _add_series(line, number, entries)


def _add_series(text: str, number: int, entries: Entries) -> None:
    for word in _UID.finditer(_COMMENT.sub("", text)):
        if uid := word[0].strip("\"'"):
            entries.add("series", uid, number)


def read_list(lines: Lines, entries: Entries) -> None:
    """Read bucket addresses, alone or in `cp` commands, UUIDs, UIDs, and other words."""
    for number, line in lines:
        if line[0] == "#":
            continue
        text = _COMMENT.sub("", line) if "#" in line else line
        if "://" in text:
            _add_addresses(text, number, entries)
        else:
            for entry in _entries(text):
                if not entry[0].isalpha() or column_kind(entry) is None:
                    entries.add_word(entry, number)


def _add_addresses(text: str, number: int, entries: Entries) -> None:
    found = (bucket_address(match[0]) for match in _ADDRESS.finditer(text))
    addresses = [address for address in found if not address.lower().startswith("http")]
    if not addresses:
        raise entries.error(
            number,
            f"{quote(text.strip())} has no s3:// or gs:// address",
            hint="other addresses are targets of their own, and are not followed from a list",
        )
    is_command = _COPY.search(text.partition("://")[0]) is not None
    for address in addresses[:1] if is_command else addresses:
        entries.add("address", address, number)


def _entries(text: str) -> Iterator[str]:
    """Split a line: at commas, semicolons and tabs; at spaces where all parts are numbers.

    The names of some collections and patients have spaces.
    """
    for part in _ENTRY.finditer(text):
        entry = part[0].strip(_AROUND)
        words = entry.split()
        if len(words) > 1 and all(word[0].isdigit() for word in words):
            yield from words
        elif entry:
            yield entry


def read_xml(text: str, entries: Entries, load: Callable[[str, str | None], Manifest]) -> None:
    """Read TCIA's XML form, which has the addresses of manifests. No XML parser is needed for it.

    Args:
        text: the document.
        entries: where to add to.
        load: reads the manifest at an address; its second argument is the SHA-256 or None.
    """
    if "<!doctype" in text.lower():
        raise entries.error(1, "XML with a document type definition is not read")
    for name, content in _ELEMENT.findall(text):
        value = html.unescape(content).strip()
        if name.lower() == "url":
            entries.include(load(value, None))
        else:
            entries.add("series", value, text.count("\n", 0, text.find(content)) + 1)
