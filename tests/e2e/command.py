"""Running the real command in processes of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-W", "error", "-m", "tcia_covid"]
QUICK = ["--retry-wait", "0.01", "--retries", "3"]
SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
"""Signals that end a run in an orderly way, and the exit code of each."""
if sys.platform != "win32":
    SIGNALS.append((signal.SIGHUP, 129))
_DROPPED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


def environment(home: Path, **more: str) -> dict[str, str]:
    """An environment without the user's settings."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TCIA_COVID_") and name.upper() not in _DROPPED
    }
    return {**kept, "HOME": str(home), "XDG_CONFIG_HOME": str(home / ".config"), **more}


def run(
    *arguments: str | Path, home: Path, timeout: float = 110, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run `tcia-covid` to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(home, **more),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def start(
    *arguments: str | Path, home: Path, prefix: list[str] | None = None, **more: str
) -> subprocess.Popen[str]:
    """Start `tcia-covid`; the caller waits for it."""
    return subprocess.Popen(
        [*(prefix or COMMAND), *map(str, arguments)],
        env=environment(home, **more),
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def document(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on standard output."""
    parsed: dict[str, Any] = json.loads(result.stdout)
    return parsed
