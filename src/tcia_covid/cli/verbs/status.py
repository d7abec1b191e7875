"""`status`: what stands in a folder."""

from __future__ import annotations

from typing import Any

from tcia_covid.cli.arguments import directory
from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE


@verb(directory(), *EVERYWHERE)
def status(console: Console, directory: str, registry: tuple[str, ...], **_: Any) -> int:
    """Say what is complete, under way or failed in DIR, and why.

    Looks at receipts and file names alone: no image is opened, no network asked. DIR is what
    'download --output' named, or one collection's folder in it.
    """
    from tcia_covid.cli.standing import standing_lines  # noqa: PLC0415 - --help does without
    from tcia_covid.errors import EXIT_OK  # noqa: PLC0415
    from tcia_covid.library.standing import status as look  # noqa: PLC0415
    from tcia_covid.status import document  # noqa: PLC0415

    found = look(directory, registry=registry)
    console.document(document(found))
    console.result("\n".join(standing_lines(found)))
    return EXIT_OK


command = status
