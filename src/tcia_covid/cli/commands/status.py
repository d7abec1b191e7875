"""`status`: what is complete, missing, running or failed in a folder."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import FORMAT, refuse_unused
from tcia_covid.cli.progress import draws_bars, progress_display
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from tcia_covid.core.events import activity
from tcia_covid.core.models import Check
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.status import CollectionStatus, Progress, StatusResult, read_status
from tcia_covid.output.json_documents import status_document
from tcia_covid.output.screen import Screen
from tcia_covid.output.series_lists import OF_IDC, formatted
from tcia_covid.output.tables import failure_lines, first_lines, outdated_line, unchecked_line
from tcia_covid.selection.manifests.write import idc_address

_INTERVAL = 2.0
"""Seconds between two updates of --watch."""
_IDLE_LIMIT = 60.0
"""Seconds: --watch ends after no run was active, and nothing changed, for that long."""


def command(
    console: Console,
    *,
    directory: str,
    registry: tuple[str, ...],
    missing: bool,
    watch: bool,
    format: str,  # noqa: A002 - the option's name
) -> int:
    """Show what is complete, missing, running or failed in DIR, and why."""
    read = partial(read_status, Path(directory), load_registry(registry))
    if not missing:
        refuse_unused((FORMAT,), "--missing", "list what is missing")
    if watch:
        if missing or console.json:
            other = "--missing" if missing else "--json"
            raise UsageError(
                f"--watch repeats the status, and {other} shows it once",
                hint="leave one of them out",
            )
        return run_cancellable(partial(watch_status, console, read))
    with progress_display(console) as emit, activity(emit, f"reading the receipts in {directory}"):
        result = read()
    console.document(status_document(result, with_missing=missing))
    if missing:
        return _show_missing(console, result, format)
    console.prose("\n".join(status_lines(result)))
    return EXIT_OK


def _show_missing(console: Console, result: StatusResult, format: str) -> int:  # noqa: A002
    """Write the missing series as `series` writes them."""
    series = result.missing_series
    if format == "json":
        console.result(json.dumps([item.to_dict() for item in series], indent=2))
    elif series or format != "table":
        console.result(formatted(series, format))
    size = format_size(sum(item.size or 0 for item in series))
    console.message(f"{count(len(series), 'series')} missing, {size}")
    if unlisted := [status.name for status in result.collections if not status.is_known]:
        console.warning(
            f"what is missing of {', '.join(unlisted)} is not known: no download has recorded "
            "its series"
        )
    without = sum(not idc_address(item) for item in series) if format in OF_IDC else 0
    if without:
        console.error(
            f"{count(without, 'series')} cannot be listed: they have no address in IDC",
            "--format tcia or csv names every series",
        )
    return EXIT_PARTIAL if without else EXIT_OK


def watch_status(
    console: Console,
    read: Callable[[], StatusResult],
    stop: CancelToken,
    interval: float = _INTERVAL,
    idle_limit: float = _IDLE_LIMIT,
) -> int:
    """Show the status until all is complete, or nothing happens; return the exit code.

    On a terminal the lines replace each other; elsewhere they are written when they change.
    """
    screen = Screen(sys.stderr) if draws_bars() else None
    shown: list[str] = []
    active = time.monotonic()
    try:
        while True:
            result = read()
            lines = [
                clean_line(line) for each in result.collections for line in progress_lines(each)
            ]
            if screen is not None:
                screen.show(lines)
            elif lines != shown:
                console.result("\n".join(lines))
            now = time.monotonic()
            if lines != shown or any(each.running for each in result.collections):
                active, shown = now, lines
            elif now - active >= idle_limit:
                break
            if result.is_complete:
                return EXIT_OK
            stop.wait(interval)
    finally:
        if screen is not None:
            screen.clear()
            console.result("\n".join(shown))
    console.error(
        f"no run has been active for {format_duration(idle_limit)}, and series are missing",
        "'tcia-covid status' without --watch shows what failed; the same download resumes",
    )
    return EXIT_PARTIAL


def status_lines(result: StatusResult) -> Iterator[str]:
    """The status of each collection in a folder."""
    for number, collection in enumerate(result.collections):
        if number:
            yield ""
        yield from _collection(collection)
    yield from map(unchecked_line, result.unchecked)
    if result.collections:
        yield "file contents were not checked: use 'tcia-covid verify'"


def progress_lines(status: CollectionStatus) -> Iterator[str]:
    """How much is complete, and what is in progress."""
    yield f"{status.name} in {status.folder}"
    request, whole = status.request, status.whole
    is_all = bool(request and whole and request.of_series == whole.of_series)
    if request is not None and not is_all:
        yield f"  {_progress(request)} of the last request"
    if status.shards > 1:
        yield f"  the last request covers all {status.shards:,} shards"
    if whole is not None:
        yield f"  {_progress(whole)} of the whole collection"
    if missing := len(status.missing):
        yield f"  missing: {count(missing, 'series')}; listed by --missing"
    if running := status.running:
        left = running.seconds_left
        time_left = f", {format_duration(left)} left" if left is not None else ""
        rate = f", {format_size(round(running.rate))}/s" if running.rate else ""
        works = f"{count(running.series, 'series')} in progress{rate}{time_left}"
        yield f"  running: {'; '.join(running.processes)}: {works}"


def _progress(progress: Progress) -> str:
    series = f"{progress.series:,} of {count(progress.of_series, 'series')}"
    sizes = f", {format_size(progress.size)} of {format_size(progress.of_size)}"
    return f"{progress.percent:.1f} %: {series}{sizes if progress.of_size else ''}"


def _collection(status: CollectionStatus) -> Iterator[str]:
    yield from progress_lines(status)
    complete = status.complete
    latest = f", last one at {complete.last_completed}" if complete.last_completed else ""
    yield (
        f"  complete: {count(complete.series, 'series')}, "
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
