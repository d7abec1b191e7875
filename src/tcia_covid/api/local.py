"""The public functions that read what is on disk or in the registry, and need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from tcia_covid.api.functions import cancellable
from tcia_covid.api.options import (
    Bytes,
    Paths,
    Targets,
    Words,
    check_value,
    folder_from,
    registry_from,
    request_from,
)
from tcia_covid.catalog.data_warnings import collection_warnings
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import RequestError
from tcia_covid.core.events import discard
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.operations.cite import cited_collections, format_citations
from tcia_covid.operations.files import LocalSeries, select_local
from tcia_covid.operations.select import select_offline
from tcia_covid.output.json_documents import info_document
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection
from tcia_covid.selection.targets import unknown_collection

_NO_FILTERS = {"directory", "targets"}


def local_series(
    directory: str | Path = DEFAULT_OUTPUT,
    targets: Targets = (),
    *,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    registry: Paths | None = None,
) -> list[LocalSeries]:
    """Return the complete series in a folder, with their files in slice order.

    Needs no network, and opens no image.

    Args:
        directory: an output folder, or one collection's folder in it.
        targets: what to select, as for `download`; by default every series.
        patient: filters; this one and the others have the meaning that `Choices` explains.
        registry: registry files, added to the shipped one.

    Raises:
        RequestError: the folder is not one of this program's, the filters exclude everything, or
            no complete series of a target is in it.
    """
    filters = {name: value for name, value in locals().items() if name not in _NO_FILTERS}
    request = request_from(targets, **filters)
    selection = select_local(
        folder_from(directory),
        load_registry(request.options.registry),
        request.targets,
        request.manifests,
        request.filters,
    )
    if selection.missing:
        first, others = selection.missing[0], len(selection.missing) - 1
        more = f" (and {others} more targets like it)" if others else ""
        raise RequestError(
            f"no complete series of {first} is in {directory}{more}",
            hint="download it, or name only what is there; without a target, all is listed",
        )
    return selection.series


def files(
    directory: str | Path = DEFAULT_OUTPUT,
    targets: Targets = (),
    *,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    registry: Paths | None = None,
) -> list[Path]:
    """Return the image files of the complete series in a folder, each series in slice order.

    The arguments and errors are those of `local_series`.
    """
    return [file for item in local_series(**locals()) for file in item.files]


def cite(
    targets: Targets,
    format: Literal["text", "bibtex", "csl-json"] = "text",  # noqa: A002 - as the command's option
    *,
    registry: Paths | None = None,
) -> str:
    """Return the citations that users of the targets must give.

    The data, the publications about them, and The Cancer Imaging Archive itself.

    Args:
        targets: collections, or series and others that the catalog has.
        format: plain text, BibTeX, or CSL-JSON as text.
        registry: registry files, added to the shipped one.

    Raises:
        RequestError: no citation is known for a target.
    """
    form = check_value("format", format, Literal["text", "bibtex", "csl-json"] | None)
    request = request_from(targets, registry=registry)
    collections = load_registry(request.options.registry)

    def select(asked: Request) -> Selection:
        with cancellable(None) as stop:
            return select_offline(asked, collections, stop, discard)

    return format_citations(cited_collections(request, collections, select), collections, form)


def info(collection: str, *, registry: Paths | None = None) -> dict[str, Any]:
    """Return what is known of one collection, with the keys of `collection` in `info --json`.

    Counts, license, citation, supporting files, sources, and what to know before using the data.

    Args:
        collection: any name of it.
        registry: registry files, added to the shipped one.

    Raises:
        RequestError: there is no such collection in the registry.
    """
    collections = registry_from(registry)
    known = collections.find(check_value("collection", collection, str | Path))
    if known is None:
        raise unknown_collection(str(collection), collections)
    warnings = collection_warnings(known.name)
    document = info_document(known, warnings, collections.resources)
    described: dict[str, Any] = document["collection"]
    return described
