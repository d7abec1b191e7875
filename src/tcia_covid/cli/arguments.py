"""What verbs take beside options: the TARGET words, and the DIR to look at."""

from __future__ import annotations

import click

from tcia_covid.cli import values
from tcia_covid.cli.options import OUTPUT


def targets(*, required: bool = True) -> click.Argument:
    """The TARGET words of a verb."""
    return click.Argument(["targets"], nargs=-1, required=required, metavar="TARGET...")


def directory() -> click.Argument:
    """The DIR of a verb that looks at a download: by default where `download` puts it."""
    return click.Argument(
        ["directory"],
        required=False,
        metavar="[DIR]",
        type=values.FOLDER,
        envvar=OUTPUT.envvar,
        default=default_directory,
    )


def default_directory() -> str:
    """What a configuration file says that the output folder is, or the default."""
    context = click.get_current_context(silent=True)
    found = context.lookup_default(str(OUTPUT.name)) if context else None
    return str(found or OUTPUT.default)
