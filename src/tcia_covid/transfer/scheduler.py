"""Many series on worker threads: order, locked series, second attempts, the end of a run."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import (
    ArchiveError,
    LockedError,
    NotAvailableError,
    ResourceLimitError,
    ResponseTimeoutError,
    SeriesError,
    TakenOverError,
    TciaCovidError,
)
from tcia_covid.core.events import BytesStored, Event, Notice, Phase, PhaseChanged, SeriesFinished
from tcia_covid.core.limits import limit_error
from tcia_covid.core.models import Failure, Outcome, Series, State
from tcia_covid.core.redaction import scrub
from tcia_covid.http.retry import UNREACHABLE
from tcia_covid.store.disk import destination_error
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.availability import OUTAGE_WAIT, OutageMonitor
from tcia_covid.transfer.fetcher import TransferContext, incomplete_error
from tcia_covid.transfer.series import fetch_series
from tcia_covid.transfer.series_limit import SeriesLimiter

GRACE_PERIOD = 1.5
"""Seconds that workers have to end after the run was canceled."""
_MIN_OUTAGE_FAILURES = 4
"""Consecutive series that no archive gave before it counts as an outage."""
_FEW_IMAGES = 4
"""A series of fewer images is received by one request after the other."""
_IDLE = 1.5
"""Seconds without a change on disk before a series is taken over where locks do not work."""


class Job(NamedTuple):
    """One series to download into one tree; its UID is unique within a run."""

    series: Series
    tree: Tree
    update: bool = False

    @property
    def uid(self) -> str:
        """The SeriesInstanceUID."""
        return self.series.uid


@dataclass(slots=True, eq=False)
class LockedSeries:
    """A job whose series another run works on, and when that run last made progress."""

    job: Job
    error: TciaCovidError
    activity: int = -1
    since: float = 0.0
    """When the other run last changed something (monotonic seconds)."""
    takeovers: int = 0

    def refresh(self, error: TciaCovidError | None = None) -> None:
        """Note whether the other run makes progress; `error` says why an attempt failed now."""
        if error is not None:
            self.error = error
            self.takeovers += isinstance(error, TakenOverError)
        activity = self.job.tree.activity(self.job.uid)
        if activity != self.activity:
            self.activity, self.since = activity, time.monotonic()

    @property
    def idle(self) -> float:
        """Seconds since the other run last changed something."""
        return time.monotonic() - self.since

    @property
    def ready(self) -> bool:
        """Whether to try the series now.

        A lock decides by itself. Where a series was taken over although its lock was held, locks
        do not work there: two runs would take the series from each other endlessly, so each waits
        until the other is done or idle, longer each time.
        """
        if self.takeovers == 0:
            return True
        done = self.job.tree.complete_receipt(self.job.uid) is not None
        return done or self.idle > _IDLE * 2.0 ** min(self.takeovers, 8)


@dataclass(slots=True, eq=False)
class Scheduler:
    """Runs jobs on a fixed number of threads."""

    archives: Sequence[Archive]
    """In order of preference."""
    context: TransferContext
    workers: int
    """Series in progress at once; of few images, as many for each connection of a job."""
    on_outcome: Callable[[Outcome], None]
    """Receives the end of each series, one at a time."""
    next_job: Callable[[], Job | None] | None = None
    """Gives a further job, waiting for it if need be; None if there is no more."""
    poll_interval: float = 0.5
    """Seconds between looks at a series that another run works on."""
    grace_period: float = GRACE_PERIOD
    """Seconds that workers have to end after the run was canceled."""
    outage_wait: float = OUTAGE_WAIT
    """Seconds before the first retry when no archive responds."""
    _queue: deque[Job] = field(default_factory=deque, init=False)
    _second_attempts: deque[Job] = field(default_factory=deque, init=False)
    _locked: deque[LockedSeries] = field(default_factory=deque, init=False)
    _attempted_twice: set[str] = field(default_factory=set, init=False)
    _needed: list[Archive] = field(default_factory=list, init=False)
    """The archives that have at least one of the series; all where these are not known."""
    _unreported: dict[str, Job] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _lock_notice_sent: bool = field(default=False, init=False)
    _limit_notice_sent: bool = field(default=False, init=False)
    _outage: OutageMonitor = field(init=False)
    _limiter: SeriesLimiter = field(init=False)
    _per_job: int = field(init=False)
    """Connections for each job."""
    _observed: TransferContext = field(init=False)
    """The context, with an `emit` that reports to the limiter what arrives."""

    def __post_init__(self) -> None:
        self._limiter = SeriesLimiter(self.workers, self.context.stop)
        self._observed = replace(self.context, emit=self._emit)
        self._per_job = max(archive.connections_per_job for archive in self.archives)
        self._outage = OutageMonitor(
            max(_MIN_OUTAGE_FAILURES, self.workers * self._per_job),
            self.context.settings.outage_timeout,
            self.context.availability,
            self.context.stop,
            self.context.emit,
            wait=self.outage_wait,
        )

    def _emit(self, event: Event) -> None:
        if isinstance(event, BytesStored):
            self._limiter.stored(event.series, event.count)
        self.context.emit(event)

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs, biggest first (else the last worker works alone); end early on stop."""
        self._unreported = {job.uid: job for job in jobs}
        self._needed = [
            archive
            for archive in self.archives
            if not jobs or any(archive.has(job.series) for job in jobs)
        ]
        self._queue.extend(sorted(jobs, key=lambda job: (-(job.series.size or 0), job.uid)))
        workers = self.workers * self._per_job
        useful = workers if self.next_job else len(self._queue)
        threads = [
            threading.Thread(target=self._work, name=f"series-{number}", daemon=True)
            for number in range(max(1, min(workers, useful)))
        ]
        self._join(self._start(threads))
        self._work(is_last=True)
        with self._lock:
            remaining = list(self._unreported.values())
        for job in remaining:
            self._report(job, Outcome(job.series, State.REMAINING))

    def _start(self, threads: Sequence[threading.Thread]) -> list[threading.Thread]:
        """Start as many threads as the machine permits; return those."""
        for number, thread in enumerate(threads):
            try:
                thread.start()
            except (RuntimeError, MemoryError) as error:
                self._notify_fewer(limit_error(error) or error)
                return list(threads[:number])
        return list(threads)

    def _notify_fewer(self, error: Exception) -> None:
        """Report once that series are downloaded by fewer threads than asked for."""
        if not self._limit_notice_sent:
            self._limit_notice_sent = True
            hint = getattr(error, "hint", "")
            self.context.emit(Notice(f"{error}; continuing with fewer threads ({hint})"))

    def _join(self, threads: list[threading.Thread]) -> None:
        """Wait for the workers; after cancellation no longer than the grace period."""
        stop = self.context.stop
        deadline = None
        while any(thread.is_alive() for thread in threads):
            if stop.is_set():
                deadline = deadline or time.monotonic() + self.grace_period
                if time.monotonic() > deadline:
                    return
            for thread in threads:
                thread.join(0.05)
                if thread.is_alive():
                    break

    def _work(self, *, is_last: bool = False) -> None:
        """Do jobs until none is left; look at locked series when nothing else is to do.

        Args:
            is_last: all threads have ended; at a limit of the machine, they leave jobs behind.
        """
        stop = self.context.stop
        try:
            while not stop.is_set():
                with self._limiter.slot():
                    if stop.is_set():
                        return
                    if (job := self._take()) is not None:
                        self._fetch(job)
                    elif (locked := self._take_locked()) is not None:
                        self._retry_locked(locked)
                    else:
                        return
        except ResourceLimitError as error:
            if is_last:
                stop.set(error)
            else:
                self._notify_fewer(error)
        except Exception as error:  # noqa: BLE001 - a worker must not die in silence
            stop.set(_internal_error(error))

    def _take(self) -> Job | None:
        """The biggest series left; second attempts come last.

        After a failure the smallest shows soonest whether the series was the cause.
        """
        with self._lock:
            if self._queue:
                return self._queue.pop() if self._outage.suspected else self._queue.popleft()
        job = self.next_job() if self.next_job else None
        with self._lock:
            if job is not None:
                self._unreported[job.uid] = job
                return job
            return self._second_attempts.popleft() if self._second_attempts else None

    def _take_locked(self) -> LockedSeries | None:
        """The locked series that waits longest."""
        with self._lock:
            return self._locked.popleft() if self._locked else None

    def _fetch(self, job: Job, locked: LockedSeries | None = None) -> None:
        """Fetch one series; `locked` if another run had it before.

        Raises:
            ResourceLimitError: the machine permits no more; the series is in the queue again.
        """
        try:
            with self._limiter.progress(job.uid, job.series.size or 0, self._share(job.series)):
                outcome = fetch_series(
                    job.series, self.archives, job.tree, self._observed, update=job.update
                )
            self._report(job, outcome)
        except Exception as error:
            limit = limit_error(error)
            if limit is None:
                self._fail(job, error, locked)
                return
            with self._lock:
                self._queue.appendleft(job)
            raise limit from error

    def _share(self, series: Series) -> float:
        """The part of a job's connections that a series keeps busy."""
        is_small = 0 < (series.image_count or 0) < _FEW_IMAGES
        return 1.0 / self._per_job if is_small else 1.0

    def _fail(self, job: Job, error: Exception, locked: LockedSeries | None) -> None:
        """Try a series again later, report its failure, or end the run."""
        stop = self.context.stop
        if isinstance(error, LockedError | TakenOverError):
            self._put_locked(job, error, locked)
        elif isinstance(error, SeriesError | ArchiveError):
            if not stop.is_set() and not self._try_again(job, error):
                failure = failure_of(job.series, error)
                self._report(job, Outcome(job.series, State.FAILED, failure=failure))
        elif isinstance(error, TciaCovidError):
            stop.set(error)  # the reason why the run ends already, or one to end it
        elif isinstance(error, OSError):
            stop.set(destination_error(error, str(job.tree.root)))
        else:  # the next series would meet the same
            stop.set(_internal_error(error, f" at series {job.uid}"))

    def _try_again(self, job: Job, error: SeriesError | ArchiveError) -> bool:
        """Queue a series for a second attempt where its archives failed, not counting outages.

        An outage that ends the run is no failure of the series, which remains to be downloaded.
        """
        if isinstance(error, SeriesError | NotAvailableError):
            return False
        attempted_twice = job.uid in self._attempted_twice
        if attempted_twice and not isinstance(error, UNREACHABLE):
            return False
        if self._never_worked(job, error):
            self.context.stop.set(error)
        elif self._outage.failed(error):
            if not (error.retryable and self._outage.wait_for_recovery(error)):
                self.context.stop.set(error)
            self._attempted_twice.discard(job.uid)
        elif (
            attempted_twice or not error.retryable or self.context.availability.last_answer is None
        ):
            return False
        elif isinstance(error, ResponseTimeoutError):
            return False  # each silent attempt takes the whole first-byte timeout
        else:
            self._attempted_twice.add(job.uid)
        with self._lock:
            self._second_attempts.append(job)
        return True

    def _never_worked(self, job: Job, error: ArchiveError) -> bool:
        """Whether no archive can be reached, and none could since the run started."""
        return (
            isinstance(error, UNREACHABLE)
            and not self.context.reachability.responded
            and self.context.availability.last_answer is None
            and all(archive.has(job.series) for archive in self._needed)
        )

    def _put_locked(self, job: Job, error: TciaCovidError, locked: LockedSeries | None) -> None:
        """Keep a series for later that another run works on; report the first one."""
        if not self._lock_notice_sent:
            self._lock_notice_sent = True
            text = f"{error.message}; this run takes over series that other runs release"
            self.context.emit(Notice(text))
        self.context.emit(PhaseChanged(job.uid, Phase.LOCKED))
        self._wait_longer(locked or LockedSeries(job, error), error)

    def _retry_locked(self, locked: LockedSeries) -> None:
        """After a pause, try a series that another run worked on."""
        try:
            self.context.stop.wait(self.poll_interval)
        except TciaCovidError:
            return
        if locked.ready:
            self._fetch(locked.job, locked)
        else:
            self._wait_longer(locked)

    def _wait_longer(self, locked: LockedSeries, error: TciaCovidError | None = None) -> None:
        """Keep a series for later as long as the run that works on it makes progress."""
        locked.refresh(error)
        if locked.idle > self.context.settings.first_byte_timeout:
            series = locked.job.series
            failure = failure_of(series, locked.error)
            self._report(locked.job, Outcome(series, State.LOCKED, failure=failure))
            return
        with self._lock:
            self._locked.append(locked)

    def _report(self, job: Job, outcome: Outcome) -> None:
        with self._lock:
            if self._unreported.pop(job.uid, None) is None:
                return  # reported as remaining before its worker came back
            self.on_outcome(outcome)
        self.context.emit(SeriesFinished(outcome))


def failure_of(series: Series, error: TciaCovidError) -> Failure:
    """Return the record of why `series` is not complete."""
    if isinstance(error, ArchiveError) and error.missing:
        error = incomplete_error(series, len(error.missing), error, error.missing)
    return Failure.of(error, series.uid)


def _internal_error(error: Exception, where: str = "") -> TciaCovidError:
    internal = TciaCovidError(
        f"internal error{where}: {type(error).__name__}: {scrub(str(error))}",
        hint="run again with --verbose and report what it prints",
    )
    internal.__cause__ = error
    return internal
