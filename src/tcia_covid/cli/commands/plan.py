"""`plan`: what `download` would do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.models import Totals
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.summary import Comparison
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.plan import GroupPlan, Plan, compare_with_catalog, plan_request
from tcia_covid.output.json_documents import comparison_document, plan_document
from tcia_covid.output.tables import failure_lines, first_lines, format_number, table, width
from tcia_covid.selection.request import Request
from tcia_covid.store.free_space import reserve_of

_HEADS = (
    "collection",
    "patients",
    "studies",
    "series",
    "images",
    "size",
    "complete",
    "to download",
)
_DROPPED = ("studies", "patients", "complete", "images")
"""Left out in turn on a terminal that is too narrow."""
_MINUTE = 60


def command(
    console: Console, *, targets: tuple[str, ...], output: str, compare: bool, **choices: Any
) -> int:
    """Show what 'download' would do, without doing it."""
    request = request_from(targets, output, **choices)
    return (show_comparison if compare else show_plan)(console, request)


def show_plan(console: Console, request: Request) -> int:
    """Show what a download would do; give the exit code."""
    plan = run_displayed(console, partial(plan_request, request))
    console.document(plan_document(plan, console.command))
    console.prose("\n".join(_lines(plan)))
    return plan.exit_code


def show_comparison(console: Console, request: Request) -> int:
    """Show how NBIA's lists differ from the catalog; the exit code is 1 if they do."""
    comparisons = run_displayed(console, partial(compare_with_catalog, request))
    console.document(comparison_document(request.targets, comparisons))
    console.result(
        "\n".join(line for comparison in comparisons for line in _differences(comparison))
    )
    return EXIT_PARTIAL if any(comparison.differs for comparison in comparisons) else EXIT_OK


def _lines(plan: Plan) -> Iterator[str]:
    rows = [_row(group) for group in plan.groups]
    if len(rows) > 1:
        rows.append(("total", "", "", *_amounts(plan.selected, plan.complete, plan.to_fetch)))
    keep, right = _HEADS[:1], _HEADS[1:]
    yield from table(_HEADS, rows, tuple, right=right, keep=keep, drop=_DROPPED, columns=width())
    yield ""
    for group in plan.groups:
        if group.modalities:
            amounts = (f"{name} {_amount(amount)}" for name, amount in group.modalities.items())
            yield clean_line(f"{group.name}: {'; '.join(amounts)}")
        yield from (clean_line(f"{group.name}: license {item}") for item in group.licenses)
        yield from (clean_line(f"{group.name}: {warning}") for warning in group.warnings)
    yield from effort_lines(plan)
    yield from (clean_line(f"note: {notice}") for notice in plan.notices)
    yield from failure_lines(plan.failures)


def _row(group: GroupPlan) -> tuple[object, ...]:
    counts = (format_number(group.patients), format_number(group.studies))
    return (group.name, *counts, *_amounts(group.selected, group.complete, group.to_fetch))


def _amounts(selected: Totals, complete: Totals, to_download: Totals) -> tuple[str, ...]:
    sizes = (
        (format_size(amount.size) if amount.size else "?") if amount.series else "-"
        for amount in (selected, complete, to_download)
    )
    images = format_number(selected.images) if selected.images else "?"
    return (format_number(selected.series), images, *sizes)


def _amount(amount: Totals) -> str:
    """An amount in words; images and bytes only where they are known."""
    parts = [count(amount.series, "series")]
    parts += [count(amount.images, "image")] if amount.images else []
    parts += [format_size(amount.size)] if amount.size else []
    return ", ".join(parts)


def effort_lines(plan: Plan) -> Iterator[str]:
    """What is still to download, whether it fits on the disk, and how long it takes."""
    rest = plan.to_fetch
    if not plan.selected.series:
        yield "nothing is selected"
        return
    if not rest.series:
        yield f"everything is complete in {plan.output}: nothing to download"
        return
    staged = f" ({format_size(plan.partial.size)} of it staged)" if plan.partial.series else ""
    yield f"to download into {plan.output}: {_amount(rest)}{staged}"
    if not rest.size:
        return
    yield _disk(plan)
    article = "an assumed" if plan.rate_is_assumed else "the"
    limit = "" if plan.rate_is_assumed else " of --max-rate"
    yield (
        f"time: about {_rounded(plan.seconds)} at {article} {format_size(plan.rate)}/s{limit}; "
        "less with compression"
    )


def _rounded(seconds: float) -> str:
    """A duration; from a minute on without seconds, which no estimate can know."""
    if seconds < _MINUTE:
        return format_duration(seconds)
    return format_duration(_MINUTE * round(seconds / _MINUTE))


def _disk(plan: Plan) -> str:
    if plan.free is None:
        return "disk: free space unknown"
    free = f"disk: {format_size(plan.free)} free"
    if plan.fits:
        return f"{free}, enough"
    needed, reserve = format_size(plan.needed), format_size(reserve_of(plan.needed))
    return (
        f"{free}, NOT enough: {needed} are needed, and {reserve} must stay free; use --max-size "
        "or --first-patients to download less"
    )


def _differences(comparison: Comparison) -> Iterator[str]:
    yield (
        f"{comparison.collection}: NBIA lists {count(comparison.listed, 'series')}, the catalog "
        f"{comparison.known:,}; {comparison.same:,} are the same"
    )
    yield from first_lines(comparison.only_nbia, what="only NBIA has ")
    yield from first_lines(comparison.only_catalog, what="only the catalog has ")
    different = (
        f"{series.series}: NBIA {_described(series.images[0], series.sizes[0])}, catalog "
        f"{_described(series.images[1], series.sizes[1])}"
        for series in comparison.different
    )
    yield from first_lines(different, what="different: ")


def _described(images: int | None, size: int | None) -> str:
    number = "? images" if images is None else count(images, "image")
    return f"{number} of {format_number(size) or '?'} bytes"
