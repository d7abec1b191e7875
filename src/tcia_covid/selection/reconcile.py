"""What is fetched where NBIA's list and the catalog differ, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tcia_covid.core.models import Failure, Series
from tcia_covid.core.summary import Comparison, Difference
from tcia_covid.core.units import count

_MOST = 10
"""Series that a notice names."""
_ELSEWHERE = "run again later, or with --source auto: IDC has it"
_WITHDRAWN = "--accept-listed takes the list as right"


@dataclass(slots=True)
class SeriesListing:
    """Series, and what was odd about the list."""

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
    """Settles NBIA's lists against the catalog.

    A list may be short after an error of NBIA's database: a series or an image that the catalog
    has and the list has not is no withdrawal unless the user says so. What NBIA lists beyond the
    catalog, or in other bytes, is a newer version and counts.

    Attributes:
        mirrored: whether IDC makes good what the list lacks; else that is a failure.
        accept_listed: the user says that the list is right.
    """

    mirrored: bool
    accept_listed: bool

    def reconcile(
        self, listed: Mapping[str, Series], known: Mapping[str, Series], name: str = ""
    ) -> SeriesListing:
        """Say what to fetch.

        Args:
            listed: as NBIA lists them, by UID.
            known: as the catalog has them, by UID.
            name: of the collection; empty where single series were asked for.
        """
        found = compare_lists(name, listed, known)
        fewer = {one.series: one for one in found.different if one.fewer}
        settled = SeriesListing(list(listed.values()), notices=list(_newer(found)))
        settled.differences += [found] if found.differs else []
        if self.accept_listed:
            settled.notices += _lacks(found, "that is taken as right", "that is taken as right")
            if not name:
                settled.failures = [_unlisted(known[uid], "") for uid in found.only_catalog]
            return settled
        settled.series = [one for one in settled.series if one.uid not in fewer]
        if self.mirrored:
            settled.series += [known[uid] for uid in found.only_catalog]
            settled.series += [_as_known(listed[uid], known[uid]) for uid in fewer]
            settled.notices += _lacks(
                found, "the others are fetched from IDC", "the catalog's are expected"
            )
            return settled
        hint = f"{_ELSEWHERE}; if it was withdrawn, {_WITHDRAWN}" if name else _ELSEWHERE
        settled.failures = [_unlisted(known[uid], hint) for uid in found.only_catalog]
        settled.failures += [_short(one) for one in fewer.values()]
        return settled


def _as_known(series: Series, known: Series) -> Series:
    return replace(series, image_count=known.image_count, size=known.size)


def _newer(found: Comparison) -> Iterator[str]:
    """What NBIA has beyond the catalog."""
    if new := found.only_nbia:
        told = f"NBIA lists {count(len(new), 'series')} {_whose(found)} that the catalog does not"
        yield f"{told} know: {_some(found, new)}"
    if other := [one for one in found.different if not one.fewer]:
        told = f"NBIA lists other images or bytes than the catalog of {len(other)} series"
        named = [f"{one.series} ({_both(one)})" for one in other]
        yield f"{told} {_whose(found)}; NBIA's are fetched: {_some(found, named)}"


def _lacks(found: Comparison, absent_so: str, fewer_so: str) -> Iterator[str]:
    """What NBIA lists less of than the catalog, and what follows."""
    if absent := found.only_catalog:
        told = f"NBIA lists {found.known - len(absent)} of the {found.known} series"
        yield f"{told} {_whose(found)}; {absent_so}: {_some(found, absent)}"
    if fewer := [one for one in found.different if one.fewer]:
        told = f"NBIA lists fewer images than the catalog of {len(fewer)} series"
        named = [f"{one.series} ({one.images[0]} of {one.images[1]})" for one in fewer]
        yield f"{told} {_whose(found)}; {fewer_so}: {_some(found, named)}"


def _whose(found: Comparison) -> str:
    return f"of {found.collection}" if found.collection else "asked for"


def _both(one: Difference) -> str:
    listed, known = (
        f"{images} images of {size} bytes"
        for images, size in zip(one.images, one.sizes, strict=True)
    )
    return f"{listed}, not {known}"


def _some(found: Comparison, named: Sequence[str]) -> str:
    told = ", ".join(named[:_MOST])
    if len(named) <= _MOST:
        return told
    more = f"{told} and {len(named) - _MOST:,} more"
    if not found.collection:
        return more
    return f"{more} ('tcia-covid plan {found.collection} --compare' lists all)"


def _unlisted(known: Series, hint: str) -> Failure:
    return Failure(
        series=known.uid,
        reason="not-listed",
        detail=f"NBIA does not list series {known.uid} of {known.collection} any more",
        hint=hint or "without --accept-listed, --source auto takes it from IDC",
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
    """Compare what an archive lists of a collection with what the catalog has, by UID."""
    both = sorted(listed.keys() & known.keys())
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
            for uid in both
            if _described(listed[uid]) != _described(known[uid])
        ],
    )


def _described(series: Series) -> tuple[int | None, int | None]:
    return series.image_count, series.size
