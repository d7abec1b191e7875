"""What is complete, partial or failed in a folder, from receipts and file names alone."""

from __future__ import annotations

import calendar
import contextlib
import math
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import FailureReason
from tcia_covid.core.models import Check, Failure, Series, Totals
from tcia_covid.core.summary import html_table
from tcia_covid.core.units import count, format_size
from tcia_covid.store.discovery import (
    UncheckedFolder,
    find_trees,
    find_unchecked_folders,
    listing_errors,
)
from tcia_covid.store.disk import read_state
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.locks import Holder
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.request_record import RecordedRequest, read_request
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileReceipts

_RECENT = 600.0
"""Seconds: the rate of a run is that of the series completed in this time."""


@dataclass(slots=True)
class CompleteSeries:
    """Series whose files all exist, by their names; no file was opened."""

    series: int = 0
    images: int = 0
    size: int = 0
    """Bytes, by the receipts."""
    checks: Counter[Check] = field(default_factory=Counter)
    """Series by the weakest check of their images."""
    sources: Counter[str] = field(default_factory=Counter)
    """Series by the archives that their images came from; `adopted`: found on disk."""
    last_completed: str | None = None
    """When the latest of them was completed: UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class PartialSeries:
    """A series with images in staging, whether a run is working on it or not."""

    series: str
    images: int
    size: int


@dataclass(frozen=True, slots=True)
class PartialPackage:
    """A package that is not received completely."""

    package: str
    """Its title."""
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Running:
    """Runs that work in a folder now."""

    processes: list[str]
    """Each process, with its host and when it locked its oldest series."""
    series: int
    """Series that they work on."""
    rate: float | None
    """Bytes per second of the series completed recently; None if too few were."""
    seconds_left: float | None
    """Estimated from `rate` and the missing bytes."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How much is complete of what was requested, or of a whole collection."""

    series: int
    """Complete ones."""
    of_series: int
    size: int
    """Bytes of complete series, and of images in staging."""
    of_size: int

    @property
    def percent(self) -> float:
        """By bytes; by series where sizes are not known. 100 only if every series is complete."""
        if self.series >= self.of_series:
            return 100.0
        done, total = (self.size, self.of_size) if self.of_size else (self.series, self.of_series)
        return min(99.9, math.floor(1000 * done / total) / 10)


@dataclass(frozen=True, slots=True)
class Expected:
    """The size of the whole collection: from the registry, or as the last download listed it."""

    series: int | None
    images: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SupportingStatus:
    """The supporting files, from their receipts; none was opened."""

    files: int
    size: int
    """Bytes."""
    missing: list[str]
    """Paths of files that do not exist."""


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """The state of one collection's folder."""

    name: str
    """The collection as the archive spells it, if a receipt says so."""
    folder: str
    complete: CompleteSeries
    partial: list[PartialSeries]
    packages: list[PartialPackage]
    """Of a collection that is published as packages."""
    damaged: list[str]
    """Series that `verify` found damaged and no download has repaired since."""
    missing_files: list[str]
    """Series whose folder does not have all files that their receipt names, or whose receipt
    cannot be read."""
    failed: list[Failure]
    requested: int | None
    """Series that the last download selected, of all shards; None if unknown."""
    shards: int
    """The number of runs that the last download was divided into by `--shard`, or 1."""
    expected: Expected | None
    """None for a collection that is not in the registry."""
    supporting: SupportingStatus
    missing: Mapping[str, Totals]
    """Series of the last request, or else of the catalog's collection, that are not complete."""
    is_known: bool
    """Whether the expected series, and so the missing ones, are known."""
    request: Progress | None
    """None where the last request's series are not known."""
    whole: Progress | None
    """None where the size of the collection is not known."""
    running: Running | None
    outdated_reports: list[str]
    """Report files that are missing, or do not cover what is complete."""

    @property
    def not_started(self) -> int:
        """Series that the last download selected and of which nothing is stored."""
        stored = self.complete.series + len({*self.damaged, *self.missing_files})
        started = {series.series for series in self.partial}
        started |= {failure.series for failure in self.failed}
        return max(0, (self.requested or 0) - stored - len(started))


@dataclass(frozen=True, slots=True, repr=False)
class StatusResult:
    """The state of each collection's folder in a directory."""

    directory: str
    collections: list[CollectionStatus]
    unchecked: list[UncheckedFolder] = field(default_factory=list)
    """Other folders with images that no receipt covers."""

    def __repr__(self) -> str:
        return f"<Status: {self._in_words()}>"

    def _repr_html_(self) -> str:
        """The same in a notebook, by collection."""
        heads = ("collection", "series complete", "images", "size", "staged", "damaged", "failed")
        rows = (
            (
                each.name,
                each.complete.series,
                each.complete.images,
                format_size(each.complete.size),
                len(each.partial),
                len({*each.damaged, *each.missing_files}),
                len(each.failed),
            )
            for each in self.collections
        )
        return html_table(self._in_words(), heads, rows)

    def _in_words(self) -> str:
        series = sum(each.complete.series for each in self.collections)
        size = format_size(sum(each.complete.size for each in self.collections))
        return f"{count(series, 'series')} complete in {self.directory}, {size}"

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing, and no run is active."""
        return not any(
            status.missing
            or status.partial
            or status.packages
            or status.not_started
            or status.running
            for status in self.collections
        )

    @property
    def missing_series(self) -> list[Series]:
        """The series in `missing` as far as they are known: outside the catalog, count and size.

        A list of them is a target of `download`.
        """
        return [series for status in self.collections for series in _missing_series(status)]


def _missing_series(status: CollectionStatus) -> Iterator[Series]:
    known = series_catalog.find(status.missing)
    for uid, totals in status.missing.items():
        yield known.get(uid) or Series(
            uid,
            collection=status.name,
            patient="",
            study="",
            image_count=totals.images or None,
            size=totals.size or None,
        )


def read_status(
    directory: Path, registry: Registry | None = None, *, clock: Callable[[], float] = time.time
) -> StatusResult:
    """Read receipts, notes and file names; open no image and use no network.

    The expected sizes come from the registry; `clock` gives the time, for the rate of a run.

    Raises:
        RequestError: this program did not create the folder.
        DestinationError: the program's own files in it cannot be read.
    """
    registry = registry or Registry()
    trees = find_trees(directory)
    with listing_errors(directory):
        collections = [_status(tree, registry, clock()) for tree in trees]
        return StatusResult(str(directory), collections, find_unchecked_folders(directory))


def _status(tree: Tree, registry: Registry, now: float) -> CollectionStatus:
    complete = CompleteSeries()
    recent: list[tuple[str, int]] = []  # when completed, and bytes
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - _RECENT))
    on_disk: dict[str, int] = {}
    missing_files = []
    name = tree.root.name
    damaged = tree.damage.uids()
    sizes = {uid: list(tree.staged_sizes(uid)) for uid in sorted(tree.series_in_staging())}
    partial = [PartialSeries(uid, len(each), sum(each)) for uid, each in sizes.items() if each]
    for uid in sorted(tree.receipts.uids()):
        stored = tree.receipts.read(uid)
        if stored is None:
            missing_files.append(uid)
            continue
        receipt = stored.receipt
        name = receipt.series.collection
        if (sizes.get(uid) and tree.is_half_committed(stored)) or not tree.has_all_files(receipt):
            missing_files.append(uid)
        elif uid not in damaged:
            on_disk[uid] = receipt.size
            if receipt.finished >= since:
                recent.append((receipt.finished, receipt.size))
            complete.series += 1
            complete.images += len(receipt.images)
            complete.size += receipt.size
            complete.checks[receipt.check] += 1
            complete.sources.update({image.source for image in receipt.images})
            complete.last_completed = max(complete.last_completed or "", receipt.finished)
    collection = registry.find(name) or registry.find(tree.root.name)
    record = read_request(tree.state)
    wanted = _wanted(record, collection.name if collection else name)
    missing = {uid: totals for uid, totals in wanted.items() if uid not in on_disk}
    for series in partial:
        on_disk.setdefault(series.series, series.size)
    expected = _expected(collection, record)
    request = None
    if record is not None and record.items:
        requested, size = record.totals, sum(on_disk.get(uid, 0) for uid in wanted)
        request = Progress(len(wanted) - len(missing), requested.series, size, requested.size)
    return CollectionStatus(
        name=name,
        folder=str(tree.root),
        complete=complete,
        partial=partial,
        packages=list(_partial_packages(tree)),
        damaged=sorted(damaged),
        missing_files=missing_files,
        failed=[_failure(tree, uid) for uid in sorted(tree.failures.uids())],
        requested=record.series if record else None,
        shards=record.shards if record else 1,
        expected=expected,
        supporting=_supporting(tree),
        missing=missing,
        is_known=bool(wanted),
        request=request,
        whole=_whole(expected, complete.series, sum(on_disk.values())),
        running=_running(tree, recent, now, missing, on_disk),
        outdated_reports=outdated_reports(tree),
    )


def _wanted(record: RecordedRequest | None, collection: str) -> Mapping[str, Totals]:
    """The expected series; empty where they are not known."""
    if record is not None:
        return record.items
    if not series_catalog.has(collection):
        return {}
    return {series.uid: Totals.of([series]) for series in series_catalog.load(collection)}


def _whole(expected: Expected | None, series: int, size: int) -> Progress | None:
    if expected is None or expected.series is None:
        return None
    return Progress(series, expected.series, size, expected.size or 0)


def _rate(completed: Iterable[tuple[str, int]], now: float) -> float | None:
    """Bytes per second of the series completed recently; None with fewer than two."""
    recent = []
    for finished, size in completed:
        with contextlib.suppress(ValueError):
            moment = calendar.timegm(time.strptime(finished, "%Y-%m-%dT%H:%M:%SZ"))
            if now - _RECENT < moment <= now:
                recent.append((moment, size))
    if not recent:
        return None
    (start, _), *others = sorted(recent)
    seconds = now - start
    return sum(size for _, size in others) / seconds if others and seconds > 0 else None


def _running(
    tree: Tree,
    completed: Iterable[tuple[str, int]],
    now: float,
    missing: Mapping[str, Totals],
    on_disk: Mapping[str, int],
) -> Running | None:
    holders = tree.lock_holders()
    if not holders:
        return None
    since: dict[tuple[int, str], Holder] = {}
    for holder in sorted(holders, key=lambda holder: holder.since):
        since.setdefault((holder.process, holder.host), holder)
    rate = _rate(completed, now)
    left = sum(max(0, totals.size - on_disk.get(uid, 0)) for uid, totals in missing.items())
    return Running(
        processes=list(map(str, since.values())),
        series=len(holders),
        rate=rate,
        seconds_left=left / rate if rate and left else None,
    )


def _partial_packages(tree: Tree) -> Iterator[PartialPackage]:
    for receiving in sorted((tree.state / "faspex").glob("*/receiving")):
        with contextlib.suppress(OSError):
            title = read_state(receiving).decode("utf-8", "replace") or receiving.parent.name
            folder = receiving.parent / "files"
            files = sum(len(names) for _, _, names in os.walk(folder))
            yield PartialPackage(title, files, folder_size(folder))


def _failure(tree: Tree, uid: str) -> Failure:
    """Read the latest failure of a series; nothing in the file is trusted."""
    lines = tree.failures.read(uid)
    last = lines[-1] if lines else {}
    missing, reason = last.get("missing"), last.get("reason")
    is_known = isinstance(reason, str) and reason in {known.value for known in FailureReason}
    return Failure(
        series="" if uid.startswith("package-") else uid,
        reason=FailureReason(reason) if is_known else FailureReason.FAILED,
        detail=str(last.get("detail", "")),
        missing=tuple(str(image) for image in missing) if isinstance(missing, list) else (),
        hint=str(last.get("hint", "")),
    )


def _expected(collection: Collection | None, record: RecordedRequest | None) -> Expected | None:
    if collection is None or (collection.is_dicom and collection.series is None):
        listed = record.listed if record else None
        return Expected(listed.series, listed.images, listed.size) if listed else None
    if not collection.is_dicom:  # one receipt per patient, one file per volume
        return Expected(collection.patients, collection.volumes, collection.size)
    return Expected(collection.series, collection.images, collection.size)


def _supporting(tree: Tree) -> SupportingStatus:
    receipts = FileReceipts(tree)
    files = list(receipts.all())
    missing = [file.file for file in files if not (receipts.files / file.file).is_file()]
    return SupportingStatus(len(files), sum(file.size for file in files), missing)
