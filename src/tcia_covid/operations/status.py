"""What is complete, partial or failed in a folder, from receipts and file names alone."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import FailureReason
from tcia_covid.core.html import html_table
from tcia_covid.core.models import Check, Failure
from tcia_covid.core.units import count, format_size
from tcia_covid.store.discovery import (
    UncheckedFolder,
    find_trees,
    find_unchecked_folders,
    listing_errors,
)
from tcia_covid.store.disk import read_state
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.reports import outdated_reports
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileReceipts


@dataclass(slots=True)
class CompleteSeries:
    """Series all of whose files exist, by name; no file was opened."""

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
class Expected:
    """The size of the whole collection, from the registry."""

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
    """Series whose folder does not have all files that their receipt names."""
    failed: list[Failure]
    requested: int | None
    """Series that the last download selected; None if unknown."""
    expected: Expected | None
    """None for a collection that is not in the registry."""
    supporting: SupportingStatus
    outdated_reports: list[str]
    """Report files that are missing, or do not cover what is complete."""

    @property
    def not_started(self) -> int:
        """Series that the last download selected and that nothing is stored of."""
        stored = self.complete.series + len({*self.damaged, *self.missing_files})
        begun = {series.series for series in self.partial}
        begun |= {failure.series for failure in self.failed}
        return max(0, (self.requested or 0) - stored - len(begun))


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


def read_status(directory: Path, registry: Registry | None = None) -> StatusResult:
    """Read receipts, notes and file names; open no image and use no network.

    Args:
        directory: an output folder, or one collection's folder in it.
        registry: where the expected sizes come from.

    Raises:
        RequestError: this program did not create the folder.
        DestinationError: the program's own files in it cannot be read.
    """
    registry = registry or Registry()
    trees = find_trees(directory)
    with listing_errors(directory):
        collections = [_status(tree, registry) for tree in trees]
        return StatusResult(str(directory), collections, find_unchecked_folders(directory))


def _status(tree: Tree, registry: Registry) -> CollectionStatus:
    complete = CompleteSeries()
    missing_files = []
    name = tree.root.name
    damaged = tree.damage.uids()
    sizes = {uid: list(tree.staged_sizes(uid)) for uid in sorted(tree.series_in_staging())}
    partial = [PartialSeries(uid, len(each), sum(each)) for uid, each in sizes.items() if each]
    for uid in sorted(tree.receipts.uids()):
        stored = tree.receipts.read(uid)
        if stored is None:
            continue
        receipt = stored.receipt
        name = receipt.series.collection
        if (sizes.get(uid) and tree.is_half_committed(stored)) or not tree.has_all_files(receipt):
            missing_files.append(uid)
        elif uid not in damaged:
            complete.series += 1
            complete.images += len(receipt.images)
            complete.size += receipt.size
            complete.checks[receipt.check] += 1
            complete.sources.update({image.source for image in receipt.images})
            complete.last_completed = max(complete.last_completed or "", receipt.finished)
    return CollectionStatus(
        name=name,
        folder=str(tree.root),
        complete=complete,
        partial=partial,
        packages=list(_partial_packages(tree)),
        damaged=sorted(damaged),
        missing_files=missing_files,
        failed=[_failure(tree, uid) for uid in sorted(tree.failures.uids())],
        requested=tree.requested_series(),
        expected=_expected(registry.find(name) or registry.find(tree.root.name)),
        supporting=_supporting(tree),
        outdated_reports=outdated_reports(tree),
    )


def _partial_packages(tree: Tree) -> Iterator[PartialPackage]:
    for receiving in sorted((tree.state / "faspex").glob("*/receiving")):
        with contextlib.suppress(OSError):
            title = read_state(receiving).decode("utf-8", "replace") or receiving.parent.name
            folder = receiving.parent / "files"
            files = sum(file.is_file() for file in folder.rglob("*"))
            yield PartialPackage(title, files, folder_size(folder))


def _failure(tree: Tree, uid: str) -> Failure:
    """Read the latest failure of a series; nothing in the file is trusted."""
    lines = tree.failures.read(uid)
    last = lines[-1] if lines else {}
    missing, reason = last.get("missing"), last.get("reason")
    is_known = reason in {known.value for known in FailureReason}
    return Failure(
        series="" if uid.startswith("package-") else uid,
        reason=FailureReason(reason) if is_known else FailureReason.FAILED,
        detail=str(last.get("detail", "")),
        missing=tuple(str(image) for image in missing) if isinstance(missing, list) else (),
        hint=str(last.get("hint", "")),
    )


def _expected(collection: Collection | None) -> Expected | None:
    if collection is None:
        return None
    if not collection.is_dicom:  # one receipt per patient, one file per volume
        return Expected(collection.patients, collection.volumes, collection.size)
    return Expected(collection.series, collection.images, collection.size)


def _supporting(tree: Tree) -> SupportingStatus:
    receipts = FileReceipts(tree)
    files = list(receipts.all())
    missing = [file.file for file in files if not (receipts.files / file.file).is_file()]
    return SupportingStatus(len(files), sum(file.size for file in files), missing)
