"""`files`: the paths of downloaded images, in slice order."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tcia_covid.api.options import request_from
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console, discard_output
from tcia_covid.cli.progress import progress_display
from tcia_covid.core.events import activity
from tcia_covid.core.units import count
from tcia_covid.operations.files import LocalSelection, LocalSeries, select_local
from tcia_covid.output.json_documents import files_document
from tcia_covid.output.tables import first_lines
from tcia_covid.store.report_files import images_header


def command(
    console: Console,
    *,
    directory: str,
    targets: tuple[str, ...],
    null: bool,
    files_format: str,
    **choices: Any,
) -> int:
    """Print the paths of downloaded images, in slice order."""
    request = request_from(targets, **choices)
    registry = load_registry(request.options.registry)
    with progress_display(console) as emit, activity(emit, f"reading the receipts in {directory}"):
        selection = select_local(
            Path(directory), registry, request.targets, filters=request.filters
        )
    console.json = console.json or files_format == "json"
    if console.json:
        console.document(files_document(selection))
    elif null:
        _write_null(selection.series)
    else:
        _write_lines(console, selection.series, files_format)
    _report(console, selection)
    return selection.exit_code


def _write_lines(console: Console, series: Iterable[LocalSeries], files_format: str) -> None:
    if files_format == "csv":
        console.result(images_header().decode("ascii").rstrip())
    for item in series:
        if files_format == "csv":
            console.result(item.rows().removesuffix("\n"))
        else:
            console.result("\n".join(map(str, item.files)))


def _write_null(series: Iterable[LocalSeries]) -> None:
    """Write the paths as the file system has them, each with a NUL after it."""
    try:
        for item in series:
            for file in item.files:
                sys.stdout.buffer.write(os.fsencode(file) + b"\0")
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        discard_output(sys.stdout)


def _report(console: Console, selection: LocalSelection) -> None:
    console.message(f"{count(len(selection.series), 'series')} in {selection.directory}")
    if selection.missing:
        number = count(len(selection.missing), "target")
        status = f"'tcia-covid status {selection.directory}' shows what is complete and what failed"
        console.error(
            f"no complete series in {selection.directory} of {number}:",
            "\n".join([*first_lines(selection.missing), status]),
        )
