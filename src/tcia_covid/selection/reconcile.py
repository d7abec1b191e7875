"""Reconciles NBIA's lists with the catalog."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison, Difference
from tcia_covid.core.units import count

_MAX_NAMED = 10
"""Series that a notice names."""
_ELSEWHERE = "run again later, or with --source auto: IDC has it"
_WITHDRAWN = "--accept-listed accepts the list"


@dataclass(slots=True)
class SeriesListing:
    """A list of series, with failures, notices and differences from the catalog."""

    series: list[Series] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    differences: list[Comparison] = field(default_factory=list)

    def add(self, other: SeriesListing) -> None:
        """Append another list."""
        self.series += other.series
        self.failures += other.failures
        self.notices += other.notices
        self.differences += other.differences


@dataclass(frozen=True, slots=True)
class Reconciler:
    """Decides what to download where a list of NBIA differs from the catalog.

    NBIA's list may be short after a database error: a missing series or image is not taken for
    withdrawn unless the user says so. Additional series, and other bytes, are a newer version.

    Attributes:
        has_idc: whether IDC replaces what is missing in the list; otherwise it is a failure.
        accept_listed: whether the user says that the list is right.
    """

    has_idc: bool
    accept_listed: bool

    def reconcile(
        self, listed: Mapping[str, Series], known: Mapping[str, Series], name: str = ""
    ) -> SeriesListing:
        """Decide what to download.

        Args:
            listed: the series of NBIA, by UID.
            known: the series of the catalog, by UID.
            name: of the collection; empty for single series.
        """
        comparison = compare_lists(name, listed, known)
        fewer = {one.series: one for one in comparison.different if one.fewer}
        result = SeriesListing(list(listed.values()), notices=list(_newer(comparison)))
        result.differences += [comparison] if comparison.differs else []
        if self.accept_listed:
            result.notices += _missing(comparison, "this is accepted", "this is accepted")
            if not name:
                result.failures = [_unlisted(known[uid], "") for uid in comparison.only_catalog]
            return result
        result.series = [one for one in result.series if one.uid not in fewer]
        if self.has_idc:
            result.series += [known[uid] for uid in comparison.only_catalog]
            result.series += [_as_known(listed[uid], known[uid]) for uid in fewer]
            result.notices += _missing(
                comparison, "the others come from IDC", "the catalog's count is expected"
            )
            return result
        hint = f"{_ELSEWHERE}; if it was withdrawn, {_WITHDRAWN}" if name else _ELSEWHERE
        result.failures = [_unlisted(known[uid], hint) for uid in comparison.only_catalog]
        result.failures += [_short(one) for one in fewer.values()]
        return result


def _as_known(series: Series, known: Series) -> Series:
    return replace(series, image_count=known.image_count, size=known.size)


def _newer(comparison: Comparison) -> Iterator[str]:
    """Describe series and images that are newer than the catalog."""
    if new := comparison.only_nbia:
        text = f"NBIA lists {count(len(new), 'series')} {_scope(comparison)} that the catalog does"
        yield f"{text} not have: {_some(comparison, new)}"
    if other := [one for one in comparison.different if not one.fewer]:
        text = f"NBIA lists other images or bytes than the catalog for {len(other)} series"
        named = [f"{one.series} ({_both(one)})" for one in other]
        yield f"{text} {_scope(comparison)}; NBIA's are downloaded: {_some(comparison, named)}"


def _missing(comparison: Comparison, series_then: str, images_then: str) -> Iterator[str]:
    """Describe series and images missing in NBIA's list, and the consequence."""
    if missing := comparison.only_catalog:
        text = f"NBIA lists {comparison.known - len(missing)} of the {comparison.known} series"
        yield f"{text} {_scope(comparison)}; {series_then}: {_some(comparison, missing)}"
    if fewer := [one for one in comparison.different if one.fewer]:
        text = f"NBIA lists fewer images than the catalog for {len(fewer)} series"
        named = [f"{one.series} ({one.images[0]} of {one.images[1]})" for one in fewer]
        yield f"{text} {_scope(comparison)}; {images_then}: {_some(comparison, named)}"


def _scope(comparison: Comparison) -> str:
    return f"of {comparison.collection}" if comparison.collection else "requested"


def _both(one: Difference) -> str:
    listed, known = (
        f"{images} images of {size} bytes"
        for images, size in zip(one.images, one.sizes, strict=True)
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
        reason="not-listed",
        detail=f"NBIA no longer lists series {known.uid} of {known.collection}",
        hint=hint or "without --accept-listed, --source auto downloads it from IDC",
    )


def _short(one: Difference) -> Failure:
    return Failure(
        series=one.series,
        reason="incomplete-list",
        detail=f"NBIA lists {one.images[0]} of the {one.images[1]} images of series {one.series}",
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
