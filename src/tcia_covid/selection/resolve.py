"""Resolves targets to series, grouped by collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.licenses import check_license
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison
from tcia_covid.selection.filters import Filters, apply_filters, nothing_selected
from tcia_covid.selection.listing import SeriesListing, SeriesSource
from tcia_covid.selection.shards import Shard, shard_filter
from tcia_covid.selection.targets import Targets, dicom_only, parse_targets


@dataclass(frozen=True, slots=True)
class CollectionSelection:
    """The selected series of one collection."""

    name: str
    collection: Collection | None
    """Its registry entry; None for a collection outside the registry."""
    series: list[Series]

    @property
    def patients(self) -> int:
        """Distinct PatientIDs."""
        return len({series.patient for series in self.series})

    @property
    def studies(self) -> int:
        """Distinct StudyInstanceUIDs."""
        return len({series.study for series in self.series})

    @property
    def images(self) -> int:
        """Images on record."""
        return sum(series.image_count or 0 for series in self.series)

    @property
    def size(self) -> int:
        """Bytes on record."""
        return sum(series.size or 0 for series in self.series)


@dataclass(frozen=True, slots=True)
class Selection:
    """The selected series, and failures, notices and differences of their lists."""

    groups: list[CollectionSelection]
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)
    """Lists that differ from the catalog, before filters."""

    @property
    def series(self) -> list[Series]:
        """All series."""
        return [series for group in self.groups for series in group.series]


def resolve(
    words: Sequence[str],
    registry: Registry,
    source: SeriesSource,
    *,
    filters: Filters,
    shard: Shard | None = None,
    commercial_use: bool = False,
) -> Selection:
    """List the targets, apply the filters, select the shard.

    Raises:
        RequestError: a target, filter or license does not allow it.
        ArchiveError: a list is not available.
    """
    targets = parse_targets(words, registry)
    for collection in targets.collections:
        check_license(collection.name, collection.license, commercial_use=commercial_use)
    listed = _list(targets, source)
    unique = {series.uid: series for series in listed.series}
    filtered = apply_filters(filters, unique.values())
    notices = listed.notices + filtered.notices
    if unique and not filtered.series:
        raise nothing_selected(filters, filtered, unique.values())
    selected, failures = filtered.series, _relevant(listed.failures, filters, unique.values())
    if shard is not None:
        in_shard = shard_filter(shard, apply_filters(filters, _in_catalog(targets)).series)
        selected = [series for series in selected if in_shard(series.uid)]
        failures = [item for item in failures if not item.series or in_shard(item.series)]
    groups = _grouped(selected, registry)
    for group in groups if commercial_use else ():
        _check_license(group)
    return Selection(groups, failures, notices, listed.differences)


def _list(targets: Targets, source: SeriesSource) -> SeriesListing:
    listed = SeriesListing(notices=list(targets.notices))
    for collection in targets.collections:
        listed.add(source.collection(collection))
    for name in targets.others:
        listed.add(source.other(name))
    if targets.uids:
        listed.add(source.series(targets.uids))
    return listed


def _in_catalog(targets: Targets) -> Iterable[Series]:
    """List the series of the targets in the catalog, independent of archives."""
    known = series_catalog.find(targets.uids)
    for collection in targets.collections:
        if series_catalog.has(collection.name):
            known |= {series.uid: series for series in series_catalog.load(collection.name)}
    return known.values()


def _grouped(series: list[Series], registry: Registry) -> list[CollectionSelection]:
    by_name: dict[str, list[Series]] = defaultdict(list)
    for item in series:
        by_name[item.collection].append(item)
    groups: dict[str, CollectionSelection] = {}
    for name, members in by_name.items():
        known = registry.listed_as(name)
        collection = dicom_only(known) if known else None
        group = CollectionSelection(known.name if known else name, collection, [])
        groups.setdefault(group.name, group).series.extend(members)
    return list(groups.values())


def _relevant(failures: list[Failure], filters: Filters, listed: Iterable[Series]) -> list[Failure]:
    """Drop failures of series that the filters would exclude, as far as is known."""
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
