"""What to cite: the collections that targets name, and their citations as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from tcia_covid.catalog.citation import format_citation
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import UnknownCollectionError, suggest
from tcia_covid.core.safe_names import is_uid
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection
from tcia_covid.selection.targets import parse_targets

Select = Callable[[Request], Selection]
"""Lists the series of a request."""


def cited_collections(request: Request, registry: Registry, select: Select) -> list[Collection]:
    """The collections that the targets name, or that the series they name belong to.

    Raises:
        UnknownCollectionError: the registry has no citation for a target.
    """
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
        for match in [collection] if collection else _of_series(request, target, select):
            collections[match.name] = match
    return list(collections.values())


def _is_name(target: str, registry: Registry) -> bool:
    """Whether a target can only be the name of a collection that the registry does not have."""
    (parsed,) = parse_targets([target], registry)
    return any(not is_uid(item.value) for item in parsed.unknown)


def _of_series(request: Request, target: str, select: Select) -> list[Collection]:
    selection = select(Request(targets=(target,), options=request.options))
    known = [group.collection for group in selection.groups if group.collection]
    if not known or len(known) < len(selection.groups):
        names = [group.name for group in selection.groups if group.collection is None] or [target]
        raise UnknownCollectionError(
            f"no citation known for {names[0]!r}",
            hint="see its page on www.cancerimagingarchive.net",
        )
    return known


def format_citations(collections: Iterable[Collection], registry: Registry, form: str) -> str:
    """Citations of several collections as one text (`form` as in `STYLES`), without repetitions."""
    citations = [format_citation(collection, registry, form) for collection in collections]
    if form == "csl-json":
        items = [item for text in citations for item in json.loads(text)]
        unique = {json.dumps(item, sort_keys=True): item for item in items}
        return json.dumps(list(unique.values()), indent=2, ensure_ascii=False)
    entries = [entry.strip() for text in citations for entry in text.split("\n\n")]
    return "\n\n".join(dict.fromkeys(entries))
