"""Reads YAML with line numbers, for registry files and configuration files."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import yaml

from tcia_covid.core.errors import RequestError, did_you_mean

T = TypeVar("T")
_MAX_DEPTH = 32
"""A valid file nests six deep."""
_WHOLE_NUMBER = re.compile(r"-?\d[\d_]{0,17}")
_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "str": "text",
    "int": "a number",
    "float": "a decimal number",
    "bool": "true or false",
    "null": "nothing",
    "timestamp": "a date",
    "seq": "a list",
    "map": "a table",
}


class ReportedError(Exception):
    """A value cannot be built, for errors that are collected already."""


@dataclass(slots=True, eq=False)
class Source:
    """A file that is read, and the type of the errors about it."""

    name: str
    error_type: type[RequestError]
    errors: list[RequestError] | None = None
    """Takes all errors, so that reading continues; None: the first error is raised."""

    @contextmanager
    def collecting(self) -> Iterator[None]:
        """Continue after an error in this block, where errors are collected."""
        try:
            yield
        except (ReportedError, self.error_type) as error:
            if self.errors is None:
                raise
            if isinstance(error, RequestError):
                self.errors.append(error)

    def report(self, error: RequestError) -> None:
        """Raise an error, or collect it."""
        if self.errors is None:
            raise error
        self.errors.append(error)

    def error(self, line: int, reason: str, *, hint: str = "") -> RequestError:
        """Give the error for a line, counted from 1."""
        return self.error_type(f"{self.name}, line {line}: {reason}", hint=hint)


@dataclass(slots=True, eq=False)
class Item:
    """One value in a file; its methods raise the source's error where it has another type."""

    node: yaml.Node
    source: Source
    what: str
    """Its name in messages."""

    @property
    def line(self) -> int:
        """Counted from 1."""
        return int(self.node.start_mark.line) + 1 if self.node.start_mark else 1

    @property
    def is_null(self) -> bool:
        """Whether the value is empty, `~` or `null`."""
        return self._type == "null"

    @property
    def is_table(self) -> bool:
        """Whether the value is a table of keys and values."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return isinstance(self.node, yaml.SequenceNode)

    @property
    def _type(self) -> str:
        return str(self.node.tag.removeprefix(_TAG))

    def error(self, reason: str, *, hint: str = "") -> RequestError:
        """Give the error for this value; the message continues with `reason`."""
        return self.source.error(self.line, f"{self.what} {reason}", hint=hint)

    def _wrong_type(self, expected: str, hint: str = "") -> RequestError:
        actual = _KINDS.get(self._type, f"a value tagged {self.node.tag}")
        if isinstance(self.node, yaml.ScalarNode) and not self.is_null:
            actual += f" ({self.node.value:.40})"
        return self.error(f"must be {expected}, not {actual}", hint=hint)

    def text(self) -> str:
        """Read text that is not empty; spaces around it are removed."""
        if self._type != "str":
            quotes = "put it in quotes" if isinstance(self.node, yaml.ScalarNode) else ""
            raise self._wrong_type("text", hint=quotes)
        if not str(self.node.value).strip():
            raise self.error("must not be empty")
        return str(self.node.value).strip()

    def scalar(self) -> str:
        """Read a single value as it is written: `1`, `1.0`, `0012` and `E204` alike."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null:
            raise self._wrong_type("text or a number")
        return str(self.node.value).strip()

    def count(self) -> int:
        """Read a whole number that is not negative."""
        if self._type != "int" or not _WHOLE_NUMBER.fullmatch(self.node.value):
            raise self._wrong_type("a whole number")
        number = int(self.node.value)
        if number < 0:
            raise self.error(f"must not be negative, it is {number}")
        return number

    def flag(self) -> bool:
        """Read `true` or `false`."""
        if self._type != "bool":
            raise self._wrong_type("true or false")
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def items(self) -> list[Item]:
        """Read the entries of a list."""
        if not self.is_list:
            raise self._wrong_type("a list")
        what = f"an entry of {self.what}"
        return [Item(node, self.source, what) for node in self.node.value]

    def texts(self) -> tuple[str, ...]:
        """Read a list of texts."""
        return self.each(Item.text)

    def each(self, convert: Callable[[Item], T]) -> tuple[T, ...]:
        """Convert the entries of a list."""
        values = []
        for item in self.items():
            with self.source.collecting():
                values.append(convert(item))
        return tuple(values)

    def pairs(self) -> list[tuple[Item, Item]]:
        """Read the keys and values of a table; a repeated key is an error."""
        if not self.is_table:
            raise self._wrong_type("a table of keys and values")
        lines: dict[str, int] = {}
        pairs = []
        for key_node, value_node in self.node.value:
            key = Item(key_node, self.source, f"a key in {self.what}")
            name = key.text()
            if name in lines:
                reason = f"key '{name}' is already in line {lines[name]}"
                self.source.report(self.source.error(key.line, reason))
            lines[name] = key.line
            pairs.append((key, Item(value_node, self.source, f"'{name}' in {self.what}")))
        return pairs

    def table(self, known: Collection[str], required: Collection[str] = ()) -> dict[str, Item]:
        """Read a table whose keys are all in `known`; null counts as missing."""
        values: dict[str, Item] = {}
        for key, value in self.pairs():
            name = key.text()
            if name not in known:
                hint = did_you_mean(name, known) or f"keys there: {', '.join(known)}"
                reason = f"unknown key '{name}' in {self.what}"
                self.source.report(self.source.error(key.line, reason, hint=hint))
                continue
            values[name] = value
        for name in required:
            if name not in values or values[name].is_null:
                error = self.source.error(self.line, f"the key '{name}' is missing in {self.what}")
                self.source.report(error)
        return values


def parse(content: bytes, source: Source) -> Item:
    """Parse the one YAML document in `content`; an empty one is a null value.

    Raises:
        RequestError: of the source's type: not UTF-8, not YAML, or more than one document.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = content.decode("utf-8-sig")
        _check_events(text, loader, source)
        node = yaml.compose(text, Loader=loader)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise source.error(line, "not UTF-8 text", hint="save the file as UTF-8") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"not valid YAML: {error.problem or error.context}"
        # A path of Windows in double quotes: YAML takes a backslash for an escape.
        hint = "leave out the quotes around it, or use single ones" if "escape" in reason else ""
        raise source.error(mark.line + 1 if mark else 1, reason, hint=hint) from error
    except yaml.reader.ReaderError as error:
        line = content.count(b"\n", 0, error.position) + 1
        raise source.error(line, f"not valid YAML: {error.reason}") from error
    return Item(node or yaml.ScalarNode(f"{_TAG}null", ""), source, "the file")


def _check_events(text: str, loader: Any, source: Source) -> None:
    """Refuse what cannot be composed: endless nesting exhausts libyaml's stack."""
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    depth, line = 0, 1
    try:
        for event in events:
            line = event.end_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                event.value.encode()
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                raise source.error(line, f"values are nested more than {_MAX_DEPTH} deep")
    except (ValueError, OverflowError) as error:
        # Without libyaml, PyYAML accepts any number as a character's.
        reason = "not valid YAML: an escape that is not a character"
        raise source.error(line, reason) from error
