"""From a request to the series it names, by collection."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry, commercial_use_forbidden
from tcia_covid.core.errors import UsageError
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison
from tcia_covid.core.units import format_size
from tcia_covid.selection.filters import Filters, apply_filters
from tcia_covid.selection.lists import SeriesSource
from tcia_covid.selection.reconcile import SeriesListing
from tcia_covid.selection.shards import Shard, shard_filter
from tcia_covid.selection.targets import Targets, dicom_only, parse_targets


@dataclass(frozen=True, slots=True)
class CollectionSelection:
    """The selected series of one collection."""

    name: str
    collection: Collection | None
    """What the registry knows of it; None for a collection outside the registry."""
    series: list[Series]

    @property
    def patients(self) -> int:
        """Distinct PatientIDs."""
        return len({one.patient for one in self.series})

    @property
    def studies(self) -> int:
        """Distinct StudyInstanceUIDs."""
        return len({one.study for one in self.series})

    @property
    def images(self) -> int:
        """Images on record."""
        return sum(one.image_count or 0 for one in self.series)

    @property
    def size(self) -> int:
        """Bytes on record."""
        return sum(one.size or 0 for one in self.series)


@dataclass(frozen=True, slots=True)
class Selection:
    """Everything that a request selects, and what is to be said of the lists."""

    groups: list[CollectionSelection]
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)
    """Lists that differ from the catalog, before the filters."""

    @property
    def series(self) -> list[Series]:
        """All series."""
        return [one for group in self.groups for one in group.series]


def resolve(
    words: Sequence[str],
    registry: Registry,
    lists: SeriesSource,
    *,
    filters: Filters,
    share: Shard | None = None,
    commercial_use: bool = False,
) -> Selection:
    """List the targets, keep what the filters ask for, take the share.

    Raises:
        RequestError: a target, filter or license.
        ArchiveError: a list could not be had.
    """
    targets = parse_targets(words, registry)
    for collection in targets.collections:
        collection.check_license(commercial_use=commercial_use)
    listed = _list(targets, lists)
    unique = {one.uid: one for one in listed.series}
    filtered = apply_filters(filters, unique.values())
    notices = listed.notices + _filter_notices(filtered.lacking, filtered.unmatched)
    if unique and not filtered.series:
        raise _nothing(unique.values(), filters, filtered.unmatched)
    kept, failures = filtered.series, _relevant(listed.failures, filters, unique.values())
    if share is not None:
        mine = shard_filter(share, apply_filters(filters, _cataloged(targets)).series)
        kept = [one for one in kept if mine(one.uid)]
        failures = [one for one in failures if not one.series or mine(one.series)]
    groups = _grouped(kept, registry)
    for group in groups if commercial_use else ():
        _check_license(group)
    return Selection(groups, failures, notices, listed.differences)


def _list(targets: Targets, lists: SeriesSource) -> SeriesListing:
    listed = SeriesListing(notices=list(targets.notices))
    for collection in targets.collections:
        listed.add(lists.collection(collection))
    for name in targets.others:
        listed.add(lists.other(name))
    if targets.uids:
        listed.add(lists.series(targets.uids))
    return listed


def _cataloged(targets: Targets) -> Iterable[Series]:
    """The series of the targets that the catalog has, whatever an archive says today."""
    known = series_catalog.find(targets.uids)
    for collection in targets.collections:
        if series_catalog.has(collection.name):
            known |= {one.uid: one for one in series_catalog.load(collection.name)}
    return known.values()


def _grouped(series: list[Series], registry: Registry) -> list[CollectionSelection]:
    by_name: dict[str, list[Series]] = defaultdict(list)
    for one in series:
        by_name[one.collection].append(one)
    groups: dict[str, CollectionSelection] = {}
    for name, members in by_name.items():
        known = registry.listed_as(name)
        collection = dicom_only(known) if known else None
        group = CollectionSelection(known.name if known else name, collection, [])
        groups.setdefault(group.name, group).series.extend(members)
    return list(groups.values())


def _relevant(failures: list[Failure], filters: Filters, listed: Iterable[Series]) -> list[Failure]:
    """Leave out unlisted series that the filters would not have kept, as far as is known."""
    named = {one.series for one in failures if one.series}
    if not named:
        return failures
    known = series_catalog.find(named)
    asked = {one.uid for one in apply_filters(filters, [*listed, *known.values()]).series}
    asked |= (named & set(filters.series) if filters.series else named) - known.keys()
    return [one for one in failures if not one.series or one.series in asked]


def _filter_notices(lacking: dict[str, int], unmatched: list[tuple[str, str]]) -> list[str]:
    notices = [
        f"{count} series have no value for the filter {_option(name)} and are left out"
        for name, count in lacking.items()
    ]
    return notices + [f"no series has {_option(name)} {value!r}" for name, value in unmatched]


def _nothing(
    series: Iterable[Series], filters: Filters, unmatched: list[tuple[str, str]]
) -> UsageError:
    """Give the error for filters that leave nothing: a typo must not look like success."""
    if unmatched:
        said = ", ".join(f"{_option(name)} {value!r}" for name, value in unmatched)
        return UsageError(
            f"no series matches {said}", hint="'tcia-covid series' shows what is there"
        )
    smallest = min((one.size for one in series if one.size is not None), default=0)
    if filters.max_size is not None and filters.max_size < smallest:
        return UsageError(
            f"no series fits into --max-size {format_size(filters.max_size)}: the smallest has "
            f"{format_size(smallest)}",
            hint="sizes take a unit, such as 20GB",
        )
    return UsageError(
        "no series matches all filters together", hint="leave one out, or see 'tcia-covid series'"
    )


def _option(name: str) -> str:
    options = {"patients": "patient", "studies": "study", "modalities": "modality"}
    options |= {"body_parts": "body-part", "descriptions": "description", "max_size": "max-size"}
    return f"--{options.get(name, name)}"


def _check_license(group: CollectionSelection) -> None:
    """Refuse commercial use of a collection, or of a series outside the registry."""
    if group.collection is not None:
        group.collection.check_license(commercial_use=True)
        return
    for series in group.series:
        if _is_non_commercial(series.license or ""):
            raise commercial_use_forbidden(group.name, str(series.license))


def _is_non_commercial(license: str) -> bool:
    text = license.casefold().replace("-", " ").replace("noncommercial", "non commercial")
    return "non commercial" in text or " nc" in text
