"""Many series: workers, order, waiting for other runs, second attempts, giving up."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

from tcia_covid.archives.base import Archive
from tcia_covid.core.errors import (
    ArchiveError,
    DestinationError,
    LockedError,
    NotAvailableError,
    SeriesError,
    TakenOverError,
    TciaCovidError,
)
from tcia_covid.core.events import Notice, SeriesFinished
from tcia_covid.core.models import Failure, Outcome, Series, State
from tcia_covid.core.redaction import scrub
from tcia_covid.store.disk import destination_error
from tcia_covid.transfer.availability import UNREACHABLE, OutageMonitor
from tcia_covid.transfer.contention import Job, LockedJob, LockedJobs
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.series import fetch_series

_ABANDON_AFTER = 1.5
"""Seconds that workers have to end after the run was stopped."""
_FEWEST_FAILURES = 4
"""Series in a row that no archive gave before it counts as an outage."""
_POLL = 0.5
"""Seconds between looks at a series that another run works on."""


class Scheduler:
    """Runs jobs on a fixed number of threads.

    Args:
        archives: where series can be had, the first choice first.
        context: the run's shared parts.
        workers: series under way at once.
        on_outcome: hears of each series' end, one at a time.
    """

    def __init__(
        self,
        archives: Sequence[Archive],
        context: TransferContext,
        workers: int,
        on_outcome: Callable[[Outcome], None],
    ) -> None:
        self._archives = archives
        self._context = context
        self._workers = workers
        self._on_outcome = on_outcome
        self._queue: deque[Job] = deque()
        self._held = LockedJobs()
        self._lock = threading.Lock()
        self._outage = OutageMonitor(
            max(_FEWEST_FAILURES, workers),
            context.settings.outage_timeout,
            context.health,
            context.stop,
            context.emit,
        )
        self._later: deque[Job] = deque()
        self._second_attempts: set[int] = set()
        self._told_of_held = False
        self._open: dict[int, Job] = {}

    def run(self, jobs: Sequence[Job]) -> None:
        """Run all jobs, biggest first (else the last worker works alone); ends early on stop."""
        self._open = {id(job): job for job in jobs}
        self._queue.extend(sorted(jobs, key=lambda job: (-(job.series.size or 0), job.series.uid)))
        count = max(1, min(self._workers, len(self._queue)))
        threads = [
            threading.Thread(target=self._work, name=f"series-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in threads:
            thread.start()
        self._join(threads)
        for job in self._unreported():
            self._report(job, Outcome(job.series, State.REMAINING))

    def _join(self, threads: list[threading.Thread]) -> None:
        """Wait for the workers; once stopped, not longer than they need to notice."""
        stop = self._context.stop
        deadline = None
        while any(thread.is_alive() for thread in threads):
            if stop.is_set():
                deadline = deadline or time.monotonic() + _ABANDON_AFTER
                if time.monotonic() > deadline:
                    return
            for thread in threads:
                thread.join(0.05)
                if thread.is_alive():
                    break

    def _work(self) -> None:
        try:
            while not self._context.stop.is_set() and self._next():
                pass
        except Exception as error:  # noqa: BLE001 - a worker must not die in silence
            self._end_run(_unforeseen(error))

    def _next(self) -> bool:
        """Do one job; False if there is none."""
        job = self._take()
        if job is None:
            return self._wait_for_held()
        self._do(job, None)
        return True

    def _take(self) -> Job | None:
        """The biggest series left; second attempts come last.

        After a failure the smallest tells soonest whether it was the series' fault.
        """
        with self._lock:
            if self._queue:
                return self._queue.pop() if self._outage.suspected else self._queue.popleft()
            return self._later.popleft() if self._later else None

    def _wait_for_held(self) -> bool:
        """Look again at a series that another run had; False if there is none."""
        held = self._held.take()
        if held is None:
            return False
        try:
            self._context.stop.wait(_POLL)
        except TciaCovidError:
            return False
        if held.ready:
            self._do(held.job, held)
        elif held.idle > self._context.settings.first_byte_timeout:
            self._give_up(held)
        else:
            self._held.put_back(held)
        return True

    def _do(self, job: Job, held: LockedJob | None) -> None:
        try:
            outcome = fetch_series(
                job.series, self._archives, job.tree, self._context, update=job.update
            )
            self._report(job, outcome)
        except (LockedError, TakenOverError) as error:
            self._hold(job, error, held)
        except DestinationError as error:
            self._end_run(error)
        except OSError as error:
            self._end_run(destination_error(error, str(job.tree.root)))
        except (SeriesError, ArchiveError) as error:
            self._failed(job, error)
        except TciaCovidError as error:
            self._end_run(error)  # the reason why the run ends already, or one to end it
        except Exception as error:  # noqa: BLE001 - the next series would meet the same
            self._end_run(_unforeseen(error, f" at series {job.series.uid}"))

    def _failed(self, job: Job, error: SeriesError | ArchiveError) -> None:
        if self._context.stop.is_set():
            return
        if not isinstance(error, SeriesError | NotAvailableError) and self._try_later(job, error):
            return
        self._report(job, Outcome(job.series, State.FAILED, failure=failure_of(job.series, error)))

    def _try_later(self, job: Job, error: ArchiveError) -> bool:
        """Put a series back whose archives failed: once, not counting outages."""
        again = id(job) in self._second_attempts
        if again and not isinstance(error, UNREACHABLE):
            return False
        outage = self._outage.failed(error)
        if outage and not (error.retryable and self._outage.wait_for_recovery(error)):
            self._context.stop.set(error)
            return False
        if outage:
            self._second_attempts.discard(id(job))
        elif again or not error.retryable or self._context.health.last_answer is None:
            return False
        else:
            self._second_attempts.add(id(job))
        with self._lock:
            self._later.append(job)
        return True

    def _end_run(self, error: TciaCovidError) -> None:
        self._context.stop.set(error)

    def _hold(self, job: Job, error: TciaCovidError, was: LockedJob | None) -> None:
        """Put a series back that another run works on, as long as that run gets on with it."""
        if was is None and not self._told_of_held:
            self._told_of_held = True
            text = f"{error.message}; series of other runs are taken up when those let go of them"
            self._context.emit(Notice(text))
        if was is not None and was.idle > self._context.settings.first_byte_timeout:
            self._give_up(was)
        else:
            self._held.put(job, error, was)

    def _give_up(self, held: LockedJob) -> None:
        series = held.job.series
        failure = failure_of(series, held.error)
        self._report(held.job, Outcome(series, State.LOCKED, failure=failure))

    def _unreported(self) -> list[Job]:
        with self._lock:
            return list(self._open.values())

    def _report(self, job: Job, outcome: Outcome) -> None:
        with self._lock:
            if self._open.pop(id(job), None) is None:
                return  # left behind as remaining before its worker came back
            self._on_outcome(outcome)
        self._context.emit(SeriesFinished(outcome))


def failure_of(series: Series, error: TciaCovidError) -> Failure:
    """Give the record of why `series` is not there."""
    if isinstance(error, SeriesError):
        return Failure(series.uid, error.reason, error.message, error.missing, error.hint)
    reason = "not-available" if isinstance(error, NotAvailableError) else "archive"
    if isinstance(error, LockedError):
        reason = "locked"
    return Failure(series.uid, reason, error.message, hint=error.hint)


def _unforeseen(error: Exception, where: str = "") -> TciaCovidError:
    fault = TciaCovidError(
        f"a fault of the program itself{where}: {type(error).__name__}: {scrub(str(error))}",
        hint="run again with --verbose and report what it prints",
    )
    fault.__cause__ = error
    return fault
