"""`report`: an HTML page about a folder."""

from __future__ import annotations

import webbrowser
from collections.abc import Iterator
from functools import partial
from typing import Any

from tcia_covid.api.functions import report
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.units import count, format_duration
from tcia_covid.operations.report import ReportResult
from tcia_covid.output.json_documents import report_document


def command(
    console: Console,
    *,
    directory: str,
    report_to: str | None,
    jobs: int | None,
    registry: tuple[str, ...],
    **choices: Any,
) -> int:
    """Write an HTML page about DIR."""
    work = partial(report, directory, to=report_to, jobs=jobs, registry=registry)
    result = run_displayed(console, work)
    console.document(report_document(result))
    console.prose("\n".join(map(clean_line, _lines(result))))
    if choices["open"] and not webbrowser.open(result.page.absolute().as_uri()):
        console.warning(f"no browser could be started: open {result.page}")
    return EXIT_OK


def _lines(result: ReportResult) -> Iterator[str]:
    series = count(result.report.series, "series")
    yield f"{result.page}: {series}, in {format_duration(result.seconds)}"
    for collection in result.report.collections:
        name = collection.status.name
        if problems := collection.geometry_problems:
            yield f"{name}: {count(len(problems), 'series')} have irregular slices"
        if not_shown := collection.without_thumbnail:
            yield f"{name}: {count(len(not_shown), 'series')} could not be read or decoded"
