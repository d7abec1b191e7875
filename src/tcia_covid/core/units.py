"""Parses and formats sizes, counts and durations; measures text and terminals."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from typing import TextIO

from tcia_covid.core.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)\s*([KMGTP]?)(I?)B?", re.IGNORECASE)
_PREFIXES = "kMGTP"
_ELLIPSIS = "..."
_ZERO_WIDTH = ("Mn", "Me", "Cf")
"""Categories of characters without a width."""
_DEFAULT_WIDTH = 80


def parse_size(text: str) -> int:
    """Parse a size in bytes: `20GB` and `20G` (1000-based), `1.5 TiB` (1024-based), `1000`.

    Case does not matter; fractions of a byte are dropped.

    Raises:
        UsageError: `text` is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise UsageError(
            f"{text[:40]!r} is not a size", hint="write it as 20GB, 1.5TiB, 500MB or in bytes"
        )
    power = _PREFIXES.upper().find(match[2].upper()) + 1 if match[2] else 0
    unit: int = (1024 if match[3] else 1000) ** power
    whole, _, fraction = match[1].partition(".")
    return int(whole + fraction) * unit // int(10 ** len(fraction))


def parse_rate(text: str) -> int:
    """Parse bytes per second: a size with its unit, such as `50MB` or `50 MB/s`.

    Raises:
        UsageError: `text` is not a size, or has no unit: few people mean 5 bytes per second.
    """
    text = re.sub(r"\s*/\s*s\s*$", "", text)
    rate = parse_size(text)
    if rate and not text.strip()[-1].isalpha():
        raise UsageError(
            f"{text[:40].strip()!r} has no unit",
            hint=f"write {text.strip()}MB for that many megabytes per second, or "
            f"{text.strip()}B for bytes",
        )
    return rate


def format_size(size: int) -> str:
    """Format bytes, 1000-based as the archives count: `19.9 GB`."""
    if size < 1000:  # noqa: PLR2004
        return f"{size} B"
    value, prefix = size / 1000, 0
    while round(value, 1) >= 1000 and prefix < len(_PREFIXES) - 1:  # noqa: PLR2004
        value, prefix = value / 1000, prefix + 1
    return f"{value:.1f} {_PREFIXES[prefix]}B"


def count(value: int, noun: str) -> str:
    """Format a number of things: `1 image`, `2,464 images`, `1 series`."""
    return f"{value:,} {noun}{'' if value == 1 or noun.endswith('s') else 's'}"


def verb(value: int) -> str:
    """The verb after a number of things: `1 series is`, `2 series are`."""
    return "is" if value == 1 else "are"


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units: `3 h 12 min`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    units = ((days, "d"), (hour, "h"), (minute, "min"), (second, "s"))
    largest = next((index for index, (number, _) in enumerate(units) if number), len(units) - 1)
    shown = [f"{number} {unit}" for number, unit in units[largest : largest + 2] if number]
    return " ".join(shown) or "0 s"


def terminal_width(stream: TextIO | None) -> int | None:
    """Give the columns of the terminal that a stream writes to; None if it is none.

    COLUMNS counts if it is set; a terminal that reports none, in some containers, has 80.
    """
    if stream is None or not stream.isatty():
        return None
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    with suppress(OSError, ValueError):
        return os.get_terminal_size(stream.fileno()).columns or _DEFAULT_WIDTH
    return _DEFAULT_WIDTH


def display_width(text: str, ambiguous: int = 1) -> int:
    """The width of a text on a terminal, in columns.

    `ambiguous` is the width of characters that only East Asian terminals draw twice as wide.
    """
    return len(text) if text.isascii() else sum(_char_width(char, ambiguous) for char in text)


def cut(text: str, columns: int) -> str:
    """The text, cut with `...` if it may take more columns on some terminal."""
    if display_width(text, ambiguous=2) <= columns:
        return text
    ellipsis = _ELLIPSIS[: max(0, columns)]
    kept, taken = [], len(ellipsis)
    for char in text:
        taken += _char_width(char, ambiguous=2)
        if taken > columns:
            break
        kept.append(char)
    return "".join(kept) + ellipsis


def _char_width(char: str, ambiguous: int) -> int:
    if char.isascii():
        return 1
    if unicodedata.combining(char) or unicodedata.category(char) in _ZERO_WIDTH:
        return 0
    kind = unicodedata.east_asian_width(char)
    return 2 if kind in "FW" else ambiguous if kind == "A" else 1


def wrap(text: str, columns: int) -> str:
    """Break lines longer than `columns` between words; what follows is indented by two more."""
    return "\n".join(piece for line in text.split("\n") for piece in _wrapped(line, columns))


def _wrapped(line: str, columns: int) -> Iterator[str]:
    if display_width(line) <= columns:
        yield line
        return
    indent = line[: len(line) - len(line.lstrip())]
    first, *words = line.split()
    piece = indent + first
    for word in words:
        if display_width(piece) + 1 + display_width(word) > columns:
            yield piece
            piece = f"{indent}  {word}"
        else:
            piece = f"{piece} {word}"
    yield piece
