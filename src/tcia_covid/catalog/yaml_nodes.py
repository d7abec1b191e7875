"""YAML as values that know their line: every complaint about a registry file starts here."""

from __future__ import annotations

import re
from collections.abc import Collection as Keys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from tcia_covid.core.errors import RegistryError, did_you_mean

_DEEPEST = 32
"""A right file nests six deep."""
_WHOLE_NUMBER = re.compile(r"-?\d[\d_]{0,17}")
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
_TAG = "tag:yaml.org,2002:"


def complain(file: str, line: int, reason: str, *, hint: str = "") -> RegistryError:
    """The error that says what is wrong in which line of which file."""
    return RegistryError(f"registry {file}, line {line}: {reason}", hint=hint)


def parse(content: bytes, file: str) -> Item:
    """The one YAML document in `content`, as an `Item`.

    Raises:
        RegistryError: it is not UTF-8, not YAML, empty, or more than one document.
    """
    text = _decode(content, file)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _check_events(text, loader, file)
        node = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = f"not valid YAML: {error.problem or error.context}"
        raise complain(file, mark.line + 1 if mark else 1, reason) from error
    except yaml.reader.ReaderError as error:
        line = content.count(b"\n", 0, error.position) + 1
        raise complain(file, line, f"not valid YAML: {error.reason}") from error
    if node is None:
        raise complain(file, 1, "the file is empty")
    return Item(node, file, "the file")


def _check_events(text: str, loader: Any, file: str) -> None:
    """Refuse what cannot be composed: values within values without end exhaust libyaml's stack."""
    events: Iterator[Any] = yaml.parse(text, Loader=loader)
    depth, line = 0, 1
    try:
        for event in events:
            line = event.end_mark.line + 1
            if isinstance(event, yaml.ScalarEvent):
                event.value.encode()
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST:
                raise complain(file, line, f"values within values, more than {_DEEPEST} deep")
    except (ValueError, OverflowError) as error:
        # Where libyaml is missing, PyYAML takes any number for a character's.
        raise complain(file, line, "not valid YAML: an escape of no character") from error


def _decode(content: bytes, file: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise complain(file, line, "not UTF-8 text") from error


@dataclass(frozen=True, slots=True)
class Item:
    """One value in a registry file; reading it as what it is not raises `RegistryError`."""

    node: yaml.Node
    file: str
    what: str
    """What a complaint calls it."""

    @property
    def line(self) -> int:
        """Counted from 1."""
        return int(self.node.start_mark.line) + 1

    @property
    def is_null(self) -> bool:
        """Whether nothing, `~` or `null` stands there."""
        return self._type == "null"

    @property
    def is_table(self) -> bool:
        """Whether keys with values stand there."""
        return isinstance(self.node, yaml.MappingNode)

    @property
    def _type(self) -> str:
        return self.node.tag.removeprefix(_TAG)

    def error(self, reason: str, *, hint: str = "") -> RegistryError:
        """A complaint about this value; `reason` goes on after what it is called."""
        return complain(self.file, self.line, f"{self.what} {reason}", hint=hint)

    def _not(self, expected: str, hint: str = "") -> RegistryError:
        found = _KINDS.get(self._type, f"a value tagged {self.node.tag}")
        if isinstance(self.node, yaml.ScalarNode) and not self.is_null:
            found += f" ({self.node.value:.40})"
        return self.error(f"must be {expected}, not {found}", hint=hint)

    def text(self) -> str:
        """Text that is not blank, without blanks around it."""
        if self._type != "str":
            quotes = "put it in quotes" if isinstance(self.node, yaml.ScalarNode) else ""
            raise self._not("text", hint=quotes)
        if not str(self.node.value).strip():
            raise self.error("must not be blank")
        return str(self.node.value).strip()

    def scalar(self) -> str:
        """Any single value as it is written: `1`, `1.0` and `E204` alike."""
        if not isinstance(self.node, yaml.ScalarNode) or self.is_null:
            raise self._not("text or a number")
        return str(self.node.value).strip()

    def count(self) -> int:
        """A whole number that is not negative."""
        if self._type != "int" or not _WHOLE_NUMBER.fullmatch(self.node.value):
            raise self._not("a whole number")
        number = int(self.node.value)
        if number < 0:
            raise self.error(f"must not be negative, it is {number}")
        return number

    def flag(self) -> bool:
        """`true` or `false`."""
        if self._type != "bool":
            raise self._not("true or false")
        return str(self.node.value).lower() in {"true", "yes", "on"}

    def items(self) -> list[Item]:
        """The entries of a list."""
        if not isinstance(self.node, yaml.SequenceNode):
            raise self._not("a list")
        what = f"an entry of {self.what}"
        return [Item(node, self.file, what) for node in self.node.value]

    def pairs(self) -> list[tuple[Item, Item]]:
        """The keys and values of a table; a key that stands there twice is an error."""
        if not isinstance(self.node, yaml.MappingNode):
            raise self._not("a table of keys and values")
        seen: dict[str, int] = {}
        found = []
        for key_node, value_node in self.node.value:
            key = Item(key_node, self.file, f"a key in {self.what}")
            name = key.text()
            if name in seen:
                raise complain(
                    self.file, key.line, f"key '{name}' stands in line {seen[name]} already"
                )
            seen[name] = key.line
            found.append((key, Item(value_node, self.file, f"'{name}' in {self.what}")))
        return found

    def table(self, known: Keys[str], what: str = "") -> Table:
        """A table that has no other keys than `known`; complaints call it `what`."""
        called = what or self.what
        named = Item(self.node, self.file, called)
        values: dict[str, Item] = {}
        for key, value in named.pairs():
            if key.text() not in known:
                raise _unknown_key(key, known, called)
            values[key.text()] = value
        return Table(named, values)


def _unknown_key(key: Item, known: Keys[str], called: str) -> RegistryError:
    name = key.text()
    hint = did_you_mean(name, known) or f"keys there: {', '.join(known)}"
    return complain(key.file, key.line, f"unknown key '{name}' in {called}", hint=hint)


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose keys are all known; a key that is null counts as left out."""

    item: Item
    values: dict[str, Item]

    def get(self, key: str) -> Item | None:
        """The value of `key`, or None where it is left out or null."""
        value = self.values.get(key)
        return None if value is None or value.is_null else value

    def need(self, key: str) -> Item:
        """The value of `key`, which must be there."""
        value = self.get(key)
        if value is None:
            raise self.item.error(f"lacks the key '{key}'")
        return value

    def text(self, key: str) -> str | None:
        """Text, or None."""
        value = self.get(key)
        return value.text() if value else None

    def scalar(self, key: str) -> str | None:
        """A single value as it is written, or None."""
        value = self.get(key)
        return value.scalar() if value else None

    def count(self, key: str) -> int | None:
        """A whole number that is not negative, or None."""
        value = self.get(key)
        return value.count() if value else None

    def entries(self, key: str) -> list[Item]:
        """The entries of a list; none where it is left out."""
        value = self.get(key)
        return value.items() if value else []

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; empty where it is left out."""
        return tuple(entry.text() for entry in self.entries(key))
