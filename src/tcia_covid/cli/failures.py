"""Failed series, and other lists, as lines of text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tcia_covid.core.models import Failure
from tcia_covid.core.units import count
from tcia_covid.output.progress.wording import clean_line, failure_line

if TYPE_CHECKING:
    from tcia_covid.store.discovery import UncheckedFolder

MAX_LINES = 20
"""Lines of each kind; --json lists all."""


def first_lines(lines: Iterable[str], indent: str = "  ", what: str = "") -> Iterator[str]:
    """The first lines, and how many more there are.

    Args:
        lines: one for each item.
        indent: before each line.
        what: before each line and the number of the rest.
    """
    found = [clean_line(line) for line in lines]
    yield from (f"{indent}{what}{line}" for line in found[:MAX_LINES])
    if len(found) > MAX_LINES:
        yield f"{indent}{what or 'and '}{len(found) - MAX_LINES:,} more: --json lists all"


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """The first failures, each with what to do; a hint that several share is shown once.

    Series with the same failure share a line; their UIDs follow it.
    """
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for failure in failures:
        key = (failure.reason, failure.detail, failure.hint, *failure.missing)
        groups.setdefault(key, []).append(failure)
    shown_hint = ""
    rest = len(failures)
    for group in list(groups.values())[:MAX_LINES]:
        first, rest = group[0], rest - len(group)
        yield f"  {first.reason}: {_group_line(group)}"
        if first.hint and first.hint != shown_hint:
            shown_hint = first.hint
            yield f"    {clean_line(first.hint)}"
        if len(group) > 1:
            uids = [failure.series for failure in group if failure.series]
            yield from first_lines(uids, indent="    ")
    if rest:
        yield f"  and {rest:,} more: --json lists all"


def _group_line(group: Sequence[Failure]) -> str:
    first = group[0]
    unnamed = [uid for uid in first.missing if uid not in first.detail]
    more = f" and {len(unnamed) - 1:,} more" if len(unnamed) > 1 else ""
    missing = f" (missing: {unnamed[0]}{more})" if unnamed else ""
    if len(group) == 1:
        return f"{failure_line(first)}{missing}"
    return clean_line(f"{count(len(group), 'series')}: {first.detail}{missing}")


def unchecked_line(folder: UncheckedFolder) -> str:
    """A folder with images that no receipt covers."""
    return clean_line(
        f"not checked: {folder.folder} ({count(folder.images, 'image')}, no receipts); "
        f"'download {folder.folder}' adopts what is right"
    )


def outdated_line(files: Sequence[str]) -> str:
    """Report files that do not cover what is complete."""
    return clean_line(
        f"out of date: {', '.join(files)}; the next 'download' or 'adopt' writes them"
    )
