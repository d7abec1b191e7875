"""The program: arguments in, exit code out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from tcia_covid.cli.click_commands import CommandGroup
from tcia_covid.cli.commands import COMMANDS
from tcia_covid.cli.config_file import read_settings
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import DISPLAY, ENVIRONMENT, Option
from tcia_covid.core.errors import EXIT_OK, UsageError

_EPILOG = """\b
First steps:
  tcia-covid demo                                      try it, no network needed
  tcia-covid plan COVID-19-AR                          what a download would fetch
  tcia-covid download COVID-19-AR --first-patients 1   a first real download
  tcia-covid COMMAND --help                            help on one command
"""


@click.group(
    cls=CommandGroup,
    commands=COMMANDS,
    settings=read_settings,
    name="tcia-covid",
    invoke_without_command=True,
    subcommand_metavar="COMMAND ...",
    epilog=_EPILOG,
    params=[
        *DISPLAY,
        Option("--version", section="", is_flag=True, help="With --verbose: in detail."),
    ],
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "auto_envvar_prefix": ENVIRONMENT,
    },
)
@click.pass_context
def program(ctx: click.Context, /, *, version: bool, **given: Any) -> int:
    """Download TCIA's COVID-19 imaging collections: complete, checked, resumable."""
    console = ctx.ensure_object(Console)
    if version:
        from tcia_covid.cli.version import show_version  # noqa: PLC0415 - reads the catalog

        console.configure("version", given)
        show_version(console)
        ctx.exit(EXIT_OK)
    if ctx.invoked_subcommand is None:
        raise UsageError(
            "no command given",
            hint=f"use one of {', '.join(program.commands)}; 'tcia-covid --help' describes them",
        )
    return EXIT_OK


def run(arguments: Sequence[str]) -> int:
    """Run a command line; give the exit code."""
    console = Console()
    try:
        code = program.main(
            args=list(arguments), prog_name="tcia-covid", obj=console, standalone_mode=False
        )
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001 - the last place to report it
        from tcia_covid.cli import error_report  # noqa: PLC0415 - needs the documents of most commands

        return error_report.report(console, error, arguments)
    return code if isinstance(code, int) else EXIT_OK
