"""`status`: what is complete, running or failed in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.models import Check
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.status import CollectionStatus, StatusResult, read_status
from tcia_covid.output.json_documents import status_document
from tcia_covid.output.progress import clean_line
from tcia_covid.output.tables import failure_lines, first_lines, outdated_line, unchecked_line


def command(console: Console, *, directory: str, registry: tuple[str, ...], **_: Any) -> int:
    """Show what is complete, running or failed in DIR, and why."""
    result = read_status(Path(directory), load_registry(registry))
    console.document(status_document(result))
    console.prose("\n".join(status_lines(result)))
    return EXIT_OK


def status_lines(result: StatusResult) -> Iterator[str]:
    """The status of each collection in a folder."""
    for number, collection in enumerate(result.collections):
        if number:
            yield ""
        yield from _collection(collection)
    yield from map(unchecked_line, result.unchecked)
    if result.collections:
        yield "file contents were not checked: use 'tcia-covid verify'"


def _collection(status: CollectionStatus) -> Iterator[str]:
    complete = status.complete
    latest = f", last one at {complete.last_completed}" if complete.last_completed else ""
    yield f"{status.name} in {status.folder}"
    yield (
        f"  complete: {count(complete.series, 'series')}{_expected(status)}, "
        f"{count(complete.images, 'image')}, {format_size(complete.size)}{latest}"
    )
    if unproved := complete.checks[Check.SIZE]:
        yield f"  of these {count(unproved, 'series')} checked by count, size and header only"
    if status.partial:
        size = format_size(sum(series.size for series in status.partial))
        yield f"  staged: {count(len(status.partial), 'series')}, {size} of them downloaded"
    for package in status.packages:
        size = format_size(package.size)
        yield clean_line(f"  staged: package '{package.package}', {size} of it downloaded")
    if status.not_started:
        yield f"  not started: {count(status.not_started, 'series')} of the last request"
    yield from _files(status)
    if status.failed:
        packages = sum(not failure.series for failure in status.failed)
        failed = {"series": len(status.failed) - packages, "package": packages}
        counted = [count(number, noun) for noun, number in failed.items() if number]
        yield f"  failed: {' and '.join(counted)}"
        yield from (f"  {line}" for line in failure_lines(status.failed))


def _files(status: CollectionStatus) -> Iterator[str]:
    if wrong := sorted({*status.damaged, *status.missing_files}):
        series = count(len(wrong), "series")
        yield f"  damaged or missing files, repaired by the next download: {series}"
        yield from first_lines(wrong, indent="    ")
    if status.supporting.files:
        files = status.supporting
        missing = f", {len(files.missing):,} of them missing" if files.missing else ""
        yield f"  {count(files.files, 'supporting file')}, {format_size(files.size)}{missing}"
    if status.outdated_reports:
        yield f"  {outdated_line(status.outdated_reports)}"


def _expected(status: CollectionStatus) -> str:
    if status.expected is None or status.expected.series is None:
        return ""
    return f" of {status.expected.series:,} in the whole collection"
