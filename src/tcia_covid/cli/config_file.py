"""Configuration files: what options are set to where neither user nor environment says."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcia_covid.core.errors import ConfigError, did_you_mean
from tcia_covid.core.yaml_reader import Item, Source, parse

if TYPE_CHECKING:
    from tcia_covid.cli.click_commands import Option

LOCAL = "tcia-covid.yaml"
_PREFIX = "TCIA_COVID_"
_SERVICE = re.compile(
    rf"{_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What Kubernetes tells each container of a Service whose name begins as this program's."""


def files() -> list[Path]:
    """The files that count, the weaker first: the user's, then the current folder's."""
    return [user_folder() / "config.yaml", Path(LOCAL)]


def user_folder() -> Path:
    """Where this system keeps the user's configuration of this program."""
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "tcia-covid"


def settings(options: Iterable[Option]) -> dict[str, Any]:
    """What the files say, once the names of the environment's variables are found right.

    Raises:
        ConfigError: a file is broken, or a variable of this program's names no option.
    """
    known = list(options)
    check_environment(os.environ, known)
    return load(known)


def check_environment(variables: Iterable[str], options: Iterable[Option]) -> None:
    """Refuse variables that look like an option's and are none's: a slip would go unnoticed.

    Raises:
        ConfigError: there is one.
    """
    known = {str(option.envvar) for option in options}
    for name in sorted(variables):
        if name.startswith(_PREFIX) and name not in known and not _SERVICE.fullmatch(name):
            hint = did_you_mean(name, known) or "unset it, or see 'tcia-covid --help'"
            raise ConfigError(f"the environment variable {name[:60]} names no option", hint=hint)


def load(options: Iterable[Option], paths: Iterable[Path] | None = None) -> dict[str, Any]:
    """What the files say, by the names of the options' values; later files count more.

    Raises:
        ConfigError: a file cannot be read, an option is unknown, or a value is none of its kind.
    """
    known = {option.key: option for option in options}
    found: dict[str, Any] = {}
    for path in files() if paths is None else paths:
        found |= _read(path, known)
    return found


def _read(path: Path, known: Mapping[str, Option]) -> dict[str, Any]:
    content = _content(path)
    if content is None:
        return {}
    document = parse(content, Source(str(path), ConfigError))
    values: dict[str, Any] = {}
    for key, item in [] if document.is_null else document.pairs():
        option = _option(key, known)
        if option.name in values:
            raise key.source.error(key.line, f"{option.key!r} appears twice")
        value = _value(item, option)
        if value is not None:
            values[str(option.name)] = value
    return values


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def _option(key: Item, known: Mapping[str, Option]) -> Option:
    name = key.text().replace("_", "-").removeprefix("--")
    if name in known:
        return known[name]
    hint = did_you_mean(name, known) or f"the options are {', '.join(sorted(known))}"
    raise key.source.error(key.line, f"there is no option {name[:40]!r}", hint=hint)


def _value(item: Item, option: Option) -> Any:
    """The value of an option, read as it is written (0012 is no number); None if it is empty."""
    items = item.items() if item.is_list and option.multiple else [item]
    texts = [one.scalar() for one in items if not one.is_null]
    if not texts:
        return None
    context = click.Context(click.Command("config"))
    try:
        return option.type_cast_value(context, texts if option.multiple else texts[0])
    except click.BadParameter as error:
        raise item.source.error(item.line, f"{option.key}: {error.message}") from error
