"""`status`: what stands in a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from tcia_covid.api.functions import status as read_status
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import failure_lines, series_lines, unchecked_line
from tcia_covid.cli.options import EVERYWHERE, directory
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.models import Check
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.status import document
from tcia_covid.output.progress.wording import clean_line

if TYPE_CHECKING:
    from tcia_covid.operations.status import CollectionStatus, StatusResult


@as_command(directory(), *EVERYWHERE)
def status(console: Console, directory: str, registry: tuple[str, ...], **_: Any) -> int:
    """Say what is complete, under way or failed in DIR, and why.

    Looks at receipts and file names alone: no image is opened, no network asked. DIR is what
    'download --output' named, or one collection's folder in it.
    """
    found = read_status(directory, registry=registry)
    console.document(document(found))
    console.result("\n".join(status_lines(found)))
    return EXIT_OK


def status_lines(found: StatusResult) -> Iterator[str]:
    """The state of each collection in a folder."""
    for number, one in enumerate(found.collections):
        if number:
            yield ""
        yield from _collection(one)
    yield from map(unchecked_line, found.unchecked)
    if found.collections:
        yield "contents were not looked at: 'tcia-covid verify' does that"


def outdated_line(files: Sequence[str]) -> str:
    """Report files that do not cover what is complete."""
    return clean_line(
        f"out of date: {', '.join(files)}; the next 'download' or 'adopt' writes them"
    )


def _collection(one: CollectionStatus) -> Iterator[str]:
    complete = one.complete
    yield f"{one.name} in {one.folder}"
    yield (
        f"  complete: {count(complete.series, 'series')}{_expected(one)}, "
        f"{count(complete.images, 'image')}, {format_size(complete.size)}{_latest(one)}"
    )
    if unproved := complete.checks[Check.SIZE]:
        yield f"  of these {count(unproved, 'series')} checked by count, size and header alone"
    if one.partial:
        size = format_size(sum(series.size for series in one.partial))
        yield f"  begun: {count(len(one.partial), 'series')}, {size} of them there"
    for package in one.packages:
        size = format_size(package.size)
        yield clean_line(f"  begun: package '{package.package}', {size} of it there")
    if one.not_started:
        yield f"  not begun: {count(one.not_started, 'series')} of those last asked for"
    wrong = sorted({*one.damaged, *one.missing_files})
    yield from _listed("damaged or lacking files, mended by the next download", wrong)
    if one.supporting.files:
        beside = one.supporting
        missing = f", {len(beside.missing):,} of them missing" if beside.missing else ""
        size = format_size(beside.size)
        yield f"  beside them: {count(beside.files, 'supporting file')}, {size}{missing}"
    if one.outdated_reports:
        yield f"  {outdated_line(one.outdated_reports)}"
    if one.failed:
        packages = sum(not failure.series for failure in one.failed)
        series = len(one.failed) - packages
        counted = [count(series, "series")] if series else []
        counted += [count(packages, "package")] if packages else []
        yield f"  failed: {' and '.join(counted)}"
        yield from (f"  {line}" for line in failure_lines(one.failed))


def _expected(one: CollectionStatus) -> str:
    if one.expected is None or one.expected.series is None:
        return ""
    return f" of the {one.expected.series:,} of the whole collection"


def _latest(one: CollectionStatus) -> str:
    return f", the latest {one.complete.last_completed}" if one.complete.last_completed else ""


def _listed(what: str, uids: Sequence[str]) -> Iterator[str]:
    if not uids:
        return
    yield f"  {what}: {count(len(uids), 'series')}"
    yield from series_lines(uids)


command = status
