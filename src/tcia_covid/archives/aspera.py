"""IBM Aspera Faspex packages, received by running `ascli`."""

from __future__ import annotations

import contextlib
import json
import os
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
from functools import partial
from pathlib import Path
from typing import IO

from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ConnectionLostError,
    NoSpaceError,
    NotAvailableError,
    PermissionDeniedError,
    RequestError,
    TciaCovidError,
    TlsError,
    UnreachableError,
)
from tcia_covid.core.redaction import printable, scrub
from tcia_covid.store.free_space import folder_size
from tcia_covid.store.locks import Lock

_POLL_INTERVAL = 0.1
_SIZE_INTERVAL = 1.0
"""Seconds between two measurements of what has arrived."""
GRACE_PERIOD = 1.0
"""Seconds that `ascli` has to end: the command line leaves a canceled run after 1.8."""
_MAX_LINES = 40
"""Lines of its output that are kept for the reason of a failure."""
_MAX_LINE = 4096
_MAX_MESSAGE = 300
_NAME = "ascli"
_URL_VARIABLE = "TCIA_COVID_PACKAGE_URL"
"""Environment variable that passes the link to `ascli`, to keep it out of the process list."""
_RECEIVE = (_NAME, "faspex5", "packages", "receive")
_FIREWALL_HINT = "Aspera needs outgoing TCP and UDP on port 33001, which a firewall may block"


class TransferLock(Lock):
    """A lock that `ascli` inherits: it is held as long as either of the two processes lives.

    When a run is killed, `ascli` continues to write to the folder, which the next run must not
    use at the same time.
    """

    def descriptors(self) -> tuple[int, ...]:
        """The file descriptors that the child must keep open."""
        if sys.platform == "win32" or self._handle is None:
            return ()
        return (self._handle,)


@dataclass(slots=True)
class AscliTransfer:
    """Receives a package, or some paths of it, into a folder; resumes an earlier run.

    Attributes:
        program: path of `ascli`.
        folder: exists; has what earlier runs received.
        lock: held by the caller.
        paths: in the package; empty for all of it.
        max_rate: bytes per second.
        timeout: seconds without a byte or a line of output before giving up.
        on_bytes: is given the number of bytes that arrived; negative where some were removed.
        on_line: is given warnings.
    """

    program: str
    url: str
    folder: Path
    lock: TransferLock
    stop: CancelToken
    paths: Sequence[str] = ()
    max_rate: float | None = None
    timeout: float = 620.0
    on_bytes: Callable[[int], None] = lambda count: None
    on_line: Callable[[str], None] = lambda line: None
    received: int = field(default=0, init=False)
    """Bytes that arrived in this run."""
    _lines: deque[str] = field(default_factory=lambda: deque(maxlen=_MAX_LINES), init=False)
    _size: int = field(default=0, init=False)
    _last_activity: float = field(default=0.0, init=False)

    def run(self) -> None:
        """Receive the package.

        Raises:
            RequestError: `ascli`, or its `ascp`, cannot be started.
            ArchiveError: something could not be received.
            DestinationError: it could not write.
            TciaCovidError: the run was canceled.
        """
        self.stop.check()
        self._size = folder_size(self.folder)
        process = self._start()
        try:
            code = self._watch(process)
        finally:
            _end(process)
        self._measure()
        self.stop.check()
        if code != 0:
            raise error_from_ascli(code, list(self._lines), str(self.folder))

    def _start(self) -> subprocess.Popen[bytes]:
        limit = []
        if self.max_rate is not None:
            # Aspera's unit is 1000 bits per second.
            rate = {"target_rate_kbps": max(1, round(self.max_rate * 8 / 1000))}
            limit = [f"--ts=@json:{json.dumps(rate, separators=(',', ':'))}"]
        url, folder = f"--url=@env:{_URL_VARIABLE}", f"--to-folder={self.folder}"
        try:
            return subprocess.Popen(  # noqa: S603 - no shell; paths come from a listing of our own
                [self.program, *_RECEIVE[1:], url, folder, *limit, *self.paths],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, _URL_VARIABLE: self.url},
                pass_fds=self.lock.descriptors(),
                start_new_session=True,
            )
        except OSError as error:
            raise RequestError(
                f"{self.program} cannot be started: {error.strerror or error}",
                hint="check the installation with 'ascli --version'",
            ) from error

    def _watch(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of the process; returns its exit code."""
        self._last_activity = last_measured = time.monotonic()
        reader = threading.Thread(
            target=self._read_output, args=(process.stdout,), name="ascli", daemon=True
        )
        reader.start()
        while process.poll() is None:
            self.stop.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_POLL_INTERVAL)
            now = time.monotonic()
            if now - last_measured >= _SIZE_INTERVAL:
                last_measured = now
                self._measure()
            if now - self._last_activity > self.timeout:
                raise ConnectionLostError(
                    f"ascli neither wrote nor printed anything for {self.timeout:g} s",
                    hint=_FIREWALL_HINT,
                    retryable=True,
                )
        reader.join(GRACE_PERIOD)
        return process.returncode

    def _read_output(self, stream: IO[bytes]) -> None:
        """Keep the last lines; a progress bar's carriage returns end lines, too."""
        with contextlib.suppress(OSError, ValueError):  # closed by `_end`
            while data := stream.readline(_MAX_LINE):
                self._last_activity = time.monotonic()
                for text in data.decode("utf-8", "replace").replace("\r", "\n").splitlines():
                    if line := _plain_line(text):
                        self._lines.append(line)
                        if _WARNING.search(line):
                            self.on_line(line)

    def _measure(self) -> None:
        """Count what has arrived."""
        size = folder_size(self.folder)
        grown, self._size = size - self._size, size
        if grown:
            self._last_activity = time.monotonic()
            self.received += max(0, grown)
            self.on_bytes(grown)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and the `ascp` that it started, unless it has ended."""
    if process.poll() is None:
        _signal(process, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_PERIOD)
        # The whole group again: `ascp` may have ignored the signal when `ascli` ended.
        if sys.platform == "win32":
            _signal(process, signal.SIGTERM)
        else:
            _signal(process, signal.SIGKILL)
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
    """Distinguishes the collection's packages; usable as a file name."""
    title: str
    url: str
    """Its public link. It contains a passcode, so it goes into no log, error or file name."""
    size: int | None = None
    """Bytes, as rounded on the collection's page."""

    @property
    def is_public_link(self) -> bool:
        """Whether `ascli` accepts its link as a public one; older links need a login there."""
        return "?context=" in self.url


def find_ascli() -> str | None:
    """The path of `ascli`; None if it is not on the PATH."""
    return shutil.which(_NAME)


def install_commands() -> tuple[str, ...]:
    """The commands that install `ascli` and the transfer program that it runs."""
    return ("gem install aspera-cli    # Ruby 3.1 or newer", f"{_NAME} config ascp install")


def receive_command(url: str, folder: str) -> str:
    """The command that a user types to receive the package with the link `url`."""
    return shlex.join([*_RECEIVE, f"--url={url}", f"--to-folder={folder}"])


_ERROR = re.compile(r"\bERROR\b")
_WARNING = re.compile(r"\bERROR\b|\bWARN")
_COLORS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_CAUSES: tuple[tuple[str, Callable[..., TciaCovidError], str, str], ...] = (
    (
        r"no Aspera transfer module|no FASP installation|ascp.*not found",
        RequestError,
        "ascli has no ascp, the program that transfers the data",
        (
            "run 'ascli config ascp install' ('ascli config transferd install' from 4.21 on), then "
            "the same command again"
        ),
    ),
    (
        r"no space left|disk (?:is )?full|insufficient (?:disk|storage)|quota",
        NoSpaceError,
        "no space left while ascli wrote to {folder}: {reason}",
        "free some space (or raise the quota), then run the same command again",
    ),
    (
        r"ERROR: SSL|certificate verify failed|not match the server certificate",
        TlsError,
        "ascli cannot trust the server's certificate: {reason}",
        "check the machine's clock and certificates, and the proxy",
    ),
    (
        (
            r"ERROR: Network|getaddrinfo|name or service not known|connection refused|ECONNREFUSED"
            r"|EHOSTUNREACH|no route to host|unable to connect|failed to open TCP"
            r"|session initiation failed|time-?out|timed out|UDP"
        ),
        partial(UnreachableError, retryable=True),
        "ascli cannot reach the server: {reason}",
        _FIREWALL_HINT,
    ),
    (
        (
            r"(?<![.#:0-9])(?:40[0134]|410)(?![.:0-9])|not authori[sz]ed|not found|expired"
            r"|invalid (?:pass|link|context)|no such package|passcode"
        ),
        NotAvailableError,
        "the package is not available: {reason}",
        "its link may have changed: run the same command again, or look at the collection's page",
    ),
    (
        r"permission denied @|EACCES|read-only file system|EROFS",
        PermissionDeniedError,
        "ascli cannot write to {folder}: {reason}",
        "check the folder's permissions",
    ),
    (
        # ascli's names for errors in its arguments; a retry changes nothing.
        r"(?-i:\bERROR: (?:Argument|Missing|Identifier|Tool|UnusedArg)\b)",
        RequestError,
        "ascli does not accept its arguments: {reason}",
        (
            "check that it is recent ('ascli --version'): it accepts public links, which contain "
            "'?context='; or download with a browser from the collection's page"
        ),
    ),
)
"""Pattern of the output, error, message, hint: the first that matches counts."""


def error_from_ascli(code: int, lines: list[str], folder: str) -> TciaCovidError:
    """The error for an exit `code` (negative: a signal), with the last `lines` of output."""
    output = "\n".join(filter(_WARNING.search, lines)) or "\n".join(lines)
    errors = [line for line in lines if _ERROR.search(line)]
    reason = next((line for line in reversed(errors or lines) if line), "") or _ending(code)
    for pattern, make, message, hint in _CAUSES:
        if re.search(pattern, output, re.IGNORECASE):
            return make(message.format(reason=reason, folder=folder), hint=hint)
    return ConnectionLostError(
        f"ascli did not receive the package: {reason}",
        hint="the same command resumes from what is complete",
        retryable=True,
    )


def _plain_line(line: str) -> str:
    """A line of output without colors, credentials and control characters."""
    text = printable(_COLORS.sub("", line[: 4 * _MAX_MESSAGE]))
    return scrub(" ".join(text.split()))[:_MAX_MESSAGE]


def _ending(code: int) -> str:
    if code >= 0:
        return f"it ended with exit code {code}"
    try:
        return f"it was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"it was ended by signal {-code}"
