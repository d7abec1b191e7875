"""Kinds of values that options take, beyond those that click brings along."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from tcia_covid.core.errors import UsageError
from tcia_covid.core.units import parse_size
from tcia_covid.selection.shards import parse_shard

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # generic since click 8.2 only


class Parsed(_ParamType):
    """Text that a function of the library understands.

    Args:
        name: what help texts call it.
        parse: raises `UsageError` for what it cannot read.
    """

    def __init__(self, name: str, parse: Callable[[str], Any]) -> None:
        self.name = name
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse text; anything else was parsed already."""
        if not isinstance(value, str):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(": ".join(filter(None, (error.message, error.hint))), param, ctx)


class OneALine(click.types.StringParamType):
    """Text of which an environment variable holds one a line: blanks may be part of it."""

    envvar_list_splitter = "\n"


class UserPath(click.Path):
    """A path as users write it: in variables and files no shell puts the home folder for `~`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Put the home folder for a leading `~`, then check as click does."""
        return super().convert(os.path.expanduser(os.fspath(value)), param, ctx)  # noqa: PTH111 - "" stays ""


class UserFile(UserPath):
    """A file that is read or appended to; standard output is for results alone."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse what names no file."""
        if value in {"", "-"}:
            self.fail(f"{value!r} names no file", param, ctx)
        return super().convert(value, param, ctx)


def size(text: str) -> int:
    """Bytes."""
    return parse_size(text)


def shard(text: str) -> Any:
    """A share of a job array."""
    return parse_shard(text)


def whole_number(least: int, most: int | None = None) -> Parsed:
    """A kind of whole numbers, from `least` to `most`."""
    span = f"of {least} or more" if most is None else f"from {least} to {most}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least or (most is not None and value > most):
            raise UsageError(f"{text[:40]!r} is not a whole number {span}")
        return value

    return Parsed("n", parse)


def pause(text: str) -> float:
    """A duration, which may be none.

    Raises:
        UsageError: it is no duration.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise UsageError(f"{text[:40]!r} is not a number of seconds")
    return value


def seconds(text: str) -> float:
    """A duration that is longer than nothing.

    Raises:
        UsageError: it is not.
    """
    value = pause(text)
    if not value:
        raise UsageError("it has to be above 0 seconds")
    return value


def url(text: str) -> str:
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


def bucket_host(text: str) -> str:
    """`aws`, `gcs`, or the URL of another S3 endpoint; several, with commas between.

    Raises:
        UsageError: one is none of these.
    """
    parts = [part.strip() for part in text.split(",")]
    return ",".join(part.lower() if part.lower() in {"aws", "gcs"} else url(part) for part in parts)


SIZE = Parsed("size", size)
SHARD = Parsed("i/n", shard)
SECONDS = Parsed("seconds", seconds)
PAUSE = Parsed("seconds", pause)
URL = Parsed("url", url)
BUCKET_HOST = Parsed("aws|gcs|url", bucket_host)
ONE_A_LINE = OneALine()
FOLDER = UserPath()
FILE = UserFile()
