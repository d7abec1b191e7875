"""Fields of the site's records: texts with HTML, numbers, nested objects, lists, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any

Record = Mapping[str, Any]

_TEXT_KEYS = ("rendered", "label", "title", "name", "post_title", "raw")
_ID_KEYS = ("id", "ID")
_LONGEST = 20_000
"""Characters of a text that are looked at."""


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def text(value: object) -> str:
    """Plain words on one line; empty where there are none."""
    if isinstance(value, Mapping):
        return text(next((value[key] for key in _TEXT_KEYS if value.get(key)), None))
    if isinstance(value, list):
        return "; ".join(filter(None, map(text, value[:100])))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    words = _Words()
    words.feed(str(value)[:_LONGEST])
    words.close()
    # JSON can escape half a character, which no file takes.
    whole = "".join(words.pieces).encode("utf-8", "replace").decode()
    return " ".join(whole.split())


def labels(value: object) -> tuple[str, ...]:
    """The words of a field that may have several, without doubles."""
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(filter(None, map(text, items[:100]))))


def record_id(value: object) -> int | None:
    """The number of a record, given plainly, as text, or inside an object; None without one."""
    if isinstance(value, Mapping):
        return record_id(next((value[key] for key in _ID_KEYS if key in value), None))
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None  # noqa: PLR2004
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value > 0 else None


def items(value: object) -> Iterator[object]:
    """The members of a list, however written: a list, an object of objects, `1,2`, one item."""
    if isinstance(value, str) and "," in value:
        yield from value.split(",")
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping) and record_id(value) is None:
        yield from value.values()
    elif value:
        yield value


def decimal(value: object) -> float | None:
    """A number, perhaps with blanks or thousands' commas in it; None where there is none."""
    try:
        number = float(text(value).replace(",", "").replace(" ", ""))
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None  # noqa: PLR2004
