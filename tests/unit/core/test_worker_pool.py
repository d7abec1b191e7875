from __future__ import annotations

import threading
import time

import pytest

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    ForeignImageError,
    InterruptedRunError,
    NoSpaceError,
    NotAvailableError,
)
from tcia_covid.core.parallel import PooledTasks, WorkerPool
from tests.waiting import LONG, wait_for


def run_all(function: object, count: int = 20, threads: int = 4) -> None:
    PooledTasks(range(count), function).run(WorkerPool(threads, idle=0.05), threads)  # type: ignore[arg-type]


def test_each_item_is_processed_once() -> None:
    done: list[int] = []
    run_all(done.append, count=200)
    assert sorted(done) == list(range(200))


def test_items_are_processed_in_parallel() -> None:
    together = threading.Barrier(4, timeout=LONG)
    run_all(lambda item: together.wait(), count=8)


def test_one_thread_needs_no_pool_thread() -> None:
    threads: set[int] = set()
    run_all(lambda item: threads.add(threading.get_ident()), threads=1)
    assert threads == {threading.get_ident()}


def test_the_caller_continues_alone_while_the_pool_is_busy() -> None:
    pool = WorkerPool(2, idle=0.05)
    release = threading.Event()
    busy = pool.submit(lambda: release.wait(LONG) and None, 2)
    done: list[int] = []
    PooledTasks(range(10), done.append).run(pool, 4)
    assert done == list(range(10))
    release.set()
    for future in busy:
        future.result(LONG)


def test_no_item_is_started_after_an_error_and_started_items_finish() -> None:
    started: list[int] = []
    ended: list[int] = []

    def function(item: int) -> None:
        started.append(item)
        if item == 2:
            raise BadResponseError("broken")
        wait_for(tasks.failed)
        ended.append(item)

    tasks = PooledTasks(range(20), function)
    with pytest.raises(BadResponseError):
        tasks.run(WorkerPool(4, idle=0.05), 4)
    assert len(started) <= 4
    assert sorted([*ended, 2]) == sorted(started)


def test_pool_threads_are_finished_when_the_error_is_raised() -> None:
    active: list[int] = []

    def function(item: int) -> None:
        active.append(item)
        if item > 0:
            wait_for(tasks.failed)
            time.sleep(0.05)
        active.remove(item)
        if item == 0:
            raise BadResponseError("broken")

    tasks = PooledTasks(range(20), function)
    with pytest.raises(BadResponseError):
        tasks.run(WorkerPool(4, idle=0.05), 4)
    assert active == []


@pytest.mark.parametrize(
    ("less_informative", "more_informative"),
    [
        (ConnectionLostError("cut", retryable=True), NotAvailableError("denied")),
        (NotAvailableError("denied"), ForeignImageError("of another patient")),
        (ForeignImageError("of another patient"), InterruptedRunError()),
        (InterruptedRunError(), NoSpaceError("full")),
        (NoSpaceError("full"), ZeroDivisionError("internal error")),
    ],
)
def test_the_most_informative_of_several_errors_is_raised(
    less_informative: Exception, more_informative: Exception
) -> None:
    both = threading.Barrier(2, timeout=LONG)

    def function(item: int) -> None:
        both.wait()
        if item == 1:
            time.sleep(0.02)
        raise (less_informative, more_informative)[item]

    with pytest.raises(type(more_informative)):
        run_all(function, count=2, threads=2)


def test_the_first_of_equal_errors_is_raised() -> None:
    both = threading.Barrier(2, timeout=LONG)

    def function(item: int) -> None:
        both.wait()
        if item == 1:
            wait_for(tasks.failed)
        raise ArchiveError(f"error {item}")

    tasks = PooledTasks(range(2), function)
    with pytest.raises(ArchiveError, match="error 0"):
        tasks.run(WorkerPool(2, idle=0.05), 2)


def test_pool_threads_are_reused_and_end_when_idle() -> None:
    pool = WorkerPool(3, idle=0.05)
    names: set[int] = set()

    def function(item: int) -> None:
        names.add(threading.get_ident())
        time.sleep(0.005)

    for _ in range(5):
        PooledTasks(range(8), function).run(pool, 4)
    assert 2 <= len(names) <= 4
    wait_for(lambda: not _pool_threads() & names)


def _pool_threads() -> set[int]:
    return {thread.ident or 0 for thread in threading.enumerate() if thread.name == "image-helper"}
