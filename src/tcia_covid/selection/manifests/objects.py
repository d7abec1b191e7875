"""Manifests as Python objects: series, dicts with their names, and tables of pandas and others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tcia_covid.core.models import Series
from tcia_covid.selection.manifests.model import PINNED, Entries, Kind, Manifest, column_kind, quote

_SHOWN = 20
"""Keys that an error names."""


def is_table(value: object) -> bool:
    """Whether a value has named columns, as DataFrames of pandas and polars have."""
    return hasattr(value, "columns") and hasattr(value, "__getitem__")


def read_objects(values: Iterable[Any], *, pinned: bool = False) -> Manifest:
    """Read series, dicts and tables; keys and columns are named as in other manifests.

    With `pinned`, series and dicts also name their versions, as lock files do.

    Raises:
        ManifestError: one names no series, or something that is not an identifier.
    """
    entries = Entries("the argument 'targets'", "Python objects", pinned=pinned)
    row = 0
    for value in values:
        if isinstance(value, Series):
            row += 1
            entries.add("series", value.uid, row)
            if pinned:
                pins = {name: getattr(value, attribute) for name, attribute in PINNED.items()}
                entries.pin(value.uid, pins, row)
            continue
        columns = _columns(value.columns if is_table(value) else value, entries, row + 1)
        cells = (value[name] if is_table(value) else [value[name]] for name in columns)
        for identifiers in zip(*cells, strict=True):
            row += 1
            kind, identifier = _identifier(columns.values(), identifiers, entries, row)
            entries.add(kind, identifier, row)
            if pinned and kind == "series" and isinstance(value, Mapping):
                entries.pin(
                    identifier, {name: value[name] for name in PINNED if name in value}, row
                )
    return entries.manifest()


def _columns(names: Iterable[Any], entries: Entries, row: int) -> dict[Any, Kind]:
    """The columns or keys that may name series, the best first; patients only without others."""
    names = list(names)
    known = [(column[1], name, column[0]) for name in names if (column := column_kind(str(name)))]
    known.sort(key=lambda item: item[0])
    others = [item for item in known if item[2] != "patient"]
    if not known:
        shown = ", ".join(quote(str(name)) for name in names[:_SHOWN])
        raise entries.error(
            row,
            f"no SeriesInstanceUID or other identifier among {shown or 'no keys'}",
            hint="keys and columns are named as in 'tcia-covid series --format csv'",
        )
    return {name: kind for _, name, kind in others or known}


def _identifier(
    kinds: Iterable[Kind], cells: Iterable[Any], entries: Entries, row: int
) -> tuple[Kind, str]:
    """The first cell that is not empty: None and NaN are neither text nor whole numbers."""
    for kind, cell in zip(kinds, cells, strict=True):
        if isinstance(cell, str | int) and (text := str(cell).strip()):
            return kind, text
    raise entries.error(row, "no SeriesInstanceUID or other identifier in this row")
