"""Kinds of values that options take, beyond those that click brings along."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click

from tcia_covid.errors import UsageError


class Parsed(click.ParamType):
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


def size(text: str) -> int:
    """Bytes."""
    from tcia_covid.selection.sizes import parse_size  # noqa: PLC0415 - decimal costs time

    return parse_size(text)


def shard(text: str) -> Any:
    """A share of a job array."""
    from tcia_covid.selection.shards import parse_shard  # noqa: PLC0415

    return parse_shard(text)


def seconds(text: str) -> float:
    """A duration that is longer than nothing.

    Raises:
        UsageError: it is not.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise UsageError(f"{text[:40]!r} is not a number of seconds above 0")
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
    """`aws`, `gcs`, or the URL of another S3 endpoint.

    Raises:
        UsageError: it is none of these.
    """
    return text.lower() if text.lower() in {"aws", "gcs"} else url(text)


SIZE = Parsed("size", size)
SHARD = Parsed("i/n", shard)
SECONDS = Parsed("seconds", seconds)
URL = Parsed("url", url)
BUCKET_HOST = Parsed("aws|gcs|url", bucket_host)
ONE_A_LINE = OneALine()
