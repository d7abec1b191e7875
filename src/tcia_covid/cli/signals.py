"""The process: signals before, during and after a command, and the exit code."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn, TypeVar

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_SIGHUP, EXIT_SIGINT, EXIT_SIGTERM, InterruptedRunError

EXIT_CODES = {signal.SIGINT: EXIT_SIGINT, signal.SIGTERM: EXIT_SIGTERM}
"""The signals that cancel a run."""
if sys.platform == "win32":
    EXIT_CODES[signal.SIGBREAK] = EXIT_SIGTERM
else:
    EXIT_CODES[signal.SIGHUP] = EXIT_SIGHUP
T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any]
GRACE_PERIOD = 1.8
"""Seconds that a job has to end after a signal: the scheduler abandons its workers after 1.5."""
_POLL_INTERVAL = 0.05


class SignalError(KeyboardInterrupt):
    """A signal while no job runs."""

    def __init__(self, exit_code: int) -> None:
        super().__init__()
        self.exit_code = exit_code


def main() -> NoReturn:
    """Run the command line of this process, and end the process."""
    _handle(_interrupt)
    gc.disable()  # until the command is imported, which makes 30,000 objects and no garbage
    for name in [name for name in os.environ if name.startswith("TQDM_")]:
        del os.environ[name]  # importing tqdm, as pydicom does, too, fails on invalid values
    code = _run(sys.argv[1:])
    _handle(lambda *_: os._exit(code))  # the result is written
    flushed = [_flush(stream) for stream in (sys.stdout, sys.stderr)]
    if threading.active_count() > 1 or not all(flushed):
        os._exit(code)  # the interpreter would wait for threads that hang in the network
    gc.freeze()  # otherwise the collector visits every object again, which takes 0.1 s
    _handle(signal.SIG_IGN)  # the interpreter restores the default for all other handlers
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        from tcia_covid.cli.main import run  # noqa: PLC0415 - slow: signal handlers come first

        return run(arguments)
    except KeyboardInterrupt as error:
        from tcia_covid.cli import console, error_report  # noqa: PLC0415

        return error_report.report(console.Console(), error, arguments)


def _handle(handler: Handler | signal.Handlers) -> dict[signal.Signals, Any]:
    """Set the handler of the signals that cancel a run; return the previous handlers.

    Ignored signals stay ignored, as SIGHUP is under `nohup`.
    """
    handled = [number for number in EXIT_CODES if signal.getsignal(number) is not signal.SIG_IGN]
    return {number: signal.signal(number, handler) for number in handled}


def _interrupt(number: int, _: FrameType | None) -> NoReturn:
    """Raise an exception; the next signal ends the process."""
    _handle(lambda number, _: _end_process(number))
    raise SignalError(EXIT_CODES[signal.Signals(number)])


def _end_process(number: int) -> None:
    """End the process at a second signal, except SIGHUP: a closed terminal sends several."""
    code = EXIT_CODES[signal.Signals(number)]
    if code != EXIT_SIGHUP:
        os._exit(code)


def _flush(stream: Any) -> bool:
    """Whether nothing is left in a stream's buffer."""
    try:
        stream.flush()
    except (AttributeError, ValueError):
        return True  # there is no stream, or it is closed
    except OSError:
        return False
    return True


def run_cancellable(work: Callable[[CancelToken], T], *, grace_period: float = GRACE_PERIOD) -> T:
    """Run `work` until it ends, or until a signal and the grace period.

    The main thread only waits, so that a signal takes effect at once even if the work hangs in a
    call that no signal interrupts, such as name resolution.

    Raises:
        InterruptedRunError: a signal, and the work did not end in time.
        Exception: what `work` raises.
    """
    stop = CancelToken()
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work(stop))
        except BaseException as error:  # noqa: BLE001 - raised again by `result`
            result.set_exception(error)

    thread = threading.Thread(target=run, name="job", daemon=True)
    with _cancelling(stop):
        try:
            thread.start()
        except RuntimeError:  # the system permits no more threads
            return work(stop)
        deadline = None
        while thread.is_alive():
            thread.join(_POLL_INTERVAL)
            if isinstance(stop.reason, InterruptedRunError):
                deadline = deadline or time.monotonic() + grace_period
                if time.monotonic() > deadline:
                    raise stop.reason
    return result.result()


@contextmanager
def _cancelling(stop: CancelToken) -> Iterator[None]:
    """A first signal cancels `stop`, a second one ends the process."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can set handlers
        return

    def on_signal(number: int, _: FrameType | None) -> None:
        if stop.is_set():
            _end_process(number)
        stop.set(InterruptedRunError(exit_code=EXIT_CODES[signal.Signals(number)]))

    before = _handle(on_signal)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
