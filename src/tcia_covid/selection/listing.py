"""Lists the series of targets: from NBIA, compared with the catalog, or offline."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from tcia_covid.catalog import idc_index, series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import ArchiveError, NotAvailableError, suggest
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.reconcile import Reconciler, SeriesListing, compare_lists
from tcia_covid.selection.targets import unknown_collection


class SeriesSource(Protocol):
    """Lists collections and series."""

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection of the registry."""
        ...

    def other(self, name: str) -> SeriesListing:
        """List a collection outside the registry, by its exact name."""
        ...

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series."""
        ...


class SeriesLister(Protocol):
    """The part of an archive that lists series."""

    def collections(self) -> list[str]:
        """List the names of all collections."""
        ...

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
        registry: what is expected.
        accept_listed: accept a list that is shorter than expected.
        quick: NBIA with few retries, for lists that the catalog can replace; None if series that
            NBIA does not list are not available from IDC.
    """

    def __init__(
        self,
        nbia: SeriesLister,
        registry: Registry,
        *,
        accept_listed: bool,
        quick: SeriesLister | None,
    ) -> None:
        self._nbia = nbia
        self._quick = quick or nbia
        self._registry = registry
        self._accept_listed = accept_listed
        self._has_idc = quick is not None
        self._reconciler = Reconciler(self._has_idc, accept_listed)

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
        found = _joined(series, known)
        if _is_short(found, known) if known else len(found) < (collection.series or 0):
            with contextlib.suppress(ArchiveError):  # the first list counts
                found = _joined([*series, *lister.list_collection(name)], known)
        if not known:
            return SeriesListing(list(found.values()), self._short(collection, len(found)))
        return self._reconciler.reconcile(found, known, collection.name)

    def other(self, name: str) -> SeriesListing:
        """List a collection outside the registry.

        Raises:
            UnknownCollectionError: the archive has no such collection.
        """
        try:
            names = self._nbia.collections()
        except ArchiveError as error:
            if near := self._registry.near(name):
                error.hint = f"{suggest(near)} {error.hint}"
            if self._has_idc and (known := idc_index.load(name)):
                return SeriesListing(
                    known, notices=[f"NBIA did not list {name}: using IDC's index"]
                )
            raise
        if name not in names:
            raise unknown_collection(name, names, self._registry)
        return SeriesListing(self._with_idc(self._nbia.list_collection(name)))

    def _with_idc(self, series: list[Series]) -> list[Series]:
        """Add the location of the series in IDC, if its index is installed."""
        if not self._has_idc:
            return series
        known = idc_index.find(one.uid for one in series)
        return [_located(one, known) for one in series]

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series; unknown ones become failures."""
        known = _mirrored_series(uids) if self._has_idc else series_catalog.find(uids)
        lister = self._quick if len(known) == len(set(uids)) else self._nbia
        try:
            found = _joined(lister.list_series(uids), known)
        except ArchiveError as error:
            if not (self._has_idc and known):
                raise
            return _without_nbia(uids, known, error)
        listed = self._reconciler.reconcile({u: s for u, s in found.items() if u in known}, known)
        listed.series += [one for uid, one in found.items() if uid not in known]
        listed.failures += _unknown([uid for uid in uids if uid not in found.keys() | known.keys()])
        return listed

    def _short(self, collection: Collection, count: int) -> list[Failure]:
        expected = collection.series
        if expected is None or count >= expected or self._accept_listed:
            return []
        return [
            Failure(
                series="",
                reason="incomplete-list",
                detail=f"the archive lists {count} of {expected} expected series of "
                f"{collection.name}",
                hint="run again later; if series were withdrawn, --accept-listed accepts the list",
            )
        ]


class CatalogSource:
    """The lists of the shipped catalog.

    Args:
        online: for what the catalog does not have; None to refuse that.
    """

    def __init__(self, online: SeriesSource | None) -> None:
        self._online = online

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection, offline if the catalog has it."""
        if series_catalog.has(collection.name):
            return SeriesListing(series_catalog.load(collection.name))
        return self._elsewhere(collection.name).collection(collection)

    def other(self, name: str) -> SeriesListing:
        """List a collection outside the registry, from IDC's index if that is installed."""
        if known := idc_index.load(name):
            return SeriesListing(known)
        return self._elsewhere(name).other(name)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series, online only those that the catalog does not have."""
        found = _mirrored_series(uids)
        rest = [uid for uid in uids if uid not in found]
        if not rest or self._online is None:
            return SeriesListing(list(found.values()), _unknown(rest))
        listed = self._online.series(rest)
        listed.series += found.values()
        return listed

    def _elsewhere(self, name: str) -> SeriesSource:
        if self._online is None:
            raise NotAvailableError(
                f"IDC's catalog does not list {name}",
                hint="use --source nbia or auto, or install the extra 'idc' for IDC's whole index",
            )
        return self._online


def _mirrored_series(uids: Sequence[str]) -> dict[str, Series]:
    """Find series of IDC in the catalog, or in IDC's index if that is installed."""
    known = series_catalog.find(uids)
    return known | idc_index.find(uid for uid in uids if uid not in known)


def _in_catalog(name: str) -> dict[str, Series]:
    if not series_catalog.has(name):
        return {}
    return {one.uid: one for one in series_catalog.load(name)}


def _joined(series: Iterable[Series], known: Mapping[str, Series]) -> dict[str, Series]:
    """Index series by UID, with facts of the catalog; of duplicates the one with more images."""
    found: dict[str, Series] = {}
    for one in series:
        before = found.get(one.uid)
        if before is None or (one.image_count or 0) >= (before.image_count or 0):
            found[one.uid] = _located(one, known)
    return found


def _is_short(found: Mapping[str, Series], known: Mapping[str, Series]) -> bool:
    """Whether series of the catalog, or images of them, are missing in a list."""
    compared = compare_lists("", found, known)
    return bool(compared.only_catalog) or any(one.fewer for one in compared.different)


def _located(series: Series, known: Mapping[str, Series]) -> Series:
    """Add the location in IDC, and counts that NBIA omits, from the catalog."""
    entry = known.get(series.uid)
    if entry is None:
        return series
    located = replace(series, bucket=entry.bucket, crdc_uuid=entry.crdc_uuid)
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
            reason="archive-error",
            detail=f"NBIA did not list series {uid}, and the catalog does not have it",
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
            reason="not-available",
            detail=f"no archive lists series {uid}",
            hint="check the UID; withdrawn and restricted series are not listed",
        )
        for uid in uids
    ]
