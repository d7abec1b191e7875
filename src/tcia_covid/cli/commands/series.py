"""`series`: the series of a selection; also writes manifests."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
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
from tcia_covid.output.tables import failure_lines, format_number, table, width
from tcia_covid.selection.manifests.write import (
    address_lines,
    csv_lines,
    idc_address,
    s5cmd_lines,
    tcia_lines,
    uid_lines,
)
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection

_MANIFESTS: dict[str, Callable[[Iterable[Series]], Iterator[str]]] = {
    "tcia": tcia_lines,
    "txt": uid_lines,
    "s5cmd": s5cmd_lines,
    "urls": address_lines,
}
OF_IDC = ("s5cmd", "urls")
"""Formats that name series by their addresses in IDC."""
_WITH_HASHES = ("csv", "tsv", "json")
"""Formats with all known values of a series."""
_HEADS = ("patient", "date", "modality", "body part", "images", "size", "description", "series")
_DROPPED = (
    *("body part", "date", "patient", "description"),
    *("size", "images", "modality"),
)
"""Left out in turn on a terminal that is too narrow."""
_TAIL = 6
"""Characters at the end of a SeriesInstanceUID, which differ within a collection."""


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


def formatted(
    series: Sequence[Series],
    format: str,  # noqa: A002
    *,
    keep_formulas: bool = False,
) -> Iterator[str]:
    """The lines of a table for people, of a CSV file, or of a manifest."""
    if format == "table":
        return table(
            _HEADS,
            series,
            _row,
            right=("images", "size"),
            keep=("patient", "modality", "series"),
            drop=_DROPPED,
            short={"series": lambda uid: f"…{uid[-_TAIL:]}"},
            columns=width(),
        )
    if format in ("csv", "tsv"):
        delimiter = "," if format == "csv" else "\t"
        return csv_lines(series, delimiter=delimiter, keep_formulas=keep_formulas)
    return _MANIFESTS[format](series)


def _row(series: Series) -> tuple[object, ...]:
    return (
        series.patient,
        series.study_date or series.date,
        series.modality,
        series.body_part,
        format_number(series.image_count),
        format_size(series.size) if series.size is not None else "",
        series.description,
        series.uid,
    )


def _totals(series: Sequence[Series]) -> str:
    size = sum(item.size or 0 for item in series)
    images = sum(item.image_count or 0 for item in series)
    return f"{count(len(series), 'series')}, {count(images, 'image')}, {format_size(size)}"
