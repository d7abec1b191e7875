"""Configuration files: values of options that neither command line nor environment sets."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tcia_covid.cli.console import write
from tcia_covid.cli.options import ENVIRONMENT, OPTIONS, Option
from tcia_covid.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from tcia_covid.core.yaml_reader import Item

LOCAL = "tcia-covid.yaml"
_PREFIX = f"{ENVIRONMENT}_"
_SERVICE = (
    rf"{_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""Variables that Kubernetes sets for a Service whose name begins as this program's."""


BASE_FOLDERS = {
    "linux": ("XDG_CONFIG_HOME", ".config"),
    "darwin": ("", "Library/Application Support"),
    "win32": ("APPDATA", "AppData/Roaming"),
}
"""Of the user's configuration, by platform: the variable that names it, else a part of the home."""


class Setting(NamedTuple):
    """The value of an option, and where a file sets it."""

    value: Any
    file: str
    line: int


def files() -> list[Path]:
    """The files that are read: the user's, then the current folder's, which overrides it."""
    folder = user_folder()
    return [*([folder / "config.yaml"] if folder else []), Path(LOCAL)]


def user_folder() -> Path | None:
    """The user's configuration folder on this system.

    None without a home folder: in containers, HOME may be unset and the user ID without a name.
    """
    variable, folder = BASE_FOLDERS.get(sys.platform, BASE_FOLDERS["linux"])
    try:
        base = Path(os.environ.get(variable) or Path.home() / folder)
    except RuntimeError:
        return None
    return base / "tcia-covid"


def read_settings() -> dict[str, Setting]:
    """What files set, by the options' names, after a check of the environment's variables.

    Raises:
        ConfigError: a file is broken, or a variable names no option.
    """
    check_environment(os.environ)
    return load(files())


def check_environment(variables: Iterable[str]) -> None:
    """Refuse `TCIA_COVID_...` variables that name no option: a typo would have no effect.

    Raises:
        ConfigError: there is one.
    """
    known = {option.variable for option in OPTIONS.values()}
    for name in sorted(variables):
        if name.startswith(_PREFIX) and name not in known and not re.fullmatch(_SERVICE, name):
            hint = did_you_mean(name, known) or "unset it, or see 'tcia-covid --help'"
            raise ConfigError(f"the environment variable {name[:60]} names no option", hint=hint)


def load(paths: Iterable[Path]) -> dict[str, Setting]:
    """What files set, by the options' names; later files override earlier ones.

    Raises:
        ConfigError: a file cannot be read, an option is unknown, or a value is invalid.
    """
    settings: dict[str, Setting] = {}
    for path in paths:
        settings |= _read(path)
    return settings


def _read(path: Path) -> dict[str, Setting]:
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        # Windows refuses to read a folder in the same way.
        if isinstance(error, PermissionError) and not os.path.isdir(path):  # noqa: PTH112
            # Jobs and services often run with the HOME of another user.
            write(sys.stderr, f"warning: cannot read {path}, ignored: {error.strerror}")
            return {}
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    from tcia_covid.core.yaml_reader import Source, parse  # noqa: PLC0415 - most runs have no file

    document = parse(content, Source(str(path), ConfigError))
    settings: dict[str, Setting] = {}
    for key, item in [] if document.is_null else document.pairs():
        option = _option(key)
        if option.name in settings:
            raise key.source.error(key.line, f"{option.key!r} is set twice")
        value = _value(item, option)
        if value is not None:
            settings[str(option.name)] = Setting(value, str(path), key.line)
    return settings


def _option(key: Item) -> Option:
    name = key.text().replace("_", "-").removeprefix("--")
    if name in OPTIONS:
        return OPTIONS[name]
    hint = did_you_mean(name, OPTIONS) or f"the options are {', '.join(sorted(OPTIONS))}"
    raise key.source.error(key.line, f"unknown option {name[:40]!r}", hint=hint)


def _value(item: Item, option: Option) -> Any:
    """The value of an option, read as it is written (0012 is no number); None if it is empty."""
    items = item.items() if item.is_list and option.multiple else [item]
    texts = [item.scalar() for item in items if not item.is_null]
    if not texts:
        return None
    context = click.Context(click.Command("config"))
    try:
        return option.type_cast_value(context, texts if option.multiple else texts[0])
    except click.BadParameter as error:
        raise item.source.error(item.line, f"{option.key}: {error.message.rstrip('.')}") from error
