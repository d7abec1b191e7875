"""Runs commands as forks of a process that has imported the program, and kills them at a step.

A start costs a few milliseconds instead of a third of a second. Each command is a process of its
own: it ends by SIGKILL, at the n-th time it is about to change something on the disk.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from tests.e2e.command import environment

_REPOSITORY = Path(__file__).parents[2]
_IMPORTED = (
    *(f"tcia_covid.cli.commands.{name}" for name in ("adopt", "download", "status", "verify")),
    "tcia_covid.cli.main",
    "tcia_covid.http.connection",
    "tcia_covid.output.logs",
    "pydicom",
)
_STEPS = frozenset(
    f"os.{name}" for name in ("chmod", "link", "mkdir", "remove", "rename", "rmdir", "truncate")
) | {"fcntl.flock", "fcntl.ioctl"}
"""Audit events (docs.python.org/library/audit_events) of changes; also opening for writing."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True, slots=True)
class Ended:
    """A command that has ended."""

    code: int
    """The exit code; the signal's number, negative, where a signal ended it."""
    steps: int
    """How often it was about to change something on the disk."""
    out: str
    err: str

    @property
    def is_killed(self) -> bool:
        """Whether it was killed before its end."""
        return self.code in (-signal.SIGKILL, -signal.SIGALRM)


class ForkServer:
    """Starts commands one after the other; a context manager.

    Args:
        home: the home folder and working directory of the commands.
    """

    def __init__(self, home: Path) -> None:
        self._output = (home / "stdout", home / "stderr")
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", __name__, *map(str, self._output)],
            cwd=home,
            env=environment(home, PYTHONPATH=str(_REPOSITORY)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def run(self, *arguments: str | Path, kill_at: int = 0, pause: float = 0.0) -> Ended:
        """Run a command line to its end, or to its `kill_at`-th step and `pause` seconds more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = {"arguments": [*map(str, arguments)], "kill_at": kill_at, "pause": pause}
        print(json.dumps(order), file=self._process.stdin, flush=True)
        code, steps = json.loads(self._process.stdout.readline())
        return Ended(code, steps, *(path.read_text() for path in self._output))


class _Steps:
    """Counts the steps of this process in memory that its parent shares, and kills it at one."""

    def __init__(self, counter: mmap.mmap, kill_at: int, pause: float) -> None:
        self._counter = counter
        self._kill_at = kill_at
        self._pause = pause
        self._count = 0

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _STEPS and not (event == "open" and _is_writing(*arguments)):
            return
        self._count += 1
        self._counter[:8] = self._count.to_bytes(8, "little")
        if self._count == self._kill_at:
            if not self._pause:
                os.kill(os.getpid(), signal.SIGKILL)
            signal.setitimer(
                signal.ITIMER_REAL, self._pause
            )  # SIGALRM ends the process as abruptly


def _is_writing(_path: object, _mode: object, flags: int) -> bool:
    return bool(flags & _WRITING)


def _run_here(arguments: Sequence[str], output: Sequence[str]) -> NoReturn:
    from tcia_covid.cli.signals import main  # noqa: PLC0415 - after the audit hook

    for path, number in zip(output, (1, 2), strict=True):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
        os.close(file)
    sys.argv[1:] = arguments
    main()


def _serve(output: Sequence[str]) -> None:
    """Run the commands that standard input names, until it ends."""
    for name in _IMPORTED:
        importlib.import_module(name)
    for line in sys.stdin:
        order = json.loads(line)
        counter = mmap.mmap(-1, 8)
        child = os.fork()
        if not child:
            sys.stdin.close()
            sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 - for as long as the command runs
            hook = _Steps(counter, order["kill_at"], order["pause"])
            sys.addaudithook(hook)
            _run_here(order["arguments"], output)
        _, status = os.waitpid(child, 0)
        steps = int.from_bytes(counter[:8], "little")
        print(json.dumps([os.waitstatus_to_exitcode(status), steps]), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1:])
