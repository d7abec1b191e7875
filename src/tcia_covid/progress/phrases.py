"""Events and pictures of a run in words."""

from __future__ import annotations

from tcia_covid.events import (
    Event,
    Notice,
    PaceChanged,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.http.redact import scrub
from tcia_covid.model import Failure, Outcome, Series, State
from tcia_covid.progress.board import Picture, UnderWay
from tcia_covid.selection.sizes import format_duration, format_size


def facts(picture: Picture) -> str:
    """How a run stands, the most telling first, for one line."""
    pieces = [
        f"{_short(picture.size, picture.total)} of {format_size(picture.total)}",
        f"{format_size(round(picture.rate))}/s",
    ]
    if picture.left is not None and picture.size < picture.total:
        pieces.append(f"{format_duration(picture.left)} left")
    pieces.append(f"{picture.complete:,} of {picture.series:,} series")
    if picture.failed:
        pieces.append(f"{picture.failed:,} failed")
    return ", ".join(pieces)


def _short(size: int, total: int) -> str:
    """The size, without its unit where it is the total's."""
    number, unit = format_size(size).split(" ")
    return number if format_size(total).endswith(f" {unit}") else f"{number} {unit}"


def row(one: UnderWay) -> str:
    """One series under way, for one line."""
    series = one.series
    words = (series.patient, series.modality, series.description or _tail(series.uid))
    share = f"{min(99, 100 * one.size // series.size):3d} %" if series.size else "  … "
    return f"  {share}  " + clean("  ".join(filter(None, words)))


def beginning(event: RunStarted) -> str:
    """What a run is about to do; empty where that is nothing."""
    if not event.series:
        return ""
    there = f"; {event.already_complete:,} are there already" if event.already_complete else ""
    return (
        f"fetching {event.series:,} series ({event.images:,} images, {format_size(event.size)}) "
        f"into {event.output}{there}"
    )


def retry(event: SeriesRetried | RequestRetried) -> str:
    """What is asked for again, why, and when."""
    what = _tail(event.series) if isinstance(event, SeriesRetried) else event.what
    return clean(f"{what}: {event.reason}; again in {event.wait:.1f} s")


def failure(found: Failure) -> str:
    """Why a series is not there; names the series once."""
    named = "" if not found.series or found.series in found.detail else f"series {found.series}: "
    return clean(f"{named}{found.detail}")


def detail(event: Event) -> str:
    """What only those want to read who asked for detail; else empty."""
    if isinstance(event, SeriesStarted):
        kept = f", {event.kept} images kept" if event.kept else ""
        return clean(f"begun: {_named(event.series)}{kept}")
    if isinstance(event, SeriesFinished):
        return _ended(event.outcome)
    if isinstance(event, PaceChanged):
        return clean(f"at most {event.limit} connections: {event.reason}")
    return ""


def notice(event: Notice) -> str:
    """A notice."""
    return clean(event.text)


def clean(text: str) -> str:
    """One line without credentials, and without what would steer a terminal."""
    return scrub("".join(one if one.isprintable() else " " for one in text))


def _ended(outcome: Outcome) -> str:
    if outcome.receipt is None:
        return (
            "" if outcome.state is State.FAILED else f"{outcome.state.value}: {_tail_of(outcome)}"
        )
    receipt = outcome.receipt
    return clean(
        f"{outcome.state.value}: {_named(outcome.series)}, {len(receipt.images)} images, "
        f"{format_size(receipt.size)}, checked by {receipt.check.value}"
    )


def _tail_of(outcome: Outcome) -> str:
    return _tail(outcome.series.uid)


def _named(series: Series) -> str:
    return f"{series.patient} {series.modality or ''} {series.uid}"


def _tail(uid: str) -> str:
    """The end of a UID: what tells the series of a collection apart."""
    return f"series …{uid[-16:]}" if len(uid) > 24 else f"series {uid}"  # noqa: PLR2004
