"""Worker processes as their parent sees them, and two ways to start one.

A new interpreter needs a quarter of a second of CPU to start and to import. A fork needs some
milliseconds, but copies the locks of threads that do not exist in it: so a process forks its
workers before it has threads, and before it knows whether it needs them.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NoReturn, Protocol, cast

from tcia_covid.transfer import worker
from tcia_covid.transfer.scheduler import Job

_START = "import sys; sys.path[:] = {path!r}; from {module} import {function}; {function}()"
"""Not `-m`, which would import from the working folder."""
if sys.platform == "win32":
    _FLAGS = subprocess.CREATE_NEW_PROCESS_GROUP
    """Ctrl-C does not reach another group."""
    _without_signals = contextlib.nullcontext
else:
    _FLAGS = 0
    _SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
    """Terminals and batch systems send these to all processes; the parent ends the workers."""

    @contextmanager
    def _without_signals() -> Iterator[None]:
        """Start processes in the block that do not receive the signals."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # of this thread
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Process(Protocol):
    """What a `Popen` and a `ForkedProcess` have in common."""

    pid: int

    @property
    def returncode(self) -> int | None: ...

    def kill(self) -> None: ...

    def wait(self) -> int: ...


@dataclass(slots=True)
class Worker:
    """A worker process as the parent sees it."""

    process: _Process
    requests: IO[bytes]
    """What it sends."""
    orders: IO[bytes]
    """What it is sent."""
    jobs: dict[str, Job] = field(default_factory=dict)
    """The series that it has and did not report, by UID."""
    received: int = 0
    notices: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def send(self, message: object) -> None:
        """Send a message; one to a process that has ended is lost."""
        with self.lock, contextlib.suppress(OSError, ValueError):
            pickle.dump(message, self.orders)
            self.orders.flush()

    def close(self) -> None:
        """Wait for the end of the process."""
        for pipe in (self.requests, self.orders):
            with self.lock, contextlib.suppress(OSError):  # what was not sent is of no use now
                pipe.close()
        self.process.wait()


if sys.platform == "linux":

    @dataclass(slots=True)
    class ForkedProcess:
        """A fork of this process, used as a `Popen` is."""

        pid: int
        returncode: int | None = None
        _reaping: threading.Lock = field(default_factory=threading.Lock)

        def kill(self) -> None:
            """End it at once, unless it has ended."""
            with self._reaping, contextlib.suppress(ProcessLookupError):
                # Its PID may be another process's afterwards.
                if self.returncode is None:
                    os.kill(self.pid, signal.SIGKILL)

        def wait(self) -> int:
            """Wait for its end; return its exit code."""
            status = 0  # where SIGCHLD is ignored, nobody knows how it ended
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)  # its PID stays its own
            with self._reaping:
                with contextlib.suppress(ChildProcessError):
                    _, status = os.waitpid(self.pid, 0)
                self.returncode = os.waitstatus_to_exitcode(status)
            return self.returncode

    def _fork(others: list[Worker]) -> Worker:
        orders, to_worker = os.pipe()
        from_worker, reports = os.pipe()
        try:
            pid = os.fork()
        except OSError:
            for descriptor in (orders, to_worker, from_worker, reports):
                os.close(descriptor)
            raise
        if not pid:
            os.close(to_worker)
            os.close(from_worker)
            _serve_in_fork(orders, reports, others)
        os.close(orders)
        os.close(reports)
        return Worker(ForkedProcess(pid), os.fdopen(from_worker, "rb"), os.fdopen(to_worker, "wb"))


def start_interpreter() -> Worker:
    """Start a worker in a new interpreter.

    Raises:
        OSError: the machine permits no more processes.
    """
    function = worker.serve_standard_streams
    code = _START.format(path=sys.path, module=function.__module__, function=function.__name__)
    pipe = subprocess.PIPE
    with _without_signals():
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", code], stdin=pipe, stdout=pipe, creationflags=_FLAGS
        )
    return Worker(process, cast(IO[bytes], process.stdout), cast(IO[bytes], process.stdin))


@contextmanager
def forked_workers(number: int) -> Iterator[Callable[[], Worker]]:
    """Fork workers for the block; gives a function that takes one, or starts one if none is left.

    None are forked where this process has several threads, nor on macOS, whose libraries do not
    work in a fork.
    """
    ready: deque[Worker] = deque()
    try:
        if number and sys.platform == "linux" and _has_one_thread():
            from tcia_covid.http import session  # noqa: F401, PLC0415 - imported once for all

            with contextlib.suppress(OSError), _without_signals():
                for _ in range(number):
                    ready.append(_fork([*ready]))  # fails where no more processes are permitted
        yield lambda: ready.popleft() if ready else start_interpreter()
    finally:
        for unused in ready:
            unused.close()


def _has_one_thread() -> bool:
    """Whether no library of this process has started a thread either; Linux alone knows."""
    with contextlib.suppress(OSError):
        return len(list(Path("/proc/self/task").iterdir())) == 1
    return False


def _serve_in_fork(orders: int, reports: int, others: list[Worker]) -> NoReturn:
    try:
        for other in others:  # a pipe ends when no process has it open
            other.requests.close()
            other.orders.close()
        worker.serve(os.fdopen(orders, "rb"), os.fdopen(reports, "wb"))
    except BaseException:  # noqa: BLE001 - nothing may return to the code of the parent
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(1)
