"""`info`: one collection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tcia_covid.catalog.collections import Collection, Resource
from tcia_covid.catalog.data_warnings import collection_warnings
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.units import format_size
from tcia_covid.output.json_documents import info_document
from tcia_covid.output.tables import format_number, key_values, paragraphs, width
from tcia_covid.selection.targets import unknown_collection


def command(console: Console, *, collection: str, registry: tuple[str, ...], **_: Any) -> int:
    """Show details of one COLLECTION."""
    collections = load_registry(registry)
    entry = collections.find(collection)
    if entry is None:
        raise unknown_collection(collection, collections)
    warnings = collection_warnings(entry.name)
    console.document(info_document(entry, warnings, collections.resources))
    console.result(describe(entry, warnings, collections.resources, width()))
    return EXIT_OK


def describe(
    collection: Collection,
    warnings: Sequence[str],
    resources: Sequence[Resource],
    columns: int | None,
) -> str:
    """All facts of the registry and the catalog about a collection, as text."""
    citations = filter(None, (collection.citation, *collection.publications))
    sections: dict[str, list[str]] = {
        "Cite as": [str(item) for item in citations],
        "Supporting files": list(_files(collection)),
        "Know before use": [*collection.pitfalls, *warnings],
        "Further resources": list(map(str, resources)),
    }
    return "\n\n".join(
        [
            key_values(_facts(collection), columns),
            *(
                f"{head}:\n{paragraphs(items, columns)}"
                for head, items in sections.items()
                if items
            ),
        ]
    )


def _facts(collection: Collection) -> Iterator[tuple[str, object]]:
    yield "collection", collection.name
    yield "title", collection.title if collection.title != collection.name else ""
    yield "aliases", ", ".join(collection.aliases)
    yield "DOI", f"https://doi.org/{collection.doi}" if collection.doi else ""
    yield "page", collection.page
    yield "license", collection.license
    yield "access", collection.access
    yield "format", ", ".join((collection.format, *collection.modalities))
    about = (collection.cancer_type, collection.location, collection.species)
    yield "subject", ", ".join(filter(None, about))
    for name in ("patients", "studies", "series", "images", "volumes"):
        yield name, format_number(getattr(collection, name))
    yield "size", format_size(collection.size) if collection.size else ""
    yield "version", " of ".join(filter(None, (collection.version, collection.updated)))
    yield "sources", "\n".join(_sources(collection))


def _sources(collection: Collection) -> Iterator[str]:
    if collection.idc:
        yield f"IDC, bucket {collection.idc.bucket}"
    if collection.nbia:
        yield f"NBIA, as {collection.nbia}"
    if collection.aspera:
        yield f'IBM Aspera packages: tcia-covid download "{collection.name}"'


def _files(collection: Collection) -> Iterator[str]:
    for file in collection.supporting:
        size = format_size(file.size) if file.size else ""
        details = ", ".join(filter(None, (file.kind, file.file, file.basket, size)))
        yield f"{file.title} ({details}) {file.url or ''}".rstrip()
