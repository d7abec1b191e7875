"""click, extended: groups of commands, short and full help, functions imported when they run."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from tcia_covid.cli.config_file import LOCAL, Setting, read_settings
from tcia_covid.cli.console import Console, write
from tcia_covid.cli.options import DISPLAY, ENVIRONMENT, Option
from tcia_covid.core.errors import UsageError, did_you_mean

_EPILOG = (
    "Every option can also be set by an environment variable (--max-rate by "
    "TCIA_COVID_MAX_RATE) or in tcia-covid.yaml. The command line overrides the environment, "
    "which overrides the file. To unset a flag, use its opposite: --no-json, --progress."
)
_FULL = "tcia_covid.full_help"
"""The key of a context that says whether its help text has all options."""
_SETTINGS = "tcia_covid.settings"
"""The key of a context for what configuration files set."""
_FIRST_SENTENCE = re.compile(r"(.*?[.])(?:\s|$)", re.DOTALL)
_DEFAULT = re.compile(r"\[default: [^\]]*\]")


class _PrintedHelp(click.Command):
    """A command that writes its help text as a result: a full disk is an error."""

    unused: frozenset[str] = frozenset()
    """Options that have no effect, so that they are neither shown nor offered."""

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The parameters, and --help-all."""
        *params, help_option = super().get_params(ctx)
        return [*params, _HELP_ALL, help_option]

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer the options that help texts show."""
        hidden = {
            name
            for param in self.params
            for name in (*param.secondary_opts, *(param.opts if param.name in self.unused else ()))
        }
        items = super().shell_complete(ctx, incomplete)
        return [item for item in items if item.value not in hidden]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        """Give the option that shows the short help text."""
        option = super().get_help_option(ctx)
        if option is not None:
            option.callback = _show_help
            option.help = "Show the most used options."
        return option


def _show_help(ctx: click.Context, option: click.Parameter, wanted: bool) -> None:  # noqa: FBT001
    if wanted and not ctx.resilient_parsing:
        ctx.meta[_FULL] = option is _HELP_ALL
        write(sys.stdout, ctx.get_help())
        ctx.exit()


_HELP_ALL = click.Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    allow_from_autoenv=False,
    callback=_show_help,
    help="Show all options.",
)


class Command(_PrintedHelp):
    """A command that also takes the options of `DISPLAY`.

    The function `command` in its module gets the console and the values of its parameters, and
    gives the exit code. The module is imported when the command runs: help texts, completion and
    manual pages need none.

    Args:
        name: of the command and of its module in `cli.commands`.
        params: its arguments and options.
        help: paragraphs: a summary, what the short help text says, and what only the full one says.
        everyday: names of the options in the short help text, in this order.
        examples: command lines, without the program's name.
        unused: names of options of `DISPLAY` that have no effect here; help texts do not show them.
    """

    def __init__(
        self,
        name: str,
        *,
        params: Sequence[click.Parameter] = (),
        help: str,  # noqa: A002 - click's name
        everyday: Sequence[str] = (),
        examples: Sequence[str],
        unused: Sequence[str] = (),
    ) -> None:
        super().__init__(
            name,
            params=[*params, *DISPLAY],
            help=help,
            epilog=_EPILOG,
            context_settings={"auto_envvar_prefix": ENVIRONMENT},
        )
        self.everyday = tuple(everyday)
        self.examples = tuple(examples)
        self.unused = frozenset(unused)

    @property
    def summary(self) -> str:
        """The first paragraph of the help text."""
        return str(self.help).partition("\n")[0]

    def invoke(self, ctx: click.Context) -> int:
        """Configure the console, then run the command, with its logs if there are any."""
        console = ctx.ensure_object(Console)
        console.configure(str(self.name), ctx.params)
        if names := sorted(_changed_by_local_file(ctx)):
            console.message(f"note: {LOCAL} sets {', '.join(names)}")
        function = self.function()
        if not gc.isenabled():  # since `signals.main`: what was imported is never garbage
            gc.freeze()
            gc.enable()
        work: Callable[[], int] = partial(ctx.invoke, function, console=console, **ctx.params)
        if not (console.log_file or console.events):
            return work()
        from tcia_covid.cli.command_logs import run_with_logs  # noqa: PLC0415 - most runs have no log

        return run_with_logs(console, work)

    def function(self) -> Callable[..., int]:
        """Import the function that does the work."""
        imported: Callable[..., int] = import_module(f"tcia_covid.cli.commands.{self.name}").command
        return self.callback or imported

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the command does: two paragraphs, or all of them."""
        paragraphs = str(self.help).split("\n\n")
        shown = paragraphs if _is_full(ctx) else paragraphs[:2]
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text("\n\n".join(shown))

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the everyday options, or all options, a section at a time."""
        if _is_full(ctx):
            for section, records in self.sections(ctx).items():
                with formatter.section(section):
                    formatter.write_dl(records)
            return
        options = {str(param.name): param for param in self.get_params(ctx)}
        with formatter.section("Options"):
            formatter.write_dl(
                _short_record(options[name], ctx) for name in (*self.everyday, "help_all")
            )

    def sections(self, ctx: click.Context) -> dict[str, list[tuple[str, str]]]:
        """All options that have an effect, with their help texts, by section."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None and param.name not in self.unused:
                section = param.section if isinstance(param, Option) else "Help"
                sections.setdefault(section, []).append(record)
        return sections

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples; in the full text also how else options can be set."""
        with formatter.section("Examples"):
            for example in self.examples:
                formatter.write(f"  {ctx.find_root().command_path} {example}\n")
        if _is_full(ctx):
            super().format_epilog(ctx, formatter)


def _is_full(ctx: click.Context) -> bool:
    return bool(ctx.meta.get(_FULL))


def settings_of(ctx: click.Context) -> dict[str, Setting]:
    """What configuration files set, by the options' names."""
    settings: dict[str, Setting] = ctx.meta.get(_SETTINGS, {})
    return settings


def _changed_by_local_file(ctx: click.Context) -> Iterator[str]:
    """Options for which the file in the current folder gives another value than the default."""
    settings = settings_of(ctx)
    for option in ctx.command.params:
        name = str(option.name)
        if not isinstance(option, Option) or name not in settings:
            continue
        is_used = ctx.get_parameter_source(name) is ParameterSource.DEFAULT_MAP
        if is_used and settings[name].file == LOCAL and settings[name].value != option.default:
            yield option.key


def _short_record(param: click.Parameter, ctx: click.Context) -> tuple[str, str]:
    """An option with the first sentence of its help text, and its default."""
    names, text = param.get_help_record(ctx) or ("", "")
    default = _DEFAULT.search(text)
    shown = first_sentence(text)
    return names, f"{shown}  {default[0]}" if default else shown


def first_sentence(text: str) -> str:
    """The first sentence of a help text."""
    sentence = _FIRST_SENTENCE.match(text)
    return sentence[1] if sentence else text


class CommandGroup(_PrintedHelp, click.Group):
    """The program itself.

    Args:
        groups: the commands, by the heads of their groups in the help text.
    """

    def __init__(self, *, groups: Mapping[str, Sequence[Command]], **attributes: Any) -> None:
        self.groups = groups
        commands: dict[str, click.Command] = {
            str(command.name): command for group in groups.values() for command in group
        }
        super().__init__(commands=commands, **attributes)

    def list_commands(self, _: click.Context) -> list[str]:
        """The commands' names; click sorts them."""
        return [*self.commands]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands, a group at a time; in the full text the options, too."""
        if _is_full(ctx):
            click.Command.format_options(self, ctx, formatter)
        width = max(map(len, self.commands))
        for head, group in self.groups.items():
            with formatter.section(head):
                formatter.write_dl(
                    (f"{command.name:{width}}", command.summary) for command in group
                )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; read configuration files, unless only its help is requested.

        Raises:
            UsageError: it does not exist.
            ConfigError: a file is broken.
        """
        if ctx.resilient_parsing:  # a shell asks for completions: never an error
            return super().resolve_command(ctx, args)
        if args[0] not in self.commands:
            suggestion = did_you_mean(args[0], self.commands)
            hint = f"{suggestion} 'tcia-covid --help' lists all commands".lstrip()
            raise UsageError(f"unknown command {args[0]!r}", hint=hint)
        ctx.ensure_object(Console).command = args[0]
        if not set(args) & {*ctx.help_option_names, *_HELP_ALL.opts}:
            settings = ctx.meta[_SETTINGS] = read_settings()
            values = {name: setting.value for name, setting in settings.items()}
            ctx.default_map = {args[0]: values}
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move options in front of the command behind it, where they have the same effect."""
        given, rest, _ = self.make_parser(ctx).parse_args(list(args))
        before = args[: len(args) - len(rest)]
        if rest and not given.keys() & {"help", "help_all", "version"}:
            args = [rest[0], *(word for word in before if word != "--"), *rest[1:]]
        return super().parse_args(ctx, args)
