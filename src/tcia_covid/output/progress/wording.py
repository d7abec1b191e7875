"""Events and pictures of a run in words."""

from __future__ import annotations

from tcia_covid.core.events import (
    ConcurrencyChanged,
    Event,
    Notice,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Failure, Outcome, Series, State
from tcia_covid.core.redaction import scrub
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.output.progress.state import Snapshot, UnderWay

_WORDS = {
    "getCollectionValues": "list of collections",
    "getSeries": "list of series",
    "getSeriesMetadata": "list of series",
    "getSOPInstanceUIDs": "list of images",
    "getMD5HashForImage": "hash of an image",
    "getMD5Hierarchy": "hash of a series",
    "getSingleImage": "single image",
}
"""What NBIA's endpoints give."""
_AT_ONCE = 0.05
"""Seconds of a pause that is none."""


def summary_line(picture: Snapshot, room: int | None = None) -> str:
    """How a run stands, the most telling first, for one line.

    Args:
        picture: of the run.
        room: columns; the rate is left out where it does not fit.
    """
    pieces = []
    if picture.total:
        pieces.append(f"{_short(picture.size, picture.total)} of {format_size(picture.total)}")
    speed = _speed(picture)
    pieces += speed
    pieces.append(f"{picture.complete:,} of {picture.series:,} series")
    if picture.failed:
        pieces.append(f"{picture.failed:,} failed")
    told = ", ".join(pieces)
    if room is not None and len(told) > room and len(speed) > 1:
        pieces.remove(speed[0])
    return ", ".join(pieces)


def percentage(picture: Snapshot) -> str:
    """The part that is there, for the head of a line; of the series where no size is on record."""
    there, whole = (picture.size, picture.total) if picture.total else _series(picture)
    return f"{min(100, 100 * there // max(whole, 1))} %"


def _series(picture: Snapshot) -> tuple[int, int]:
    return picture.complete, picture.series


def _speed(picture: Snapshot) -> list[str]:
    if picture.silence:
        return [f"waiting for the archive, {format_duration(picture.silence)}"]
    told = [f"{format_size(round(picture.rate))}/s"]
    if picture.left:
        told.append(f"{format_duration(picture.left)} left")
    return told


def _short(size: int, total: int) -> str:
    """The size, without its unit where it is the total's."""
    number, unit = format_size(size).split(" ")
    return number if format_size(total).endswith(f" {unit}") else f"{number} {unit}"


def series_line(one: UnderWay) -> str:
    """One series under way, for one line."""
    series = one.series
    words = (series.patient, series.modality, series.description or _tail(series.uid))
    there = f"{min(99, 100 * one.size // series.size):3d} %" if series.size else "  … "
    pause = f"retry in {one.pause:.0f} s  " if one.pause >= 1 else ""
    return f"  {there}  {pause}" + clean_line("  ".join(filter(None, words)))


def start_line(event: RunStarted) -> str:
    """What a run is about to do; empty where that is nothing."""
    if not event.series:
        return ""
    there = f"; {event.already_complete:,} are there already" if event.already_complete else ""
    known = [count(event.images, "image")] if event.images else []
    known += [format_size(event.size)] if event.size else []
    amount = f" ({', '.join(known)})" if known else ""
    return f"fetching {event.series:,} series{amount} into {event.output}{there}"


def retry_line(event: SeriesRetried | RequestRetried) -> str:
    """What is asked for again, why, and when."""
    if isinstance(event, SeriesRetried):
        what = _tail(event.series)
    else:
        what = _WORDS.get(event.request, event.request) or "a request"
    when = f"in {max(event.wait, 0.1):.1f} s" if event.wait > _AT_ONCE else "at once"
    return clean_line(f"{what}: {event.reason}; again {when}")


def failure_line(found: Failure) -> str:
    """Why a series is not there; names the series once."""
    named = "" if not found.series or found.series in found.detail else f"series {found.series}: "
    return clean_line(f"{named}{found.detail}")


def detail_line(event: Event) -> str:
    """What only those want to read who asked for detail; else empty."""
    if isinstance(event, SeriesStarted):
        kept = f", {count(event.partial_images, 'image')} kept" if event.partial_images else ""
        return clean_line(f"begun: {_named(event.series)}{kept}")
    if isinstance(event, SeriesFinished):
        return _ended(event.outcome)
    if isinstance(event, ConcurrencyChanged):
        return clean_line(f"at most {event.limit} connections: {event.reason}")
    return ""


def notice_line(event: Notice) -> str:
    """A notice."""
    return clean_line(event.text)


def clean_line(text: str) -> str:
    """One line without credentials, and without what would steer a terminal."""
    return scrub("".join(one if one.isprintable() else " " for one in text))


def _ended(outcome: Outcome) -> str:
    if outcome.receipt is None:
        return "" if outcome.state is State.FAILED else f"{_state(outcome)}: {_tail_of(outcome)}"
    receipt = outcome.receipt
    return clean_line(
        f"{_state(outcome)}: {_named(outcome.series)}, {count(len(receipt.images), 'image')}, "
        f"{format_size(receipt.size)}, checked by {receipt.check.value}"
    )


def _state(outcome: Outcome) -> str:
    return outcome.state.value.replace("-", " ")


def _tail_of(outcome: Outcome) -> str:
    return _tail(outcome.series.uid)


def _named(series: Series) -> str:
    return f"{series.patient} {series.modality or ''} {series.uid}"


def _tail(uid: str) -> str:
    """The end of a UID: what tells the series of a collection apart."""
    return f"series …{uid[-16:]}" if len(uid) > 24 else f"series {uid}"  # noqa: PLR2004
