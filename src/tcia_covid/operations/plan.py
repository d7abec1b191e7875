"""Planning: what a download would do, without creating or changing a file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.archives.factory import open_for_options
from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.data_warnings import data_warnings
from tcia_covid.catalog.licenses import License
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, EXIT_PARTIAL, UsageError
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Failure, Series, State, Totals
from tcia_covid.core.safe_names import is_uid
from tcia_covid.core.summary import Comparison, ResolvedTarget, SeriesResult, html_table
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.select import select_offline
from tcia_covid.selection.filters import apply_filters
from tcia_covid.selection.listing import compare_lists, located
from tcia_covid.selection.request import Request, check_package_request, package_collection
from tcia_covid.selection.resolve import CollectionSelection
from tcia_covid.store.free_space import BytesOnDisk, existing_folder, free_bytes, reserve_of
from tcia_covid.store.layout import collection_folder
from tcia_covid.store.tree import Tree

ASSUMED_RATE = 10_000_000
"""Bytes per second that one archive sends over a good connection."""


@dataclass(slots=True)
class GroupPlan:
    """What a download would do for one collection."""

    name: str
    patients: int
    studies: int
    selected: Totals
    complete: Totals = field(default_factory=Totals)
    partial: Totals = field(default_factory=Totals)
    """Images on disk of series that are not complete: started, or damaged later."""
    changed: list[str] = field(default_factory=list)
    """Series that are complete in another version than the archive lists now."""
    series: list[str] = field(default_factory=list)
    """The UIDs of the selected series."""
    folders: dict[str, str] = field(default_factory=dict)
    """The folder of each series that is complete, by UID."""
    modalities: dict[str, Totals] = field(default_factory=dict)
    """Selected, by modality; the most bytes first."""
    licenses: list[License] = field(default_factory=list)
    """The license of the collection, or those of the selected series outside the registry."""
    warnings: list[str] = field(default_factory=list)
    """What a user must know to read and interpret the selected series correctly."""

    @property
    def to_fetch(self) -> Totals:
        """Series that are not complete, and the images and bytes missing of them."""
        return Totals(
            self.selected.series - self.complete.series,
            max(0, self.selected.images - self.complete.images - self.partial.images),
            max(0, self.selected.size - self.complete.size - self.partial.size),
        )

    @property
    def results(self) -> Iterator[SeriesResult]:
        """How each selected series is on disk."""
        for uid in self.series:
            folder = self.folders.get(uid)
            state = State.ALREADY if folder else State.REMAINING
            yield SeriesResult(uid, state.value, folder)


@dataclass(slots=True, repr=False)
class Plan:
    """What a download would do."""

    targets: tuple[str, ...]
    output: str
    groups: list[GroupPlan]
    free: int | None
    """Free bytes on the output's file system; None if unknown."""
    rate: int
    """Bytes per second for the estimate of the time."""
    rate_is_assumed: bool
    failures: list[Failure] = field(default_factory=list)
    """Series that no list of an archive has."""
    notices: list[str] = field(default_factory=list)
    resolved: list[ResolvedTarget] = field(default_factory=list)
    """What each target was resolved to."""

    def __repr__(self) -> str:
        return f"<Plan: {self._in_words()}>"

    def _repr_html_(self) -> str:
        """The same in a notebook, by collection."""
        heads = ("collection", "patients", "series", "images", "size", "to download")
        rows = (
            (
                group.name,
                group.patients,
                group.selected.series,
                group.selected.images,
                format_size(group.selected.size),
                format_size(group.to_fetch.size),
            )
            for group in self.groups
        )
        return html_table(self._in_words(), heads, rows)

    def _in_words(self) -> str:
        return (
            f"{count(self.to_fetch.series, 'series')} of {self.selected.series:,} to download into "
            f"{self.output}, {format_size(self.needed)}"
        )

    @property
    def selected(self) -> Totals:
        """Everything that the request names."""
        return sum((group.selected for group in self.groups), Totals())

    @property
    def complete(self) -> Totals:
        """What is complete already."""
        return sum((group.complete for group in self.groups), Totals())

    @property
    def partial(self) -> Totals:
        """Images on disk of series that are not complete."""
        return sum((group.partial for group in self.groups), Totals())

    @property
    def to_fetch(self) -> Totals:
        """What is still to download."""
        return sum((group.to_fetch for group in self.groups), Totals())

    @property
    def needed(self) -> int:
        """Bytes still to download, without what receipts and reports need."""
        return self.to_fetch.size

    @property
    def fits(self) -> bool | None:
        """Whether the disk has enough space; None if unknown."""
        if self.free is None:
            return None
        return not self.needed or self.free >= self.needed + reserve_of(self.needed)

    @property
    def seconds(self) -> int:
        """The estimated time of the download at `rate`."""
        return round(self.needed / self.rate)

    @property
    def exit_code(self) -> int:
        """0, or 1 where archives do not list all series."""
        return EXIT_PARTIAL if self.failures else EXIT_OK


def plan_request(
    request: Request, *, emit: Emit = discard, stop: CancelToken | None = None
) -> Plan:
    """Find out what a download would do, from the catalog where it has the series.

    Raises:
        RequestError: the request cannot be carried out.
        ArchiveError: an archive's list was needed, and none gave it.
        DestinationError: the output folder cannot exist because a file is in its place.
    """
    registry = load_registry(request.options.registry)
    collection = package_collection(request, registry)
    failures: list[Failure] = []
    resolved: list[ResolvedTarget] = []
    if collection is not None:
        check_package_request(collection, request)
        group, notices = _package_group(collection, request)
        groups = [group]
    else:
        update, output = request.options.update, Path(request.output)
        selection = select_offline(request, registry, stop or CancelToken(), emit)
        groups = [_group(group, output, update=update) for group in selection.groups]
        failures, resolved = selection.failures, selection.resolved
        notices = list(selection.notices)
        notices += [
            f"{len(group.changed)} series of {group.name} changed in the archive after their "
            "download: --update downloads them again"
            for group in groups
            if group.changed and not update
        ]
    max_rate = request.options.http.max_rate
    folder = existing_folder(Path(request.output))
    return Plan(
        targets=request.targets,
        output=request.output,
        groups=groups,
        free=free_bytes(folder) if folder else None,
        rate=int(min(max_rate or ASSUMED_RATE, ASSUMED_RATE)) or 1,
        rate_is_assumed=max_rate is None or max_rate > ASSUMED_RATE,
        failures=failures,
        notices=notices,
        resolved=resolved,
    )


def _group(group: CollectionSelection, output: Path, *, update: bool) -> GroupPlan:
    selected = Totals.of(group.series)
    planned = GroupPlan(group.name, group.patients, group.studies, selected)
    planned.series = [series.uid for series in group.series]
    planned.modalities = _modalities(group.series)
    planned.licenses, planned.warnings = group.licenses, data_warnings(group.series)
    tree = Tree(output / collection_folder(group.name))
    if not tree.state.is_dir():
        return planned
    partial, unsettled = BytesOnDisk(tree), tree.needs_check()
    for series in group.series:
        receipt = None if series.uid in unsettled else tree.complete_receipt(series.uid)
        changed = receipt is not None and receipt.differs_from(series)
        if changed:
            planned.changed.append(series.uid)
        if receipt is not None and not (update and changed):
            planned.folders[series.uid] = receipt.path(tree.root)
            images = series.image_count or len(receipt.images)
            planned.complete += Totals(1, images, series.size or receipt.size)
        elif any(amount := partial.of(series)):
            planned.partial += Totals(1, *amount)
    return planned


def _modalities(selected: Sequence[Series]) -> dict[str, Totals]:
    by_modality: dict[str, list[Series]] = defaultdict(list)
    for series in selected:
        by_modality[series.modality or "not recorded"].append(series)
    totals = {modality: Totals.of(members) for modality, members in by_modality.items()}
    return dict(sorted(totals.items(), key=lambda pair: (-pair[1].size, pair[0])))


def _package_group(collection: Collection, request: Request) -> tuple[GroupPlan, list[str]]:
    """Plan a collection of volumes: a patient counts as a series, a volume as an image."""
    # Few plans need these, which take a tenth of the time to import.
    from tcia_covid.archives.aspera import find_ascli  # noqa: PLC0415
    from tcia_covid.nifti.tree import Inventory, VolumeTree  # noqa: PLC0415

    inventory = Inventory.of(VolumeTree(Path(request.output), collection))
    complete = Totals(inventory.patients, inventory.volumes, inventory.size)
    total = Totals(
        max(collection.patients or 0, complete.series),
        max(collection.volumes or 0, complete.images),
        max(collection.size or 0, complete.size),
    )
    modalities = dict.fromkeys(collection.modalities[:1], total)
    planned = GroupPlan(collection.name, total.series, total.series, total, complete)
    planned.modalities = modalities
    planned.licenses = [collection.license] if collection.license else []
    return planned, _package_notices(collection, find_ascli())


def _package_notices(collection: Collection, program: str | None) -> list[str]:
    notices = ["a patient is counted as a series, a volume as an image"]
    if not collection.size:
        notices.append("the size of its packages is not known")
    if program is None:
        notices.append("ascli, which downloads its packages, is not on PATH: see 'download'")
    else:
        notices.append(f"ascli, which downloads its packages, is {program}")
    return [*notices, f"its page: {collection.page or 'www.cancerimagingarchive.net'}"]


def compare_with_catalog(
    request: Request, *, emit: Emit = discard, stop: CancelToken | None = None
) -> list[Comparison]:
    """Compare NBIA's lists of the collections with the catalog, after the filters.

    Raises:
        UsageError: a target is not a collection of the catalog, or the source is IDC alone.
        ArchiveError: NBIA gave no list.
    """
    if request.options.source == "idc":
        raise UsageError(
            "--compare asks NBIA for its lists, and --source idc asks IDC alone",
            hint="leave one of them out",
        )
    registry = load_registry(request.options.registry)
    collections = [_cataloged(target, registry.find(target)) for target in request.targets]
    with closing(open_for_options(request.options, stop or CancelToken(), emit)) as archives:
        lists = [
            archives.quick.list_collection(collection.nbia or collection.name)
            for collection in collections
        ]
    known = [series_catalog.load(collection.name) for collection in collections]
    return [
        compare_lists(
            collection.name, _filtered(request, listed, of_it), _filtered(request, of_it, of_it)
        )
        for collection, listed, of_it in zip(collections, lists, known, strict=True)
    ]


def _filtered(
    request: Request, listed: Sequence[Series], known: Sequence[Series]
) -> dict[str, Series]:
    """Apply the filters, with what NBIA omits from the catalog."""
    by_uid, original = {series.uid: series for series in known}, {s.uid: s for s in listed}
    complete = [located(series, by_uid) for series in listed]
    return {
        item.uid: original[item.uid] for item in apply_filters(request.filters, complete).series
    }


def _cataloged(target: str, collection: Collection | None) -> Collection:
    if collection is None or not series_catalog.has(collection.name):
        names = ", ".join(entry.collection for entry in series_catalog.info().entries)
        problem = "not a collection" if is_uid(target) else "not in the catalog"
        raise UsageError(
            f"{target!r} is {problem}, so NBIA's list cannot be compared",
            hint=f"--compare takes {names}",
        )
    return collection
