"""Work shared among threads: a bounded parallel map, and a pool for many small tasks."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Generic, TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, DestinationError, SeriesError, TciaCovidError

Item = TypeVar("Item")
Answer = TypeVar("Answer")
_AHEAD = 4
"""Items a thread that may be done, or waiting, before the first result is taken."""
T = TypeVar("T")
Work = Callable[[], None]
_IDLE = 10.0


def parallel_map(
    work: Callable[[Item], Answer], items: Iterable[Item], jobs: int, stop: CancelToken
) -> Iterator[tuple[Item, Answer]]:
    """Give each item with what `work` makes of it, in the items' order.

    No more items are held than the threads need to stay busy. Raises what `work`, `items` or
    `stop` raise.
    """
    waiting: deque[tuple[Item, Future[Answer]]] = deque()
    with ThreadPoolExecutor(jobs, thread_name_prefix="verify") as pool:
        try:
            for item in items:
                stop.check()
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) >= _AHEAD * jobs:
                    yield _result(waiting)
            while waiting:
                yield _result(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _result(waiting: deque[tuple[Item, Future[Answer]]]) -> tuple[Item, Answer]:
    item, future = waiting.popleft()
    return item, future.result()


class WorkerPool:
    """Threads shared by all series, so that their connections stay open from one to the next.

    A thread starts when there is work and none is free, and ends once it had none for `idle`
    seconds. They are daemons: a run that is told to stop does not wait for a name server.

    Args:
        most: threads at once.
        idle: seconds.
    """

    def __init__(self, most: int, *, idle: float = _IDLE) -> None:
        self._most = most
        self._idle = idle
        self._condition = threading.Condition()
        self._jobs: deque[tuple[Future[None], Work]] = deque()
        self._free = 0
        self._threads = 0

    def submit(self, work: Work, count: int) -> list[Future[None]]:
        """Have up to `count` threads do `work`, each when it is free; cancel what is not wanted."""
        futures: list[Future[None]] = [Future() for _ in range(count)]
        with self._condition:
            self._jobs.extend((future, work) for future in futures)
            wanted = len(self._jobs) - self._free
            with contextlib.suppress(RuntimeError):  # the system gives no more threads: do without
                for _ in range(min(wanted, self._most - self._threads)):
                    threading.Thread(target=self._run, name="image-helper", daemon=True).start()
                    self._threads += 1
            self._condition.notify(count)
        return futures

    def _run(self) -> None:
        while (job := self._next()) is not None:
            future, work = job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - handed to whoever waits for it
                future.set_exception(error)
            else:
                future.set_result(None)

    def _next(self) -> tuple[Future[None], Work] | None:
        with self._condition:
            self._free += 1
            self._condition.wait_for(lambda: bool(self._jobs), timeout=self._idle)
            self._free -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None


class PooledTasks(Generic[T]):
    """Does something with each of several things, on this thread and on helping ones.

    After an error no further thing is begun, those under way are brought to their end: what has
    arrived of an image is not thrown away because another one failed.

    Args:
        things: what there is to do.
        act: does one of them; called from several threads.
    """

    def __init__(self, things: Iterable[T], act: Callable[[T], None]) -> None:
        self._things = deque(things)
        self._act = act
        self._errors: list[BaseException] = []

    def failed(self) -> bool:
        """Whether something failed, so that the rest is not worth waiting for."""
        return bool(self._errors)

    def run(self, pool: WorkerPool, threads: int) -> None:
        """Do it all, on this thread and up to `threads` - 1 others; none is at it afterwards.

        Raises:
            BaseException: the most telling of what `act` raised.
        """
        futures = pool.submit(self._work, threads - 1)
        self._work()
        begun = [future for future in futures if not future.cancel()]
        wait(begun)
        if self._errors:
            raise min(self._errors, key=_rank)

    def _work(self) -> None:
        while not self._errors:
            try:
                thing = self._things.popleft()
            except IndexError:
                return
            try:
                self._act(thing)
            except BaseException as error:  # noqa: BLE001 - raised by `run`, in the caller's thread
                self._errors.append(error)


def _rank(error: BaseException) -> int:
    """The lower, the more an error tells: faults of the program first, broken lines last."""
    if not isinstance(error, TciaCovidError):
        return 0
    if isinstance(error, DestinationError):
        return 1
    if isinstance(error, ArchiveError):
        return 5 if error.retryable else 4
    return 3 if isinstance(error, SeriesError) else 2
