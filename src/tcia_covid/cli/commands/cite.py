"""`cite`: what to cite."""

from __future__ import annotations

from functools import partial
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.commands.series import select_series
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.operations.cite import cited_collections, format_citations
from tcia_covid.output.json_documents import cite_document


def command(console: Console, *, targets: tuple[str, ...], cite_format: str, **choices: Any) -> int:
    """Print the citations that users of TARGET must give."""
    request = request_from(targets, **choices)
    registry = load_registry(request.options.registry)
    collections = cited_collections(request, registry, partial(select_series, console))
    console.document(cite_document(collections, registry))
    console.result(format_citations(collections, registry, cite_format))
    return EXIT_OK
