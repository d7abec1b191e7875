"""Where a command line is carried out: arguments in, exit code out, every error in one place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import click

from tcia_covid.cli import config_file
from tcia_covid.cli.click_commands import ENVIRONMENT, CommandGroup, Option
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import ALL, EVERYWHERE
from tcia_covid.core.errors import (
    EXIT_OK,
    EXIT_SIGINT,
    InterruptedRunError,
    TciaCovidError,
    UsageError,
    did_you_mean,
)
from tcia_covid.core.redaction import scrub

SUMMARIES = {
    "list": "List the known collections: size, license, where they are.",
    "info": "Show what is known of one COLLECTION.",
    "series": "List the series that TARGET and the filters name.",
    "plan": "Say what 'download' would do, without doing anything.",
    "download": "Download what TARGET names, complete and checked.",
    "adopt": "Take images in that are in DIR already.",
    "status": "Say what is complete, under way or failed in DIR, and why.",
    "verify": "Re-check every file in DIR against its recorded MD5.",
    "cite": "Give what users of TARGET are asked to cite.",
    "demo": "Show the main job in seconds, without a network.",
}
"""The commands, in the order of the help text; each is the module of its name in `commands`."""
NAMES = tuple(SUMMARIES)
_NEGATIVE = {"--no-progress", "--no-fsync"}
"""Options whose plain name is negative."""
_EPILOG = """\b
First steps:
  tcia-covid demo                                      the whole job, no network
  tcia-covid plan COVID-19-AR                          what a download would be
  tcia-covid download COVID-19-AR --first-patients 1   a first real one
  tcia-covid VERB --help                               more on a verb
"""


@click.group(
    cls=CommandGroup,
    package="tcia_covid.cli.commands",
    summaries=SUMMARIES,
    settings=lambda: config_file.settings(ALL),
    name="tcia-covid",
    invoke_without_command=True,
    subcommand_metavar="VERB ...",
    epilog=_EPILOG,
    params=[
        *EVERYWHERE,
        Option(["--version"], section="", is_flag=True, help="With --verbose: in detail."),
    ],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.pass_context
def program(ctx: click.Context, /, *, version: bool, **given: Any) -> int:
    """Download TCIA's COVID-19 imaging collections: complete, checked, resumable."""
    console = ctx.ensure_object(Console)
    if version:
        from tcia_covid.cli.version import show_version  # noqa: PLC0415

        console.configure("version", given)
        show_version(console)
        ctx.exit(EXIT_OK)
    if ctx.invoked_subcommand is None:
        raise UsageError("no verb given", hint=f"one of {', '.join(NAMES)}; --help explains them")
    return EXIT_OK


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; give the exit code."""
    wanted = _wants_json(arguments)
    console = Console(json=bool(wanted))
    try:
        code = program.main(
            args=list(arguments), prog_name="tcia-covid", obj=console, standalone_mode=False
        )
        return code if isinstance(code, int) else EXIT_OK
    except (KeyboardInterrupt, click.Abort) as error:
        return _tell(console, _interruption(error))
    except click.ClickException as error:
        console.json = _file_wants_json(error) if wanted is None else wanted
        return _tell(console, _misused(error))
    except TciaCovidError as error:
        return _tell(console, error)
    except Exception as error:  # noqa: BLE001 - the last place where it can be told
        return _tell(console, _unforeseen(error), error)


def interrupted(arguments: Sequence[str], error: KeyboardInterrupt) -> int:
    """Say that a signal came before or after a command line was carried out; give the exit code."""
    return _tell(Console(json=bool(_wants_json(arguments))), _interruption(error))


def _interruption(error: BaseException) -> InterruptedRunError:
    """The error behind a signal; click has one of its own, caused by it."""
    return InterruptedRunError(
        exit_code=getattr(error.__cause__ or error, "exit_code", EXIT_SIGINT)
    )


def _tell(console: Console, error: TciaCovidError, origin: Exception | None = None) -> int:
    """Say what went wrong, in words and, where that is wanted, as the JSON document."""
    from tcia_covid.cli.failures import failed_document  # noqa: PLC0415

    console.trace(origin or error)
    console.complain(scrub(error.message), scrub(error.hint))
    try:
        if console.json:
            console.document(failed_document(console, error))
    except TciaCovidError as unwritable:
        console.complain(unwritable.message)
    return error.exit_code


def _misused(error: click.ClickException) -> TciaCovidError:
    """The error behind click's, in this program's words."""
    ctx: click.Context | None = getattr(error, "ctx", None)
    where = ctx.command_path if ctx else "tcia-covid"
    if isinstance(error, click.NoSuchOption):
        hint = f"{_suggestion(error)} '{where} --help' explains it".lstrip()
        return UsageError(f"no such option {error.option_name!r}", hint=hint)
    message = error.format_message().rstrip(".")
    if type(error) is click.BadParameter and error.param is not None:
        message = f"{_origin(error)}: {error.message.rstrip('.')}"
    if message[1:2].islower():
        message = message[:1].lower() + message[1:]
    return UsageError(message, hint=f"'{where} --help' explains it")


def _suggestion(error: click.NoSuchOption) -> str:
    """The option that a wrong one may be meant for; opposites of flags only for a like one."""
    name = error.option_name
    known = [
        one
        for one in error.possibilities or ()
        if one.startswith("--no-") is name.startswith("--no-") or one in _NEGATIVE
    ]
    return did_you_mean(name, known, cutoff=0.7)


def _origin(error: click.BadParameter) -> str:
    """Where the value came from: the option's name or the environment variable's."""
    param = error.param
    name = param.name if param else None
    if error.ctx and name and isinstance(param, click.Option):
        source = error.ctx.get_parameter_source(name)
        if source is click.core.ParameterSource.ENVIRONMENT:
            return str(param.envvar)
        return param.opts[-1] if len(param.opts) == 1 else max(param.opts, key=len)
    return param.human_readable_name if param else "the command line"


def _unforeseen(error: Exception) -> TciaCovidError:
    return TciaCovidError(
        f"a fault of the program itself: {type(error).__name__}: {error}",
        hint="run again with --verbose and report what it prints",
    )


def _wants_json(arguments: Sequence[str]) -> bool | None:
    """Whether errors in the arguments themselves are wanted as JSON; None where nothing says."""
    for one in reversed(arguments):
        if one in {"--json", "--no-json"}:
            return one == "--json"
    said = os.environ.get(f"{ENVIRONMENT}_JSON")
    return said.lower() in {"1", "true", "yes", "on", "t", "y"} if said else None


def _file_wants_json(error: click.ClickException) -> bool:
    """Whether a configuration file wants JSON for the verb that was misused."""
    ctx: click.Context | None = getattr(error, "ctx", None)
    return ctx is not None and bool(ctx.lookup_default("json"))
