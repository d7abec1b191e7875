"""click, extended: sections of options, commands that are imported when they run."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

import click

from tcia_covid.cli.console import Console, write
from tcia_covid.cli.options import ENVIRONMENT, Option
from tcia_covid.core.errors import UsageError, did_you_mean

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
    """A command: its module in `cli.commands` is imported when it runs, its help needs none.

    Args:
        name: also the module's; its function `run` gets the console and the options' values, and
            gives the exit code.
        params: its arguments and options.
        description: the help text.
        callback: a function instead of the module's.
    """

    def __init__(
        self,
        name: str,
        *params: click.Parameter,
        description: str,
        callback: Callable[..., int] | None = None,
    ) -> None:
        super().__init__(
            name,
            params=[*params],
            help=description,
            callback=callback,
            epilog=_EPILOG,
            context_settings={"auto_envvar_prefix": ENVIRONMENT},
        )

    def invoke(self, ctx: click.Context) -> int:
        """Configure the console, then run, with a log where one is asked for."""
        console = ctx.ensure_object(Console)
        console.configure(str(self.name), ctx.params)

        def work() -> int:
            function = self.callback or import_module(f"{__package__}.commands.{self.name}").run
            code: int = function(console=console, **ctx.params)
            return code

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
    """The program itself.

    Args:
        commands: in the order of the help text.
        settings: gives the values that configuration files set, by the options' names.
        attributes: as click's.
    """

    def __init__(
        self,
        commands: Iterable[Command],
        settings: Callable[[Mapping[str, Option]], dict[str, Any]],
        **attributes: Any,
    ) -> None:
        super().__init__(commands=[*commands], **attributes)
        self._settings = settings

    @property
    def options(self) -> dict[str, Option]:
        """Every option of every command, by its key: what files and the environment may set."""
        params = [param for command in self.commands.values() for param in command.params]
        return {param.key: param for param in params if isinstance(param, Option)}

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands' names; click sorts them."""
        return [*self.commands]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; read configuration files, unless only its help is asked for.

        Raises:
            UsageError: it does not exist.
            ConfigError: a file is broken.
        """
        if args[0] not in self.commands:
            suggestion = did_you_mean(args[0], self.commands)
            hint = f"{suggestion} 'tcia-covid --help' lists all commands".lstrip()
            raise UsageError(f"unknown command {args[0]!r}", hint=hint)
        ctx.ensure_object(Console).command = args[0]
        if not set(args) & set(ctx.help_option_names):
            ctx.default_map = dict.fromkeys(self.commands, self._settings(self.options))
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move options from before the command to behind it, where they mean the same."""
        given, rest, _ = self.make_parser(ctx).parse_args(list(args))
        before = args[: len(args) - len(rest)]
        if rest and not given.keys() & {"help", "version"}:
            args = [rest[0], *(word for word in before if word != "--"), *rest[1:]]
        return super().parse_args(ctx, args)
