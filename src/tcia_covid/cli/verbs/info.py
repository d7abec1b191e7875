"""`info`: one collection."""

from __future__ import annotations

from typing import Any

import click

from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE


@verb(click.Argument(["collection"], metavar="COLLECTION"), *EVERYWHERE)
def info(console: Console, collection: str, registry: tuple[str, ...], **_: Any) -> int:
    """Show what is known of one COLLECTION.

    Counts, licence, citation and publications, files beside the images, where it can be had, and
    what to know before drawing numbers from it. COLLECTION is a name, an alias, a slug or a DOI.
    """
    from tcia_covid.cli.portrait import portrait  # noqa: PLC0415 - --help does without
    from tcia_covid.cli.tables import width  # noqa: PLC0415
    from tcia_covid.document import info_document  # noqa: PLC0415
    from tcia_covid.errors import EXIT_OK  # noqa: PLC0415
    from tcia_covid.registry import load_registry  # noqa: PLC0415
    from tcia_covid.selection.targets import unknown_collection  # noqa: PLC0415

    known = load_registry(registry)
    found = known.find(collection)
    if found is None:
        raise unknown_collection(collection, (), known)
    console.document(info_document(found))
    console.result(portrait(found, width()))
    return EXIT_OK


command = info
