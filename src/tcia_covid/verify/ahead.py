"""Work shared among threads, a few items ahead of whoever takes the results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from tcia_covid.stop import Stop

Item = TypeVar("Item")
Answer = TypeVar("Answer")

_AHEAD = 4
"""Items a thread that may be done, or waiting, before the first result is taken."""


def ahead(
    work: Callable[[Item], Answer], items: Iterable[Item], jobs: int, stop: Stop
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
