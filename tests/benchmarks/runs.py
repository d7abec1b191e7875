"""Runs of the program in a process of its own, with their time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.benchmarks.inputs import Input

REPOSITORY = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-m", "tcia_covid")
_HERE = Path(__file__).parent
_DROPPED = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "PYTHONDONTWRITEBYTECODE")
"""The last, since an installed program is compiled."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a process cost."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds, user and system."""
    memory: int
    """Bytes at the peak."""
    faults: int
    """Minor page faults."""
    document: dict[str, Any] = field(default_factory=dict)
    """What it wrote to standard output, if that is JSON."""


def run(command: Sequence[str | Path], **environment: str) -> Cost:
    """Run a command to its end, and measure it.

    Raises:
        RuntimeError: it failed.
    """
    with tempfile.TemporaryDirectory() as scratch:
        result = Path(scratch, "result")
        measured = [sys.executable, "-I", "-S", str(_HERE / "resource_usage.py"), str(result)]
        ended = subprocess.run(
            [*measured, *map(str, command)],
            env={**_environment(scratch), **environment},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        if ended.returncode:
            raise RuntimeError(f"{' '.join(map(str, command))}: {ended.stderr[-2000:]}")
        wall, cpu, memory, faults = result.read_text(encoding="ascii").split()
    return Cost(float(wall), float(cpu), int(memory), int(faults), _parsed(ended.stdout))


def download(made: Input, url: str, output: Path, *more: str, **environment: str) -> Cost:
    """Download a whole collection."""
    return run(download_command(made, url, output, *more), **environment)


def download_command(made: Input, url: str, output: Path, *more: str) -> list[str]:
    """The command that downloads a whole collection."""
    return [*PROGRAM, "download", made.recipe.collection, *_from(made, url, output), *more]


def plan(made: Input, url: str, output: Path) -> Cost:
    """Plan the download of a whole collection."""
    return run([*PROGRAM, "plan", made.recipe.collection, *_from(made, url, output)])


@contextmanager
def serving(
    made: Input,
    *,
    latency: float = 0.0,
    rate: float | None = None,
    authority: Path | None = None,
    server: str = "server",
) -> Iterator[str]:
    """The base URL of a collection's server, in a process of its own.

    Over TLS where `authority` is a file to write the certificate of its authority to; `server` is
    the module that serves.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.{server}", str(made.folder)]
    command += ["--latency", str(latency), *(["--rate", str(rate)] if rate else [])]
    command += ["--authority", str(authority)] if authority else []
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.stdin.close()


def statistics(url: str) -> dict[str, Any]:
    """What a server was asked for so far."""
    with urllib.request.urlopen(f"{url}/statistics") as answer:
        parsed: dict[str, Any] = json.load(answer)
    return parsed


def _from(made: Input, url: str, output: Path) -> list[str]:
    registry = made.folder / "registry.yaml"
    name = made.recipe.collection
    registry.write_text(f"collections:\n  {name}:\n    format: DICOM\n", encoding="utf-8")
    where = ["-o", str(output), "--nbia-url", url, "--source", "nbia", "--registry", str(registry)]
    return [*where, "--json"]


def _environment(home: str) -> dict[str, str]:
    """An environment without the user's own settings; with the hooks of this package."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TCIA_COVID_") and name.upper() not in _DROPPED
    }
    paths = filter(None, [str(_HERE / "hooks"), os.environ.get("PYTHONPATH")])
    return {
        **kept,
        "PYTHONPATH": os.pathsep.join(paths),
        "HOME": home,
        "XDG_CONFIG_HOME": home,
    }


def _parsed(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
