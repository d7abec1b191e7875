"""Running a job under the eyes of the signals: whatever it waits for, the program ends in time."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Generic, TypeVar

from tcia_covid.cli.process import EXIT_CODES, end_at_once, heard_signals
from tcia_covid.errors import InterruptedRunError
from tcia_covid.stop import Stop

T = TypeVar("T")

PATIENCE = 1.8
"""Seconds that a job has to end after a signal: the engine leaves its workers after 1.5."""
_LOOK = 0.05


class _Job(Generic[T]):
    """A function at work in a thread of its own."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._results: list[T] = []
        self._error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="job", daemon=True)

    def _run(self) -> None:
        try:
            self._results.append(self._work())
        except BaseException as error:  # noqa: BLE001 - raised again where the job is waited for
            self._error = error

    def result(self) -> T:
        """What the function gave, or raise what it raised."""
        if self._error is not None:
            raise self._error
        return self._results[0]


def supervised(work: Callable[[Stop], T]) -> T:
    """Run `work` until it is done, or until a signal and a little more.

    The main thread only waits, so that a signal is heard at once even where the work hangs in a
    call that no signal interrupts, such as the resolution of a name.

    Raises:
        InterruptedRunError: a signal, and the work did not end of itself in time.
        Exception: whatever the work raises.
    """
    stop = Stop()
    job = _Job(lambda: work(stop))
    with _signals(stop):
        job.thread.start()
        deadline = None
        while job.thread.is_alive():
            job.thread.join(_LOOK)
            if _interrupted(stop):
                deadline = deadline or time.monotonic() + PATIENCE
                if time.monotonic() > deadline:
                    break
    if job.thread.is_alive():
        raise stop.reason or InterruptedRunError()
    return job.result()


def _interrupted(stop: Stop) -> bool:
    return isinstance(stop.reason, InterruptedRunError)


@contextmanager
def _signals(stop: Stop) -> Iterator[None]:
    """While inside, a first signal sets `stop`, a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may listen to signals
        return

    def on_signal(number: int, frame: FrameType | None) -> None:
        del frame
        if stop.is_set():
            end_at_once(number)
        stop.set(InterruptedRunError(exit_code=EXIT_CODES[signal.Signals(number)]))

    before = {one: signal.signal(one, on_signal) for one in heard_signals()}
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)
