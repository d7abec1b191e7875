"""Series in the formats of `series` and `status --missing`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from tcia_covid.core.models import Series
from tcia_covid.core.units import format_size
from tcia_covid.output.tables import format_number, table, width
from tcia_covid.selection.manifests.write import (
    address_lines,
    csv_lines,
    s5cmd_lines,
    tcia_lines,
    uid_lines,
)

_MANIFESTS: dict[str, Callable[[Iterable[Series]], Iterator[str]]] = {
    "tcia": tcia_lines,
    "txt": uid_lines,
    "s5cmd": s5cmd_lines,
    "urls": address_lines,
}
OF_IDC = ("s5cmd", "urls")
"""Formats that name series by their addresses in IDC."""
_HEADS = ("patient", "date", "modality", "body part", "images", "size", "description", "series")
_DROPPED = (
    *("body part", "date", "patient", "description"),
    *("size", "images", "modality"),
)
"""Left out in turn on a terminal that is too narrow."""
_TAIL = 6
"""Characters at the end of a SeriesInstanceUID, which differ within a collection."""


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
