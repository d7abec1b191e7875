"""What click lacks for this program: options in sections, opposites of flags, lazy verbs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, cast

import click

from tcia_covid.cli.console import Console, write
from tcia_covid.cli.subscribers import run_recorded
from tcia_covid.core.errors import UsageError, did_you_mean

ENVIRONMENT = "TCIA_COVID"
_RULES = (
    "Every option can also be given by an environment variable (--max-rate by "
    "TCIA_COVID_MAX_RATE) or in tcia-covid.yaml; the command line beats the environment, that "
    "beats the file. A flag given there is taken back by its opposite: --no-json, --progress."
)
Run = Callable[..., int]


class Option(click.Option):
    """An option that knows its section of the help text and its environment variable.

    Flags have an opposite, which help texts leave out: what an environment variable or a
    configuration file switched on can be switched off again.

    Args:
        declarations: as click's.
        section: where help texts list it.
        key: its name in configuration files and, in capitals, in the environment; by default
            that on the command line.
        attributes: as click's.
    """

    def __init__(
        self, declarations: Sequence[str], *, section: str, key: str = "", **attributes: Any
    ) -> None:
        self.section = section
        name = next(one for one in declarations if one.startswith("--"))[2:]
        self.key = key or name
        if attributes.get("is_flag"):
            opposite = name[3:] if name.startswith("no-") else f"no-{name}"
            declarations = _with_opposite(declarations, name, opposite)
            attributes.setdefault("default", False)
        variable = f"{ENVIRONMENT}_{self.key.upper().replace('-', '_')}"
        super().__init__(declarations, envvar=variable, **attributes)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The line of the help text, without the opposite."""
        opposites, self.secondary_opts = self.secondary_opts, []
        try:
            return super().get_help_record(ctx)
        finally:
            self.secondary_opts = opposites


def _with_opposite(declarations: Sequence[str], name: str, opposite: str) -> list[str]:
    changed = {f"--{name}": f"--{name}/--{opposite}"}
    shown = [changed.get(one, one) for one in declarations]
    # click would take the name of the value from the first of the two spellings
    return [name.replace("-", "_"), *shown]


class HelpfulCommand(click.Command):
    """A command whose help text goes the way of all results."""

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


class Command(HelpfulCommand):
    """One verb: its function gets the console and the values of its options."""

    def invoke(self, ctx: click.Context) -> Any:
        """Tell the console what is asked of it, then run, on record where that is wanted."""
        console = ctx.ensure_object(Console)
        console.configure(ctx.info_name or "", ctx.params)

        def work() -> int:
            return ctx.invoke(cast("Run", self.callback), console=console, **ctx.params)

        if not (console.log_file or console.events):
            return work()
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

    def format_epilog(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what holds for the options of every verb."""
        formatter.write_paragraph()
        formatter.write_text(_RULES)


def as_command(*params: click.Parameter, **attributes: Any) -> Callable[[Run], Command]:
    """Make a function the verb of its name; its docstring is the help text."""

    def decorate(function: Run) -> Command:
        return Command(
            function.__name__.rstrip("_"),
            callback=function,
            params=list(params),
            help=function.__doc__,
            **attributes,
        )

    return decorate


class CommandGroup(HelpfulCommand, click.Group):
    """The program itself; a command is imported when it is used.

    Args:
        package: where the commands' modules are; each holds a `command`.
        summaries: what the help text says of each command, by its name.
        settings: gives what configuration files say, by the names of the values.
        attributes: of the group.
    """

    def __init__(
        self,
        package: str,
        summaries: Mapping[str, str],
        settings: Callable[[], dict[str, Any]],
        **attributes: Any,
    ) -> None:
        super().__init__(**attributes)
        self._package = package
        self._summaries = dict(summaries)
        self._settings = settings

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands' names."""
        return [*self._summaries]

    def format_commands(self, _: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands with their summaries; none is imported for it."""
        with formatter.section("Commands"):
            formatter.write_dl([*self._summaries.items()])

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self._summaries:
            return None
        return cast("click.Command", import_module(f"{self._package}.{cmd_name}").command)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb, and what configuration files say of its options.

        Raises:
            UsageError: there is none of that name.
            ConfigError: a file is broken; no reason to withhold a verb's help.
        """
        if args[0] not in self._summaries:
            suggestion = did_you_mean(args[0], self._summaries)
            hint = f"{suggestion} 'tcia-covid --help' lists all commands".lstrip()
            raise UsageError(f"unknown command {args[0]!r}", hint=hint)
        ctx.ensure_object(Console).verb = args[0]
        if not set(args) & set(ctx.help_option_names):
            ctx.default_map = dict.fromkeys(self._summaries, self._settings())
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move options that stand before the verb behind it: they mean the same there."""
        given, rest, _ = self.make_parser(ctx).parse_args(list(args))
        before = args[: len(args) - len(rest)]
        if rest and not given.keys() & {"help", "version"}:
            args = [rest[0], *(one for one in before if one != "--"), *rest[1:]]
        return super().parse_args(ctx, args)
