"""click's parameter types, extended: sizes, rates, addresses, and paths as users write them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from tcia_covid.core.errors import UsageError
from tcia_covid.core.files import check_working_folder
from tcia_covid.core.safe_names import is_windows_name
from tcia_covid.core.units import parse_rate, parse_size

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic since click 8.2 only


class Parsed(_ParamType):
    """Text that a function of the library parses, or refuses with a `UsageError`."""

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; anything else is parsed already."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(": ".join(filter(None, (error.message, error.hint))), param, ctx)


class WholeNumberRange(click.IntRange):
    """A whole number; click calls it a "valid integer range" when it refuses a value."""

    name = "whole number"


class NumberRange(click.FloatRange):
    """A number, by a name that users know."""

    name = "number"


class OnePerLine(click.types.StringParamType):
    """Text that may contain spaces: an environment variable has one value per line."""

    envvar_list_splitter = "\n"


class UserPath(click.Path):
    """A path that may begin with `~`: no shell expands it in variables and files."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Expand `~`, then check as click does."""
        path = os.path.expanduser(os.fspath(value))  # noqa: PTH111 - "" stays ""
        if path.startswith("~/") or path == "~":
            self.fail(f"{path!r}: the home folder is unknown, HOME is not set", param, ctx)
        try:
            check_working_folder(path)
        except UsageError as error:
            self.fail(f"{error.message}; {error.hint}", param, ctx)
        return super().convert(path, param, ctx)


class UserFolder(UserPath):
    """A folder for output; on Windows, names that it does not allow are refused."""

    def __init__(self, *, windows: bool = sys.platform == "win32") -> None:
        super().__init__()
        self._windows = windows

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's interface
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Offer folders."""
        return [CompletionItem(incomplete, type="dir")]

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse a path that Windows does not allow."""
        text = os.fspath(value)
        if self._windows and text.endswith('"'):
            self.fail(f"{text} ends with a quotation mark: do not write \\ before it", param, ctx)
        path = PureWindowsPath(text)
        names = set(path.parts) - {path.anchor, ".."} if self._windows else set()
        for name in sorted(names):
            if not is_windows_name(name):
                self.fail(f"Windows does not allow a folder named {name!r}", param, ctx)
        return super().convert(value, param, ctx)


class UserFile(UserPath):
    """A file to read or to append to; `-` is refused: standard output is for results only."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse `-` and other values that are not file names."""
        if value in {"", "-"}:
            self.fail(f"{value!r} is not a file name", param, ctx)
        return super().convert(value, param, ctx)


def parse_url(text: str) -> str:
    """The base URL of an archive.

    Raises:
        UsageError: it is not one.
    """
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("not an http or https URL")
    return text


def parse_bucket_hosts(text: str) -> str:
    """`aws`, `gcs`, or the URL of another S3 endpoint; several, separated by commas.

    Raises:
        UsageError: one is none of these.
    """
    parts = [part.strip() for part in text.split(",")]
    return ",".join(
        part.lower() if part.lower() in {"aws", "gcs"} else parse_url(part) for part in parts
    )


SIZE = Parsed("size", parse_size)
RATE = Parsed("rate", parse_rate)
URL = Parsed("url", parse_url)
BUCKET_HOST = Parsed("aws|gcs|url", parse_bucket_hosts)
ONE_PER_LINE = OnePerLine()
FOLDER = UserFolder()
FILE = UserFile(dir_okay=False)
DURATION = NumberRange(min=0)
POSITIVE_DURATION = NumberRange(min=0, min_open=True)
