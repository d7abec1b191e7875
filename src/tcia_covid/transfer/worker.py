"""A worker process: downloads the series that its parent gives, and sends what happens.

Messages are pickled, in a pipe for each direction.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import IO, NoReturn

from tcia_covid.archives.factory import open_for_options
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_SIGTERM, InterruptedRunError, TciaCovidError
from tcia_covid.core.events import BytesStored, Event, PhaseChanged
from tcia_covid.core.models import Series
from tcia_covid.selection.request import Options
from tcia_covid.store.disk import Disk
from tcia_covid.store.layout import Layout
from tcia_covid.store.tree import Tree
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import Job, Scheduler

_INTERVAL = 0.1
"""Seconds between two reports."""


@dataclass(frozen=True, slots=True)
class Setup:
    """The first message to a worker."""

    options: Options
    roots: tuple[Path, ...]
    """The collections' folders."""
    workers: int
    """Series in progress at once, as for a `Scheduler`."""


@dataclass(frozen=True, slots=True)
class Order:
    """One series for a worker."""

    tree: int
    """The index of its collection's folder."""
    series: Series
    update: bool


@dataclass(frozen=True, slots=True)
class Stop:
    """The run is canceled."""

    reason: TciaCovidError


@dataclass(frozen=True, slots=True)
class Request:
    """A thread of a worker asks for a series."""


@dataclass(frozen=True, slots=True)
class Report:
    """What happened in a worker since its last report; the counts are those of all its time."""

    events: tuple[Event, ...]
    received: int
    """Bytes over the network."""
    notices: tuple[tuple[int, str], ...]
    """Sentences about a collection's folder, by its index."""
    error: TciaCovidError | None
    """What ended the worker early."""


class _Outbox:
    """Sends events to the parent; bytes and phases wait up to 0.1 s, since a message costs time."""

    def __init__(self, stream: IO[bytes], stop: CancelToken) -> None:
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
            self._send(Request())

    def _add_bytes(self) -> None:
        self._events += [BytesStored(uid, count) for uid, count in self._bytes.items() if count]
        self._bytes.clear()

    def _flush(self, error: TciaCovidError | None = None) -> None:
        events, self._events = tuple(self._events), []
        self._send(Report(events, self.received(), self.notices(), error))

    def _send(self, message: object) -> None:
        try:
            pickle.dump(message, self._stream)
            self._stream.flush()
        except OSError:  # the parent is gone
            self._stop.set(InterruptedRunError(exit_code=EXIT_SIGTERM))


def serve_standard_streams() -> None:
    """Be a worker whose pipes are its standard streams."""
    reports = os.fdopen(os.dup(1), "wb")
    sys.stdout = sys.stderr  # nothing else may get between the messages
    serve(sys.stdin.buffer, reports)


def serve(orders: IO[bytes], reports: IO[bytes]) -> NoReturn:
    """Be a worker: download the series that the parent gives, until it has no more.

    Args:
        orders: gives a `Setup`, then what was requested.
        reports: takes requests and reports.
    """
    stop = CancelToken()
    outbox = _Outbox(reports, stop)
    try:
        setup: Setup = pickle.load(orders)  # noqa: S301 - of the parent
    except EOFError:  # it needs no worker
        os._exit(0)
    options = setup.options
    layout = Layout.parse(options.layout)
    trees = [Tree(root, layout, Disk(durable=options.durable)) for root in setup.roots]
    received: SimpleQueue[Order | None] = SimpleQueue()
    threading.Thread(target=_read, args=(orders, received, stop), daemon=True).start()
    threading.Thread(target=_report, args=(outbox,), daemon=True).start()

    def next_job() -> Job | None:
        outbox.request()
        order = received.get()
        if order is None:
            if stop.is_set():
                received.put(None)  # for the next thread
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


def _read(orders: IO[bytes], received: SimpleQueue[Order | None], stop: CancelToken) -> None:
    """Read what the parent sends; its end is the end of the run."""
    with contextlib.suppress(EOFError, OSError, pickle.UnpicklingError):
        while True:
            message = pickle.load(orders)  # noqa: S301 - of the parent
            if isinstance(message, Stop):
                stop.set(message.reason)
                received.put(None)
            else:
                received.put(message)
    stop.set(InterruptedRunError(exit_code=EXIT_SIGTERM))
    received.put(None)


def _report(outbox: _Outbox) -> None:
    while True:
        time.sleep(_INTERVAL)
        outbox.flush()
