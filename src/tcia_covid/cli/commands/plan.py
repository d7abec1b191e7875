"""`plan`: what `download` would do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import failure_lines
from tcia_covid.cli.options import COMPARE, DOWNLOADING, EVERYWHERE, FILTERS, targets
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import progress_display
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.summary import Comparison
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.plan import Amount, GroupPlan, Plan, compare_with_catalog, plan_request
from tcia_covid.output.json_documents import comparison_document, plan_document
from tcia_covid.output.progress.wording import clean_line
from tcia_covid.output.tables import format_number, table, width
from tcia_covid.selection.request import Request
from tcia_covid.store.free_space import space_needed

_HEADS = ("collection", "patients", "studies", "series", "images", "size", "there", "to fetch")
_DROPPED = [_HEADS.index(one) for one in ("studies", "patients", "there", "images")]
"""Left out in turn on a terminal that is too narrow."""
_MOST = 20
"""Series that are listed of each kind of difference."""
_MINUTE = 60


@as_command(targets(required=False), *FILTERS, *DOWNLOADING, COMPARE, *EVERYWHERE)
def plan(
    console: Console, targets: tuple[str, ...], output: str, *, compare: bool, **choices: Any
) -> int:
    """Say what 'download' would do, without doing anything.

    Shows patients, series, images and bytes, what is there already, whether the rest fits on the
    disk, and about how long it takes. Needs no network for the collections of the shipped
    catalog. It takes the options of 'download'.
    """
    request = request_from(targets, output, **choices)
    return (show_comparison if compare else show_plan)(console, request)


def show_plan(console: Console, request: Request) -> int:
    """Show what a download would do; give the exit code."""
    with progress_display(console) as emit:
        found = run_cancellable(lambda stop: plan_request(request, emit=emit, stop=stop))
    console.document(plan_document(found, console.verb))
    console.result("\n".join(_lines(found)))
    return found.exit_code


def show_comparison(console: Console, request: Request) -> int:
    """Show how NBIA's lists differ from the catalog; 1 if they do."""
    with progress_display(console) as emit:
        found = run_cancellable(lambda stop: compare_with_catalog(request, emit=emit, stop=stop))
    console.document(comparison_document(request.targets, found))
    console.result("\n".join(line for one in found for line in _compared(one)))
    return EXIT_PARTIAL if any(one.differs for one in found) else EXIT_OK


def _lines(found: Plan) -> Iterator[str]:
    rows = [_row(one.name, one) for one in found.groups]
    if len(rows) > 1:
        rows.append(_sums(found))
    numbers = range(1, len(_HEADS))
    yield table(_HEADS, rows, right=numbers, keep=(0,), drop=_DROPPED, columns=width())
    yield ""
    for group in found.groups:
        if group.modalities:
            yield clean_line(f"{group.name}: {_modalities(group)}")
    yield from _effort(found)
    yield from (clean_line(f"note: {notice}") for notice in found.notices)
    yield from failure_lines(found.failures)


def _row(name: str, group: GroupPlan) -> tuple[object, ...]:
    return (
        name,
        format_number(group.patients),
        format_number(group.studies),
        *_amounts(group.selected, group.complete, group.to_fetch),
    )


def _sums(found: Plan) -> tuple[object, ...]:
    return ("together", "", "", *_amounts(found.selected, found.complete, found.to_fetch))


def _amounts(selected: Amount, complete: Amount, to_fetch: Amount) -> tuple[str, ...]:
    return (
        format_number(selected.series),
        format_number(selected.images) if selected.images else "?",
        *(_size(one) if one.series else "-" for one in (selected, complete, to_fetch)),
    )


def _size(amount: Amount) -> str:
    return format_size(amount.size) if amount.size else "?"


def _modalities(group: GroupPlan) -> str:
    return "; ".join(f"{name} {_amount(one)}" for name, one in group.modalities.items())


def _amount(amount: Amount) -> str:
    """An amount in words; images and bytes only where any are on record."""
    told = [count(amount.series, "series")]
    told += [count(amount.images, "image")] if amount.images else []
    told += [format_size(amount.size)] if amount.size else []
    return ", ".join(told)


def _effort(found: Plan) -> Iterator[str]:
    rest = found.to_fetch
    if not found.selected.series:
        yield "nothing is selected"
        return
    if not rest.series:
        yield f"all of it is complete in {found.output}: nothing is left to fetch"
        return
    there = f" ({format_size(found.partial.size)} of it begun)" if found.partial.series else ""
    yield f"to fetch into {found.output}: {_amount(rest)}{there}"
    if not rest.size:
        return
    yield _disk(found)
    reckoned = "an assumed" if found.rate_is_assumed else "the"
    limit = "" if found.rate_is_assumed else " of --max-rate"
    yield (
        f"time: about {_roughly(found.seconds)} at {reckoned} "
        f"{format_size(found.rate)}/s{limit}; compression makes it less"
    )


def _roughly(seconds: float) -> str:
    """A duration without seconds from a minute on: they would be pretence."""
    if seconds < _MINUTE:
        return format_duration(seconds)
    return format_duration(_MINUTE * round(seconds / _MINUTE))


def _disk(found: Plan) -> str:
    if found.free is None:
        return "disk: how much is free cannot be told"
    if found.fits:
        return f"disk: {format_size(found.free)} free, enough"
    to_spare = format_size(space_needed(found.needed))
    return (
        f"disk: {format_size(found.free)} free, NOT enough with {to_spare} to spare: "
        "--max-size or --first-patients take less"
    )


def _compared(one: Comparison) -> Iterator[str]:
    yield (
        f"{one.collection}: NBIA lists {count(one.listed, 'series')}, the catalog "
        f"{one.known:,}; {one.same:,} are the same"
    )
    yield from _some("only NBIA has", one.only_nbia)
    yield from _some("only the catalog has", one.only_catalog)
    yield from _some(
        "different:",
        [
            f"{two.series}: NBIA {_described(two.images[0], two.sizes[0])}, catalog "
            f"{_described(two.images[1], two.sizes[1])}"
            for two in one.different
        ],
    )


def _described(images: int | None, size: int | None) -> str:
    told = "? images" if images is None else count(images, "image")
    return f"{told} of {format_number(size) or '?'} bytes"


def _some(what: str, found: Sequence[str]) -> Iterator[str]:
    yield from (f"  {what} {one}" for one in found[:_MOST])
    if len(found) > _MOST:
        yield f"  {what} {len(found) - _MOST:,} more: --json lists all"


command = plan
