"""Many series in several processes, since one interpreter runs Python on one processor at a time.

The parent gives single series to worker processes and takes their events, over pipes. Each process,
also the parent, runs a `Scheduler` of its own; the tree on disk is shared as between any two runs.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from tcia_covid.archives.factory import open_for_options
from tcia_covid.core.errors import EXIT_SIGTERM, InterruptedRunError
from tcia_covid.core.events import Event, Notice, SeriesFinished
from tcia_covid.core.models import Outcome
from tcia_covid.http.throttle import ByteCounter
from tcia_covid.selection.request import Options
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import GRACE_PERIOD, Job, Scheduler
from tcia_covid.transfer.worker import Order, Report, Request, Setup, Stop
from tcia_covid.transfer.worker_processes import Worker, start_interpreter

_JOBS_PER_PROCESS = 2
"""At least; so that one receives while the other writes."""
_IMAGES_PER_PROCESS = 800
"""At least: 0.5 s of Python; a new interpreter takes half of that to start. Hashing
and writing occupy several processors from the threads of one process, so size does not count."""
_IMAGES_PER_SERIES = 5
"""As many images take as long as what is done once per series."""
_POLL_INTERVAL = 0.05


def most_processes(options: Options, processors: int) -> int:
    """How many processes may download, however much there is to do."""
    if options.processes is not None:
        return min(options.processes, options.jobs)
    if options.source == "nbia":
        return 1  # inflating and hashing its ZIPs keeps several processors busy from threads
    return max(1, min(processors, options.jobs // _JOBS_PER_PROCESS))


def processes_for(options: Options, jobs: Sequence[Job], processors: int) -> int:
    """How many processes download: as asked for, else as many as their start is worth."""
    most = most_processes(options, processors) if sys.executable else 1
    if options.processes is not None:
        return max(1, min(most, len(jobs)))
    images = sum((job.series.image_count or 1) + _IMAGES_PER_SERIES for job in jobs)
    useful = min(len(jobs) // _JOBS_PER_PROCESS, images // _IMAGES_PER_PROCESS)
    return max(1, min(most, useful))


def workers_for(jobs: int) -> int:
    """Threads of a scheduler: a third more than requests, so that some sync to the disk."""
    return jobs + (jobs + 1) // 3


def share(options: Options, processes: int) -> list[Options]:
    """Divide the limits of a run among processes; the first share has the fewest jobs."""
    rate = options.http.max_rate
    http = replace(options.http, max_rate=None if rate is None else rate / processes)
    return [
        replace(options, jobs=(options.jobs + number) // processes, http=http)
        for number in range(processes)
    ]


class ProcessScheduler:
    """Runs jobs in this process and in workers, which share the limits of the run.

    Args:
        options: of the run; `jobs` and the maximum rate are divided among the processes.
        context: its events are those of all processes.
        meter: counts the bytes that all processes receive.
        on_outcome: receives the end of each series, one at a time.
        start_worker: gives a worker process; raises OSError where the machine permits no more.
        grace_period: seconds that workers have to end after the run was canceled.
    """

    def __init__(
        self,
        options: Options,
        context: TransferContext,
        meter: ByteCounter,
        on_outcome: Callable[[Outcome], None],
        *,
        start_worker: Callable[[], Worker] = start_interpreter,
        grace_period: float = GRACE_PERIOD,
    ) -> None:
        self._options = options
        self._context = context
        self._meter = meter
        self._on_outcome = on_outcome
        self._start_worker = start_worker
        self._grace_period = grace_period
        self._queue: deque[Job] = deque()
        self._trees: list[Tree] = []
        self._workers: list[Worker] = []
        self._notices: set[str] = set()
        self._lock = threading.Lock()

    def run(self, jobs: Sequence[Job], processes: int) -> list[Job]:
        """Run jobs, biggest first; return those that no process has reported.

        These are left where the run was canceled, or where a worker died late.
        """
        self._queue.extend(sorted(jobs, key=lambda job: (-(job.series.size or 0), job.uid)))
        self._trees = list(dict.fromkeys(job.tree for job in jobs))
        threads = []
        own, *others = share(self._options, processes)
        # The first process to ask must not take what the others could work on.
        most = -(-len(jobs) // processes)
        for options in others:
            with contextlib.suppress(OSError):  # the machine permits no more processes
                worker = self._start_worker()
                self._workers.append(worker)
                roots = tuple(tree.root for tree in self._trees)
                worker.send(Setup(options, roots, min(most, workers_for(options.jobs))))
                thread = threading.Thread(
                    target=self._serve,
                    args=(worker,),
                    name=f"process-{worker.process.pid}",
                    daemon=True,
                )
                threads.append(thread)
                thread.start()
        self._context.stop.on_stop(self._cancel)
        self._work(own, min(most, workers_for(own.jobs)))
        self._join(threads)
        with self._lock:
            return list(self._queue)

    def _work(self, options: Options, workers: int) -> None:
        """Download in this process, too, until no series is left in the queue."""
        archives = open_for_options(options, self._context.stop, self._emit, self._meter)
        context = replace(
            self._context,
            emit=self._emit,
            hash_archives=archives.hash_archives,
            reachability=archives.reachability,
        )
        try:
            Scheduler(
                archives.order,
                context,
                workers,
                self._count,
                next_job=self._take_job,
                grace_period=self._grace_period,
            ).run([])
        finally:
            archives.close()

    def _count(self, outcome: Outcome) -> None:
        with self._lock:
            self._on_outcome(outcome)

    def _take_job(self) -> Job | None:
        with self._lock:
            is_over = not self._queue or self._context.stop.is_set()
            return None if is_over else self._queue.popleft()

    def _join(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for all workers; after cancellation no longer than the grace period."""
        stop = self._context.stop
        while any(thread.is_alive() for thread in threads):
            if stop.is_set() and time.monotonic() > stop.since + self._grace_period:
                for worker in self._workers:
                    worker.process.kill()
            for thread in threads:
                thread.join(_POLL_INTERVAL)

    def _cancel(self) -> None:
        message = Stop(self._context.stop.reason or InterruptedRunError(exit_code=EXIT_SIGTERM))
        for worker in self._workers:
            # In a thread: a worker that does not read must not delay the end.
            threading.Thread(target=worker.send, args=(message,), daemon=True).start()

    def _serve(self, worker: Worker) -> None:
        """Give series to one worker, and take its reports, until it ends."""
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                message = pickle.load(worker.requests)  # noqa: S301 - of this program
                if isinstance(message, Request):
                    worker.send(self._next(worker))
                else:
                    self._take(worker, message)
        worker.close()
        self._release(worker)

    def _next(self, worker: Worker) -> Order | None:
        job = self._take_job()
        if job is None:
            return None
        with self._lock:
            worker.jobs[job.uid] = job
        return Order(self._trees.index(job.tree), job.series, job.update)

    def _take(self, worker: Worker, report: Report) -> None:
        self._meter.add(report.received - worker.received)
        worker.received = report.received
        for tree, text in report.notices[worker.notices :]:
            self._trees[tree].notify(text)
        worker.notices = len(report.notices)
        for event in report.events:
            if isinstance(event, SeriesFinished):
                with self._lock:
                    job = worker.jobs.pop(event.outcome.series.uid, None)
                if job is not None:
                    self._count(event.outcome)
            self._emit(event)
        if report.error is not None:
            self._context.stop.set(report.error)

    def _emit(self, event: Event) -> None:
        if not self._is_repeated(event):
            self._context.emit(event)

    def _is_repeated(self, event: Event) -> bool:
        """Whether another process has sent the same notice, such as that an archive is down."""
        if not isinstance(event, Notice):
            return False
        with self._lock:
            is_repeated = event.text in self._notices
            self._notices.add(event.text)
        return is_repeated

    def _release(self, worker: Worker) -> None:
        """Let others have the series of a worker that has ended."""
        with self._lock:
            left = list(worker.jobs.values())
            worker.jobs.clear()
            self._queue.extendleft(left)
        code = worker.process.returncode
        if code and not self._context.stop.is_set():
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            text = f"worker process {worker.process.pid} was ended {how}"
            self._context.emit(Notice(f"{text}; its series are downloaded by others"))
