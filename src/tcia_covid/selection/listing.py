"""Lists the series of targets: from NBIA, compared with the catalog, or offline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from tcia_covid.catalog import idc_index, series_catalog
from tcia_covid.catalog.collections import Collection
from tcia_covid.core.errors import ArchiveError, FailureReason, NotAvailableError
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison, Difference
from tcia_covid.core.units import count

_MAX_NAMED = 10
"""Series that a notice names."""
_ELSEWHERE = "run again later, or with --source auto: IDC has it"
_WITHDRAWN = "--accept-listed accepts the list"
_NOT_LISTED = "no archive lists it"
"""One text for all series: another for each of 1,000,000 takes 120 MB."""


@dataclass(slots=True)
class SeriesListing:
    """A list of series, each once, with failures, notices and differences from the catalog."""

    series: list[Series] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)


class SeriesSource(Protocol):
    """Lists collections and series."""

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection of the registry."""
        ...

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series."""
        ...


class SeriesLister(Protocol):
    """The part of an archive that lists series."""

    def list_collection(self, collection: str) -> list[Series]:
        """List all series of a collection."""
        ...

    def list_series(self, uids: Sequence[str]) -> list[Series]:
        """List the series with these UIDs."""
        ...


class ArchiveSource:
    """NBIA's lists, each compared with the registry and the catalog.

    Args:
        nbia: the archive of record.
        accept_listed: accept a list that is shorter than expected.
        quick: NBIA with few retries, for lists that the catalog can replace; None if series that
            NBIA does not list are not available from IDC.
    """

    def __init__(
        self,
        nbia: SeriesLister,
        *,
        accept_listed: bool,
        quick: SeriesLister | None,
    ) -> None:
        self._nbia = nbia
        self._quick = quick or nbia
        self._accept_listed = accept_listed
        self._has_idc = quick is not None
        self._reconciler = _Reconciler(self._has_idc, accept_listed)

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection; the catalog replaces NBIA where IDC has the series."""
        known = _in_catalog(collection.name)
        name = collection.nbia or collection.name
        lister = self._quick if known else self._nbia
        try:
            series = lister.list_collection(name)
        except ArchiveError as error:
            if not (self._has_idc and known):
                raise
            notice = f"NBIA did not list {collection.name} ({error.message}): using the catalog"
            return SeriesListing(list(known.values()), notices=[notice])
        if not known and len(series) >= (collection.series or 0):
            return SeriesListing(series)
        joined = _joined(series, known)
        compared = compare_lists("", joined, known)
        is_short = bool(compared.only_catalog) or any(each.fewer for each in compared.different)
        if is_short or not known:
            with contextlib.suppress(ArchiveError):  # the first list counts
                joined = _joined([*series, *lister.list_collection(name)], known)
        if not known:
            return SeriesListing(list(joined.values()), self._short(collection, len(joined)))
        return self._reconciler.reconcile(joined, known, collection.name)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series; unknown ones become failures."""
        known = _mirrored_series(uids) if self._has_idc else series_catalog.find(uids)
        lister = self._quick if len(known) == len(set(uids)) else self._nbia
        try:
            joined = _joined(lister.list_series(uids), known)
        except ArchiveError as error:
            if not (self._has_idc and known):
                raise
            return _without_nbia(uids, known, error)
        listed = self._reconciler.reconcile({u: s for u, s in joined.items() if u in known}, known)
        listed.series += [item for uid, item in joined.items() if uid not in known]
        listed.failures += _unknown(uid for uid in uids if uid not in joined and uid not in known)
        return listed

    def _short(self, collection: Collection, count: int) -> list[Failure]:
        expected = collection.series
        if expected is None or count >= expected or self._accept_listed:
            return []
        return [
            Failure(
                series="",
                reason=FailureReason.INCOMPLETE_LIST,
                detail=f"the archive lists {count} of {expected} expected series of "
                f"{collection.name}",
                hint="run again later; if series were withdrawn, --accept-listed accepts the list",
            )
        ]


class CatalogSource:
    """The lists of the shipped catalog; `online` has the others, None refuses these."""

    def __init__(self, online: SeriesSource | None) -> None:
        self._online = online

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection, offline if the catalog has it."""
        if series_catalog.has(collection.name):
            return SeriesListing(series_catalog.load(collection.name))
        if self._online is None:
            raise NotAvailableError(
                f"IDC's catalog does not list {collection.name}",
                hint="use --source nbia or auto",
            )
        return self._online.collection(collection)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series, online only those that the catalog does not have."""
        known = _mirrored_series(uids)
        rest = [uid for uid in uids if uid not in known]
        if not rest or self._online is None:
            return SeriesListing(list(known.values()), _unknown(rest))
        listed = self._online.series(rest)
        listed.series += known.values()
        return listed


def _mirrored_series(uids: Sequence[str]) -> dict[str, Series]:
    """Find series of IDC in the catalog, or in IDC's index if that is installed."""
    known = series_catalog.find(uids)
    return known | idc_index.find(uid for uid in uids if uid not in known)


def _in_catalog(name: str) -> dict[str, Series]:
    if not series_catalog.has(name):
        return {}
    return {series.uid: series for series in series_catalog.load(name)}


def _joined(series: Iterable[Series], known: Mapping[str, Series]) -> dict[str, Series]:
    """Index series by UID, with facts of the catalog; of duplicates the one with more images."""
    joined: dict[str, Series] = {}
    for item in series:
        before = joined.get(item.uid)
        if before is None or (item.image_count or 0) >= (before.image_count or 0):
            joined[item.uid] = located(item, known)
    return joined


def located(series: Series, known: Mapping[str, Series]) -> Series:
    """Add what NBIA omits from the catalog: the location in IDC, counts, kind and encoding."""
    entry = known.get(series.uid)
    if entry is None:
        return series
    located = replace(
        series,
        bucket=entry.bucket,
        crdc_uuid=entry.crdc_uuid,
        patient_sex=series.patient_sex or entry.patient_sex,
        patient_age=series.patient_age or entry.patient_age,
        sop_class=entry.sop_class,
        transfer_syntax=entry.transfer_syntax,
        photometric_interpretation=entry.photometric_interpretation,
    )
    if series.image_count in (None, entry.image_count) and series.size in (None, entry.size):
        return replace(located, image_count=entry.image_count, size=entry.size)
    return located


def _without_nbia(
    uids: Sequence[str], known: Mapping[str, Series], error: ArchiveError
) -> SeriesListing:
    """Give the series that IDC has, without NBIA."""
    why = f"NBIA did not list {len(uids)} series ({error.message})"
    failures = [
        Failure(
            series=uid,
            reason=FailureReason.ARCHIVE_ERROR,
            detail="NBIA did not list it, and the catalog does not have it",
            hint="run again later",
        )
        for uid in uids
        if uid not in known
    ]
    return SeriesListing(list(known.values()), failures, [f"{why}: using the catalog"])


def _unknown(uids: Iterable[str]) -> list[Failure]:
    return [
        Failure(
            series=uid,
            reason=FailureReason.NOT_AVAILABLE,
            detail=_NOT_LISTED,
            hint="check the UID; withdrawn and restricted series are not listed",
        )
        for uid in uids
    ]


@dataclass(slots=True, eq=False)
class _Reconciler:
    """Decides what to download if a list of NBIA differs from the catalog.

    NBIA's list may be short after a database error: a missing series or image is not taken for
    withdrawn unless the user says so. Additional series, and other bytes, are a newer version.

    Attributes:
        has_idc: whether IDC replaces missing series; otherwise they are failures.
        accept_listed: whether the user accepts the list.
    """

    has_idc: bool
    accept_listed: bool

    def reconcile(
        self, listed: Mapping[str, Series], known: Mapping[str, Series], name: str = ""
    ) -> SeriesListing:
        """Decide what to download of the series of NBIA and of the catalog, both by UID.

        `name` is that of the collection; empty for single series.
        """
        comparison = compare_lists(name, listed, known)
        fewer = {item.series: item for item in comparison.different if item.fewer}
        result = SeriesListing(list(listed.values()), notices=list(_newer(comparison)))
        result.differences += [comparison] if comparison.differs else []
        if self.accept_listed:
            result.notices += _missing(comparison, "this is accepted", "this is accepted")
            if not name:
                result.failures = [_unlisted(known[uid], "") for uid in comparison.only_catalog]
            return result
        result.series = [series for series in result.series if series.uid not in fewer]
        if self.has_idc:
            result.series += [known[uid] for uid in comparison.only_catalog]
            result.series += [
                replace(listed[uid], image_count=known[uid].image_count, size=known[uid].size)
                for uid in fewer
            ]
            result.notices += _missing(
                comparison, "the others come from IDC", "the catalog's count is expected"
            )
            return result
        hint = f"{_ELSEWHERE}; if it was withdrawn, {_WITHDRAWN}" if name else _ELSEWHERE
        result.failures = [_unlisted(known[uid], hint) for uid in comparison.only_catalog]
        result.failures += [_short(difference) for difference in fewer.values()]
        return result


def _newer(comparison: Comparison) -> Iterator[str]:
    """Describe series and images that are newer than the catalog."""
    if new := comparison.only_nbia:
        text = f"NBIA lists {count(len(new), 'series')} {_scope(comparison)} that the catalog does"
        yield f"{text} not have: {_some(comparison, new)}"
    if other := [item for item in comparison.different if not item.fewer]:
        text = f"NBIA lists other images or bytes than the catalog for {len(other)} series"
        named = [f"{item.series} ({_both(item)})" for item in other]
        yield f"{text} {_scope(comparison)}; NBIA's are downloaded: {_some(comparison, named)}"


def _missing(comparison: Comparison, series_then: str, images_then: str) -> Iterator[str]:
    """Describe series and images missing in NBIA's list, and the consequence."""
    if missing := comparison.only_catalog:
        text = f"NBIA lists {comparison.known - len(missing)} of the {comparison.known} series"
        yield f"{text} {_scope(comparison)}; {series_then}: {_some(comparison, missing)}"
    if fewer := [item for item in comparison.different if item.fewer]:
        text = f"NBIA lists fewer images than the catalog for {len(fewer)} series"
        named = [f"{item.series} ({item.images[0]} of {item.images[1]})" for item in fewer]
        yield f"{text} {_scope(comparison)}; {images_then}: {_some(comparison, named)}"


def _scope(comparison: Comparison) -> str:
    return f"of {comparison.collection}" if comparison.collection else "requested"


def _both(difference: Difference) -> str:
    listed, known = (
        f"{images} images of {size} bytes"
        for images, size in zip(difference.images, difference.sizes, strict=True)
    )
    return f"{listed}, not {known}"


def _some(comparison: Comparison, named: Sequence[str]) -> str:
    shown = ", ".join(named[:_MAX_NAMED])
    if len(named) <= _MAX_NAMED:
        return shown
    more = f"{shown} and {len(named) - _MAX_NAMED:,} more"
    if not comparison.collection:
        return more
    return f"{more} ('tcia-covid plan {comparison.collection} --compare' lists all)"


def _unlisted(known: Series, hint: str) -> Failure:
    return Failure(
        series=known.uid,
        reason=FailureReason.NOT_LISTED,
        detail=f"NBIA no longer lists series {known.uid} of {known.collection}",
        hint=hint or "without --accept-listed, --source auto downloads it from IDC",
    )


def _short(difference: Difference) -> Failure:
    listed, known = difference.images
    return Failure(
        series=difference.series,
        reason=FailureReason.INCOMPLETE_LIST,
        detail=f"NBIA lists {listed} of the {known} images of series {difference.series}",
        hint=f"{_ELSEWHERE}; if images were withdrawn, {_WITHDRAWN}",
    )


def compare_lists(
    name: str, listed: Mapping[str, Series], known: Mapping[str, Series]
) -> Comparison:
    """Compare an archive's list of a collection with the catalog, by UID."""
    return Comparison(
        collection=name,
        listed=len(listed),
        known=len(known),
        only_nbia=sorted(listed.keys() - known.keys()),
        only_catalog=sorted(known.keys() - listed.keys()),
        different=[
            Difference(
                uid,
                (listed[uid].image_count, known[uid].image_count),
                (listed[uid].size, known[uid].size),
            )
            for uid in sorted(listed.keys() & known.keys())
            if _described(listed[uid]) != _described(known[uid])
        ],
    )


def _described(series: Series) -> tuple[int | None, int | None]:
    return series.image_count, series.size
