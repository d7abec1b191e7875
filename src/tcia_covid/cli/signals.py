"""The process around the command line: signals before and after the work, and the exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Generic, NoReturn, TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM, InterruptedRunError

EXIT_CODES = {signal.SIGINT: EXIT_SIGINT, signal.SIGTERM: EXIT_SIGTERM}
"""The signals that end a run in good order."""
if sys.platform == "win32":
    EXIT_CODES[signal.SIGBREAK] = EXIT_SIGTERM
else:
    EXIT_CODES[signal.SIGHUP] = EXIT_SIGHUP
T = TypeVar("T")
GRACE_PERIOD = 1.8
"""Seconds that a job has to end after a signal: the engine leaves its workers after 1.5."""
_POLL_INTERVAL = 0.05


class SignalledError(KeyboardInterrupt):
    """A signal while no job is under way: there is nothing to keep."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def main() -> NoReturn:
    """Run the command line of this process, and end the process."""
    _on(heard_signals(), _interrupt)
    code = _run(sys.argv[1:])
    _on(heard_signals(), lambda *_: os._exit(code))  # all is said
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    # Taking apart all that was made takes a while, and a thread that hangs in the network for ever.
    os._exit(code)


def heard_signals() -> list[signal.Signals]:
    """The signals that end a run; not those that are ignored, as SIGHUP is under `nohup`."""
    return [one for one in EXIT_CODES if signal.getsignal(one) is not signal.SIG_IGN]


def end_at_once(number: int) -> None:
    """End the process at a second signal, but for SIGHUP: a closed terminal sends several."""
    code = EXIT_CODES[signal.Signals(number)]
    if code != EXIT_SIGHUP:
        os._exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        from tcia_covid.cli.main import run  # noqa: PLC0415 - takes a while: signals come first

        return run(arguments)
    except KeyboardInterrupt as error:
        from tcia_covid.cli.main import interrupted  # noqa: PLC0415

        return interrupted(arguments, error)


def _on(signals: Sequence[signal.Signals], act: Callable[[int, FrameType | None], Any]) -> None:
    for one in signals:
        signal.signal(one, act)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """End what is under way with an exception; the next signal ends the process."""
    del frame
    _on(heard_signals(), lambda number, _: end_at_once(number))
    raise SignalledError(EXIT_CODES[signal.Signals(number)])


def _flush(stream: Any) -> None:
    try:
        stream.flush()
    except (OSError, ValueError, AttributeError):
        return


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


def run_cancellable(work: Callable[[CancelToken], T], *, grace_period: float = GRACE_PERIOD) -> T:
    """Run `work` until it is done, or until a signal and a little more.

    The main thread only waits, so that a signal is heard at once even where the work hangs in a
    call that no signal interrupts, such as the resolution of a name.

    Raises:
        InterruptedRunError: a signal, and the work did not end of itself in time.
        Exception: whatever the work raises.
    """
    stop = CancelToken()
    job = _Job(lambda: work(stop))
    with _signals(stop):
        job.thread.start()
        deadline = None
        while job.thread.is_alive():
            job.thread.join(_POLL_INTERVAL)
            if _interrupted(stop):
                deadline = deadline or time.monotonic() + grace_period
                if time.monotonic() > deadline:
                    break
    if job.thread.is_alive():
        raise stop.reason or InterruptedRunError()
    return job.result()


def _interrupted(stop: CancelToken) -> bool:
    return isinstance(stop.reason, InterruptedRunError)


@contextmanager
def _signals(stop: CancelToken) -> Iterator[None]:
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
