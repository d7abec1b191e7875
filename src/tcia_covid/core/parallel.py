"""Threads: a bounded parallel map, and a worker pool that many series share."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, wait
from typing import Generic, TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, DestinationError, SeriesError, TciaCovidError

T = TypeVar("T")
Result = TypeVar("Result")
_QUEUED_PER_THREAD = 4
_IDLE = 0.2
"""Seconds after which a thread of `parallel_map` ends that has no work."""


def parallel_map(
    function: Callable[[T], Result], items: Iterable[T], jobs: int, stop: CancelToken
) -> Iterator[tuple[T, Result]]:
    """Yield each item with its result, in the order of the items.

    Takes no more items than the threads need to stay busy. Where the system permits fewer threads
    than `jobs`, or none, the calling thread does the work. Raises what `function`, `items` or
    `stop` raise.
    """
    queue: deque[_Call[T, Result]] = deque()
    pool = WorkerPool(jobs, idle=_IDLE)
    try:
        for item in items:
            stop.check()
            queue.append(_Call(function, item, pool))
            if len(queue) >= _QUEUED_PER_THREAD * jobs:
                call = queue.popleft()
                yield call.item, call.result()
        while queue:
            call = queue.popleft()
            yield call.item, call.result()
    finally:
        wait([call.future for call in queue if not call.future.cancel()])


class _Call(Generic[T, Result]):
    """A function that a pool calls with one item."""

    def __init__(self, function: Callable[[T], Result], item: T, pool: WorkerPool) -> None:
        self.item = item
        self._function = function
        self._results: list[Result] = []
        (self.future,) = pool.submit(self._call, 1)

    def _call(self) -> None:
        self._results.append(self._function(self.item))

    def result(self) -> Result:
        """Wait for the result; call the function here if no thread has begun to."""
        if self.future.cancel():
            return self._function(self.item)
        self.future.result()
        return self._results[0]


class WorkerPool:
    """Daemon threads that all series share, so that their connections stay open.

    A thread starts when there is work and none is free, and ends after `idle` seconds without
    work. A canceled run does not wait for the threads: one may hang in a name server's lookup.
    """

    def __init__(self, max_threads: int, *, idle: float = 10.0) -> None:
        self._max_threads = max_threads
        self._idle = idle
        self._condition = threading.Condition()
        self._jobs: deque[tuple[Future[None], Callable[[], None]]] = deque()
        self._free = 0
        self._threads = 0

    def submit(self, work: Callable[[], None], count: int) -> list[Future[None]]:
        """Queue `work` for up to `count` threads; cancel the futures that are not needed."""
        futures: list[Future[None]] = [Future() for _ in range(count)]
        with self._condition:
            self._jobs.extend((future, work) for future in futures)
            needed = min(len(self._jobs) - self._free, self._max_threads - self._threads)
            with contextlib.suppress(RuntimeError):  # the system gives no more threads
                for _ in range(needed):
                    threading.Thread(target=self._run, name="image-helper", daemon=True).start()
                    self._threads += 1
            self._condition.notify(count)
        return futures

    def _run(self) -> None:
        while True:
            with self._condition:
                self._free += 1
                self._condition.wait_for(lambda: bool(self._jobs), timeout=self._idle)
                self._free -= 1
                if not self._jobs:
                    self._threads -= 1
                    return
                future, work = self._jobs.popleft()
            if not future.set_running_or_notify_cancel():
                continue
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - passed to the thread that waits for it
                future.set_exception(error)
            else:
                future.set_result(None)


class PooledTasks(Generic[T]):
    """Calls a function for each of several items, on this thread and on those of a pool.

    After an error no further item is started, but those under way are finished: the received part
    of an image is not thrown away because another image failed.
    """

    def __init__(self, items: Iterable[T], function: Callable[[T], None]) -> None:
        self._items = deque(items)
        self._function = function
        self._errors: list[BaseException] = []

    def failed(self) -> bool:
        """Whether an item failed, so that the rest is not worth waiting for."""
        return bool(self._errors)

    def run(self, pool: WorkerPool, threads: int) -> None:
        """Process all items on this thread and up to `threads` - 1 others, and wait for these.

        Raises:
            BaseException: the most informative of the errors that the function raised.
        """
        futures = pool.submit(self._work, threads - 1)
        self._work()
        wait([future for future in futures if not future.cancel()])
        if self._errors:
            raise min(self._errors, key=_rank)

    def _work(self) -> None:
        while not self._errors:
            try:
                item = self._items.popleft()
            except IndexError:
                return
            try:
                self._function(item)
            except BaseException as error:  # noqa: BLE001 - raised by `run`, in the caller's thread
                self._errors.append(error)


def _rank(error: BaseException) -> int:
    """Rank errors: internal errors come first, lost connections last."""
    if not isinstance(error, TciaCovidError):
        return 0
    if isinstance(error, DestinationError):
        return 1
    if isinstance(error, ArchiveError):
        return 5 if error.retryable else 4
    return 3 if isinstance(error, SeriesError) else 2
