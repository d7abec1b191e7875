"""`info`: one collection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from tcia_covid.catalog.collections import Collection, SupportingFile
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.units import format_size
from tcia_covid.output.json_documents import info_document
from tcia_covid.output.tables import format_number, key_values, paragraphs, width
from tcia_covid.selection.targets import unknown_collection


@as_command(click.Argument(["collection"], metavar="COLLECTION"), *EVERYWHERE)
def info(console: Console, collection: str, registry: tuple[str, ...], **_: Any) -> int:
    """Show what is known of one COLLECTION.

    Counts, license, citation and publications, files beside the images, where it can be had, and
    what to know before drawing numbers from it. COLLECTION is a name, an alias, a slug or a DOI.
    """
    known = load_registry(registry)
    found = known.find(collection)
    if found is None:
        raise unknown_collection(collection, (), known)
    console.document(info_document(found))
    console.result(collection_lines(found, width()))
    return EXIT_OK


def collection_lines(collection: Collection, columns: int | None) -> str:
    """All that the registry says of a collection, for people."""
    sections = [
        key_values(_facts(collection), columns),
        _section("Cite as", [str(one) for one in _citations(collection)], columns),
        _section("Files beside the images", list(_files(collection)), columns),
        _section("Know before use", list(collection.pitfalls), columns),
    ]
    return "\n\n".join(filter(None, sections))


def _facts(one: Collection) -> Iterator[tuple[str, object]]:
    yield "collection", one.name
    yield "title", one.title if one.title != one.name else ""
    yield "also called", ", ".join(one.aliases)
    yield "DOI", f"https://doi.org/{one.doi}" if one.doi else ""
    yield "page", one.page
    yield "license", _license(one)
    yield "access", one.access
    yield "images as", ", ".join((one.format, *one.modalities))
    yield "about", ", ".join(filter(None, (one.cancer_type, one.location, one.species)))
    yield "patients", format_number(one.patients)
    yield "studies", format_number(one.studies)
    yield "series", format_number(one.series)
    yield "images", format_number(one.images)
    yield "volumes", format_number(one.volumes)
    yield "size", format_size(one.size) if one.size else ""
    yield "version", " of ".join(filter(None, (one.version, one.updated)))
    yield "can be had", "\n".join(_places(one))


def _license(one: Collection) -> str:
    if one.license is None:
        return ""
    use = "commercial use allowed" if one.license.commercial_use else "no commercial use"
    return "\n".join(filter(None, (f"{one.license.name} ({use})", one.license.url)))


def _places(one: Collection) -> Iterator[str]:
    if one.idc:
        yield f"from IDC, bucket {one.idc.bucket}"
    if one.nbia:
        yield f"from NBIA, as {one.nbia}"
    if one.aspera:
        yield f'as IBM Aspera packages, by: tcia-covid download "{one.name}"'


def _citations(one: Collection) -> Iterator[object]:
    if one.citation:
        yield one.citation
    yield from one.publications


def _files(one: Collection) -> Iterator[str]:
    for file in one.supporting:
        size = format_size(file.size) if file.size else ""
        details = ", ".join(filter(None, (file.kind, file.file, file.basket, size)))
        yield f"{file.title} ({details}){_address(file)}"


def _address(file: SupportingFile) -> str:
    return f" {file.url}" if file.url else ""


def _section(head: str, items: list[str], columns: int | None) -> str:
    return f"{head}:\n{paragraphs(items, columns)}" if items else ""


command = info
