"""Reads registry files by their schema, and merges several into one registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tcia_covid.catalog.collections import (
    DICOM,
    DOI,
    FORMATS,
    SUPPORTING_KINDS,
    AsperaLocation,
    Collection,
    IdcLocation,
    Publication,
    Registry,
    Resource,
    SupportingFile,
    bare_doi,
    fold_name,
)
from tcia_covid.catalog.licenses import License
from tcia_covid.core.errors import RegistryError, RequestError
from tcia_covid.core.yaml_reader import Item, ReportedError, Source, parse

_FILE = "collections.yaml"
_SHA256 = re.compile(r"[0-9a-f]{64}")


def shipped_file() -> Path:
    """Find the registry of this installation: in the package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        if (folder / _FILE).is_file():
            return folder / _FILE
    raise RegistryError(
        f"the shipped registry {_FILE} is missing in {package}", hint="install tcia-covid again"
    )


def load_registry(extra: str | Path | Sequence[str | Path] = ()) -> Registry:
    """Load the shipped registry and the file or files in `extra`.

    An entry replaces an earlier one with the same name as a whole; other entries are added at the
    end. TCIA's own citation comes from the last file that has one; further resources from all.

    Raises:
        RegistryError: a file cannot be read, breaks the schema, or gives two collections one name.
    """
    added = (extra,) if isinstance(extra, str | Path) else extra
    registry_files = [read_registry_file(path) for path in (shipped_file(), *added)]
    entries: dict[str, Entry] = {}
    for contents in registry_files:
        entries |= _by_name(contents.entries)
    for error in _conflicts(entries.values()):
        raise error
    citations = [contents.tcia for contents in registry_files if contents.tcia]
    return Registry(
        collections=tuple(entry.collection for entry in entries.values()),
        tcia=citations[-1] if citations else None,
        resources=tuple(dict.fromkeys(page for file in registry_files for page in file.resources)),
    )


def _conflicts(entries: Iterable[Entry]) -> Iterator[RegistryError]:
    """Names that mean two collections."""
    owners: dict[str, Entry] = {}
    for entry in entries:
        for name in entry.collection.names:
            owner = owners.setdefault(fold_name(name), entry)
            if owner is not entry:
                yield _taken(entry, name, owner)


def check_registry_file(path: str | Path) -> list[RequestError]:
    """Find all errors of a registry file, also in its names and those of shipped collections.

    Raises:
        RegistryError: the file cannot be read.
    """
    found: list[RequestError] = []
    source = Source(f"registry {path}", RegistryError, found)
    with source.collecting():
        contents = _contents(_parsed(path, source))
        if not found:
            shipped = read_registry_file(shipped_file()).entries
            entries = _by_name(shipped) | _by_name(contents.entries)
            found += _conflicts(entries.values())
    return found


def read_registry_file(path: str | Path) -> Contents:
    """Read and check one file; raises `RegistryError`."""
    return _contents(_parsed(path, Source(f"registry {path}", RegistryError)))


def _parsed(path: str | Path, source: Source) -> Item:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RegistryError(
            f"registry {path} cannot be read: {reason}", hint="check its path and permissions"
        ) from error
    return parse(content, source)


def _contents(document: Item) -> Contents:
    if document.is_null:
        raise document.error("is empty")
    table = document.table(("tcia", "resources", "collections"), required=("collections",))
    if "collections" not in table:
        raise ReportedError
    tcia, resources = table.get("tcia"), table.get("resources")
    entries: list[Entry] = []
    publication: Publication | None = None
    pages: tuple[Resource, ...] = ()
    for name, facts in table["collections"].pairs():
        with document.source.collecting():
            entries.append(_entry(name, facts))
    with document.source.collecting():
        publication = _PUBLICATION.read(tcia) if tcia and not tcia.is_null else None
    with document.source.collecting():
        pages = _RESOURCES.read(resources) if resources and not resources.is_null else ()
    return Contents(entries, publication, pages)


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Index the entries of one file by their folded names."""
    named: dict[str, Entry] = {}
    for entry in entries:
        known = named.setdefault(fold_name(entry.collection.name), entry)
        if known is not entry:
            raise _taken(entry, entry.collection.name, known)
    return named


def _taken(entry: Entry, name: str, owner: Entry) -> RegistryError:
    return RegistryError(
        f"{entry.file}, line {entry.line_of(name)}: '{name}' of {entry.collection.name} "
        f"already means {owner.collection.name} ({owner.file}, line {owner.line_of(name)})"
    )


class Entry(NamedTuple):
    """A collection and its place in a file, for messages about conflicting entries."""

    collection: Collection
    file: str
    line: int
    lines: dict[str, int]
    """The line of each of the collection's `names`."""

    def line_of(self, name: str) -> int:
        """The line that contains `name`."""
        return self.lines.get(name, self.line)


class Contents(NamedTuple):
    """The content of one registry file."""

    entries: list[Entry]
    tcia: Publication | None
    resources: tuple[Resource, ...]


def _entry(key: Item, facts: Item) -> Entry:
    name = key.text()
    facts = Item(facts.node, facts.source, name)
    table = facts.table(_COLLECTION, ("format",))
    values = _values(table, _COLLECTION, ("format",))
    if values["format"] == DICOM and "nbia" not in table:
        values["nbia"] = name
    collection = Collection(**{"name": name, "title": name} | values)
    return Entry(collection, key.source.name, key.line, dict(_name_lines(table)))


def _name_lines(table: Mapping[str, Item]) -> Iterable[tuple[str, int]]:
    for key in ("page", "doi", "slug", "aliases", "wiki_pages"):
        item = table.get(key)
        if item is None or item.is_null:
            continue
        for name in item.items() if item.is_list else [item]:
            prefix = "pageid=" if key == "wiki_pages" else ""
            yield prefix + name.scalar(), name.line


class Form(NamedTuple):
    """What a value must be."""

    read: Callable[[Item], Any]
    schema: Mapping[str, Any]
    """The same as a JSON Schema, for editors."""


Keys = Mapping[str, Form]
"""The keys of a table, and the forms of their values."""


def _values(table: Mapping[str, Item], keys: Keys, required: Sequence[str]) -> dict[str, Any]:
    """Read the values that are not null, by the names of the fields.

    Raises:
        RegistryError: a value is invalid.
        ReportedError: values are invalid, and errors are collected.
    """
    values: dict[str, Any] = {}
    invalid = any(name not in table or table[name].is_null for name in required)
    for key, item in table.items():
        is_read = item.is_null
        with item.source.collecting():
            if not item.is_null:
                values["size" if key == "bytes" else key] = keys[key].read(item)
            is_read = True
        invalid |= not is_read
    if invalid:
        raise ReportedError
    return values


def _object(keys: Keys, required: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON Schema of a table; values that are not required may be null."""
    schemas = {
        key: form.schema if key in required else _or_null(form) for key, form in keys.items()
    }
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": schemas,
    }


def _or_null(form: Form) -> dict[str, Any]:
    return {"anyOf": [form.schema, {"type": "null"}]}


def _table(build: Callable[..., Any], keys: Keys, required: Sequence[str] = ()) -> Form:
    """A table of the fields of what `build` makes."""

    def read(item: Item) -> Any:
        return build(**_values(item.table(keys, required), keys, required))

    return Form(read, _object(keys, required))


def _list_of(form: Form) -> Form:
    return Form(lambda item: item.each(form.read), {"type": "array", "items": form.schema})


def _one_of(*allowed: str) -> Form:
    """One of a few words, in any case."""

    def read(item: Item) -> str:
        for word in allowed:
            if item.text().casefold() == word.casefold():
                return word
        raise item.error(f"must be one of {', '.join(allowed)}, not '{item.text()}'")

    letters = (
        "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in word) for word in allowed
    )
    pattern = {"type": "string", "pattern": f"^({'|'.join(letters)})$"}
    return Form(read, {"anyOf": [{"enum": [*allowed]}, pattern]})


def _doi(item: Item) -> str:
    text = item.scalar()
    if not DOI.fullmatch(text):
        bare = bare_doi(text)
        example = "a DOI looks like 10.7937/abcd-1234"
        hint = f"write it as {bare}" if DOI.fullmatch(bare) else example
        raise item.error(f"is not a bare DOI: '{text}'", hint=hint)
    return text


def _url(item: Item) -> str:
    try:
        address = urlsplit(item.text())
    except ValueError as error:
        raise item.error(f"is not an address: '{item.text()}'") from error
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise item.error(f"is not an http or https address: '{item.text()}'")
    return item.text()


def _date(item: Item) -> str:
    try:
        return date.fromisoformat(item.scalar()).isoformat()
    except ValueError as error:
        raise item.error(f"is not a date as yyyy-mm-dd: '{item.scalar()}'") from error


def _sha256(item: Item) -> str:
    if not _SHA256.fullmatch(item.scalar().lower()):
        raise item.error("is not a SHA-256, which has 64 hexadecimal digits")
    return item.scalar().lower()


def _text_of(read: Callable[[Item], str], pattern: str) -> Form:
    return Form(read, {"type": "string", "pattern": pattern})


_TEXT = _text_of(Item.text, r"\S")
_TEXTS = _list_of(_TEXT)
_WRITTEN = Form(Item.scalar, {"type": ["string", "number", "boolean"]})
_COUNT = Form(Item.count, {"type": "integer", "minimum": 0})
_FLAG = Form(Item.flag, {"type": "boolean"})
_URL = _text_of(_url, "^https?://[^/]")
_DOI = _text_of(_doi, f"^{DOI.pattern}$")
_DATE = _text_of(_date, "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")
_LICENSE = _table(
    License, {"name": _TEXT, "url": _URL, "commercial_use": _FLAG}, ("name", "commercial_use")
)
_RESOURCES = _list_of(_table(Resource, {"title": _TEXT, "url": _URL}, ("title", "url")))
_IDC = _table(
    IdcLocation,
    dict.fromkeys(("collection_id", "bucket", "gcs_bucket"), _TEXT),
    ("collection_id", "bucket"),
)
_PUBLICATION_TABLE = _table(
    Publication,
    {
        **dict.fromkeys(("text", "title", "container", "publisher", "pmc"), _TEXT),
        **dict.fromkeys(("volume", "issue", "pages", "version"), _WRITTEN),
        "authors": _TEXTS,
        "more_authors": _FLAG,
        "year": _COUNT,
        "doi": _DOI,
    },
    ("text",),
)
_PUBLICATION = Form(
    lambda item: _PUBLICATION_TABLE.read(item) if item.is_table else Publication(item.text()),
    {"anyOf": [_TEXT.schema, _PUBLICATION_TABLE.schema]},
)
_SUPPORTING = _table(
    SupportingFile,
    {
        **dict.fromkeys(("title", "file", "contains", "basket"), _TEXT),
        "kind": _one_of(*SUPPORTING_KINDS),
        "url": _URL,
        "bytes": _COUNT,
        "sha256": _text_of(_sha256, "^[0-9a-fA-F]{64}$"),
    },
    ("title", "kind"),
)
_COLLECTION: Keys = {
    **dict.fromkeys(("title", "about", "slug", "access", "cancer_type", "location"), _TEXT),
    **dict.fromkeys(("species", "nbia"), _TEXT),
    **dict.fromkeys(("aliases", "modalities", "pitfalls"), _TEXTS),
    **dict.fromkeys(("patients", "studies", "series", "images", "volumes", "bytes"), _COUNT),
    "doi": _DOI,
    "page": _URL,
    "wiki_pages": _list_of(_COUNT),
    "format": _one_of(*FORMATS),
    "license": _LICENSE,
    "version": _WRITTEN,
    "updated": _DATE,
    "citation": _PUBLICATION,
    "publications": _list_of(_PUBLICATION),
    "supporting": _list_of(_SUPPORTING),
    "idc": _IDC,
    "aspera": _table(AsperaLocation, {"packages": _COUNT, "file_pattern": _TEXT}),
}


def json_schema() -> dict[str, Any]:
    """The form of registry files as a JSON Schema, for editors; from the tables of the reader."""
    collection = _object(_COLLECTION, ("format",))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Registry of collections for tcia-covid",
        "type": "object",
        "required": ["collections"],
        "additionalProperties": False,
        "properties": {
            "tcia": _or_null(_PUBLICATION),
            "resources": _or_null(_RESOURCES),
            "collections": {"type": "object", "additionalProperties": collection},
        },
    }
