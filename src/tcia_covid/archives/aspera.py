"""Packages of IBM Aspera Faspex, received with `ascli`: one run of it, watched."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shlex
import shutil
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

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    ConnectionLostError,
    NoSpaceError,
    NotAvailableError,
    PermissionDeniedError,
    RequestError,
    TciaCovidError,
    TlsError,
    UnreachableError,
)
from tcia_covid.core.redaction import scrub
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.locks import Lock

_POLL = 0.1
_LOOK = 1.0
"""Seconds between two looks at what has arrived."""
_GRACE = 1.0
"""Seconds that `ascli` has to end of itself: the command line leaves a stopped run after 1.8."""
_KEPT = 40
"""Lines of its output that are kept for the reason of a failure."""
_LONGEST_LINE = 4096
NAME = "ascli"
URL_VARIABLE = "TCIA_COVID_PACKAGE_URL"
"""The environment variable through which `ascli` gets a link: the process list shows none."""
_RECEIVE = (NAME, "faspex5", "packages", "receive")


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
class AscliTransfer:
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
    stop: CancelToken
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
        self._size = folder_size(self.folder)
        process = self._start()
        try:
            code = self._watch(process)
        finally:
            _end(process)
        self._look()
        self.stop.check()
        if code != 0:
            raise error_from_ascli(code, list(self._lines), str(self.folder))

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
                raise timeout_error(self.patience)
        reader.join(_GRACE)
        self._hear(heard)
        return process.returncode

    def _hear(self, heard: queue.SimpleQueue[str]) -> bool:
        """Take what was printed; whether there was anything."""
        any_heard = False
        with contextlib.suppress(queue.Empty):
            while True:
                line = plain_line(heard.get_nowait())
                any_heard = True
                if line:
                    self._lines.append(line)
                    if is_warning(line):
                        self.on_line(line)
        return any_heard

    def _look(self) -> bool:
        """Tell what has arrived since; whether there was anything."""
        size = folder_size(self.folder)
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
        while data := stream.readline(_LONGEST_LINE):
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


@dataclass(frozen=True, slots=True)
class AsperaPackage:
    """An Aspera Faspex package."""

    key: str
    """Tells it from the collection's other packages; harmless as a file's name."""
    title: str
    url: str
    """Its public link. A passcode is part of it, so it goes into no log, error or file name."""
    size: int | None = None
    """Bytes, as rounded on the collection's page."""

    @property
    def is_public_link(self) -> bool:
        """Whether `ascli` knows its link as a public one; older ones it takes for a login's."""
        return "?context=" in self.url


def find_ascli() -> str | None:
    """Where `ascli` is on the PATH; None if it is not."""
    return shutil.which(NAME)


def arguments(
    program: str, folder: str, paths: Sequence[str] = (), *, max_rate: float | None = None
) -> list[str]:
    """The command that receives a package, or some paths of it, into a folder.

    Args:
        program: `ascli`, with its folder.
        folder: exists.
        paths: in the package; empty for all of it.
        max_rate: bytes a second.
    """
    limit = []
    if max_rate is not None:
        # Aspera counts in thousands of bits a second.
        rate = {"target_rate_kbps": max(1, round(max_rate * 8 / 1000))}
        limit = [f"--ts=@json:{json.dumps(rate, separators=(',', ':'))}"]
    url = f"--url=@env:{URL_VARIABLE}"
    return [program, *_RECEIVE[1:], url, f"--to-folder={folder}", *limit, *paths]


def install_commands() -> tuple[str, ...]:
    """The commands that install `ascli` and the transfer program that it drives."""
    return ("gem install aspera-cli    # Ruby 3.1 or newer", f"{NAME} config ascp install")


def receive_command(url: str, folder: str) -> str:
    """The command that a person types to receive a package.

    Args:
        url: the package's link.
        folder: where to.
    """
    return shlex.join([*_RECEIVE, f"--url={url}", f"--to-folder={folder}"])


def _any_of(*phrases: str) -> re.Pattern[str]:
    return re.compile("|".join(phrases), re.IGNORECASE)


_NO_ASCP = _any_of("no Aspera transfer module", "no FASP installation", "ascp.*not found")
_FULL = _any_of("no space left", "disk (?:is )?full", "insufficient (?:disk|storage)", "quota")
_REFUSED = _any_of("permission denied @", "EACCES", "read-only file system", "EROFS")
_TLS = _any_of("ERROR: SSL", "certificate verify failed", "not match the server certificate")
_UNREACHABLE = _any_of(
    *("ERROR: Network", "getaddrinfo", "name or service not known", "connection refused"),
    *("ECONNREFUSED", "EHOSTUNREACH", "no route to host", "unable to connect"),
    *("failed to open TCP", "session initiation failed", "time-?out", "timed out", "UDP"),
)
_GONE = _any_of(
    *("(?<![.#:0-9])(?:40[0134]|410)(?![.:0-9])", "not authori[sz]ed", "not found", "expired"),
    *("invalid (?:pass|link|context)", "no such package", "passcode"),
)
_REFUSES = re.compile(r"\bERROR: (?:Argument|Missing|Identifier|Tool|UnusedArg)\b")
"""What `ascli` calls errors in what it is asked; asking again changes nothing."""
_ERROR = re.compile(r"\bERROR\b")
_WARNING = re.compile(r"\bWARN")
_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_LONGEST_MESSAGE = 300


def error_from_ascli(code: int, lines: list[str], folder: str) -> TciaCovidError:
    """Tell why `ascli` failed.

    Args:
        code: how it ended: its exit code, or the number of a signal, negative.
        lines: the last lines that it printed.
        folder: where it was to write to.
    """
    told = "\n".join(filter(is_warning, lines)) or "\n".join(lines)
    said = _most_telling(lines) or _ending(code)
    if _NO_ASCP.search(told):
        return RequestError(
            "ascli has no ascp, the program that transfers the data",
            hint="run 'ascli config ascp install' ('ascli config transferd install' from 4.21 on), "
            "then the same command again",
        )
    if _FULL.search(told):
        return NoSpaceError(
            f"no space left while ascli wrote to {folder}: {said}",
            hint="free some space (or raise the quota), then run the same command again",
        )
    if _TLS.search(told):
        return TlsError(
            f"ascli does not trust the server: {said}",
            hint="check the machine's clock and certificates; a proxy may stand in the way",
        )
    return _of_network(said, told, folder)


def _of_network(said: str, told: str, folder: str) -> TciaCovidError:
    if _UNREACHABLE.search(told):
        return UnreachableError(
            f"ascli does not reach the server: {said}",
            hint="Aspera needs outgoing TCP and UDP on port 33001: a firewall may stand in the way",
            retryable=True,
        )
    if _GONE.search(told):
        return NotAvailableError(
            f"the package is not given: {said}",
            hint="its link may have changed: run the same command again, or look at the "
            "collection's page",
        )
    if _REFUSED.search(told):
        return PermissionDeniedError(
            f"ascli cannot write to {folder}: {said}", hint="check the folder's permissions"
        )
    if _REFUSES.search(told):
        return RequestError(
            f"ascli does not take what it is asked: {said}",
            hint="see whether it is recent ('ascli --version'): it takes public links, which have "
            "a context in them; or download with a browser from the collection's page",
        )
    return ConnectionLostError(
        f"ascli did not receive the package: {said}",
        hint="the same command goes on from what is kept",
        retryable=True,
    )


def plain_line(line: str) -> str:
    """A line of `ascli`'s without colours, credentials and what would steer a terminal."""
    text = _COLOURS.sub("", line[: 4 * _LONGEST_MESSAGE])
    text = "".join(one if one.isprintable() else " " for one in text)
    return scrub(" ".join(text.split()))[:_LONGEST_MESSAGE]


def is_warning(line: str) -> bool:
    """Whether a line tells of trouble."""
    return bool(_ERROR.search(line) or _WARNING.search(line))


def _most_telling(lines: list[str]) -> str:
    """The last line that tells of an error; else the last one."""
    errors = [line for line in lines if _ERROR.search(line)]
    return next(reversed(errors), "") or next(reversed(lines), "")


def _ending(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"


def cannot_start(program: str, error: OSError) -> TciaCovidError:
    """Give the error for an `ascli` that the system does not start."""
    return RequestError(
        f"{program} cannot be started: {error.strerror or error}",
        hint="check the installation with 'ascli --version'",
    )


def timeout_error(seconds: float) -> ArchiveError:
    """Give the error for an `ascli` that neither said nor wrote anything for too long."""
    return ConnectionLostError(
        f"ascli neither wrote nor said anything for {seconds:g} s",
        hint="Aspera needs outgoing TCP and UDP on port 33001: a firewall may stand in the way",
        retryable=True,
    )
