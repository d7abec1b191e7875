"""Asks archives about names and identifiers that are not in the catalog."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from tcia_covid.catalog import idc_index, series_catalog
from tcia_covid.catalog.collections import Registry, fold_name, names_in_address
from tcia_covid.core.errors import (
    ArchiveError,
    FailureReason,
    NotAvailableError,
    UnreachableError,
)
from tcia_covid.core.models import Failure, Series
from tcia_covid.core.safe_names import is_uid
from tcia_covid.selection.listing import SeriesLister, SeriesListing, located
from tcia_covid.selection.manifests.model import Kind
from tcia_covid.selection.targets import (
    TARGET_COLUMNS,
    Unknown,
    unknown_target,
    uuid_in_address,
)

T = TypeVar("T")
_MAX_MISSES = 100
"""Identifiers, one request each, that no archive knows before no more are looked up: a manifest
may have millions."""
_NAMES: dict[Kind, str] = {
    "series": "a series",
    "study": "a study",
    "patient": "a patient",
    "crdc_series_uuid": "a series",
    "address": "a series at",
    "word": "a patient",
}


class LookupArchive(SeriesLister, Protocol):
    """The part of an archive that finds series by anything."""

    def collections(self) -> list[str]:
        """List the names of all collections."""
        ...

    def find_series(self, column: str, value: str) -> list[Series]:
        """List the series with this `StudyInstanceUID` or `PatientID`; none if it is unknown."""
        ...

    def has_image(self, uid: str) -> bool:
        """Whether the archive has an image with this SOPInstanceUID."""
        ...


class LookupResult(NamedTuple):
    """What an identifier is according to an archive."""

    kind: str
    """As in `ResolvedTarget`; empty if no archive knows it."""
    listing: SeriesListing


class Lookup(Protocol):
    """Looks up what the catalog does not have."""

    def find(self, unknown: Sequence[Unknown]) -> Iterator[tuple[Unknown, LookupResult]]:
        """Yield each identifier with what it is."""
        ...


class ArchiveLookup:
    """Looks up what the catalog does not have: in IDC's index if it is installed, then in NBIA.

    Args:
        nbia: the archive of record; None to ask only IDC.
        registry: for suggestions.
        find_folder: returns the SeriesInstanceUID of the images in a folder of IDC, by bucket
            (empty if it is not known) and crdc_series_uuid.
        has_idc: whether series can be downloaded from IDC.
        offline: use IDC's index without comparing it with NBIA's list.
    """

    def __init__(
        self,
        nbia: LookupArchive | None,
        registry: Registry,
        *,
        find_folder: Callable[[str, str], Series | None] = lambda bucket, uuid: None,
        has_idc: bool = False,
        offline: bool = False,
    ) -> None:
        self._nbia = nbia
        self._registry = registry
        self._find_folder = find_folder
        self._has_idc = has_idc
        self._offline = offline
        self._indexed: dict[tuple[str, str], list[Series]] = {}
        self._misses = 0

    def find(self, unknown: Sequence[Unknown]) -> Iterator[tuple[Unknown, LookupResult]]:
        """Yield each identifier with what it is; an unknown one has a failure in its listing.

        Raises:
            UnknownCollectionError: no archive knows a name given on the command line.
            ArchiveError: an archive did not respond.
        """
        self._read_index(unknown)
        uids = [item.value for item in unknown if _is_any_uid(item)]
        listed = self._list(uids)
        for item in unknown:
            if item.value in listed and _is_any_uid(item):
                yield item, LookupResult("SeriesInstanceUID", SeriesListing([listed[item.value]]))
            else:
                yield item, self._find_or_fail(item)

    def _find_or_fail(self, item: Unknown) -> LookupResult:
        hint = "check it; withdrawn and restricted series are not listed"
        if self._misses >= _MAX_MISSES:
            why, hint = (
                f"not looked up, because {_MAX_MISSES} others are unknown",
                "check the manifest",
            )
        elif result := self._find(item):
            return result
        else:
            why = ""
        self._misses += 1
        failure = not_found(item, FailureReason.NOT_AVAILABLE, why, hint)
        return LookupResult("", SeriesListing(failures=[failure]))

    def _read_index(self, unknown: Sequence[Unknown]) -> None:
        """Look everything up in IDC's index at once: reading it takes a second."""
        wanted: dict[str, list[str]] = defaultdict(list)
        for item in unknown if self._has_idc else ():
            for column in _columns(item):
                wanted[column].append(_identifier(item))
        for column, values in wanted.items():
            for value, series in idc_index.search(column, values).items():
                self._indexed[column, value] = series

    def _list(self, uids: Sequence[str]) -> dict[str, Series]:
        """List series by SeriesInstanceUID, from IDC's index or NBIA."""
        known = {
            uid: series[0]
            for uid in uids
            if (series := self._indexed.get(("SeriesInstanceUID", uid)))
        }
        rest = [uid for uid in uids if uid not in known]
        if rest and self._nbia is not None:
            nbia = self._nbia
            listed = _ask(rest[0], lambda: nbia.list_series(rest))
            known |= {series.uid: series for series in listed}
        return known

    def _find(self, item: Unknown) -> LookupResult | None:
        if item.kind == "word" and not _is_any_uid(item):
            return self._find_name(item)
        if item.kind in {"crdc_series_uuid", "address"}:
            return self._find_uuid(item)
        column = "PatientID" if item.kind == "patient" else "StudyInstanceUID"
        if series := self._by_column(column, item.value):
            return LookupResult(column, SeriesListing(series))
        return self._find_image(item.value) if item.kind == "word" else None

    def _find_name(self, item: Unknown) -> LookupResult | None:
        """Find a collection of an archive, or a patient."""
        name = next(iter(names_in_address(item.value)), item.value)
        if self._has_idc and (known := idc_index.load(name)):
            return LookupResult("collection", self._list_collection(known[0].collection, known))
        if self._nbia is None:
            raise NotAvailableError(
                f"IDC's catalog does not list {item.value}",
                hint="use --source nbia or auto, or install the extra 'idc' for IDC's whole index",
            )
        names = _ask(item.value, self._nbia.collections)
        folded = {fold_name(listed): listed for listed in reversed(names)}
        collection = name if name in names else folded.get(fold_name(name))
        if collection is not None:
            return LookupResult("collection", self._list_collection(collection, []))
        if series := self._by_column("PatientID", item.value):
            return LookupResult("PatientID", SeriesListing(series))
        if not item.place:
            raise unknown_target(item.value, names, self._registry)
        return None

    def _list_collection(self, name: str, known: list[Series]) -> SeriesListing:
        """List a collection outside the registry; `known` is what IDC's index has of it."""
        if self._nbia is None or (self._offline and known):
            return SeriesListing(known)
        try:
            listed = self._nbia.list_collection(name)
        except ArchiveError:
            if not known:
                raise
            return SeriesListing(known, notices=[f"NBIA did not list {name}: using IDC's index"])
        in_idc = idc_index.find(item.uid for item in listed) if self._has_idc else {}
        return SeriesListing([located(item, in_idc) for item in listed])

    def _by_column(self, column: str, value: str) -> list[Series]:
        if series := self._indexed.get((column, value)):
            return series
        nbia = self._nbia
        return _ask(value, lambda: nbia.find_series(column, value)) if nbia else []

    def _find_image(self, uid: str) -> LookupResult | None:
        nbia = self._nbia
        if nbia is None or not _ask(uid, lambda: nbia.has_image(uid)):
            return None
        failure = Failure(
            series="",
            reason=FailureReason.NOT_AVAILABLE,
            detail=f"{uid} is the SOPInstanceUID of one image, and NBIA does not report its series",
            hint="name the series: the image's file has its SeriesInstanceUID (0020,000E)",
        )
        return LookupResult("SOPInstanceUID", SeriesListing(failures=[failure]))

    def _find_uuid(self, item: Unknown) -> LookupResult | None:
        """Find a folder of IDC: in its index, else by the images in it."""
        if series := self._indexed.get(("crdc_series_uuid", _identifier(item))):
            return LookupResult("crdc_series_uuid", SeriesListing(series))
        if not self._has_idc:
            return None
        bucket = item.value.partition("://")[2].partition("/")[0]
        in_folder = self._find_folder(bucket, _identifier(item))
        if in_folder is None:
            return None
        listed = self._list([in_folder.uid]).get(in_folder.uid, in_folder)
        in_idc = {in_folder.uid: in_folder}
        return LookupResult("crdc_series_uuid", SeriesListing([located(listed, in_idc)]))


def _is_any_uid(item: Unknown) -> bool:
    """Whether an identifier is a UID of a series, a study or an image."""
    return item.kind == "word" and is_uid(item.value) and "." in item.value


def _columns(item: Unknown) -> tuple[str, ...]:
    """What an identifier may be in IDC's index."""
    if item.kind == "word":
        uid = ("SeriesInstanceUID", "StudyInstanceUID")
        return uid if _is_any_uid(item) else ("PatientID",)
    return TARGET_COLUMNS[item.kind]


def _identifier(item: Unknown) -> str:
    """The identifier without the rest of an address."""
    return uuid_in_address(item.value) or "" if item.kind == "address" else item.value


def _ask(value: str, ask: Callable[[], T]) -> T:
    """Ask an archive; without a connection, the error names what was searched before."""
    try:
        return ask()
    except UnreachableError as error:
        entries = series_catalog.info().entries
        raise UnreachableError(
            f"{value!r} is neither a file nor in the catalog of {len(entries)} collections, and "
            f"NBIA could not be asked: {error.message}",
            hint=error.hint,
        ) from error


def not_found(item: Unknown, reason: FailureReason, why: str, hint: str) -> Failure:
    """Give the failure of an identifier that no archive lists, or could be asked about."""
    uid = item.value if _is_any_uid(item) else ""
    name = "a series, study or image" if uid else _NAMES[item.kind]
    detail = f"{item.place}no archive lists {name} {item.value}"
    return Failure(uid, reason, f"{detail}: {why}" if why else detail, hint=hint)
