"""Reads registry files by their schema, and merges several into one registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
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
from tcia_covid.core.errors import RegistryError
from tcia_covid.core.yaml_reader import Item, Source, parse

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
    owners: dict[str, Entry] = {}
    for entry in entries.values():
        for name in entry.collection.names:
            owner = owners.setdefault(fold_name(name), entry)
            if owner is not entry:
                raise _taken(entry, name, owner)
    citations = [contents.tcia for contents in registry_files if contents.tcia]
    return Registry(
        collections=tuple(entry.collection for entry in entries.values()),
        tcia=citations[-1] if citations else None,
        resources=tuple(dict.fromkeys(page for file in registry_files for page in file.resources)),
    )


def read_registry_file(path: str | Path) -> Contents:
    """Read and check one file; raises `RegistryError`."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RegistryError(f"registry {path} cannot be read: {reason}") from error
    document = parse(content, Source(f"registry {path}", RegistryError))
    if document.is_null:
        raise document.error("is empty")
    table = document.table(("tcia", "resources", "collections"), required=("collections",))
    tcia, resources = table.get("tcia"), table.get("resources")
    return Contents(
        entries=[_entry(name, facts) for name, facts in table["collections"].pairs()],
        tcia=_publication(tcia) if tcia and not tcia.is_null else None,
        resources=_resources(resources) if resources and not resources.is_null else (),
    )


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
    values = _converted(table, _COLLECTION)
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


def _converted(table: Mapping[str, Item], schema: Mapping[str, Callable[[Item], Any]]) -> Any:
    """Convert the values that are not null, by the names of the fields."""
    return {
        "size" if key == "bytes" else key: schema[key](value)
        for key, value in table.items()
        if not value.is_null
    }


def _license(item: Item) -> License:
    schema = {"name": Item.text, "url": _url, "commercial_use": Item.flag}
    return License(**_converted(item.table(schema, ("name", "commercial_use")), schema))


def _publication(item: Item) -> Publication:
    if not item.is_table:
        return Publication(text=item.text())
    return Publication(**_converted(item.table(_PUBLICATION, ("text",)), _PUBLICATION))


def _supporting_file(item: Item) -> SupportingFile:
    return SupportingFile(**_converted(item.table(_SUPPORTING, ("title", "kind")), _SUPPORTING))


def _resources(item: Item) -> tuple[Resource, ...]:
    schema = {"title": Item.text, "url": _url}
    tables = (entry.table(schema, tuple(schema)) for entry in item.items())
    return tuple(Resource(**_converted(table, schema)) for table in tables)


def _idc(item: Item) -> IdcLocation:
    schema = {"collection_id": Item.text, "bucket": Item.text, "gcs_bucket": Item.text}
    return IdcLocation(**_converted(item.table(schema, ("collection_id", "bucket")), schema))


def _aspera(item: Item) -> AsperaLocation:
    schema = {"packages": Item.count, "file_pattern": Item.text}
    return AsperaLocation(**_converted(item.table(schema), schema))


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
    "kind": _one_of(*SUPPORTING_KINDS),
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
    "wiki_pages": lambda item: tuple(page.count() for page in item.items()),
    "format": _one_of(*FORMATS),
    "license": _license,
    "version": Item.scalar,
    "updated": _date,
    "citation": _publication,
    "publications": lambda item: tuple(map(_publication, item.items())),
    "supporting": lambda item: tuple(map(_supporting_file, item.items())),
    "idc": _idc,
    "aspera": _aspera,
}
