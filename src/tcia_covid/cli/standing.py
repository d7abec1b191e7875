"""What stands in a folder, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tcia_covid.cli.outcome import failure_lines, named
from tcia_covid.model import Check
from tcia_covid.progress.phrases import clean
from tcia_covid.selection.sizes import count, format_size

if TYPE_CHECKING:
    from tcia_covid.status import CollectionStatus, StatusResult
    from tcia_covid.store.trees import Unchecked


def standing_lines(found: StatusResult) -> Iterator[str]:
    """The state of each collection in a folder."""
    for number, one in enumerate(found.collections):
        if number:
            yield ""
        yield from _collection(one)
    yield from map(unchecked_line, found.unchecked)
    if found.collections:
        yield "contents were not looked at: 'tcia-covid verify' does that"


def unchecked_line(one: Unchecked) -> str:
    """A folder with images that no receipt covers."""
    return clean(
        f"not checked: {one.folder} ({count(one.images, 'image')}, no receipts); "
        f"'download {one.folder}' adopts what is right"
    )


def outdated_line(files: Sequence[str]) -> str:
    """Report files that do not cover what is complete."""
    return clean(f"out of date: {', '.join(files)}; the next 'download' or 'adopt' writes them")


def _collection(one: CollectionStatus) -> Iterator[str]:
    complete = one.complete
    yield f"{one.name} in {one.folder}"
    yield (
        f"  complete: {count(complete.series, 'series')}{_expected(one)}, "
        f"{count(complete.images, 'image')}, {format_size(complete.size)}{_latest(one)}"
    )
    if unproved := complete.checks[Check.SIZE]:
        yield f"  of these {count(unproved, 'series')} checked by count, size and header alone"
    if one.under_way:
        size = format_size(sum(series.size for series in one.under_way))
        yield f"  begun: {count(len(one.under_way), 'series')}, {size} of them there"
    for package in one.packages:
        size = format_size(package.size)
        yield clean(f"  begun: package '{package.package}', {size} of it there")
    if one.not_begun:
        yield f"  not begun: {count(one.not_begun, 'series')} of those last asked for"
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
    return f", the latest {one.complete.finished}" if one.complete.finished else ""


def _listed(what: str, uids: Sequence[str]) -> Iterator[str]:
    if not uids:
        return
    yield f"  {what}: {count(len(uids), 'series')}"
    yield from named(uids)
