"""`list`: the known collections."""

from __future__ import annotations

from functools import partial
from typing import Any

from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import ALL_ONLY, refuse_unused
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.units import count, format_size
from tcia_covid.output.json_documents import list_document, sources
from tcia_covid.output.tables import format_number, paragraphs, table, width

_HEADS = (
    *("collection", "modality", "size", "about"),
    *("patients", "series", "license", "sources", "title"),
)
_DROPPED = (
    *("title", "sources", "license", "series", "patients"),
    *("about", "size", "modality"),
)
"""Left out in turn on a terminal that is too narrow."""


def command(
    console: Console,
    *,
    all: bool,  # noqa: A002 - the option's name
    registry: tuple[str, ...],
    **choices: Any,
) -> int:
    """List the known collections with size, license and sources."""
    collections = load_registry(registry)
    others: list[str] | None = None
    if all:
        # These import all archives, and the events.
        from tcia_covid.api.functions import other_collections  # noqa: PLC0415
        from tcia_covid.cli.progress import run_displayed  # noqa: PLC0415

        others = run_displayed(console, partial(other_collections, registry=registry, **choices))
    else:
        refuse_unused(ALL_ONLY, "--all", "ask the archive")
    console.document(list_document(collections, others))
    right, keep = ("patients", "series", "size"), ("collection", "about")
    console.result(
        table(
            _HEADS,
            collections.collections,
            _row,
            right=right,
            keep=keep,
            drop=_DROPPED,
            columns=width(),
        )
    )
    if others is not None:
        head = f"{count(len(others), 'other public collection')} in NBIA"
        console.result("\n".join([f"\n{head}, by the exact names:", *map(clean_line, others)]))
    if collections.resources and not console.quiet:
        pages = paragraphs(map(str, collections.resources), width())
        console.result(f"\nFurther resources:\n{pages}")
    return EXIT_OK


def _row(collection: Collection) -> tuple[str, ...]:
    volumes = collection.volumes
    return (
        collection.name,
        ", ".join(collection.modalities),
        format_size(collection.size) if collection.size else "",
        collection.about or "",
        format_number(collection.patients),
        count(volumes, "volume") if volumes else format_number(collection.series),
        collection.license.name if collection.license else "",
        ", ".join(sources(collection)),
        collection.title if collection.title != collection.name else "",
    )
