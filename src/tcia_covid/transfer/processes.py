"""Many series in several processes, since one interpreter runs Python on one processor at a time.

The parent gives single series to worker processes and takes their events, over pipes. Each process,
also the parent, runs a `Scheduler` of its own; the tree on disk is shared as between any two runs.
Workers are started as new interpreters: a fork would copy the locks of threads that do not exist in
it. The parent has imported everything already, and downloads while they start.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import IO, BinaryIO, cast

from tcia_covid.archives.factory import open_for_options
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_SIGTERM, InterruptedRunError, TciaCovidError
from tcia_covid.core.events import BytesStored, Event, Notice, PhaseChanged, SeriesFinished
from tcia_covid.core.models import Outcome, Series
from tcia_covid.http.throttle import ByteCounter
from tcia_covid.selection.request import Options
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import GRACE_PERIOD, Job, Scheduler

_JOBS_PER_PROCESS = 2
"""At least; so that one receives while the other writes."""
_IMAGES_PER_PROCESS = 800
"""At least: 0.5 s of Python; a process takes a quarter of a second of a processor to start. Hashing
and writing occupy several processors from the threads of one process, so size does not count."""
_IMAGES_PER_SERIES = 5
"""As many images take as long as what is done once per series."""
_INTERVAL = 0.1
"""Seconds between two reports."""
_POLL_INTERVAL = 0.05
_START = "import sys; sys.path[:] = {path!r}; from {module} import serve; serve()"
"""Not `-m`, which would import from the working folder."""
if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
    """Ctrl-C does not reach another group."""

    def _start_without_signals(command: list[str]) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdin=pipe, stdout=pipe, creationflags=_FLAGS)  # noqa: S603

else:
    _SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    """Terminals and batch systems send these to all processes; the parent ends the workers."""

    def _start_without_signals(command: list[str]) -> subprocess.Popen[bytes]:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # of this thread
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class _Setup:
    """The first message to a worker."""

    options: Options
    roots: tuple[Path, ...]
    """The collections' folders."""
    workers: int
    """Series in progress at once, as for a `Scheduler`."""


@dataclass(frozen=True, slots=True)
class _Order:
    """One series for a worker."""

    tree: int
    """The index of its collection's folder."""
    series: Series
    update: bool


@dataclass(frozen=True, slots=True)
class _Stop:
    """The run is canceled."""

    reason: TciaCovidError


@dataclass(frozen=True, slots=True)
class _Request:
    """A thread of a worker asks for a series."""


@dataclass(frozen=True, slots=True)
class _Report:
    """What happened in a worker since its last report; the counts are those of all its time."""

    events: tuple[Event, ...]
    received: int
    """Bytes over the network."""
    notices: tuple[tuple[int, str], ...]
    """Sentences about a collection's folder, by its index."""
    error: TciaCovidError | None
    """What ended the worker early."""


def processes_for(options: Options, jobs: Sequence[Job], processors: int) -> int:
    """How many processes download: as asked for, else as many as their start is worth."""
    most = max(1, min(options.jobs, len(jobs))) if sys.executable else 1
    if options.processes is not None:
        return min(options.processes, most)
    if options.source == "nbia":
        return 1  # inflating and hashing its ZIPs keeps several processors busy from threads
    images = sum((job.series.image_count or 1) + _IMAGES_PER_SERIES for job in jobs)
    return max(1, min(processors, most // _JOBS_PER_PROCESS, images // _IMAGES_PER_PROCESS))


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


@dataclass(slots=True)
class _Worker:
    """A worker process as the parent sees it."""

    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    """What it sends."""
    orders: IO[bytes]
    """What it is sent."""
    jobs: dict[str, Job] = field(default_factory=dict)
    """The series that it has and did not report, by UID."""
    received: int = 0
    notices: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: object) -> None:
        """Send a message; one to a process that has ended is lost."""
        with self.lock, contextlib.suppress(OSError, ValueError):
            pickle.dump(message, self.orders)
            self.orders.flush()

    def close(self) -> None:
        """Wait for the end of the process."""
        for pipe in (self.requests, self.orders):
            with self.lock, contextlib.suppress(OSError):  # what was not sent is of no use now
                pipe.close()
        self.process.wait()


class ProcessScheduler:
    """Runs jobs in this process and in workers, which share the limits of the run.

    Args:
        options: of the run; `jobs` and the maximum rate are divided among the processes.
        context: its events are those of all processes.
        meter: counts the bytes that all processes receive.
        on_outcome: receives the end of each series, one at a time.
        grace_period: seconds that workers have to end after the run was canceled.
    """

    def __init__(
        self,
        options: Options,
        context: TransferContext,
        meter: ByteCounter,
        on_outcome: Callable[[Outcome], None],
        *,
        grace_period: float = GRACE_PERIOD,
    ) -> None:
        self._options = options
        self._context = context
        self._meter = meter
        self._on_outcome = on_outcome
        self._grace_period = grace_period
        self._queue: deque[Job] = deque()
        self._trees: list[Tree] = []
        self._workers: list[_Worker] = []
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
                worker = _start()
                self._workers.append(worker)
                roots = tuple(tree.root for tree in self._trees)
                worker.send(_Setup(options, roots, min(most, workers_for(options.jobs))))
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
        message = _Stop(self._context.stop.reason or InterruptedRunError(exit_code=EXIT_SIGTERM))
        for worker in self._workers:
            # In a thread: a worker that does not read must not delay the end.
            threading.Thread(target=worker.send, args=(message,), daemon=True).start()

    def _serve(self, worker: _Worker) -> None:
        """Give series to one worker, and take its reports, until it ends."""
        with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
            while True:
                message = pickle.load(worker.requests)  # noqa: S301 - of this program
                if isinstance(message, _Request):
                    worker.send(self._next(worker))
                else:
                    self._take(worker, message)
        worker.close()
        self._release(worker)

    def _next(self, worker: _Worker) -> _Order | None:
        job = self._take_job()
        if job is None:
            return None
        with self._lock:
            worker.jobs[job.uid] = job
        return _Order(self._trees.index(job.tree), job.series, job.update)

    def _take(self, worker: _Worker, report: _Report) -> None:
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

    def _release(self, worker: _Worker) -> None:
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


def _start() -> _Worker:
    code = _START.format(path=sys.path, module=__name__)
    process = _start_without_signals([sys.executable, "-c", code])
    return _Worker(process, cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin))


class _Outbox:
    """Sends events to the parent; bytes and phases wait up to 0.1 s, since a message costs time."""

    def __init__(self, stream: BinaryIO, stop: CancelToken) -> None:
        self._stream = stream
        self._stop = stop
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._bytes: dict[str, int] = {}
        self.received: Callable[[], int] = lambda: 0
        self.notices: Callable[[], tuple[tuple[int, str], ...]] = tuple

    def emit(self, event: Event) -> None:
        """Take an event."""
        with self._lock:
            if isinstance(event, BytesStored):
                self._bytes[event.series] = self._bytes.get(event.series, 0) + event.count
                return
            self._add_bytes()
            self._events.append(event)
            if not isinstance(event, PhaseChanged):
                self._flush()

    def flush(self, error: TciaCovidError | None = None) -> None:
        """Send what waits."""
        with self._lock:
            self._add_bytes()
            if self._events or error:
                self._flush(error)

    def request(self) -> None:
        """Ask for a series."""
        with self._lock:
            self._send(_Request())

    def _add_bytes(self) -> None:
        self._events += [BytesStored(uid, count) for uid, count in self._bytes.items() if count]
        self._bytes.clear()

    def _flush(self, error: TciaCovidError | None = None) -> None:
        events, self._events = tuple(self._events), []
        self._send(_Report(events, self.received(), self.notices(), error))

    def _send(self, message: object) -> None:
        try:
            pickle.dump(message, self._stream)
            self._stream.flush()
        except OSError:  # the parent is gone
            self._stop.set(InterruptedRunError(exit_code=EXIT_SIGTERM))


def serve() -> None:
    """Be a worker: download the series that the parent gives, until it has no more."""
    stop = CancelToken()
    outbox = _Outbox(os.fdopen(os.dup(1), "wb"), stop)
    sys.stdout = sys.stderr  # nothing else may get between the messages
    setup: _Setup = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the parent
    options = setup.options
    layout = Layout.parse(options.layout)
    trees = [Tree(root, layout, Disk(durable=options.durable)) for root in setup.roots]
    orders: SimpleQueue[_Order | None] = SimpleQueue()
    threading.Thread(target=_read, args=(orders, stop), daemon=True).start()
    threading.Thread(target=_report, args=(outbox,), daemon=True).start()

    def next_job() -> Job | None:
        outbox.request()
        order = orders.get()
        if order is None:
            if stop.is_set():
                orders.put(None)  # for the next thread
            return None
        return Job(order.series, trees[order.tree], order.update)

    archives = open_for_options(options, stop, outbox.emit)
    outbox.received = lambda: archives.meter.received
    outbox.notices = lambda: tuple(
        (number, text) for number, tree in enumerate(trees) for text in tree.notices
    )
    context = TransferContext(
        stop,
        options.http,
        outbox.emit,
        archives.hash_archives,
        reachability=archives.reachability,
    )
    workers = setup.workers
    Scheduler(archives.order, context, workers, lambda _: None, next_job=next_job).run([])
    outbox.flush(stop.reason)
    os._exit(0)  # the threads that read and report never end; others may hang in the network


def _read(orders: SimpleQueue[_Order | None], stop: CancelToken) -> None:
    """Read what the parent sends; its end is the end of the run."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            message = pickle.load(sys.stdin.buffer)  # noqa: S301 - of the parent
            if isinstance(message, _Stop):
                stop.set(message.reason)
                orders.put(None)
            else:
                orders.put(message)
    stop.set(InterruptedRunError(exit_code=EXIT_SIGTERM))
    orders.put(None)


def _report(outbox: _Outbox) -> None:
    while True:
        time.sleep(_INTERVAL)
        outbox.flush()
