"""A selection as a table or a manifest."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from typing import TextIO

from tcia_covid.cli.console import Console
from tcia_covid.cli.listening import listening
from tcia_covid.cli.outcome import failure_lines
from tcia_covid.cli.supervise import supervised
from tcia_covid.cli.tables import number, table, width
from tcia_covid.document import series_document
from tcia_covid.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.events import Emit
from tcia_covid.listing import select_offline
from tcia_covid.model import Series
from tcia_covid.registry import load_registry
from tcia_covid.request import Request
from tcia_covid.selection.manifests import write_csv, write_tcia, write_txt
from tcia_covid.selection.resolve import Selected
from tcia_covid.selection.sizes import count, format_size
from tcia_covid.stop import Stop

_WRITERS: dict[str, Callable[[Iterable[Series], TextIO], None]] = {
    "csv": write_csv,
    "tcia": write_tcia,
    "txt": write_txt,
}
_HEADS = ("patient", "date", "type", "body part", "images", "size", "description", "series")
_DROPPED = [_HEADS.index(one) for one in ("description", "body part", "date", "size", "images")]
"""Left out in turn on a terminal that is too narrow."""


def listed(request: Request, emit: Emit, stop: Stop) -> Selected:
    """List what a request names, from the catalogue before any archive."""
    return select_offline(request, load_registry(request.options.registry), stop, emit)


def show_series(console: Console, request: Request, style: str) -> int:
    """Show a selection in one of the formats of `--format`; give the exit code."""
    with listening(console) as emit:
        selected = supervised(lambda stop: listed(request, emit, stop))
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
    images = number(one.image_count)
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


def _sum(selected: Selected) -> str:
    series = selected.series
    size = sum(one.size or 0 for one in series)
    images = sum(one.image_count or 0 for one in series)
    return f"{count(len(series), 'series')}, {count(images, 'image')}, {format_size(size)}"
