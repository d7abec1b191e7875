"""Listing what targets name: from an archive, compared with what is expected, or offline."""

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
    """Where lists come from."""

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
    """The part of an archive that lists."""

    def collections(self) -> list[str]:
        """All names."""
        ...

    def list_collection(self, collection: str) -> list[Series]:
        """All series of one."""
        ...

    def list_series(self, uids: Sequence[str]) -> list[Series]:
        """The series with these UIDs."""
        ...


class ArchiveSource:
    """Lists as NBIA gives them, each compared with the registry and the catalog.

    Args:
        nbia: the archive of record.
        registry: what is expected.
        accept_listed: take a list that is shorter than expected as right.
        quick: NBIA with little patience, asked where the catalog can stand in; None if series
            that NBIA does not list cannot be had from elsewhere.
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
        self._hasty = quick or nbia
        self._registry = registry
        self._accept_listed = accept_listed
        self._mirrored = quick is not None
        self._settling = Reconciler(self._mirrored, accept_listed)

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection; the catalog stands in for NBIA where IDC has the series."""
        known = _cataloged(collection.name)
        name = collection.nbia or collection.name
        lister = self._hasty if known else self._nbia
        try:
            series = lister.list_collection(name)
        except ArchiveError as error:
            if not (self._mirrored and known):
                raise
            notice = f"NBIA gave no list of {collection.name} ({error.message}): the catalog's"
            return SeriesListing(list(known.values()), notices=[f"{notice} list is used"])
        found = _joined(series, known)
        if _is_short(found, known) if known else len(found) < (collection.series or 0):
            with contextlib.suppress(ArchiveError):  # then what is listed counts
                found = _joined([*series, *lister.list_collection(name)], known)
        if not known:
            return SeriesListing(list(found.values()), self._short(collection, len(found)))
        return self._settling.reconcile(found, known, collection.name)

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
            if self._mirrored and (known := idc_index.load(name)):
                return SeriesListing(
                    known, notices=[f"NBIA gave no list of {name}: IDC's index is used"]
                )
            raise
        if name not in names:
            raise unknown_collection(name, names, self._registry)
        return SeriesListing(self._everywhere(self._nbia.list_collection(name)))

    def _everywhere(self, series: list[Series]) -> list[Series]:
        """Add where IDC keeps the series, as far as its index is installed."""
        if not self._mirrored:
            return series
        known = idc_index.find(one.uid for one in series)
        return [_located(one, known) for one in series]

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series; those that nobody knows become failures."""
        known = _mirrored_series(uids) if self._mirrored else series_catalog.find(uids)
        lister = self._hasty if len(known) == len(set(uids)) else self._nbia
        try:
            found = _joined(lister.list_series(uids), known)
        except ArchiveError as error:
            if not (self._mirrored and known):
                raise
            return _unasked(uids, known, error)
        listed = self._settling.reconcile({u: s for u, s in found.items() if u in known}, known)
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
                detail=f"the archive lists {count} series of {collection.name}, "
                f"{expected} are expected",
                hint="run again later; if series were withdrawn, --accept-listed takes the list "
                "as right",
            )
        ]


class CatalogSource:
    """Lists from the shipped catalog alone; what it does not know goes to `online`.

    Args:
        online: asked for what the catalog does not have; None to refuse that.
    """

    def __init__(self, online: SeriesSource | None) -> None:
        self._online = online

    def collection(self, collection: Collection) -> SeriesListing:
        """List a collection, without a network where the catalog has it."""
        if series_catalog.has(collection.name):
            return SeriesListing(series_catalog.load(collection.name))
        return self._elsewhere(collection.name).collection(collection)

    def other(self, name: str) -> SeriesListing:
        """List a collection outside the registry: in IDC's index, if that is installed."""
        if known := idc_index.load(name):
            return SeriesListing(known)
        return self._elsewhere(name).other(name)

    def series(self, uids: Sequence[str]) -> SeriesListing:
        """List single series, asking only for those that the catalog does not have."""
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
    """The series that IDC has: in the catalog, or in IDC's index where that is installed."""
    known = series_catalog.find(uids)
    return known | idc_index.find(uid for uid in uids if uid not in known)


def _cataloged(name: str) -> dict[str, Series]:
    if not series_catalog.has(name):
        return {}
    return {one.uid: one for one in series_catalog.load(name)}


def _joined(series: Iterable[Series], known: Mapping[str, Series]) -> dict[str, Series]:
    """By UID, with what the catalog knows; of a series listed twice the line of more images."""
    found: dict[str, Series] = {}
    for one in series:
        before = found.get(one.uid)
        if before is None or (one.image_count or 0) >= (before.image_count or 0):
            found[one.uid] = _located(one, known)
    return found


def _is_short(found: Mapping[str, Series], known: Mapping[str, Series]) -> bool:
    """Whether a list lacks a series of the catalog, or images of one."""
    compared = compare_lists("", found, known)
    return bool(compared.only_catalog) or any(one.fewer for one in compared.different)


def _located(series: Series, known: Mapping[str, Series]) -> Series:
    """Add what the catalog knows: where IDC keeps the series, and counts that NBIA leaves out."""
    entry = known.get(series.uid)
    if entry is None:
        return series
    located = replace(series, bucket=entry.bucket, crdc_uuid=entry.crdc_uuid)
    if series.image_count in (None, entry.image_count) and series.size in (None, entry.size):
        return replace(located, image_count=entry.image_count, size=entry.size)
    return located


def _unasked(
    uids: Sequence[str], known: Mapping[str, Series], error: ArchiveError
) -> SeriesListing:
    """Single series without NBIA: those that IDC has."""
    why = f"NBIA gave no list of {len(uids)} series ({error.message})"
    failures = [
        Failure(
            series=uid,
            reason="archive-error",
            detail=f"NBIA could not be asked for series {uid}, and the catalog does not have it",
            hint="run again later",
        )
        for uid in uids
        if uid not in known
    ]
    return SeriesListing(list(known.values()), failures, [f"{why}: the catalog's list is used"])


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
