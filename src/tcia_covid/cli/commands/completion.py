"""`completion`: the script that makes a shell complete command lines."""

from __future__ import annotations

from typing import Any

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK

VARIABLE = "_TCIA_COVID_COMPLETE"
"""click answers the shell where this variable is set."""
_CLASSES: dict[str, type[ShellComplete]] = {
    "bash": BashComplete,
    "zsh": ZshComplete,
    "fish": FishComplete,
}


def command(console: Console, *, shell: str, **_: Any) -> int:
    """Print the script for a shell."""
    text = script(shell, click.get_current_context().find_root())
    console.answer(shell=shell, script=text)
    console.result(text)
    return EXIT_OK


def script(shell: str, program: click.Context) -> str:
    """The script for a shell, which asks this program for completions.

    It is the template that click fills; `source` would also start bash, to ask for its version.
    `program` is the context of the whole program.
    """
    complete = _CLASSES[shell](program.command, {}, str(program.info_name), VARIABLE)
    return complete.source_template % complete.source_vars()
