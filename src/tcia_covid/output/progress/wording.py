"""Events and snapshots as text."""

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
from tcia_covid.output.progress.state import ActiveSeries, Snapshot

_ENDPOINTS = {
    "getCollectionValues": "list of collections",
    "getSeries": "list of series",
    "getSeriesMetadata": "list of series",
    "getSOPInstanceUIDs": "list of images",
    "getMD5HashForImage": "hash of an image",
    "getMD5Hierarchy": "hash of a series",
    "getSingleImage": "single image",
}
"""What NBIA's endpoints give."""
_NO_PAUSE = 0.05
"""Seconds of a pause that is not worth naming."""


def clean_line(text: str) -> str:
    """One line without credentials and without control characters."""
    return scrub("".join(char if char.isprintable() else " " for char in text))


def summary_line(progress: Snapshot, columns: int | None = None) -> str:
    """The progress of a run in one line; without the rate if the line is too long."""
    rate = f"{format_size(round(progress.rate))}/s"
    parts = []
    if progress.total:
        parts.append(f"{_short(progress.size, progress.total)} of {format_size(progress.total)}")
    if progress.silence:
        parts.append(f"waiting for the archive, {format_duration(progress.silence)}")
    else:
        parts.append(rate)
        parts += [f"{format_duration(progress.left)} left"] if progress.left else []
    parts.append(f"{progress.complete:,} of {progress.series:,} series")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    line = ", ".join(parts)
    if columns is not None and len(line) > columns and progress.left and rate in parts:
        parts.remove(rate)
    return ", ".join(parts)


def percentage(progress: Snapshot) -> str:
    """The part that is complete: of the bytes, or of the series where no size is known."""
    counts = (progress.size, progress.total) if progress.total else None
    done, total = counts or (progress.complete, progress.series)
    return f"{min(100, 100 * done // max(total, 1))} %"


def _short(size: int, total: int) -> str:
    """The size, without its unit if it is that of the total."""
    number, unit = format_size(size).split(" ")
    return number if format_size(total).endswith(f" {unit}") else f"{number} {unit}"


def series_line(active: ActiveSeries) -> str:
    """One active series."""
    series = active.series
    words = (series.patient, series.modality, series.description or short_uid(series.uid))
    done = f"{min(99, 100 * active.size // series.size):3d} %" if series.size else "  … "
    pause = f"retry in {active.pause:.0f} s  " if active.pause >= 1 else ""
    return f"  {done}  {pause}" + clean_line("  ".join(filter(None, words)))


def start_line(event: RunStarted) -> str:
    """What a run downloads; empty if nothing."""
    if not event.series:
        return ""
    already = f"; {event.already_complete:,} already complete" if event.already_complete else ""
    known = [count(event.images, "image")] if event.images else []
    known += [format_size(event.size)] if event.size else []
    amount = f" ({', '.join(known)})" if known else ""
    return f"downloading {event.series:,} series{amount} into {event.output}{already}"


def retry_line(event: SeriesRetried | RequestRetried) -> str:
    """What is retried, why, and when."""
    if isinstance(event, SeriesRetried):
        what = short_uid(event.series)
    else:
        what = _ENDPOINTS.get(event.request, event.request) or "a request"
    when = f"retry in {max(event.wait, 0.1):.1f} s" if event.wait > _NO_PAUSE else "retrying"
    return clean_line(f"{what}: {event.reason}; {when}")


def failure_line(failure: Failure) -> str:
    """Why a series is missing; names the series once."""
    is_named = not failure.series or failure.series in failure.detail
    return clean_line(f"{'' if is_named else f'series {failure.series}: '}{failure.detail}")


def detail_line(event: Event) -> str:
    """A line for --verbose; empty for events that have none."""
    if isinstance(event, SeriesStarted):
        kept = f", {count(event.partial_images, 'image')} kept" if event.partial_images else ""
        return clean_line(f"started: {_name(event.series)}{kept}")
    if isinstance(event, SeriesFinished):
        return _outcome_line(event.outcome)
    if isinstance(event, ConcurrencyChanged):
        return clean_line(f"at most {event.limit} connections: {event.reason}")
    return ""


def notice_line(event: Notice) -> str:
    """A notice."""
    return clean_line(event.text)


def _outcome_line(outcome: Outcome) -> str:
    receipt, state = outcome.receipt, outcome.state.value.replace("-", " ")
    if receipt is None:
        failed = outcome.state is State.FAILED  # has a line of its own
        return "" if failed else f"{state}: {short_uid(outcome.series.uid)}"
    return clean_line(
        f"{state}: {_name(outcome.series)}, {count(len(receipt.images), 'image')}, "
        f"{format_size(receipt.size)}, checked by {receipt.check.value}"
    )


def _name(series: Series) -> str:
    return f"{series.patient} {series.modality or ''} {series.uid}"


def short_uid(uid: str) -> str:
    """The end of a UID: the series of a collection differ only there."""
    return f"series …{uid[-16:]}" if len(uid) > 24 else f"series {uid}"  # noqa: PLR2004
