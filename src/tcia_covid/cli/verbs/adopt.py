"""`adopt`: files that are there already."""

from __future__ import annotations

from typing import Any

import click

from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import (
    COLLECTION,
    COPY,
    EVERYWHERE,
    JOBS,
    LAYOUT,
    LINK,
    MOVE,
    NO_FSYNC,
    OUTPUT,
    PATIENCE,
    SOURCE,
)
from tcia_covid.cli.values import FOLDER


@verb(
    click.Argument(["directory"], metavar="DIR", type=FOLDER),
    COLLECTION,
    LINK,
    MOVE,
    COPY,
    OUTPUT,
    SOURCE,
    LAYOUT,
    JOBS,
    *PATIENCE,
    NO_FSYNC,
    *EVERYWHERE,
)
def adopt(
    console: Console,
    directory: str,
    output: str,
    *,
    collection: str | None,
    link: bool,
    move: bool,
    copy: bool,
    **choices: Any,
) -> int:
    """Take images in that are in DIR already.

    DIR may be what any other program downloaded: names and folders mean nothing, each DICOM file
    is read, hashed and compared with the archive's own hashes. Whole series go into the layout;
    images of others wait in it, and 'download' fetches only the rest. DIR stays as it is, except
    that --move removes what was taken. Of 'CT Images in COVID-19', which --collection has to
    name, NIfTI volumes are taken: by their names, each read to its end.
    """
    from tcia_covid.cli.adopting import mode_of, show_adoption  # noqa: PLC0415 - --help does without
    from tcia_covid.library.plain import output_of  # noqa: PLC0415

    mode, into = mode_of(link=link, move=move, copy=copy), output_of(output)
    return show_adoption(console, directory, into, collection=collection, mode=mode, **choices)


command = adopt
