"""`list`: the registry."""

from __future__ import annotations

from typing import Any

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.units import count, format_size
from tcia_covid.output.json_documents import list_document, sources
from tcia_covid.output.tables import format_number, table, width


@as_command(*EVERYWHERE)
def list_(console: Console, registry: tuple[str, ...], **_: Any) -> int:
    """List the known collections: size, license, where they are."""
    known = load_registry(registry)
    console.document(list_document(known))
    rows = [
        (
            one.name,
            format_number(one.patients),
            count(one.volumes, "volume") if one.volumes else format_number(one.series),
            format_size(one.size) if one.size else "",
            ", ".join(one.modalities) if one.is_dicom else one.format,
            one.license.name if one.license else "",
            ", ".join(sources(one)),
            one.title if one.title != one.name else "",
        )
        for one in known
    ]
    heads = ("collection", "patients", "series", "size", "what", "license", "from", "title")
    dropped = [heads.index(one) for one in ("title", "what", "from", "license", "patients")]
    told = table(heads, rows, right=(1, 2, 3), keep=(0,), drop=dropped, columns=width())
    console.result(told)
    return EXIT_OK


command = list_
