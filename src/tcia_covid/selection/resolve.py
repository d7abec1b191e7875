"""Resolves targets to series, grouped by collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, islice

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import License, check_license
from tcia_covid.core.errors import ArchiveError, FailureReason
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison, ResolvedTarget
from tcia_covid.core.units import count
from tcia_covid.selection.filters import Filters, apply_filters, nothing_selected
from tcia_covid.selection.listing import SeriesListing, SeriesSource
from tcia_covid.selection.lock_files import check_frozen, freeze, merge_pins
from tcia_covid.selection.lookup import Lookup, not_found
from tcia_covid.selection.manifests.model import Pin
from tcia_covid.selection.shards import Shard, shard_filter
from tcia_covid.selection.targets import Target, dicom_only


@dataclass(frozen=True, slots=True)
class CollectionSelection:
    """The selected series of one collection."""

    name: str
    collection: Collection | None
    """Its registry entry; None for a collection outside the registry."""
    series: list[Series]
    listed: Sequence[Series] = ()
    """All series of the collection before filters; empty if only parts of it were listed."""
    of_all_shards: Sequence[Series] = ()
    """Those of the shard that was asked for and of the other shards; empty without shards."""

    @property
    def patients(self) -> int:
        """Distinct PatientIDs."""
        return len({series.patient for series in self.series})

    @property
    def studies(self) -> int:
        """Distinct StudyInstanceUIDs."""
        return len({series.study for series in self.series})

    @property
    def licenses(self) -> list[License]:
        """The collection's license, or the different ones of series outside the registry."""
        if self.collection is not None and self.collection.license is not None:
            return [self.collection.license]
        named = {(item.license, item.license_url) for item in self.series if item.license}
        return [License.named(str(name), url) for name, url in sorted(named, key=str)]


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected series, and failures, notices and differences of their lists."""

    groups: list[CollectionSelection]
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)
    """Lists that differ from the catalog, before filters."""
    resolved: list[ResolvedTarget] = field(default_factory=list)
    """What each target was resolved to."""
    pins: Mapping[str, Pin] = field(default_factory=dict)
    """The versions of series in lock files."""

    @property
    def series(self) -> list[Series]:
        """All series."""
        return [series for group in self.groups for series in group.series]


def resolve(
    targets: Sequence[Target],
    registry: Registry,
    source: SeriesSource,
    lookup: Lookup,
    *,
    filters: Filters,
    shard: Shard | None = None,
    commercial_use: bool = False,
    frozen: bool = False,
) -> Selection:
    """List the targets, apply the filters, select the shard, compare with lock files.

    `lookup` finds what the catalog does not have. With `commercial_use`, collections whose license
    forbids it are refused. With `frozen`, the targets are lock files, and only the versions that
    they name are selected.

    Raises:
        RequestError: a target, filter or license does not allow it.
        ArchiveError: a list is not available.
    """
    for collection in _collections(targets):
        check_license(collection.name, collection.license, commercial_use=commercial_use)
    if frozen:
        check_frozen(targets)
    pins = merge_pins(targets)
    listed = _TargetLists(registry)
    listed.add_collections(targets, source)
    listed.add_series(targets, source)
    listed.add_unknown(targets, lookup)
    every = listed.series
    filtered = apply_filters(filters, every)
    resolved = [listed.resolved(target) for target in targets]
    notices = listed.notices(targets, resolved) + filtered.notices
    if every and not filtered.series:
        raise nothing_selected(filters, filtered, every)
    selected, failures = filtered.series, _relevant(listed.failures, filters, every)
    if frozen:
        selected, changed = freeze(selected, pins)
        failures += changed
    groups = _grouped(selected, registry, listed.whole)
    if shard is not None:
        in_shard = shard_filter(shard, apply_filters(filters, _in_catalog(targets)).series)
        groups = [group for each in groups if (group := _shard_of(each, in_shard)).series]
        failures = [item for item in failures if not item.series or in_shard(item.series)]
    for group in groups if commercial_use else ():
        _check_license(group)
    return Selection(groups, failures, notices, listed.differences, resolved, pins)


class _TargetLists:
    """The series of all targets, each once, and which target named them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._looked_up: dict[str, dict[str, int]] = defaultdict(dict)
        """The series that a look-up found for each target, by UID."""
        self._first: dict[str, str] = {}
        """The collection that first listed a series, where that is not its own."""
        self._shared: dict[tuple[str, str], int] = defaultdict(int)
        """Series that two collections list."""
        self._names: dict[str, str] = {}
        """TCIA's names of collections, by the spelling of an archive."""
        self._kinds: dict[str, str] = {}
        self._notices: list[str] = []
        self.series: list[Series] = []
        self._by_uid: dict[str, Series] = {}
        self.whole: dict[str, Sequence[Series]] = {}
        """Collections that were listed completely."""
        self.failures: list[Failure] = []
        self.differences: list[Comparison] = []

    def add_collections(self, targets: Iterable[Target], source: SeriesSource) -> None:
        """List the collections."""
        lists: dict[str, SeriesListing] = {}
        for target in targets:
            for collection in target.collections:
                if collection.name not in lists:
                    lists[collection.name] = source.collection(collection)
                    self.whole[collection.name] = lists[collection.name].series
                    self._add("", lists[collection.name], collection.name)

    def add_series(self, targets: Iterable[Target], source: SeriesSource) -> None:
        """List the single series, of all targets at once."""
        uids = tuple(dict.fromkeys(chain.from_iterable(target.uids for target in targets)))
        if uids:
            self._add("", source.series(uids))

    def add_unknown(self, targets: Iterable[Target], lookup: Lookup) -> None:
        """List what only an archive knows.

        Raises:
            ArchiveError: it did not respond, and no other target has series.
        """
        words = {item: target.word for target in targets for item in target.unknown}
        asked = dict(words)
        try:
            for item, found in lookup.find(tuple(words)):
                del asked[item]
                self._kinds.setdefault(words[item], found.kind)
                self._add(words[item], found.listing)
                if found.kind == "collection" and found.listing.series:
                    name = self._name(found.listing.series[0])
                    self.whole[name] = found.listing.series
        except ArchiveError as error:
            if not self.series:
                raise
            hint = error.hint or "run again later"
            self.failures += (
                not_found(item, FailureReason.ARCHIVE_ERROR, error.message, hint) for item in asked
            )

    def resolved(self, target: Target) -> ResolvedTarget:
        """Record what a target was resolved to."""
        found = self._looked_up.get(target.word)
        uids = target.uids | found if found else target.uids
        names = [collection.name for collection in target.collections]
        if not names:
            listed = self._index()
            names += (self._name(listed[uid]) for uid in uids if uid in listed)
        kind = target.kind or self._kinds.get(target.word, "")
        number = len(uids)
        if target.collections:
            lists = [self.whole[collection.name] for collection in target.collections]
            is_one = len(lists) == 1 and not uids
            number = len(
                lists[0]
                if is_one
                else uids.keys() | {series.uid for each in lists for series in each}
            )
        return ResolvedTarget(target.word, kind, list(dict.fromkeys(names)), number)

    def notices(self, targets: Iterable[Target], resolved: Iterable[ResolvedTarget]) -> list[str]:
        """Notices: what targets were resolved to, unless that is obvious, and other facts."""
        texts = [item.text for item in resolved if item.kind and item.collections != [item.target]]
        texts += (notice for target in targets for notice in target.notices)
        for (first, second), number in self._shared.items():
            texts.append(
                f"{count(number, 'series')} of {second} are also in {first}, and are selected once"
            )
        return texts + self._notices

    def _index(self) -> dict[str, Series]:
        """Index `series` by UID. One list alone needs no index, which takes 50 bytes per series."""
        new = islice(self.series, len(self._by_uid), None)
        self._by_uid.update((series.uid, series) for series in new)
        return self._by_uid

    def _add(self, word: str, listing: SeriesListing, collection: str = "") -> None:
        before = self._index() if self.series else {}
        for series in listing.series:
            own = self._name(series)
            name = collection or own
            known = before.get(series.uid)
            if known is None:
                self.series.append(series)
                if name != own:
                    self._first[series.uid] = name
            elif (first := self._first.get(series.uid) or self._name(known)) != name:
                self._shared[first, name] += 1
            if word:
                self._looked_up[word][series.uid] = 0
        self.failures += listing.failures
        self._notices += listing.notices
        self.differences += listing.differences

    def _name(self, series: Series) -> str:
        name = self._names.get(series.collection)
        if name is None:
            known = self._registry.listed_as(series.collection)
            name = self._names[series.collection] = known.name if known else series.collection
        return name


def _collections(targets: Iterable[Target]) -> Iterable[Collection]:
    return (collection for target in targets for collection in target.collections)


def _in_catalog(targets: Sequence[Target]) -> Iterable[Series]:
    """List the series of the targets in the catalog, independent of archives."""
    known = series_catalog.find(uid for target in targets for uid in target.uids)
    for collection in _collections(targets):
        if series_catalog.has(collection.name):
            known |= {series.uid: series for series in series_catalog.load(collection.name)}
    return known.values()


def _grouped(
    series: list[Series], registry: Registry, whole: Mapping[str, Sequence[Series]]
) -> list[CollectionSelection]:
    by_name: dict[str, CollectionSelection] = {}
    groups: dict[str, CollectionSelection] = {}
    for item in series:
        name = item.collection
        if name not in by_name:
            known = registry.listed_as(name)
            collection = dicom_only(known) if known else None
            title = known.name if known else name
            group = CollectionSelection(title, collection, [], whole.get(title, ()))
            by_name[name] = groups.setdefault(title, group)
        by_name[name].series.append(item)
    return list(groups.values())


def _shard_of(group: CollectionSelection, in_shard: Callable[[str], bool]) -> CollectionSelection:
    series = [item for item in group.series if in_shard(item.uid)]
    return replace(group, series=series, of_all_shards=group.series)


def _relevant(failures: list[Failure], filters: Filters, listed: Iterable[Series]) -> list[Failure]:
    """Drop failures of series that the filters would exclude, as far as is known."""
    if filters == Filters():
        return failures
    named = {failure.series for failure in failures if failure.series}
    if not named:
        return failures
    known = series_catalog.find(named)
    passing = apply_filters(filters, [*listed, *known.values()]).series
    selected = {series.uid for series in passing}
    selected |= (named & set(filters.series) if filters.series else named) - known.keys()
    return [item for item in failures if not item.series or item.series in selected]


def _check_license(group: CollectionSelection) -> None:
    """Refuse commercial use of a collection, or of a series outside the registry."""
    if group.collection is not None:
        check_license(group.name, group.collection.license)
        return
    for series in group.series:
        check_license(group.name, series.license)
