"""Sizes, counts and durations as people write and read them."""

from __future__ import annotations

import re
from decimal import Decimal

from tcia_covid.core.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?)\s*([KMGTP]?)(I?)B?", re.IGNORECASE)
_PREFIXES = ("k", "M", "G", "T", "P")


def parse_size(text: str) -> int:
    """Bytes that `text` stands for: `20GB` and `20G` (1000-based), `1.5 TiB` (1024-based), `1000`.

    Upper and lower case mean the same; parts of a byte are dropped.

    Raises:
        UsageError: it is not a size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise UsageError(
            f"{text[:40]!r} is not a size", hint="write it as 20GB, 1.5TiB, 500MB or in bytes"
        )
    power = "KMGTP".find(match[2].upper()) + 1 if match[2] else 0
    return int(Decimal(match[1]) * (1024 if match[3] else 1000) ** power)


def format_size(size: int) -> str:
    """`size` bytes for people, 1000-based as the archives count: `19.9 GB`."""
    if size < 1000:  # noqa: PLR2004
        return f"{size} B"
    value, place = size / 1000, 0
    while round(value, 1) >= 1000 and place < len(_PREFIXES) - 1:  # noqa: PLR2004
        value, place = value / 1000, place + 1
    return f"{value:.1f} {_PREFIXES[place]}B"


def count(value: int, noun: str) -> str:
    """A number of things: `1 image`, `2,464 images`, `1 series`."""
    plain = value == 1 or noun.endswith("s")
    return f"{value:,} {noun if plain else noun + 's'}"


def format_duration(seconds: float) -> str:
    """`seconds` for people, in its two largest units: `3 h 12 min`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    counts = ((days, "d"), (hour, "h"), (minute, "min"), (second, "s"))
    first = next((place for place, (number, _) in enumerate(counts) if number), len(counts) - 1)
    shown = [f"{number} {unit}" for number, unit in counts[first : first + 2] if number]
    return " ".join(shown) or "0 s"
