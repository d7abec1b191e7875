"""The progress of a run: its state, its events as lines of text, and a display of lines."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tcia_covid.core.events import (
    ActivityFinished,
    ActivityStarted,
    BytesStored,
    ConcurrencyChanged,
    Event,
    ImagesChecked,
    Notice,
    Phase,
    PhaseChanged,
    RateLimited,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Failure, Outcome, Series, State
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.output.tables import failure_line

_WINDOW = 20.0
"""Seconds over which the rate is averaged."""
_SILENCE = 3.0
"""Seconds without a byte that are not worth showing."""
_ENDPOINTS = {
    "getCollectionValues": "list of collections",
    "getSeries": "list of series",
    "getSeriesMetadata": "list of series",
    "getSOPInstanceUIDs": "list of images",
    "getMD5HashForImage": "hash of an image",
    "getMD5Hierarchy": "hash of a series",
    "getSingleImage": "single image",
    "getContentsByName": "shared cart",
    "collections": "list of a collection's files",
    "downloads": "list of a collection's files",
}
"""What the endpoints of NBIA and of TCIA's web site give."""
_NO_PAUSE = 0.05
"""Seconds of a pause that is not worth naming."""
Write = Callable[[str], None]
"""Writes one line."""
GAPS = (2.5, 7.5, 20.0, 30.0)
"""Seconds from an event to a line about what is in progress, and from one such line to the next;
the last one repeats."""
_POLL_INTERVAL = 0.25
_RETRY_INTERVAL = 15.0
"""Seconds between two lines about retries."""


@dataclass(slots=True, eq=False)
class ActiveSeries:
    """A series that a worker downloads."""

    series: Series
    size: int
    """Bytes on disk."""
    pause: float = 0.0
    """Seconds until the next attempt."""
    phase: Phase = Phase.QUEUED


@dataclass(slots=True, eq=False)
class Snapshot:
    """The progress of the whole job at a moment, with what earlier runs have done."""

    series: int = 0
    complete: int = 0
    failed: int = 0
    locked: int = 0
    """Series that other runs work on."""
    total: int = 0
    """Bytes of all series."""
    size: int = 0
    """Bytes of these on disk."""
    existing: int = 0
    """Bytes of these from earlier runs."""
    given_up: int = 0
    """Bytes of failed series."""
    rate: float = 0.0
    """Bytes per second, recently."""
    active: tuple[ActiveSeries, ...] = ()
    silence: float = 0.0
    """Seconds without a byte from the archive, if worth showing; else 0."""
    is_throttled: bool = False
    """Whether the maximum rate delays what arrives."""
    activity: str = ""
    """What is in progress besides series, or is unknown and lasts long; empty if nothing."""
    activity_seconds: float = 0.0
    """Since when."""
    checked_size: int = 0
    checked_images: int = 0
    done: str = ""
    """What was done to these images."""
    checked_rate: float = 0.0
    """Bytes per second."""

    @property
    def left(self) -> float | None:
        """Seconds until the end at this rate; None if nothing arrives."""
        rest = max(0, self.total - self.given_up - self.size)
        return rest / self.rate if self.rate > 0 else None


class ProgressState:
    """Counts series and bytes; `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts = Snapshot()
        self._received = 0
        self._started = self._last_byte = clock()
        self._throttled = float("-inf")
        """When bytes were delayed last."""
        self._active: dict[str, ActiveSeries] = {}
        self._locked: set[str] = set()
        self._next_attempts: dict[str, float] = {}
        """Times, by SeriesInstanceUID."""
        self._activities: dict[str, float] = {}
        """When they began, by name."""
        self._samples: deque[tuple[float, int]] = deque()

    def take(self, event: Event) -> None:
        """Count an event; cheap for bytes, which arrive all the time."""
        with self._lock:
            if isinstance(event, BytesStored):
                self._stored(event)
            elif isinstance(event, SeriesStarted):
                self._begun(event)
            elif isinstance(event, PhaseChanged):
                self._change_phase(event)
            elif isinstance(event, SeriesRetried):
                self._next_attempts[event.series] = self._clock() + event.wait
            elif isinstance(event, SeriesFinished):
                self._finished(event.outcome)
            else:
                self._take_other(event)

    def _take_other(self, event: Event) -> None:
        counts, now = self._counts, self._clock()
        if isinstance(event, RateLimited):
            self._throttled = now
        elif isinstance(event, ImagesChecked):
            counts.checked_size += event.size
            counts.checked_images += event.images
            counts.done = event.done
        elif isinstance(event, ActivityStarted):
            self._activities[event.text] = now
        elif isinstance(event, ActivityFinished):
            self._activities.pop(event.text, None)
        elif isinstance(event, RunStarted):
            counts.series = event.series + event.already_complete
            counts.complete = event.already_complete
            counts.total = event.size + event.already_bytes
            counts.size = counts.existing = event.already_bytes
            self._last_byte = now
            self._samples.append((now, 0))

    def snapshot(self) -> Snapshot:
        """The progress now."""
        with self._lock:
            now = self._clock()
            silence = now - self._last_byte
            activity, since = next(reversed(self._activities.items()), ("working", self._started))
            return replace(
                self._counts,
                locked=len(self._locked),
                rate=self._rate(now),
                active=tuple(
                    replace(active, pause=max(0.0, self._next_attempts.get(uid, 0.0) - now))
                    for uid, active in self._active.items()
                ),
                silence=silence if silence >= _SILENCE and self._is_receiving() else 0.0,
                is_throttled=now - self._throttled < _SILENCE,
                activity=activity,
                activity_seconds=now - since,
                checked_rate=self._counts.checked_size / max(0.001, now - self._started),
            )

    def _is_receiving(self) -> bool:
        phases = (Phase.QUEUED, Phase.DOWNLOADING)
        return any(active.phase in phases for active in self._active.values())

    def _begun(self, event: SeriesStarted) -> None:
        uid = event.series.uid
        is_new = uid not in self._active
        self._remove(uid)
        self._locked.discard(uid)
        self._active[uid] = ActiveSeries(event.series, event.partial_bytes)
        self._counts.size += event.partial_bytes
        if is_new:
            self._counts.existing += event.partial_bytes

    def _change_phase(self, event: PhaseChanged) -> None:
        if event.phase is Phase.LOCKED:
            self._locked.add(event.series)
        elif event.series in self._active:
            self._active[event.series].phase = event.phase

    def _stored(self, event: BytesStored) -> None:
        self._received += event.count
        self._counts.size += event.count
        if event.count > 0:
            self._last_byte = self._clock()
        active = self._active.get(event.series)
        if active is not None:
            active.size += event.count
            active.phase = Phase.DOWNLOADING

    def _finished(self, outcome: Outcome) -> None:
        on_disk = self._remove(outcome.series.uid)
        self._locked.discard(outcome.series.uid)
        listed = outcome.series.size or 0
        if outcome.receipt is not None:
            self._counts.complete += 1
            self._counts.size += listed
        else:
            self._counts.size += on_disk
            if outcome.state in {State.FAILED, State.LOCKED}:
                self._counts.failed += 1
                self._counts.given_up += max(0, listed - on_disk)

    def _remove(self, uid: str) -> int:
        """Remove an active series, and its bytes from the sum; give its bytes."""
        self._next_attempts.pop(uid, None)
        active = self._active.pop(uid, None)
        if active is None:
            return 0
        self._counts.size -= active.size
        return active.size

    def _rate(self, now: float) -> float:
        self._samples.append((now, self._received))
        while len(self._samples) > 2 and now - self._samples[1][0] >= _WINDOW:  # noqa: PLR2004
            self._samples.popleft()
        since, before = self._samples[0]
        seconds = now - since
        return max(0.0, (self._received - before) / seconds) if seconds > 0 else 0.0


def summary_parts(progress: Snapshot) -> list[str]:
    """The progress of a run in words."""
    parts = []
    if progress.total:
        parts.append(f"{_short(progress.size, progress.total)} of {format_size(progress.total)}")
    if progress.silence:
        parts.append(f"waiting for the archive, {format_duration(progress.silence)}")
    else:
        parts.append(f"{format_size(round(progress.rate))}/s")
        parts += ["throttled by --max-rate"] if progress.is_throttled else []
        parts += [f"{format_duration(progress.left)} left"] if progress.left else []
    parts.append(f"{progress.complete:,} of {progress.series:,} series")
    if progress.locked:
        parts.append(f"{progress.locked:,} locked by other runs")
    if progress.failed:
        parts.append(f"{progress.failed:,} failed")
    if progress.existing:
        parts.append(f"{format_size(progress.existing)} from before")
    return parts


def status_line(progress: Snapshot) -> str:
    """What is in progress, in one line: the run, what is checked, or something else."""
    if is_running(progress):
        return f"{percentage(progress)}: {', '.join(summary_parts(progress))}"
    if progress.checked_images:
        return checked_line(progress)
    return activity_line(progress)


def is_running(progress: Snapshot) -> bool:
    """Whether series are downloaded, or wait for other runs."""
    return bool(progress.active or progress.locked)


def activity_line(progress: Snapshot) -> str:
    """What is in progress that is no series."""
    return clean_line(f"{progress.activity} ... {format_duration(progress.activity_seconds)}")


def checked_line(progress: Snapshot) -> str:
    """How much was checked."""
    rate = format_size(round(progress.checked_rate))
    images = count(progress.checked_images, "image")
    return f"{progress.done} {images}, {format_size(progress.checked_size)}, {rate}/s"


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
    done = f"{min(99, 100 * active.size // series.size):3d} %" if series.size else "     "
    phase = "" if active.phase is Phase.DOWNLOADING else f"{active.phase.value}  "
    state = f"retry in {active.pause:.0f} s  " if active.pause >= 1 else phase
    return f"  {done}  {state}" + clean_line("  ".join(filter(None, words)))


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


class Ticker:
    """Calls a function every `interval` seconds from its own thread."""

    def __init__(self, act: Callable[[], None], interval: float) -> None:
        self._act = act
        self._interval = interval
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)

    def start(self) -> None:
        """Start, with an interval; without effect where the system permits no more threads."""
        with contextlib.suppress(RuntimeError, MemoryError):
            self._thread.start()

    def close(self) -> None:
        """Stop; the function is not called again."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(1.0)  # a stopped terminal may block it

    def _run(self) -> None:
        while not self._closed.wait(self._interval):
            with contextlib.suppress(OSError, ValueError):  # a terminal that is closed
                self._act()


class Display:
    """Shows the events of a command as lines; `take` may be called from any thread.

    Starts, retries, notices and failures get a line each. What is in progress gets one when
    nothing else was written for a while: soon at first, then at intervals.

    Args:
        write: writes a line.
        verbose: whether every event gets a line.
        gaps: seconds from an event to a line about what is in progress, and between such lines.
        interval: seconds between looks at whether one is due.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        write: Write,
        *,
        verbose: bool = False,
        gaps: Sequence[float] = GAPS,
        interval: float = _POLL_INTERVAL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write = write
        self._verbose = verbose
        self._clock = clock
        self._state = ProgressState(clock)
        self._gaps = gaps
        self._lines_since = 0
        """Lines about what is in progress since the last event that began something."""
        self._last_line = clock()
        self._ticker = Ticker(self.tick, interval)
        self._lock = threading.Lock()
        self._next_retry = clock()
        self._suppressed = 0
        self._failures: set[str] = set()

    def start(self) -> None:
        """Begin to look for what is in progress."""
        self._ticker.start()

    def take(self, event: Event) -> None:
        """Show an event."""
        self._state.take(event)
        if isinstance(event, RunStarted | ActivityStarted):
            self._lines_since = 0
        if line := self._line(event):
            self._last_line = self._clock()
            self._write(line)

    def tick(self) -> None:
        """Write a line about what is in progress, if one is due."""
        gap = self._gaps[min(self._lines_since, len(self._gaps) - 1)]
        if self._clock() - self._last_line >= gap:
            self._lines_since += 1
            self.draw()

    def draw(self) -> None:
        """Write a line about what is in progress."""
        self._last_line = self._clock()
        self._write(status_line(self._state.snapshot()))

    def suspend(self) -> None:
        """The process is about to be stopped, as by Ctrl-Z."""

    def resume(self) -> None:
        """The process resumes."""

    def close(self) -> None:
        """Stop, and clear the screen for the result."""
        self._ticker.close()

    def _line(self, event: Event) -> str:
        if isinstance(event, RunStarted):
            return start_line(event)
        if isinstance(event, Notice):
            return clean_line(event.text)
        if isinstance(event, SeriesRetried | RequestRetried):
            return self._retry(event)
        if isinstance(event, SeriesFinished) and event.outcome.failure is not None:
            return self._failure(event.outcome.failure)
        return detail_line(event) if self._verbose else ""

    def _failure(self, failure: Failure) -> str:
        """A line about a failure; the summary lists those that only repeat another."""
        with self._lock:
            repeated = failure.detail in self._failures
            self._failures.add(failure.detail)
        return "" if repeated and not self._verbose else f"failed: {failure_line(failure)}"

    def _retry(self, event: SeriesRetried | RequestRetried) -> str:
        """A line about a retry, not too often: with an archive down there are hundreds."""
        with self._lock:
            now = self._clock()
            if now < self._next_retry and not self._verbose:
                self._suppressed += 1
                return ""
            self._next_retry = now + _RETRY_INTERVAL
            number, self._suppressed = self._suppressed, 0
        similar = f" ({number:,} similar {'line' if number == 1 else 'lines'} omitted)"
        return retry_line(event) + (similar if number else "")
