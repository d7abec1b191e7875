"""`list`: the known collections."""

from __future__ import annotations

from typing import Any

import click

from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import Command
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.units import count, format_size
from tcia_covid.output.json_documents import list_document, sources
from tcia_covid.output.tables import format_number, table, width

_HEADS = ("collection", "patients", "series", "size", "type", "license", "sources", "title")
_DROPPED = ("title", "type", "sources", "license", "patients")
"""Left out in turn on a terminal that is too narrow."""


@click.command("list", cls=Command)
def command(console: Console, *, registry: tuple[str, ...], **_: Any) -> int:
    """List the known collections with size, license and sources."""
    collections = load_registry(registry)
    console.document(list_document(collections))
    rows = map(_row, collections)
    right, keep = ("patients", "series", "size"), ("collection",)
    console.result(table(_HEADS, rows, right=right, keep=keep, drop=_DROPPED, columns=width()))
    return EXIT_OK


def _row(collection: Collection) -> tuple[str, ...]:
    volumes = collection.volumes
    return (
        collection.name,
        format_number(collection.patients),
        count(volumes, "volume") if volumes else format_number(collection.series),
        format_size(collection.size) if collection.size else "",
        ", ".join(collection.modalities) if collection.is_dicom else collection.format,
        collection.license.name if collection.license else "",
        ", ".join(sources(collection)),
        collection.title if collection.title != collection.name else "",
    )
