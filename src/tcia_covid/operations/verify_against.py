"""Completeness: compares a folder with what targets name, without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from operator import attrgetter
from pathlib import Path, PurePosixPath
from typing import Any

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.errors import FailureReason, RequestError
from tcia_covid.core.models import Failure, Receipt, Series
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.summary import ResolvedTarget
from tcia_covid.core.units import count
from tcia_covid.operations.verify_files import Damage, Reason
from tcia_covid.selection.listing import CatalogSource, SeriesListing
from tcia_covid.selection.lock_files import differences_on_disk, pinned_columns
from tcia_covid.selection.lookup import LookupResult
from tcia_covid.selection.request import Request, check_package_request, package_collection
from tcia_covid.selection.resolve import Selection, resolve
from tcia_covid.selection.targets import Unknown, manifest_target, parse_targets
from tcia_covid.store.discovery import find_trees, listing_errors
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.series import version_difference

_WRITE_LOCK = (
    "write its list to a lock file where there is a network: 'tcia-covid series TARGET --format "
    "csv > lock.csv', then --against lock.csv"
)


class MismatchState(str, Enum):
    """How a series in the folder differs from what the targets name."""

    MISSING = "missing"
    """Requested, and not complete in the folder."""
    EXTRA = "extra"
    """Complete in the folder, and not requested."""
    CHANGED = "changed"
    """Another version is in the folder, or images of it are damaged or missing."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One series that differs."""

    state: MismatchState
    series: str
    """SeriesInstanceUID; empty for patients of a collection that is not DICOM, and for an entry of
    a manifest that is in neither the catalog nor the folder."""
    detail: str
    collection: str = ""
    patient: str = ""
    image_count: int | None = None
    """Requested images; those in the folder if nothing is requested."""
    images: Sequence[str] = ()
    """SOPInstanceUIDs of missing and damaged images, where receipts name them."""

    def to_dict(self) -> dict[str, Any]:
        """Return the series as the JSON document shows it."""
        return {
            "SeriesInstanceUID": self.series or None,
            "Collection": self.collection or None,
            "PatientID": self.patient or None,
            "ImageCount": self.image_count,
            "state": self.state.value,
            "detail": self.detail,
            "images": list(self.images),
        }


@dataclass(slots=True)
class MatchCounts:
    """Numbers of series."""

    expected: int = 0
    """Requested series; patients of a collection that is not DICOM."""
    complete: int = 0
    """Requested series that are complete in the requested version."""
    missing: int = 0
    extra: int = 0
    changed: int = 0


@dataclass(slots=True)
class TargetComparison:
    """How the folder compares with the targets."""

    targets: list[str]
    resolved: list[ResolvedTarget] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    """Columns of lock files that were compared."""
    series: MatchCounts = field(default_factory=MatchCounts)
    mismatches: list[Mismatch] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)

    def add(self, mismatch: Mismatch) -> None:
        """Count and keep a difference."""
        name = mismatch.state.value
        setattr(self.series, name, getattr(self.series, name) + 1)
        self.mismatches.append(mismatch)


def check_for_targets(request: Request) -> SeriesCheck | VolumeCheck:
    """Find out what targets name: from the catalog, from files, and from the folder's receipts.

    Args:
        request: the targets, filters and registry; `output` is the folder.

    Raises:
        RequestError: no targets, or only an archive knows what they name.
    """
    registry = load_registry(request.options.registry)
    collection = package_collection(request, registry)
    if collection is not None:
        check_package_request(collection, request)
        return VolumeCheck(collection, request.targets)
    trees = find_trees(Path(request.output))
    return SeriesCheck(request, _select(request, registry, trees), trees)


def _select(request: Request, registry: Registry, trees: Sequence[Tree]) -> Selection:
    stored = _StoredSeries(trees, request.output)
    targets = []
    if request.targets or not request.manifests:
        targets += parse_targets(request.targets, registry, pinned=True)
    targets += (manifest_target(manifest, registry) for manifest in request.manifests)
    return resolve(
        targets,
        registry,
        CatalogSource(stored),
        stored,
        filters=request.filters,
        shard=request.options.shard,
    )


class _StoredSeries:
    """Lists series that the catalog does not have from the receipts of a folder."""

    def __init__(self, trees: Sequence[Tree], output: str) -> None:
        self._unknown = f"not in {output}, and not in the catalog"
        """One text for all series: another for each of 1,000,000 would take 200 MB."""
        # Listed once: trying to open a file for each of 1,000,000 series takes a minute.
        with listing_errors(Path(output)):
            self._trees = [(tree, tree.receipts.uids()) for tree in trees]

    def collection(self, collection: Collection) -> SeriesListing:
        """Refuse: receipts do not show what a collection has."""
        raise _unknown_here(collection.name)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List those series that have receipts; the others are failures."""
        listing = SeriesListing()
        for uid in uids:
            series = self._read(uid)
            if series is None:
                listing.failures.append(Failure(uid, FailureReason.MISSING, self._unknown))
            else:
                listing.series.append(series)
        return listing

    def find(self, unknown: Sequence[Unknown]) -> Iterator[tuple[Unknown, LookupResult]]:
        """Find SeriesInstanceUIDs; other entries of a manifest are failures.

        Raises:
            RequestError: a target is not a UID, so only an archive knows its series.
        """
        for item in unknown:
            is_any_uid = is_uid(item.value) and "." in item.value
            series = self._read(item.value) if is_any_uid else None
            if series is not None:
                yield item, LookupResult("SeriesInstanceUID", SeriesListing([series]))
            elif is_any_uid or item.place:
                uid = item.value if is_any_uid else ""
                detail = f"{item.place}{item.value} is {self._unknown}"
                failure = Failure(uid, FailureReason.MISSING, detail)
                yield item, LookupResult("", SeriesListing(failures=[failure]))
            else:
                raise _unknown_here(item.value)

    def _read(self, uid: str) -> Series | None:
        stored = (tree.receipts.read(uid) for tree, recorded in self._trees if uid in recorded)
        return next((record.receipt.series for record in stored if record is not None), None)


def _unknown_here(name: str) -> RequestError:
    return RequestError(
        f"{name!r} is not in the catalog, and 'verify --against' asks no archive what it has",
        hint=_WRITE_LOCK,
    )


class SeriesCheck:
    """Compares the DICOM series of a folder, one by one, with what targets name."""

    def __init__(self, request: Request, selection: Selection, trees: Sequence[Tree]) -> None:
        self._selection = selection
        self._trees = trees
        self._expected = {series.uid: series for series in selection.series}
        for uid, series in self._expected.items():
            number = selection.pins.get(uid, {}).get("image_count")
            if isinstance(number, int):
                self._expected[uid] = replace(series, image_count=number)
        self._found: set[str] = set()
        selected_pins = (pin for uid in self._expected if (pin := selection.pins.get(uid)))
        self._result = TargetComparison(
            targets=[*request.targets, *(manifest.name for manifest in request.manifests)],
            resolved=selection.resolved,
            pinned=pinned_columns(selected_pins),
            series=MatchCounts(expected=len(self._expected) + len(selection.failures)),
            notices=selection.notices,
        )

    def compare(self, receipt: Receipt, damage: Sequence[Damage]) -> None:
        """Compare with the version in the lock file or the catalog."""
        expected = self._expected.get(receipt.series.uid)
        if expected is None:
            self._result.add(_extra(receipt))
            return
        self._found.add(expected.uid)
        if detail := _describe(damage) or self._version_difference(receipt, expected):
            uids = {image.file: image.uid for image in receipt.images}
            names = (PurePosixPath(problem.file).name for problem in damage)
            images = [uids.get(name, name) for name in names]
            self._result.add(_mismatch(MismatchState.CHANGED, expected, detail, images))
        else:
            self._result.series.complete += 1

    def _version_difference(self, receipt: Receipt, expected: Series) -> str:
        pin = self._selection.pins.get(expected.uid)
        if pin is not None:
            return "; ".join(differences_on_disk(receipt, pin))
        return version_difference(receipt, expected) if receipt.differs_from(expected) else ""

    def finish(self) -> TargetComparison:
        """Add the requested series of which nothing complete was found."""
        staged = {uid for tree in self._trees for uid in tree.series_in_staging()}
        recorded = {uid for tree in self._trees for uid in tree.receipts.uids()}
        for uid, series in self._expected.items():
            if uid in self._found:
                continue
            if uid in recorded:
                detail = "its receipt cannot be read, or another run works on it"
            else:
                begun = "only some of its images were downloaded"
                detail = begun if uid in staged else "nothing of it was downloaded"
            self._result.add(_mismatch(MismatchState.MISSING, series, detail))
        failures = self._selection.failures
        failures.reverse()
        while failures:  # each is freed when it is counted: there may be a million
            failure = failures.pop()
            self._result.add(Mismatch(MismatchState.MISSING, failure.series, failure.detail))
        # In two steps, since a pair for each of many series would take more memory than it.
        self._result.mismatches.sort(key=attrgetter("series"))
        order = {state: place for place, state in enumerate(MismatchState)}
        self._result.mismatches.sort(key=lambda mismatch: order[mismatch.state])
        return self._result


def _mismatch(
    state: MismatchState, series: Series, detail: str, images: Iterable[str] = ()
) -> Mismatch:
    count = series.image_count
    return Mismatch(
        state, series.uid, detail, series.collection, series.patient, count, tuple(images)
    )


def _extra(receipt: Receipt) -> Mismatch:
    series = replace(receipt.series, image_count=len(receipt.images))
    return _mismatch(MismatchState.EXTRA, series, "the targets do not name it")


def _describe(damage: Sequence[Damage]) -> str:
    """Count missing and damaged files."""
    missing = sum(problem.reason is Reason.MISSING for problem in damage)
    parts = [(missing, "missing"), (len(damage) - missing, "damaged")]
    return ", ".join(f"{count(number, 'image')} {state}" for number, state in parts if number)


class VolumeCheck:
    """Counts patients and volumes: what a collection that is not DICOM has is known by number."""

    def __init__(self, collection: Collection, targets: Sequence[str]) -> None:
        self._collection = collection
        self._volumes = 0
        patients = collection.patients or 0
        self._result = TargetComparison(
            targets=list(targets),
            resolved=[ResolvedTarget(targets[0], "collection", [collection.name], patients)],
            series=MatchCounts(expected=patients),
            notices=["a patient is counted as a series, a volume as an image"],
        )

    def compare(self, receipt: Receipt, damage: Sequence[Damage]) -> None:
        """Count an intact patient."""
        if receipt.series.collection != self._collection.name:
            self._result.add(_extra(receipt))
        elif damage:
            images = [PurePosixPath(problem.file).name for problem in damage]
            detail = _describe(damage)
            self._result.add(_mismatch(MismatchState.CHANGED, receipt.series, detail, images))
        else:
            self._volumes += len(receipt.images)
            self._result.series.complete += 1

    def finish(self) -> TargetComparison:
        """Compare the numbers with those of the registry."""
        counts, volumes = self._result.series, self._collection.volumes or 0
        missing = counts.expected - counts.complete - counts.changed
        if missing > 0 or (not counts.changed and self._volumes != volumes):
            detail = (
                f"{counts.complete:,} of {counts.expected:,} patients and {self._volumes:,} of "
                f"{volumes:,} volumes are there"
            )
            self._result.add(
                Mismatch(MismatchState.MISSING, "", detail, collection=self._collection.name)
            )
            counts.missing = max(missing, 1)
        return self._result
