"""`demo`: the main job against an archive of the program's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tcia_covid.cli.command import verb
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import EVERYWHERE, PORT, SERVE
from tcia_covid.cli.values import FOLDER


@verb(
    click.Argument(["directory"], required=False, metavar="[DIR]", type=FOLDER),
    SERVE,
    PORT,
    *EVERYWHERE,
)
def demo(console: Console, directory: str | None, *, serve: bool, port: int, **_: Any) -> int:
    """Show the main job in seconds, without a network.

    Starts a small archive on loopback, downloads from it into DIR (by default a new temporary
    folder), is interrupted, goes on, finds a damaged file, mends it, and proves the whole.
    """
    from tcia_covid.cli.performing import perform, stay  # noqa: PLC0415 - --help does without

    return (
        stay(console, port) if serve else perform(console, Path(directory) if directory else None)
    )


command = demo
