"""`series`: the series that a selection names; also how manifests are written."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TextIO

from tcia_covid.api.options import request_from
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import failure_lines
from tcia_covid.cli.options import EVERYWHERE, FILTERS, FORMAT, PATIENCE, SELECTING, targets
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import progress_display
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.core.events import Emit
from tcia_covid.core.models import Series
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.select import select_offline
from tcia_covid.output.json_documents import series_document
from tcia_covid.output.tables import format_number, table, width
from tcia_covid.selection.manifests import write_csv, write_tcia, write_txt
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection

_WRITERS: dict[str, Callable[[Iterable[Series], TextIO], None]] = {
    "csv": write_csv,
    "tcia": write_tcia,
    "txt": write_txt,
}
_HEADS = ("patient", "date", "type", "body part", "images", "size", "description", "series")
_DROPPED = [_HEADS.index(one) for one in ("description", "body part", "date", "size", "images")]
"""Left out in turn on a terminal that is too narrow."""


@as_command(targets(required=False), *FILTERS, FORMAT, *SELECTING, *PATIENCE, *EVERYWHERE)
def series(console: Console, targets: tuple[str, ...], *, format: str, **choices: Any) -> int:  # noqa: A002 - the option's name
    """List the series that TARGET and the filters name.

    'tcia-covid series COVID-19-AR --modality CT --format tcia > ct.tcia' writes a manifest that
    TCIA's own Data Retriever opens, and so does 'download'.
    """
    return show_series(console, request_from(targets, **choices), format)


def list_selection(request: Request, emit: Emit, stop: CancelToken) -> Selection:
    """List what a request names, from the catalog before any archive."""
    return select_offline(request, load_registry(request.options.registry), stop, emit)


def show_series(console: Console, request: Request, style: str) -> int:
    """Show a selection in one of the formats of `--format`; give the exit code."""
    with progress_display(console) as emit:
        selected = run_cancellable(lambda stop: list_selection(request, emit, stop))
    code = EXIT_PARTIAL if selected.failures else EXIT_OK
    document = series_document(request.targets, selected, code)
    console.document(document)
    if style == "json":
        console.result(json.dumps(document, indent=2, ensure_ascii=True))
    else:
        console.result(_written(selected.series, style))
    for line in (*(f"note: {one}" for one in selected.notices), _sum(selected)):
        console.say(line)
    if selected.failures:
        console.report("\n".join(failure_lines(selected.failures)))
        console.complain(
            f"{count(len(selected.failures), 'series')} that should be listed are not",
            "they are missing from the list above",
        )
    return code


def _written(series: Sequence[Series], style: str) -> str:
    if style == "table":
        rows, whole = map(_row, series), (_HEADS.index("patient"), _HEADS.index("series"))
        return table(_HEADS, rows, right=(4, 5), keep=whole, drop=_DROPPED, columns=width())
    out = io.StringIO(newline="")
    _WRITERS[style](series, out)
    return out.getvalue().removesuffix("\n")


def _row(one: Series) -> tuple[object, ...]:
    size = format_size(one.size) if one.size is not None else ""
    images = format_number(one.image_count)
    date = one.study_date or one.date
    return (
        one.patient,
        date,
        one.modality,
        one.body_part,
        images,
        size,
        one.description,
        one.uid,
    )


def _sum(selected: Selection) -> str:
    series = selected.series
    size = sum(one.size or 0 for one in series)
    images = sum(one.image_count or 0 for one in series)
    return f"{count(len(series), 'series')}, {count(images, 'image')}, {format_size(size)}"


command = series
