"""`series`: the series of a selection; also writes manifests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import HASHED, refuse_unused
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL, FailureReason, UsageError
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.select import add_hashes, select_offline
from tcia_covid.output.json_documents import series_document
from tcia_covid.output.series_lists import OF_IDC, formatted
from tcia_covid.output.tables import failure_lines, width
from tcia_covid.selection.manifests.write import idc_address
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection

_WITH_HASHES = ("csv", "tsv", "json")
"""Formats with all known values of a series."""


def command(
    console: Console,
    *,
    targets: tuple[str, ...],
    format: str,  # noqa: A002 - the option's name
    md5: bool,
    output: str,
    **choices: Any,
) -> int:
    """List the series that TARGET and the filters select."""
    if md5:
        _check_format(console, format)
        request = request_from(targets, output, **choices)
        selection = add_hashes(select_series(console, request), output)
    else:
        refuse_unused((HASHED,), "--md5", "list the hashes of series in that folder")
        request = request_from(targets, **choices)
        selection = select_series(console, request)
    if format in OF_IDC:
        selection = _with_address(selection)
    code = EXIT_PARTIAL if selection.failures else EXIT_OK
    console.json = console.json or format == "json"
    console.document(series_document(request.targets, selection, code))
    if not console.json:
        console.result(
            formatted(selection.series, format, keep_formulas=request.options.keep_formulas)
        )
    for notice in selection.notices:
        console.message(f"note: {notice}")
    console.message(_totals(selection.series))
    if format == "table" and width() is not None:
        console.message("'--format txt' prints every SeriesInstanceUID whole")
    if selection.failures:
        console.warning("\n".join(failure_lines(selection.failures)))
        console.error(
            f"{count(len(selection.failures), 'series')} could not be listed",
            "they are missing from the list above",
        )
    return code


def _check_format(console: Console, format: str) -> None:  # noqa: A002
    if format not in _WITH_HASHES and not console.json:
        raise UsageError(
            f"--format {format} has no hashes of series",
            hint=f"--md5 needs --format {', '.join(_WITH_HASHES[:-1])} or {_WITH_HASHES[-1]}",
        )


def select_series(console: Console, request: Request) -> Selection:
    """The series that a request names, from the catalog where it has them."""
    registry = load_registry(request.options.registry)
    return run_displayed(console, partial(select_offline, request, registry))


def _with_address(selection: Selection) -> Selection:
    """Make failures of the series that are not in IDC."""
    failures = [
        Failure(
            series=series.uid,
            reason=FailureReason.NOT_AVAILABLE,
            detail=f"series {series.uid} is not in IDC, so it has no address there",
            hint="--format tcia or csv names every series",
        )
        for series in selection.series
        if not idc_address(series)
    ]
    return replace(selection, failures=selection.failures + failures)


def _totals(series: Sequence[Series]) -> str:
    size = sum(item.size or 0 for item in series)
    images = sum(item.image_count or 0 for item in series)
    return f"{count(len(series), 'series')}, {count(images, 'image')}, {format_size(size)}"
