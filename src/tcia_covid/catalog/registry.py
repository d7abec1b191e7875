"""Reads registry files by their schema, and merges several into one registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
        raise RegistryError(f"registry {path} cannot be read: {reason}") from error
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
        publication = _publication(tcia) if tcia and not tcia.is_null else None
    with document.source.collecting():
        pages = _resources(resources) if resources and not resources.is_null else ()
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


@dataclass(frozen=True, slots=True)
class Entry:
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
    table = facts.table(_COLLECTION, required=("format",))
    values = _converted(table, _COLLECTION, ("format",))
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


def _read(item: Item, schema: Schema, required: Sequence[str] = ()) -> Any:
    """Read a table: the values that are not null, by the names of the fields; errors as below."""
    return _converted(item.table(schema, required), schema, required)


def _converted(table: Mapping[str, Item], schema: Schema, required: Sequence[str] = ()) -> Any:
    """Convert the values that are not null, by the names of the fields.

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
                values["size" if key == "bytes" else key] = schema[key](item)
            is_read = True
        invalid |= not is_read
    if invalid:
        raise ReportedError
    return values


def _license(item: Item) -> License:
    return License(**_read(item, _LICENSE, ("name", "commercial_use")))


def _publication(item: Item) -> Publication:
    if not item.is_table:
        return Publication(text=item.text())
    return Publication(**_read(item, _PUBLICATION, ("text",)))


def _supporting_file(item: Item) -> SupportingFile:
    return SupportingFile(**_read(item, _SUPPORTING, ("title", "kind")))


def _resources(item: Item) -> tuple[Resource, ...]:
    return item.each(_resource)


def _resource(item: Item) -> Resource:
    return Resource(**_read(item, _RESOURCE, ("title", "url")))


def _idc(item: Item) -> IdcLocation:
    return IdcLocation(**_read(item, _IDC, ("collection_id", "bucket")))


def _aspera(item: Item) -> AsperaLocation:
    return AsperaLocation(**_read(item, _ASPERA))


def _wiki_pages(item: Item) -> tuple[int, ...]:
    return item.each(Item.count)


def _publications(item: Item) -> tuple[Publication, ...]:
    return item.each(_publication)


def _supporting_files(item: Item) -> tuple[SupportingFile, ...]:
    return item.each(_supporting_file)


def _one_of(*allowed: str) -> Callable[[Item], str]:
    def convert(item: Item) -> str:
        for word in allowed:
            if item.text().casefold() == word.casefold():
                return word
        raise item.error(f"must be one of {', '.join(allowed)}, not '{item.text()}'")

    return convert


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


_KIND, _FORMAT = _one_of(*SUPPORTING_KINDS), _one_of(*FORMATS)
Schema = Mapping[str, Callable[[Item], Any]]
"""The keys of a table, and the functions that read their values."""
_LICENSE: Schema = {"name": Item.text, "url": _url, "commercial_use": Item.flag}
_RESOURCE: Schema = {"title": Item.text, "url": _url}
_IDC: Schema = {"collection_id": Item.text, "bucket": Item.text, "gcs_bucket": Item.text}
_ASPERA: Schema = {"packages": Item.count, "file_pattern": Item.text}
_PUBLICATION: dict[str, Callable[[Item], Any]] = {
    **dict.fromkeys(("text", "title", "container", "publisher", "pmc"), Item.text),
    **dict.fromkeys(("volume", "issue", "pages", "version"), Item.scalar),
    "authors": Item.texts,
    "more_authors": Item.flag,
    "year": Item.count,
    "doi": _doi,
}
_SUPPORTING: dict[str, Callable[[Item], Any]] = {
    **dict.fromkeys(("title", "file", "contains", "basket"), Item.text),
    "kind": _KIND,
    "url": _url,
    "bytes": Item.count,
    "sha256": _sha256,
}
_COLLECTION: dict[str, Callable[[Item], Any]] = {
    **dict.fromkeys(("title", "about", "slug", "access", "cancer_type", "location"), Item.text),
    **dict.fromkeys(("species", "nbia"), Item.text),
    **dict.fromkeys(("aliases", "modalities", "pitfalls"), Item.texts),
    **dict.fromkeys(("patients", "studies", "series", "images", "volumes", "bytes"), Item.count),
    "doi": _doi,
    "page": _url,
    "wiki_pages": _wiki_pages,
    "format": _FORMAT,
    "license": _license,
    "version": Item.scalar,
    "updated": _date,
    "citation": _publication,
    "publications": _publications,
    "supporting": _supporting_files,
    "idc": _idc,
    "aspera": _aspera,
}


def json_schema() -> dict[str, Any]:
    """The form of registry files as a JSON Schema, for editors; from the tables of the reader."""
    collection = _object(_COLLECTION, ("format",))
    collections = {"type": "object", "additionalProperties": collection}
    resources = {"type": "array", "items": _object(_RESOURCE, ("title", "url"))}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Registry of collections for tcia-covid",
        "type": "object",
        "required": ["collections"],
        "additionalProperties": False,
        "properties": {
            "tcia": _or_null(_FORMS[_publication]),
            "resources": _or_null(resources),
            "collections": collections,
        },
    }


def _object(schema: Schema, required: Sequence[str]) -> dict[str, Any]:
    properties = {
        key: _FORMS[read] if key in required else _or_null(_FORMS[read])
        for key, read in schema.items()
    }
    return {
        "type": "object",
        "required": list(required),
        "additionalProperties": False,
        "properties": properties,
    }


def _or_null(form: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [form, {"type": "null"}]}


def _words(*allowed: str) -> dict[str, Any]:
    letters = (
        "".join(f"[{c.upper()}{c.lower()}]" if c.isalpha() else c for c in word) for word in allowed
    )
    return {
        "anyOf": [{"enum": [*allowed]}, {"type": "string", "pattern": f"^({'|'.join(letters)})$"}]
    }


def _list_of(form: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": form}


_TEXT = {"type": "string", "pattern": r"\S"}
_WRITTEN = {"type": ["string", "number", "boolean"]}
_COUNT = {"type": "integer", "minimum": 0}
_FORMS: dict[Callable[[Item], Any], dict[str, Any]] = {
    Item.text: _TEXT,
    Item.texts: _list_of(_TEXT),
    Item.scalar: _WRITTEN,
    Item.count: _COUNT,
    Item.flag: {"type": "boolean"},
    _url: {"type": "string", "pattern": "^https?://[^/]"},
    _doi: {"type": "string", "pattern": f"^{DOI.pattern}$"},
    _date: {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$"},
    _sha256: {"type": "string", "pattern": "^[0-9a-fA-F]{64}$"},
    _wiki_pages: _list_of(_COUNT),
    _KIND: _words(*SUPPORTING_KINDS),
    _FORMAT: _words(*FORMATS),
}
"""What the functions that read a value accept."""
_FORMS[_license] = _object(_LICENSE, ("name", "commercial_use"))
_FORMS[_publication] = {"anyOf": [_TEXT, _object(_PUBLICATION, ("text",))]}
_FORMS[_publications] = _list_of(_FORMS[_publication])
_FORMS[_supporting_files] = _list_of(_object(_SUPPORTING, ("title", "kind")))
_FORMS[_idc] = _object(_IDC, ("collection_id", "bucket"))
_FORMS[_aspera] = _object(_ASPERA, ())
