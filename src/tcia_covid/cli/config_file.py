"""Configuration files: what options are set to where neither user nor environment says."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcia_covid.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    import yaml

    from tcia_covid.cli.click_commands import Option

LOCAL = "tcia-covid.yaml"
_PREFIX = "TCIA_COVID_"
_SERVICE = re.compile(
    rf"{_PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?"
    r"|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
"""What Kubernetes tells each container of a Service whose name begins as this program's."""
_NULL = "tag:yaml.org,2002:null"


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
    found: dict[str, Any] = {}
    for key, value in _entries(path, content):
        option = _option(path, key, known)
        if option.name in found:
            raise _broken(path, key, f"{option.key!r} stands there twice")
        given = _value(path, key, value, option)
        if given is not None:
            found[str(option.name)] = given
    return found


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def _entries(path: Path, content: bytes) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    import yaml  # noqa: PLC0415 - most runs have no configuration file

    try:
        top = yaml.compose(content, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise _not_yaml(path, error) from error
    if top is None or top.tag == _NULL:
        return
    if not isinstance(top, yaml.MappingNode):
        raise _broken(path, top, "not a line 'option: value'", hint="such as 'jobs: 16'")
    for key, value in top.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _broken(path, key, "the name of an option is a plain word")
        yield key, value


def _option(path: Path, key: yaml.ScalarNode, known: Mapping[str, Option]) -> Option:
    name = str(key.value).strip().replace("_", "-").removeprefix("--")
    if name in known:
        return known[name]
    hint = did_you_mean(name, known) or f"the options are {', '.join(sorted(known))}"
    raise _broken(path, key, f"there is no option {name[:40]!r}", hint=hint)


def _value(path: Path, key: yaml.ScalarNode, node: yaml.Node, option: Option) -> Any:
    """The value of an option; None where it is left empty."""
    texts = _texts(path, key, node, option)
    if not texts:
        return None
    context = click.Context(click.Command("config"))
    try:
        return option.type_cast_value(context, texts if option.multiple else texts[0])
    except click.BadParameter as error:
        raise _broken(path, node, f"{option.key}: {error.message}") from error


def _texts(path: Path, key: yaml.ScalarNode, node: yaml.Node, option: Option) -> list[str]:
    """The value's words as they are written: YAML itself would read the patient 0012 as 10."""
    import yaml  # noqa: PLC0415

    nodes = node.value if isinstance(node, yaml.SequenceNode) and option.multiple else [node]
    for one in nodes:
        if not isinstance(one, yaml.ScalarNode):
            kind = "one value or a list of values" if option.multiple else "one value"
            raise _broken(path, one, f"{key.value} takes {kind}")
    return [str(one.value) for one in nodes if one.tag != _NULL]


def _not_yaml(path: Path, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f"{path}, line {mark.line + 1}" if mark else str(path)
    reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not text"
    return ConfigError(f"{where}: not YAML: {reason}", hint="write lines such as 'jobs: 16'")


def _broken(path: Path, node: yaml.Node, reason: str, hint: str = "") -> ConfigError:
    return ConfigError(f"{path}, line {node.start_mark.line + 1}: {reason}", hint=hint)
