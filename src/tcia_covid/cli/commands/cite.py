"""`cite`: what to cite."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.catalog.citation import format_citation, references
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.commands.series import list_selection
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE, STYLE, targets
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import progress_display
from tcia_covid.core.errors import EXIT_OK, TciaCovidError, UnknownCollectionError, suggest
from tcia_covid.selection.request import Request
from tcia_covid.selection.targets import parse_targets


@as_command(targets(), STYLE, *EVERYWHERE)
def cite(console: Console, targets: tuple[str, ...], *, style: str, **choices: Any) -> int:
    """Give what users of TARGET are asked to cite.

    The data, the publications on them, and The Cancer Imaging Archive itself.
    """
    return show_citations(console, request_from(targets, **choices), style)


def show_citations(console: Console, request: Request, style: str) -> int:
    """Show what is to be cited for the targets' collections; give the exit code."""
    registry = load_registry(request.options.registry)
    found = _collections(console, request, registry)
    console.document(_document(found, registry))
    console.result(_joined([format_citation(one, registry, style) for one in found], style))
    return EXIT_OK


def _collections(console: Console, request: Request, registry: Registry) -> list[Collection]:
    """The collections that the targets are, or that the series they name belong to."""
    found: dict[str, Collection] = {}
    for word in request.targets:
        known = registry.find(word)
        if known is None and word in parse_targets([word], registry).others:
            raise _not_on_record(word, registry)
        for one in [known] if known else _of_series(console, request, word):
            found[one.name] = one
    return list(found.values())


def _not_on_record(word: str, registry: Registry) -> TciaCovidError:
    """The error for a word that may be a collection outside the registry, or a slip."""
    suggestion = suggest(registry.near(word))
    return UnknownCollectionError(
        f"{word!r} is not in the registry, so how to cite it is not on record",
        hint=f"{suggestion} the collection's page on www.cancerimagingarchive.net says it".lstrip(),
    )


def _of_series(console: Console, request: Request, word: str) -> list[Collection]:
    one_word = Request(targets=(word,), options=request.options)
    with progress_display(console) as emit:
        selected = run_cancellable(lambda stop: list_selection(one_word, emit, stop))
    unknown = [group.name for group in selected.groups if group.collection is None]
    if unknown or not selected.groups:
        raise UnknownCollectionError(
            f"how to cite {unknown[0] if unknown else word!r} is not on record",
            hint="its page on www.cancerimagingarchive.net says it",
        )
    return [group.collection for group in selected.groups if group.collection]


def _joined(citations: Iterable[str], style: str) -> str:
    """Several collections' citations as one; what they share stands there once."""
    if style == "csl-json":
        items = [item for text in citations for item in json.loads(text)]
        unique = {json.dumps(item, sort_keys=True): item for item in items}
        return json.dumps(list(unique.values()), indent=2, ensure_ascii=False)
    entries = [entry.strip() for text in citations for entry in text.split("\n\n")]
    return "\n\n".join(dict.fromkeys(entries))


def _document(found: Iterable[Collection], registry: Registry) -> dict[str, Any]:
    return {
        "command": "cite",
        "exit_code": EXIT_OK,
        "collections": [
            {
                "collection": one.name,
                "references": [
                    {
                        "role": item.role.name.lower(),
                        "key": item.key,
                        "text": item.publication.text,
                        "doi": item.publication.doi,
                    }
                    for item in references(one, registry)
                ],
                "bibtex": format_citation(one, registry, "bibtex"),
                "csl_json": json.loads(format_citation(one, registry, "csl-json")),
            }
            for one in found
        ],
    }


command = cite
