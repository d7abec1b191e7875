"""`relayout`: renames the folders and files of a download as another layout does."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK, UsageError
from tcia_covid.core.units import count
from tcia_covid.operations.relayout import RelayoutResult, relayout_directory
from tcia_covid.output.json_documents import relayout_document
from tcia_covid.output.tables import first_lines


def command(
    console: Console,
    *,
    directory: str,
    layout: str | None,
    dry_run: bool,
    no_fsync: bool,
    keep_formulas: bool,
    registry: tuple[str, ...],
    **_: Any,
) -> int:
    """Rename the folders and files in DIR."""
    if layout is None:
        raise UsageError(
            "no layout is given", hint="add --layout; 'tcia-covid help layout' explains layouts"
        )
    work = partial(
        relayout_directory,
        Path(directory),
        layout,
        dry_run=dry_run,
        durable=not no_fsync,
        keep_formulas=keep_formulas,
        registry=load_registry(registry),
    )
    result = run_displayed(console, work)
    console.document(relayout_document(result))
    console.prose("\n".join(_lines(result)))
    if result.exit_code != EXIT_OK:
        number = count(result.series.skipped, "series")
        console.error(
            f"{number} in {result.directory} keep their names",
            "the lines above say why; the same command resumes",
        )
    return result.exit_code


def _lines(result: RelayoutResult) -> Iterator[str]:
    series = result.series
    renamed = "would be renamed" if result.dry_run else "renamed"
    yield (
        f"{series.renamed:,} of {count(series.found, 'series')} in {result.directory} {renamed} "
        f"to the layout {result.layout}; {series.unchanged:,} already have its names"
    )
    if result.dry_run:
        yield from first_lines(f"{old} -> {new}" for old, new in result.renamed)
    yield from first_lines(
        f"{each.reason}: {each.folder} ({each.detail})" for each in result.skipped
    )
    if result.left_behind:
        files = count(len(result.left_behind), "other file")
        yield f"{files} in folders that series were renamed from: not touched"
    yield from first_lines(f"left: {file}" for file in result.left_behind)
