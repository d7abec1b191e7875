"""One run of `ascli`, watched: its progress, its silence, its end, and ours."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from tcia_covid.faspex.failures import cannot_start, failure_of, is_warning, plain, silent
from tcia_covid.faspex.tool import URL_VARIABLE, arguments
from tcia_covid.stop import Stop
from tcia_covid.store.locks import Lock
from tcia_covid.store.sizes import size_of

_POLL = 0.1
_LOOK = 1.0
"""Seconds between two looks at what has arrived."""
_GRACE = 1.0
"""Seconds that `ascli` has to end of itself: the command line leaves a stopped run after 1.8."""
_KEPT = 40
"""Lines of its output that are kept for the reason of a failure."""
_LONGEST = 4096


class TransferLock(Lock):
    """A lock that `ascli` inherits: it is held as long as either of the two processes lives.

    A run that is killed leaves `ascli` behind, at work in the folder that the next run would
    give to another one.
    """

    def descriptors(self) -> tuple[int, ...]:
        """What the child is to keep open."""
        if sys.platform == "win32" or self._handle is None:
            return ()
        return (self._handle,)


@dataclass(slots=True)
class Transfer:
    """Receives a package, or some paths of it, into a folder; goes on where an earlier run ended.

    Args:
        program: `ascli`, with its folder.
        url: the package's link.
        folder: exists; has what earlier runs received.
        lock: held by the caller.
        stop: ends it early.
        paths: in the package; empty for all of it.
        max_rate: bytes a second.
        patience: seconds without a byte or a word before it is given up.
        on_bytes: hears of bytes that arrived; negative where some went away again.
        on_line: hears of its warnings.
    """

    program: str
    url: str
    folder: Path
    lock: TransferLock
    stop: Stop
    paths: Sequence[str] = ()
    max_rate: float | None = None
    patience: float = 620.0
    on_bytes: Callable[[int], None] = lambda count: None
    on_line: Callable[[str], None] = lambda line: None
    received: int = field(default=0, init=False)
    """Bytes that arrived in this run."""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_KEPT), init=False)
    _size: int = field(default=0, init=False)

    def run(self) -> None:
        """Receive.

        Raises:
            RequestError: `ascli`, or its `ascp`, cannot be started.
            ArchiveError: it did not get everything.
            DestinationError: it could not write.
            TciaCovidError: the run is to end.
        """
        self.stop.check()
        self._size = size_of(self.folder)
        process = self._start()
        try:
            code = self._watch(process)
        finally:
            _end(process)
        self._look()
        self.stop.check()
        if code != 0:
            raise failure_of(code, list(self._lines), str(self.folder))

    def _start(self) -> subprocess.Popen[bytes]:
        command = arguments(self.program, str(self.folder), self.paths, max_rate=self.max_rate)
        descriptors = self.lock.descriptors()
        try:
            return subprocess.Popen(  # noqa: S603 - no shell; paths come from a listing of our own
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, URL_VARIABLE: self.url},
                pass_fds=descriptors,
                start_new_session=True,
            )
        except OSError as error:
            raise cannot_start(self.program, error) from error

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Follow the process to its end; gives its exit code."""
        heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        reader = threading.Thread(
            target=_read, args=(process.stdout, heard), name="ascli", daemon=True
        )
        reader.start()
        last, looked = time.monotonic(), time.monotonic()
        while process.poll() is None:
            self.stop.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL)
            now = time.monotonic()
            alive = self._hear(heard)
            if now - looked >= _LOOK:
                looked = now
                alive = self._look() or alive
            last = now if alive else last
            if now - last > self.patience:
                raise silent(self.patience)
        reader.join(_GRACE)
        self._hear(heard)
        return process.returncode

    def _hear(self, heard: queue.SimpleQueue[str]) -> bool:
        """Take what was printed; whether there was anything."""
        any_heard = False
        with contextlib.suppress(queue.Empty):
            while True:
                line = plain(heard.get_nowait())
                any_heard = True
                if line:
                    self._lines.append(line)
                    if is_warning(line):
                        self.on_line(line)
        return any_heard

    def _look(self) -> bool:
        """Tell what has arrived since; whether there was anything."""
        size = size_of(self.folder)
        grown, self._size = size - self._size, size
        self.received += max(0, grown)
        if grown:
            self.on_bytes(grown)
        return bool(grown)


def _read(stream: IO[bytes] | None, heard: queue.SimpleQueue[str]) -> None:
    """Pass lines on until the stream ends; a progress bar's carriage returns end lines, too."""
    if stream is None:
        return
    with contextlib.suppress(OSError, ValueError):
        while data := stream.readline(_LONGEST):
            for line in data.decode("utf-8", "replace").replace("\r", "\n").splitlines():
                heard.put(line)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and the `ascp` that it started, if it did not end of itself."""
    if process.poll() is None:
        _signal(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE)
        # Once more to all: `ascp` may have taken no notice, and `ascli` may be gone.
        _signal(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.terminate()
        else:
            os.killpg(process.pid, number)
