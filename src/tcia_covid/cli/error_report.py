"""Errors of a command, also those of click, as messages and as the JSON document."""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from tcia_covid.cli.console import Console
from tcia_covid.cli.options import ENVIRONMENT, Option
from tcia_covid.core.errors import (
    EXIT_SIGINT,
    InterruptedRunError,
    TciaCovidError,
    UsageError,
    did_you_mean,
)
from tcia_covid.core.limits import limit_error
from tcia_covid.core.redaction import scrub
from tcia_covid.core.summary import Summary
from tcia_covid.operations.status import StatusResult
from tcia_covid.operations.verify import VerifyResult
from tcia_covid.output.json_documents import (
    Document,
    error_document,
    status_document,
    summary_document,
    verify_document,
)

_NEGATIVE = {"--no-progress", "--no-fsync", "--no-space-check"}
"""Options whose documented name is negative."""


def report(console: Console, error: BaseException, arguments: Sequence[str]) -> int:
    """Report the error that ended a command, as text and with --json; return the exit code."""
    console.json = _wants_json(arguments, error)
    reported = to_error(error)
    console.trace(error)
    console.error(scrub(reported.message), scrub(reported.hint))
    try:
        console.document(_failed_document(console, reported))
    except TciaCovidError as unwritable:
        console.error(unwritable.message)
    return reported.exit_code


def to_error(error: BaseException) -> TciaCovidError:
    """Convert any exception to an error of this program."""
    if isinstance(error, TciaCovidError):
        return error
    if isinstance(error, KeyboardInterrupt | click.Abort):
        origin = error.__cause__ or error  # click raises its own
        return InterruptedRunError(exit_code=getattr(origin, "exit_code", EXIT_SIGINT))
    if isinstance(error, click.ClickException):
        return _usage_error(error)
    if (limit := limit_error(error)) is not None:
        return limit
    return TciaCovidError(
        f"internal error: {type(error).__name__}: {error}",
        hint="run again with --verbose and report the output",
    )


def _usage_error(error: click.ClickException) -> UsageError:
    ctx: click.Context | None = getattr(error, "ctx", None)
    hint = f"see '{ctx.command_path if ctx else 'tcia-covid'} --help'"
    if isinstance(error, click.NoSuchOption):
        name = error.option_name
        negative = name.startswith("--no-")
        known = [
            option
            for option in error.possibilities or ()
            if option.startswith("--no-") is negative or option in _NEGATIVE
        ]
        return UsageError(
            f"unknown option {name!r}",
            hint=f"{did_you_mean(name, known, cutoff=0.7)} {hint}".lstrip(),
        )
    message = error.format_message().rstrip(".")
    if type(error) is click.BadParameter and error.param is not None:
        message = f"{_origin(error, error.param)}: {error.message.rstrip('.')}"
    if message[1:2].islower():
        message = message[:1].lower() + message[1:]
    return UsageError(message, hint=hint)


def _origin(error: click.BadParameter, param: click.Parameter) -> str:
    """Where a value came from: the name of the option, argument or environment variable."""
    if not isinstance(param, Option):
        return param.human_readable_name
    source = error.ctx and error.ctx.get_parameter_source(str(param.name))
    if source is click.core.ParameterSource.ENVIRONMENT:
        return param.variable
    return max(param.opts, key=len)


def _failed_document(console: Console, error: TciaCovidError) -> Document:
    """The command's document with the error and otherwise empty values."""
    document: Document = {}
    if console.command == "download":
        document = summary_document(Summary(list(console.targets), console.folder))
    elif console.command == "verify":
        document = verify_document(VerifyResult(console.folder))
    elif console.command == "status":
        document = status_document(StatusResult(console.folder, []))
    return {**document, **error_document(console.command, error)}


def _wants_json(arguments: Sequence[str], error: BaseException) -> bool:
    """Whether --json is set, even if the arguments could not be parsed."""
    for argument in reversed(arguments):
        if argument in {"--json", "--no-json"}:
            return argument == "--json"
    if value := os.environ.get(f"{ENVIRONMENT}_JSON"):
        return value.lower() in {"1", "true", "yes", "on", "t", "y"}
    ctx: click.Context | None = getattr(error, "ctx", None)
    return ctx is not None and bool(ctx.lookup_default("json"))
