"""Finding registry files, reading them, and making one registry of several."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.catalog.collections import Registry, fold_name
from tcia_covid.core.errors import RegistryError

if TYPE_CHECKING:
    from tcia_covid.catalog.schema import Contents, Entry

_FILE = "collections.yaml"


def shipped_file() -> Path:
    """Where the registry of this installation is: in the package, or at a checkout's top."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package, package.parents[1]):
        if (folder / _FILE).is_file():
            return folder / _FILE
    raise RegistryError(
        f"the shipped registry {_FILE} is missing beside {package}", hint="install tcia-covid again"
    )


def load_registry(extra: str | Path | Sequence[str | Path] = ()) -> Registry:
    """The shipped registry and the file or files in `extra`, later ones over earlier ones.

    An entry takes the place of an earlier one with the same name, whole; other entries are added
    at the end. TCIA's own citation is the last file's that has one.

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
    """What one file says, checked by itself.

    Raises:
        RegistryError: it cannot be read or breaks the schema.
    """
    # PyYAML takes longer to import than the file to read: only those who need a registry pay.
    from tcia_covid.catalog import schema, yaml_nodes  # noqa: PLC0415

    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise RegistryError(f"registry {path} cannot be read: {reason}") from error
    return schema.read_file(yaml_nodes.parse(content, str(path)))


def _by_name(entries: Iterable[Entry]) -> dict[str, Entry]:
    """The entries of one file under their folded names."""
    named: dict[str, Entry] = {}
    for entry in entries:
        known = named.setdefault(fold_name(entry.collection.name), entry)
        if known is not entry:
            raise _taken(entry, entry.collection.name, known)
    return named


def _check_names(entries: Iterable[Entry]) -> None:
    """No word may mean two collections."""
    owners: dict[str, Entry] = {}
    for entry in entries:
        for name in entry.collection.names:
            owner = owners.setdefault(fold_name(name), entry)
            if owner is not entry:
                raise _taken(entry, name, owner)


def _taken(entry: Entry, name: str, owner: Entry) -> RegistryError:
    return RegistryError(
        f"registry {entry.file}, line {entry.line_of(name)}: '{name}' of {entry.collection.name} "
        f"already means {owner.collection.name} ({owner.file}, line {owner.line_of(name)})"
    )
