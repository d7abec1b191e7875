"""The flag that ends a run: set once, heard everywhere."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_SIGINT,
    EXIT_SIGTERM,
    InterruptedRunError,
    NoSpaceError,
    TciaCovidError,
)
from tests.unit.http.helpers import in_threads, stop_while
from tests.waiting import LONG


def test_an_unset_token_cancels_nothing() -> None:
    stop = CancelToken()
    stop.check()
    started = time.monotonic()
    stop.wait(0.05)
    assert time.monotonic() - started >= 0.05
    assert not stop.is_set()
    assert stop.reason is None


def test_the_default_reason_is_an_interruption() -> None:
    stop = CancelToken()
    stop.set()
    with pytest.raises(InterruptedRunError, match="interrupted") as ended:
        stop.check()
    assert ended.value.exit_code == EXIT_SIGINT
    assert "same command" in ended.value.hint


def test_the_first_reason_counts() -> None:
    stop = CancelToken()
    full = NoSpaceError("disk full")
    stop.set(full)
    stop.set(InterruptedRunError(exit_code=EXIT_SIGTERM))
    with pytest.raises(NoSpaceError) as ended:
        stop.wait(LONG)
    assert ended.value is full


def test_cancellation_ends_a_wait_at_once() -> None:
    stop = CancelToken()
    ended = stop_while(lambda: stop.wait(LONG), stop)
    assert isinstance(ended.error, InterruptedRunError)


def test_cancellation_ends_all_waits() -> None:
    stop = CancelToken()
    heard: list[TciaCovidError] = []

    def wait() -> None:
        try:
            stop.wait(LONG)
        except InterruptedRunError as error:
            heard.append(error)

    threading.Timer(0.05, stop.set).start()
    in_threads(10, wait)
    assert len(heard) == 10


def test_callbacks_are_called_once() -> None:
    stop = CancelToken()
    called: list[str] = []
    stop.on_stop(lambda: called.append("before"))
    stop.set()
    stop.set()
    stop.on_stop(lambda: called.append("after"))
    assert called == ["before", "after"]


def test_callbacks_see_the_token_set() -> None:
    stop = CancelToken()
    seen: list[bool] = []
    stop.on_stop(lambda: seen.append(stop.is_set() and stop.reason is not None))
    stop.set()
    assert seen == [True]


def test_callbacks_may_use_the_token() -> None:
    stop = CancelToken()
    stop.on_stop(stop.set)
    stop.on_stop(lambda: stop.on_stop(lambda: None))
    stop.set()


def test_callbacks_registered_during_cancellation_are_called() -> None:
    for _ in range(50):
        stop = CancelToken()
        called: list[int] = []
        register = partial(stop.on_stop, partial(called.append, 1))
        threads = [threading.Thread(target=register) for _ in range(4)]
        for thread in threads[:2]:
            thread.start()
        stop.set()
        for thread in threads[2:]:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(called) == 4
