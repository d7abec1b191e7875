"""`config`: every setting and its origin."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from tcia_covid.cli.click_commands import settings_of
from tcia_covid.cli.config_file import BASE_FOLDERS, files
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import OPTIONS, Option
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.redaction import scrub
from tcia_covid.output.tables import key_values, table, width

_DEFAULT = re.compile(r"\[default: ([^\]]*)\]")
_SYSTEMS = {"linux": "Linux", "darwin": "macOS", "win32": "Windows"}


@dataclass(frozen=True, slots=True)
class Origin:
    """A setting and where it comes from."""

    name: str
    value: Any
    """As the option has it, without credentials; None if it has no value."""
    origin: str
    """`command line`, the name of a variable, `FILE:LINE`, or `default`."""


def command(console: Console, **_: Any) -> int:
    """Show all settings, and where each one comes from."""
    settings = sorted(origins(console), key=lambda each: (each.origin == "default", each.name))
    states = {str(path): _state(path) for path in files()}
    console.answer(
        files=[{"path": path, "state": state} for path, state in states.items()],
        user_files=user_files(),
        settings=[asdict(each) for each in settings],
    )
    shown = {path: f"{state}, {_ROLES[Path(path).name]}" for path, state in states.items()}
    rows = [(each.name, _shown(each.value), each.origin) for each in settings]
    heads = ("setting", "value", "origin")
    console.result(
        "\n\n".join(
            [
                f"Files, the later ones override the earlier ones:\n{key_values(shown.items())}",
                f"Place of the user's file:\n{key_values(user_files().items())}",
                "\n".join(table(heads, rows, tuple, keep=heads[:1], columns=width())),
            ]
        )
    )
    return EXIT_OK


_ROLES = {"config.yaml": "the user's file", "tcia-covid.yaml": "the current folder's file"}


def origins(console: Console) -> Iterator[Origin]:
    """Every option of the program with its value and origin."""
    context = click.get_current_context()
    for option in OPTIONS.values():
        name = str(option.name)
        value = context.params.get(name, getattr(console, name, None))
        source = context.get_parameter_source(name)
        if source is None:  # it shares its name with another option
            value, source = option.consume_value(context, {})
        yield Origin(option.key, *_explained(option, value, source, context))


def _explained(
    option: Option, value: Any, source: ParameterSource, context: click.Context
) -> tuple[Any, str]:
    """The value to show, and its origin."""
    if source is ParameterSource.COMMANDLINE:
        return _public(value), "command line"
    if source is ParameterSource.ENVIRONMENT:
        return _public(value), option.variable
    if source is ParameterSource.DEFAULT_MAP:
        setting = settings_of(context)[str(option.name)]
        return _public(setting.value), f"{setting.file}:{setting.line}"
    default = _DEFAULT.search(option.help or "")
    if default:
        return default[1], "default"
    return option.default if isinstance(option.default, bool | int | str) else None, "default"


def _public(value: Any) -> Any:
    """A value without credentials."""
    if isinstance(value, tuple | list):
        return [_public(item) for item in value]
    return scrub(value) if isinstance(value, str) else value


def user_files() -> dict[str, str]:
    """Where the user's file belongs on each system."""
    return {
        _SYSTEMS[platform]: f"~/{folder}/tcia-covid/config.yaml"
        + (f", or below the folder that {variable} names" if variable else "")
        for platform, (variable, folder) in BASE_FOLDERS.items()
    }


def _state(path: Path) -> str:
    try:
        path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "unreadable"
    return "read"


def _shown(value: Any) -> str:
    if value is None or value == []:
        return "not set"
    if isinstance(value, bool):
        return str(value).lower()
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
