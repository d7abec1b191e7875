"""`parallel_map`: order, errors, and threads that the system does not permit."""

from __future__ import annotations

import threading

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import InterruptedRunError
from tcia_covid.core.parallel import parallel_map


def test_results_come_in_the_order_of_the_items() -> None:
    found = list(parallel_map(lambda number: number * number, range(100), 4, CancelToken()))
    assert found == [(number, number * number) for number in range(100)]


def test_without_any_thread_the_caller_does_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    threads = parallel_map(lambda _: threading.current_thread(), range(20), 4, CancelToken())
    assert {thread for _, thread in threads} == {threading.current_thread()}


def test_an_error_of_the_function_is_raised_and_nothing_runs_afterwards() -> None:
    done: list[int] = []

    def work(number: int) -> None:
        if number == 3:
            raise ValueError(number)
        done.append(number)

    with pytest.raises(ValueError, match="3"):
        list(parallel_map(work, range(1000), 2, CancelToken()))
    count = len(done)
    assert count < 50
    assert len(done) == count


def test_a_canceled_run_takes_no_further_item() -> None:
    stop = CancelToken()
    results = parallel_map(lambda number: number, range(1000), 1, stop)
    next(results)
    stop.set()
    with pytest.raises(InterruptedRunError):
        list(results)
