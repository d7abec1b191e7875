"""A real terminal emulator for tests: tmux, with a shell in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.command import environment
from tests.waiting import LONG

needs_tmux = pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("tmux") is None, reason="needs tmux"
)
PROMPT = "ready>"
_INTERVAL = 0.05


class Tmux:
    """One window with an interactive bash; its home and working directory is `home`."""

    def __init__(self, home: Path, socket: str) -> None:
        self._home = home
        self._socket = socket

    def run(self, *arguments: str) -> str:
        """Run a command of tmux; returns its output."""
        result = subprocess.run(
            ["tmux", "-L", self._socket, "-f", os.devnull, *arguments],
            cwd=self._home,
            env=environment(self._home, CI="", LC_ALL="C.UTF-8", TMPDIR="/tmp"),
            capture_output=True,
            text=True,
            timeout=LONG,
            check=True,
        )
        return result.stdout

    def keys(self, *names: str) -> None:
        """Press keys: text, or names of tmux such as `Enter` and `C-z`."""
        self.run("send-keys", *names)

    def command(self, words: list[str]) -> None:
        """Type a command."""
        script = self._home / "command.sh"
        script.write_text(f"exec {shlex.join(words)}\n")
        self.keys("sh command.sh", "Enter")

    def resize(self, columns: int, lines: int = 24) -> None:
        """Change the size of the window."""
        self.run("resize-window", "-x", str(columns), "-y", str(lines))

    def screen(self, *, history: bool = False) -> list[str]:
        """The lines of the screen that are not empty; `history`: with those scrolled away."""
        start = ["-S", "-"] if history else []
        shown = self.run("capture-pane", "-p", *start)
        return [line.rstrip() for line in shown.splitlines() if line.strip()]

    def wait(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Wait until the screen fulfils a condition; returns the screen."""
        deadline = time.monotonic() + LONG
        while not condition(screen := self.screen()):
            assert time.monotonic() < deadline, "\n".join(screen)
            time.sleep(_INTERVAL)
        return screen


@contextmanager
def terminal(home: Path, columns: int = 80, lines: int = 24) -> Iterator[Tmux]:
    """Open a window; its processes end with the block."""
    tmux = Tmux(home, f"tcia-covid-{os.getpid()}-{home.name}")
    shell = f"env 'PS1={PROMPT}' bash --norc --noprofile -i"
    tmux.run("new-session", "-d", "-x", str(columns), "-y", str(lines), shell)
    try:
        tmux.wait(lambda screen: PROMPT in "".join(screen))
        yield tmux
    finally:
        tmux.run("kill-server")
