"""`list`: the registry."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE


@verb(*EVERYWHERE)
def list_(console: Console, registry: tuple[str, ...], **_: Any) -> int:
    """List the known collections: size, licence, where they are."""
    from tcia_covid.cli.tables import number, table, width  # noqa: PLC0415 - --help does without
    from tcia_covid.document import list_document, sources  # noqa: PLC0415
    from tcia_covid.errors import EXIT_OK  # noqa: PLC0415
    from tcia_covid.registry import load_registry  # noqa: PLC0415
    from tcia_covid.selection.sizes import count, format_size  # noqa: PLC0415

    known = load_registry(registry)
    console.document(list_document(known))
    rows = [
        (
            one.name,
            number(one.patients),
            count(one.volumes, "volume") if one.volumes else number(one.series),
            format_size(one.size) if one.size else "",
            ", ".join(one.modalities) if one.is_dicom else one.format,
            one.licence.name if one.licence else "",
            ", ".join(sources(one)),
            one.title if one.title != one.name else "",
        )
        for one in known
    ]
    heads = ("collection", "patients", "series", "size", "what", "licence", "from", "title")
    dropped = [heads.index(one) for one in ("title", "what", "from", "licence", "patients")]
    told = table(heads, rows, right=(1, 2, 3), keep=(0,), drop=dropped, columns=width())
    console.result(told)
    return EXIT_OK


command = list_
