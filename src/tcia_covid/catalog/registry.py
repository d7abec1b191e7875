"""Finds and reads registry files, and merges several into one registry."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tcia_covid.catalog.collections import Registry, fold_name
from tcia_covid.catalog.schema import Contents, Entry, read_contents
from tcia_covid.core.errors import RegistryError
from tcia_covid.core.yaml_reader import Source, parse

_FILE = "collections.yaml"


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
    end. TCIA's own citation comes from the last file that has one.

    Raises:
        RegistryError: a file cannot be read, breaks the schema, or gives two collections one name.
    """
    added = (extra,) if isinstance(extra, str | Path) else extra
    registry_files = [read_registry_file(path) for path in (shipped_file(), *added)]
    entries: dict[str, Entry] = {}
    for contents in registry_files:
        entries |= _by_name(contents.entries)
    _check_names(entries.values())
    citations = [contents.tcia for contents in registry_files if contents.tcia]
    return Registry(
        collections=tuple(entry.collection for entry in entries.values()),
        tcia=citations[-1] if citations else None,
    )


def read_registry_file(path: str | Path) -> Contents:
    """Read and check one file.

    Raises:
        RegistryError: it cannot be read or breaks the schema.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RegistryError(f"registry {path} cannot be read: {reason}") from error
    return read_contents(parse(content, Source(f"registry {path}", RegistryError)))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """Index the entries of one file by their folded names."""
    named: dict[str, Entry] = {}
    for entry in entries:
        known = named.setdefault(fold_name(entry.collection.name), entry)
        if known is not entry:
            raise _taken(entry, entry.collection.name, known)
    return named


def _check_names(entries: Iterable[Entry]) -> None:
    """Refuse a word that means two collections."""
    owners: dict[str, Entry] = {}
    for entry in entries:
        for name in entry.collection.names:
            owner = owners.setdefault(fold_name(name), entry)
            if owner is not entry:
                raise _taken(entry, name, owner)


def _taken(entry: Entry, name: str, owner: Entry) -> RegistryError:
    return RegistryError(
        f"{entry.file}, line {entry.line_of(name)}: '{name}' of {entry.collection.name} "
        f"already means {owner.collection.name} ({owner.file}, line {owner.line_of(name)})"
    )
