"""click, extended: groups of commands, sections of options, modules imported when they are used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module

import click

from tcia_covid.cli import commands
from tcia_covid.cli.config_file import read_settings
from tcia_covid.cli.console import Console, write
from tcia_covid.cli.options import DISPLAY, ENVIRONMENT, Option
from tcia_covid.core.errors import UsageError, did_you_mean

SUMMARIES = {name: text for group in commands.GROUPS.values() for name, text in group.items()}
"""Each command with its one-line help."""
_EPILOG = (
    "Every option can also be set by an environment variable (--max-rate by "
    "TCIA_COVID_MAX_RATE) or in tcia-covid.yaml. The command line overrides the environment, "
    "which overrides the file. To unset a flag, use its opposite: --no-json, --progress."
)


class _PrintedHelp(click.Command):
    """A command whose help text is written as all results are: a full disk is an error."""

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Give the option that shows the help text."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
        return option


def _show_help(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted and not ctx.resilient_parsing:
        write(sys.stdout, ctx.get_help())
        ctx.exit()


class Command(_PrintedHelp):
    """A command that also takes the options of `DISPLAY`.

    Its function gets the console and the values of its parameters, and gives the exit code.
    """

    def __init__(
        self,
        name: str,
        *,
        callback: Callable[..., int],
        params: Sequence[click.Parameter],
        help: str,  # noqa: A002 - click's names
    ) -> None:
        super().__init__(
            name,
            callback=callback,
            params=[*params, *DISPLAY],
            help=help,
            epilog=_EPILOG,
            context_settings={"auto_envvar_prefix": ENVIRONMENT},
        )

    def invoke(self, ctx: click.Context) -> int:
        """Configure the console, then run, with a log where one is asked for."""
        console = ctx.ensure_object(Console)
        console.configure(str(self.name), ctx.params)
        work: Callable[[], int] = partial(ctx.invoke, self.callback, console=console, **ctx.params)
        if not (console.log_file or console.events):
            return work()
        from tcia_covid.cli.recording import run_recorded  # noqa: PLC0415 - most runs have no log

        return run_recorded(console, work)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, a section at a time."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                section = param.section if isinstance(param, Option) else "Help"
                sections.setdefault(section, []).append(record)
        for section, records in sections.items():
            with formatter.section(section):
                formatter.write_dl(records)


class CommandGroup(_PrintedHelp, click.Group):
    """The program itself: the commands of `commands.GROUPS`."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands' names; click sorts them."""
        return [*SUMMARIES]

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in SUMMARIES:
            return None
        command: click.Command = import_module(f"{commands.__name__}.{cmd_name}").command
        return command

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, a group at a time, without importing them."""
        width = max(map(len, SUMMARIES))
        for group, summaries in commands.GROUPS.items():
            with formatter.section(group):
                formatter.write_dl([(f"{name:{width}}", text) for name, text in summaries.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; read configuration files, unless only its help is asked for.

        Raises:
            UsageError: it does not exist.
            ConfigError: a file is broken.
        """
        if args[0] not in SUMMARIES:
            suggestion = did_you_mean(args[0], SUMMARIES)
            hint = f"{suggestion} 'tcia-covid --help' lists all commands".lstrip()
            raise UsageError(f"unknown command {args[0]!r}", hint=hint)
        ctx.ensure_object(Console).command = args[0]
        if not set(args) & set(ctx.help_option_names):
            ctx.default_map = {args[0]: read_settings()}
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move options from before the command to behind it, where they mean the same."""
        given, rest, _ = self.make_parser(ctx).parse_args(list(args))
        before = args[: len(args) - len(rest)]
        if rest and not given.keys() & {"help", "version"}:
            args = [rest[0], *(word for word in before if word != "--"), *rest[1:]]
        return super().parse_args(ctx, args)
