"""The program: arguments in, exit code out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from tcia_covid.cli.click_commands import CommandGroup
from tcia_covid.cli.command_table import GROUPS
from tcia_covid.cli.console import Console, write
from tcia_covid.cli.options import DISPLAY, ENVIRONMENT, Option
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.version import PROGRAM, __version__

_EPILOG = """\b
First steps:
  tcia-covid demo                                      try it, no network needed
  tcia-covid plan COVID-19-AR                          what a download would fetch
  tcia-covid download COVID-19-AR --first-patients 1   a first real download
  tcia-covid COMMAND --help                            help on one command
  tcia-covid help exit-codes    or environment, filters, layout, targets, templates
"""


@click.group(
    cls=CommandGroup,
    groups=GROUPS,
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
def program(ctx: click.Context, /, *, version: bool, **values: Any) -> int:
    """Download TCIA's COVID-19 imaging collections: complete, checked, resumable."""
    if version:
        console = ctx.ensure_object(Console)
        console.configure("version", values)
        show_version(console)
        ctx.exit(EXIT_OK)
    if ctx.invoked_subcommand is None:
        write(sys.stdout, ctx.get_help())
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


def show_version(console: Console) -> None:
    """Show the version; with --verbose, everything that a bug report should name."""
    console.result(PROGRAM)
    if not (console.json or console.verbose):
        return
    # Slow, and only a bug report needs it.
    from tcia_covid.operations.doctor_facts import program_details  # noqa: PLC0415

    details = program_details()
    console.answer(version=__version__, **details)
    console.result("\n".join(f"{name:9} {text}" for name, text in details.items()))
