"""Plain values as callers give them: looked at for their kind, one or several made a tuple."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from tcia_covid.core.errors import UsageError
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.core.units import parse_size

Words = str | Sequence[str]
"""One value or several."""
Bytes = int | str
"""A number of bytes, or text such as `20GB`."""
Paths = str | Path | Sequence[str | Path]
"""One path, or word, or several."""
_SAID = {bool: "True or False", Integral: "a whole number", Real: "a number", str: "text"}


def words_from(name: str, given: Words | None) -> tuple[str, ...]:
    """One word or several.

    Raises:
        UsageError: something else.
    """
    return tuple(_several(name, given, (str,)))


def paths_from(name: str, given: Paths | None) -> tuple[str, ...]:
    """One path or several, as text.

    Raises:
        UsageError: something else.
    """
    return tuple(str(one) for one in _several(name, given, (str, Path)))


def path_from(name: str, given: str | Path) -> Path:
    """One path.

    Raises:
        UsageError: something else.
    """
    if not isinstance(given, str | Path):
        raise _misfit(name, given, "a path")
    return Path(given)


def output_from(given: str | Path) -> str:
    """The folder that is to hold the collections' folders.

    Raises:
        UsageError: it has no name, or is a collection's folder itself: all would stand in it twice.
    """
    path = path_from("output", given)
    if not str(given):
        raise UsageError("the output folder has no name", hint="name one with --output DIR")
    if os.path.isdir(path / STATE_FOLDER):  # noqa: PTH112 - False for what cannot be read
        raise UsageError(
            f"{given} is one collection's own folder",
            hint=f"the output is the folder that holds it: {path.resolve().parent}",
        )
    return str(given)


def bytes_from(given: Bytes) -> int:
    """A number of bytes.

    Raises:
        UsageError: text that is no size.
    """
    return parse_size(given) if isinstance(given, str) else int(given)


def check_kinds(choices: Mapping[str, object], hints: Mapping[str, Any]) -> None:
    """Compare single values with their hints; those that may be several look at themselves.

    Raises:
        UsageError: a value is of another kind.
    """
    for name, value in choices.items():
        kinds = tuple(_kind(hint) for hint in get_args(hints[name]))
        if Sequence in kinds:
            continue
        is_number_of_none = isinstance(value, bool) and bool not in kinds
        if is_number_of_none or not isinstance(value, kinds):
            raise _misfit(name, value, " or ".join(_SAID[kind] for kind in kinds if kind in _SAID))


def _kind(hint: Any) -> Any:
    """The type that a value of a hint has; other whole numbers than Python's own will do."""
    origin = get_origin(hint) or hint
    return {int: Integral, float: Real, Literal: str}.get(origin, origin)


def _several(name: str, given: Any, kinds: tuple[type, ...]) -> Iterable[Any]:
    if given is None:
        return ()
    found = given if isinstance(given, Iterable) and not isinstance(given, kinds) else (given,)
    found = tuple(found)
    for one in found:
        if not isinstance(one, kinds):
            raise _misfit(name, one, "text" if kinds == (str,) else "a path")
    return found


def _misfit(name: str, value: object, wanted: str) -> UsageError:
    return UsageError(f"{name} has to be {wanted}, not {value!r}"[:200])
