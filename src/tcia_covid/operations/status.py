"""What stands in a folder: complete, under way, failed and why, without the network."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.models import Check, Failure, Receipt
from tcia_covid.store.discovery import (
    UncheckedFolder,
    find_trees,
    find_unchecked_folders,
    listing_errors,
)
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.reports.state import outdated_reports
from tcia_covid.store.tree import Tree
from tcia_covid.supporting.receipts import FileReceipts


@dataclass(slots=True)
class CompleteSeries:
    """Series that stand in the tree with all their files, by name; no file was opened."""

    series: int = 0
    images: int = 0
    size: int = 0
    """Bytes, by the receipts."""
    checks: Counter[Check] = field(default_factory=Counter)
    """How many series by the weakest proof of their images."""
    sources: Counter[str] = field(default_factory=Counter)
    """How many series have images from an archive; `adopted`: found on disk by a later run."""
    last_completed: str | None = None
    """When the latest of them was: UTC, ISO 8601."""


@dataclass(frozen=True, slots=True)
class PartialSeries:
    """A series with images in staging, from a run that goes on or one that ended."""

    series: str
    images: int
    size: int


@dataclass(frozen=True, slots=True)
class PackageUnderWay:
    """A package that a run began to receive and did not receive to the end, or not yet."""

    package: str
    """Its title."""
    files: int
    size: int


@dataclass(frozen=True, slots=True)
class Expected:
    """What the registry says that the whole collection is."""

    series: int | None
    images: int | None
    size: int | None


@dataclass(frozen=True, slots=True)
class SupportingStatus:
    """The files beside the images, by their receipts; none was opened."""

    files: int
    size: int
    """Bytes."""
    missing: list[str]
    """Names of those that are not there."""


@dataclass(frozen=True, slots=True)
class CollectionStatus:
    """What stands in one collection's folder."""

    name: str
    """The collection, as the archive spells it where a receipt tells."""
    folder: str
    complete: CompleteSeries
    partial: list[PartialSeries]
    packages: list[PackageUnderWay]
    """Of a collection that is published as packages."""
    damaged: list[str]
    """Series that `verify` found damaged and no download has mended since."""
    missing_files: list[str]
    """Series whose folder does not have the files that their receipt names."""
    failed: list[Failure]
    requested: int | None
    """Series that the last download was asked for; None where that is not known."""
    expected: Expected | None
    """None for a collection that the registry does not have."""
    supporting: SupportingStatus
    outdated_reports: list[str]
    """Report files that are missing, or do not cover what is complete."""

    @property
    def not_started(self) -> int:
        """Series that the last download was asked for, and that nothing is here of."""
        here = self.complete.series + len({*self.damaged, *self.missing_files})
        begun = {one.series for one in self.partial} | {one.series for one in self.failed}
        return max(0, (self.requested or 0) - here - len(begun))


@dataclass(frozen=True, slots=True)
class StatusResult:
    """What stands in each collection's folder of a directory."""

    directory: str
    collections: list[CollectionStatus]
    unchecked: list[UncheckedFolder] = field(default_factory=list)
    """Folders beside them with images that no receipt covers."""


def read_status(directory: Path, registry: Registry | None = None) -> StatusResult:
    """Look at receipts, notes and file names; no image is opened, nothing is asked.

    Args:
        directory: an output folder, or one collection's folder in it.
        registry: where the expected totals are from.

    Raises:
        RequestError: the folder is not one of this program's.
        DestinationError: the program's own files in it cannot be read.
    """
    known = registry or Registry()
    trees = find_trees(directory)
    with listing_errors(directory):
        found = [_status(tree, known) for tree in trees]
        return StatusResult(str(directory), found, find_unchecked_folders(directory))


def document(result: StatusResult) -> dict[str, Any]:
    """The JSON document of `status --json`."""
    return {
        "command": "status",
        "output": result.directory,
        "exit_code": 0,
        "collections": [_document(collection) for collection in result.collections],
        "unchecked": [asdict(folder) for folder in result.unchecked],
    }


def _status(tree: Tree, registry: Registry) -> CollectionStatus:
    complete = CompleteSeries()
    missing_files = []
    spelled = tree.root.name
    damaged = tree.damage.uids()
    partial = _partial_series(tree)
    begun = {one.series for one in partial}
    for uid in tree.receipts.uids():
        filed = tree.receipts.read(uid)
        if filed is None:
            continue
        receipt = filed.receipt
        spelled = receipt.series.collection
        if (uid in begun and tree.is_being_committed(filed)) or not tree.has_all_files(receipt):
            missing_files.append(uid)
        elif uid not in damaged:
            _add(complete, receipt)
    return CollectionStatus(
        name=spelled,
        folder=str(tree.root),
        complete=complete,
        partial=partial,
        packages=list(_packages(tree)),
        damaged=sorted(damaged),
        missing_files=missing_files,
        failed=[_failure(tree, uid) for uid in sorted(tree.failures.uids())],
        requested=tree.asked(),
        expected=_expected(registry.find(spelled) or registry.find(tree.root.name)),
        supporting=_supporting(tree),
        outdated_reports=outdated_reports(tree),
    )


def _supporting(tree: Tree) -> SupportingStatus:
    receipts = FileReceipts(tree)
    found = list(receipts.all())
    missing = [one.file for one in found if not (receipts.files / one.file).is_file()]
    return SupportingStatus(len(found), sum(one.size for one in found), missing)


def _add(complete: CompleteSeries, receipt: Receipt) -> None:
    complete.series += 1
    complete.images += len(receipt.images)
    complete.size += receipt.size
    complete.checks[receipt.check] += 1
    complete.sources.update({image.source for image in receipt.images})
    complete.last_completed = max(complete.last_completed or "", receipt.finished)


def _partial_series(tree: Tree) -> list[PartialSeries]:
    found = []
    for uid in sorted(tree.under_way()):
        sizes = list(tree.staged(uid))
        if sizes:
            found.append(PartialSeries(uid, len(sizes), sum(sizes)))
    return found


def _packages(tree: Tree) -> Iterator[PackageUnderWay]:
    for begun in sorted((tree.state / "faspex").glob("*/receiving")):
        with contextlib.suppress(OSError):
            title = begun.read_text("utf-8", "replace") or begun.parent.name
            files = [file for file in (begun.parent / "files").rglob("*") if file.is_file()]
            yield PackageUnderWay(title, len(files), folder_size(begun.parent / "files"))


def _failure(tree: Tree, uid: str) -> Failure:
    """The latest reason that is on record for a series."""
    lines = tree.failures.read(uid)
    last = lines[-1] if lines else {}
    missing = last.get("missing")
    return Failure(
        series="" if uid.startswith("package-") else uid,
        reason=str(last.get("reason", "failed")),
        detail=str(last.get("detail", "")),
        missing=tuple(str(image) for image in missing) if isinstance(missing, list) else (),
        hint=str(last.get("hint", "")),
    )


def _expected(collection: Collection | None) -> Expected | None:
    if collection is None:
        return None
    if not collection.is_dicom:  # a receipt a patient, a file a volume
        return Expected(collection.patients, collection.volumes, collection.size)
    return Expected(collection.series, collection.images, collection.size)


def _document(collection: CollectionStatus) -> dict[str, Any]:
    complete, expected = collection.complete, collection.expected
    return {
        "collection": collection.name,
        "folder": collection.folder,
        "series": {
            "complete": complete.series,
            "partial": len(collection.partial),
            "damaged": len(collection.damaged),
            "missing_files": len(collection.missing_files),
            "failed": len(collection.failed),
            "expected": expected.series if expected else None,
        },
        "images": {"stored": complete.images, "expected": expected.images if expected else None},
        "bytes": {"stored": complete.size, "expected": expected.size if expected else None},
        "checked": {
            "md5": complete.checks[Check.MD5] + complete.checks[Check.SERIES_MD5],
            "series_md5": complete.checks[Check.SERIES_MD5],
            "size": complete.checks[Check.SIZE],
        },
        "sources": dict(complete.sources),
        "last_completed": complete.last_completed,
        "partial": [_partial_document(series) for series in collection.partial],
        "packages": [
            {"package": one.package, "files": one.files, "bytes": one.size}
            for one in collection.packages
        ],
        "damaged": collection.damaged,
        "missing_files": collection.missing_files,
        "failures": [failure.to_dict() for failure in collection.failed],
        "supporting": {
            "files": collection.supporting.files,
            "bytes": collection.supporting.size,
            "missing": collection.supporting.missing,
        },
        "outdated_reports": collection.outdated_reports,
        "requested": collection.requested,
        "not_started": collection.not_started,
    }


def _partial_document(series: PartialSeries) -> dict[str, Any]:
    return {"SeriesInstanceUID": series.series, "images": series.images, "bytes": series.size}
