"""`cite`: what to cite."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.catalog.citation import format_citation
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.commands.series import select_series
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK, UnknownCollectionError, suggest
from tcia_covid.core.safe_names import is_uid
from tcia_covid.output.json_documents import cite_document
from tcia_covid.selection.request import Request
from tcia_covid.selection.targets import parse_targets


def command(console: Console, *, targets: tuple[str, ...], cite_format: str, **choices: Any) -> int:
    """Print the citations that users of TARGET must give."""
    request = request_from(targets, **choices)
    registry = load_registry(request.options.registry)
    collections = _collections(console, request, registry)
    console.document(cite_document(collections, registry))
    citations = [format_citation(entry, registry, cite_format) for entry in collections]
    console.result(_join(citations, cite_format))
    return EXIT_OK


def _collections(console: Console, request: Request, registry: Registry) -> list[Collection]:
    """The collections that the targets name, or that the series they name belong to."""
    collections: dict[str, Collection] = {}
    for target in request.targets:
        collection = registry.find(target)
        if collection is None and _is_name(target, registry):
            suggestion = suggest(registry.near(target))
            page = "see the collection's page on www.cancerimagingarchive.net"
            raise UnknownCollectionError(
                f"no citation known for {target!r}: it is not in the registry",
                hint=f"{suggestion} {page}".lstrip(),
            )
        for match in [collection] if collection else _of_series(console, request, target):
            collections[match.name] = match
    return list(collections.values())


def _is_name(target: str, registry: Registry) -> bool:
    """Whether a target can only be the name of a collection that the registry does not have."""
    (parsed,) = parse_targets([target], registry)
    return any(not is_uid(item.value) for item in parsed.unknown)


def _of_series(console: Console, request: Request, target: str) -> list[Collection]:
    selection = select_series(console, Request(targets=(target,), options=request.options))
    known = [group.collection for group in selection.groups if group.collection]
    if not known or len(known) < len(selection.groups):
        names = [group.name for group in selection.groups if group.collection is None] or [target]
        raise UnknownCollectionError(
            f"no citation known for {names[0]!r}",
            hint="see its page on www.cancerimagingarchive.net",
        )
    return known


def _join(citations: Iterable[str], cite_format: str) -> str:
    """Citations of several collections as one text, without repetitions."""
    if cite_format == "csl-json":
        items = [item for text in citations for item in json.loads(text)]
        unique = {json.dumps(item, sort_keys=True): item for item in items}
        return json.dumps(list(unique.values()), indent=2, ensure_ascii=False)
    entries = [entry.strip() for text in citations for entry in text.split("\n\n")]
    return "\n\n".join(dict.fromkeys(entries))
