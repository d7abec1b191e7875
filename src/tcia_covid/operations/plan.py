"""Finding out what a download would do, without doing anything: no folder is made."""

from __future__ import annotations

import contextlib
import errno
import shutil
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.archives.aspera import find_ascli
from tcia_covid.archives.factory import open_for_options
from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.summary import Comparison
from tcia_covid.nifti.result import Inventory
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.operations.select import select_offline
from tcia_covid.selection.filters import apply_filters
from tcia_covid.selection.reconcile import compare_lists
from tcia_covid.selection.request import Request, check_package_request, package_collection
from tcia_covid.selection.resolve import CollectionSelection
from tcia_covid.store.disk import destination_error
from tcia_covid.store.free_space import PartialSeries, space_needed
from tcia_covid.store.tree import Tree, collection_folder

ASSUMED_RATE = 10_000_000
"""Bytes a second that a rough time is reckoned with: what a good connection gets of an archive."""


def plan_request(
    request: Request, *, emit: Emit = discard, stop: CancelToken | None = None
) -> Plan:
    """Find out what a download would do; the catalog is asked before any archive.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
        DestinationError: the output cannot be a folder, for a file is in its way.
    """
    stop = stop or CancelToken()
    options = request.options
    registry = load_registry(options.registry)
    packages = package_collection(request, registry)
    if packages is not None:
        group, notices = plan_packages(packages, request)
        return _plan([group], request, notices=notices)
    selected = select_offline(request, registry, stop, emit)
    groups = [_group(one, Path(request.output), update=options.update) for one in selected.groups]
    return _plan(
        groups,
        request,
        failures=selected.failures,
        notices=selected.notices + _changed_notices(groups, update=options.update),
    )


def _plan(
    groups: list[GroupPlan],
    request: Request,
    *,
    notices: list[str],
    failures: Sequence[Failure] = (),
) -> Plan:
    rate = request.options.http.max_rate
    return Plan(
        targets=request.targets,
        output=request.output,
        groups=groups,
        free=_free(Path(request.output)),
        rate=int(min(rate or ASSUMED_RATE, ASSUMED_RATE)) or 1,
        rate_is_assumed=rate is None or rate > ASSUMED_RATE,
        failures=list(failures),
        notices=notices,
    )


def _group(group: CollectionSelection, output: Path, *, update: bool) -> GroupPlan:
    total = Amount(len(group.series), group.images, group.size)
    planned = GroupPlan(group.name, group.patients, group.studies, total)
    planned.modalities = _modalities(group.series)
    tree = Tree(output / collection_folder(group.name))
    if not tree.state.is_dir():
        return planned
    begun, unsettled = PartialSeries(tree), tree.unsettled()
    for one in group.series:
        receipt = None if one.uid in unsettled else tree.committed(one.uid)
        changed = receipt is not None and receipt.differs_from(one)
        if changed:
            planned.changed.append(one.uid)
        if receipt is not None and not (update and changed):
            planned.there.add(1, one.image_count or len(receipt.images), one.size or receipt.size)
        elif any(there := begun.of(one)):
            planned.partial.add(1, *there)
    return planned


def _modalities(series: Iterable[Series]) -> dict[str, Amount]:
    found: dict[str, Amount] = {}
    for one in series:
        amount = found.setdefault(one.modality or "not recorded", Amount())
        amount.add(1, one.image_count or 0, one.size or 0)
    return dict(sorted(found.items(), key=lambda pair: (-pair[1].size, pair[0])))


def _changed_notices(groups: Sequence[GroupPlan], *, update: bool) -> list[str]:
    if update:
        return []
    return [
        f"{len(one.changed)} series of {one.name} changed in the archive since they were fetched: "
        "--update fetches them anew"
        for one in groups
        if one.changed
    ]


def _free(output: Path) -> int | None:
    """Bytes free where `output` is, or would be made.

    Raises:
        DestinationError: it cannot be made, for a file is in its way.
    """
    for place in (output.absolute(), *output.absolute().parents):
        with contextlib.suppress(OSError):
            if stat.S_ISDIR(place.stat().st_mode):
                return shutil.disk_usage(place).free
            raise destination_error(
                NotADirectoryError(errno.ENOTDIR, "a file is in its way"), str(output)
            )
    return None


@dataclass(slots=True)
class Amount:
    """So many series with so many images and bytes."""

    series: int = 0
    images: int = 0
    size: int = 0

    def add(self, series: int, images: int, size: int) -> None:
        """Add to it."""
        self.series += series
        self.images += images
        self.size += size

    def __add__(self, other: Amount) -> Amount:
        return Amount(
            self.series + other.series, self.images + other.images, self.size + other.size
        )


@dataclass(slots=True)
class GroupPlan:
    """What a download would do for one collection."""

    name: str
    patients: int
    studies: int
    selected: Amount
    there: Amount = field(default_factory=Amount)
    """What is complete already."""
    partial: Amount = field(default_factory=Amount)
    """What is there of series that are not complete: begun, or damaged since."""
    changed: list[str] = field(default_factory=list)
    """Series that are complete, but not what the archive lists now."""
    modalities: dict[str, Amount] = field(default_factory=dict)
    """Selected, by modality; the most bytes first."""

    @property
    def to_fetch(self) -> Amount:
        """What is still to come: series not complete, their images and bytes not there."""
        return Amount(
            self.selected.series - self.there.series,
            max(0, self.selected.images - self.there.images - self.partial.images),
            max(0, self.selected.size - self.there.size - self.partial.size),
        )


@dataclass(slots=True)
class Plan:
    """What a download would do."""

    targets: tuple[str, ...]
    output: str
    groups: list[GroupPlan]
    free: int | None
    """Bytes free where the download would go; None where the system does not say."""
    rate: int
    """Bytes a second that the time is reckoned with."""
    rate_is_assumed: bool
    failures: list[Failure] = field(default_factory=list)
    """Of lists: series that should be there and are not."""
    notices: list[str] = field(default_factory=list)

    @property
    def selected(self) -> Amount:
        """Everything that the request names."""
        return sum((one.selected for one in self.groups), Amount())

    @property
    def there(self) -> Amount:
        """What is complete already."""
        return sum((one.there for one in self.groups), Amount())

    @property
    def partial(self) -> Amount:
        """What is there of series that are not complete."""
        return sum((one.partial for one in self.groups), Amount())

    @property
    def to_fetch(self) -> Amount:
        """What is still to come."""
        return sum((one.to_fetch for one in self.groups), Amount())

    @property
    def needed(self) -> int:
        """Bytes of disk that the rest takes, without what receipts and reports need."""
        return self.to_fetch.size

    @property
    def fits(self) -> bool | None:
        """Whether the rest fits on the disk; None where that is not known."""
        if self.free is None:
            return None
        return not self.needed or self.free >= self.needed + space_needed(self.needed)

    @property
    def seconds(self) -> int:
        """About how long the rest takes at `rate`."""
        return round(self.needed / self.rate)

    @property
    def exit_code(self) -> int:
        """0, or 1 where lists lack something."""
        return EXIT_PARTIAL if self.failures else EXIT_OK


def plan_packages(collection: Collection, request: Request) -> tuple[GroupPlan, list[str]]:
    """Give what would be brought of a collection, and what else to tell of it.

    Raises:
        RequestError: packages cannot be asked for so.
    """
    check_package_request(collection, request)
    return _package_group(collection, request), _notices(collection)


def _package_group(collection: Collection, request: Request) -> GroupPlan:
    """A collection of volumes: a patient counts as a series, a volume as an image."""
    committed = Inventory.of(VolumeTree(Path(request.output), collection))
    there = Amount(committed.patients, committed.volumes, committed.size)
    total = Amount(
        max(collection.patients or 0, there.series),
        max(collection.volumes or 0, there.images),
        max(collection.size or 0, there.size),
    )
    modalities = dict.fromkeys(collection.modalities[:1], total)
    return GroupPlan(
        collection.name, total.series, total.series, total, there, modalities=modalities
    )


def _notices(collection: Collection) -> list[str]:
    size = [] if collection.size else ["how many bytes its packages have is not on record"]
    program = find_ascli()
    tool = f"ascli, which receives its packages, is {program}"
    if program is None:
        tool = "ascli, which receives its packages, is not on PATH: 'download' says how to get it"
    page = collection.page or "www.cancerimagingarchive.net"
    counted = "a patient is counted as a series, a volume as an image"
    return [counted, *size, tool, f"its page: {page}"]


def compare_with_catalog(
    request: Request, *, emit: Emit = discard, stop: CancelToken | None = None
) -> list[Comparison]:
    """Compare NBIA's lists of the collections asked for with the catalog, after the filters.

    Raises:
        UsageError: a target is no collection of the catalog, or NBIA is not to be asked.
        ArchiveError: NBIA gave no list.
    """
    stop = stop or CancelToken()
    if request.options.source == "idc":
        raise UsageError(
            "--compare asks NBIA for its lists, and --source idc asks IDC alone",
            hint="leave one of them out",
        )
    registry = load_registry(request.options.registry)
    collections = [_cataloged(word, registry.find(word)) for word in request.targets]
    archives = open_for_options(request.options, stop, emit)
    try:
        pairs = [
            (
                one,
                archives.quick.list_collection(one.nbia or one.name),
                series_catalog.load(one.name),
            )
            for one in collections
        ]
    finally:
        archives.close()
    return [
        compare_lists(
            one.name,
            {series.uid: series for series in apply_filters(request.filters, listed).series},
            {series.uid: series for series in apply_filters(request.filters, known).series},
        )
        for one, listed, known in pairs
    ]


def _cataloged(word: str, collection: Collection | None) -> Collection:
    if collection is None or not series_catalog.has(collection.name):
        known = ", ".join(entry.collection for entry in series_catalog.info().entries)
        what = "no collection" if is_uid(word) else "not in the catalog"
        raise UsageError(
            f"{word!r} is {what}, so there is nothing to compare NBIA's list with",
            hint=f"--compare takes {known}",
        )
    return collection
