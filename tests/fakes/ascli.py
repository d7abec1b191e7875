"""A fake of `ascli`: an executable that a test writes, which copies from a folder.

    engine = FakeAscli(tmp_path)
    engine.package(url, {"CT/volume.nii.gz": content})
    monkeypatch.setenv("PATH", engine.path)

It takes the options that the real one documents, among them `--url=@env:NAME`; the link is
looked up in `packages.json` next to it. What it is to do is in `behavior.json`, and changes
with every run: one entry a run, the last one for all further runs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import wait_for

_SCRIPT = """#!{python} -ES
import json, os, signal, sys, time
from pathlib import Path

home = Path({home!r})
runs = json.loads((home / "runs.json").read_text())
plans = json.loads((home / "behavior.json").read_text())
plan = plans[min(len(runs), len(plans) - 1)] if plans else {{}}
runs.append({{"argv": sys.argv[1:], "pid": os.getpid(), "group": os.getpgid(0)}})
(home / "runs.json").write_text(json.dumps(runs))

assert sys.argv[1:4] == ["faspex5", "packages", "receive"], sys.argv
options = dict(a.lstrip("-").split("=", 1) for a in sys.argv[4:] if a.startswith("--"))
paths = [a for a in sys.argv[4:] if not a.startswith("--")]
url = options["url"]
if url.startswith("@env:"):
    url = os.environ[url[5:]]
target = Path(options["to-folder"])
packages = json.loads((home / "packages.json").read_text())

for line in plan.get("say", []):
    print(line, flush=True)
if "deaf" in plan:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
if "before" in plan:
    time.sleep(plan["before"])
if url not in packages:
    print("ERROR: Rest: faspex.example.org 404 Not Found", file=sys.stderr)
    sys.exit(1)
source = Path(packages[url])
print("Receiving package 762", flush=True)
found = sorted(p for p in source.rglob("*") if p.is_file())
if paths:
    wanted = [source / p.lstrip("/") for p in paths]
    assert all(p.is_file() for p in wanted), paths
    places = [(p, target / p.name) for p in wanted]
else:
    places = [(p, target / p.relative_to(source)) for p in found]
for number, (file, place) in enumerate(places):
    data = file.read_bytes()
    if place.exists() and place.stat().st_size == len(data):
        continue  # resumed: it is there
    place.parent.mkdir(parents=True, exist_ok=True)
    if number == plan.get("stop_at"):
        place.write_bytes(data[: len(data) // 2])
        print(plan.get("error", "ERROR: Transfer: Data transfer timeout"), file=sys.stderr)
        sys.exit(plan.get("code", 1))
    place.write_bytes(data)
    if "each" in plan:
        time.sleep(plan["each"])
if "code" in plan and "stop_at" not in plan:
    print(plan.get("error", ""), file=sys.stderr)
    sys.exit(plan["code"])
print("+---------+---------+")
"""


class FakeAscli:
    """The executable, the packages it can receive, and what became of its runs."""

    def __init__(self, folder: Path) -> None:
        if sys.platform == "win32":
            pytest.skip("a script is no program on Windows")
        self.home = folder / "ascli-home"
        self.home.mkdir(parents=True)
        self.program = self.home / "bin" / "ascli"
        self.program.parent.mkdir()
        self.program.write_text(_SCRIPT.format(python=sys.executable, home=str(self.home)))
        self.program.chmod(0o755)
        self._packages: dict[str, str] = {}
        self._write("runs.json", [])
        self._write("packages.json", {})
        self.behave()

    @property
    def path(self) -> str:
        """A PATH that has it."""
        return f"{self.program.parent}{os.pathsep}{os.environ['PATH']}"

    @property
    def runs(self) -> list[dict[str, Any]]:
        """How it was called, and as which process."""
        text = (self.home / "runs.json").read_text()
        runs: list[dict[str, Any]] = json.loads(text) if text else []
        return runs

    def package(self, url: str, files: Mapping[str, bytes]) -> Path:
        """Have it know a package, or another version of it; gives the folder with its files."""
        folder = self.home / "packages" / str(len(self._packages))
        if url in self._packages:
            folder = Path(self._packages[url])
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        self._packages[url] = str(folder)
        self._write("packages.json", self._packages)
        return folder

    def behave(self, *plans: Mapping[str, Any]) -> None:
        """Say what the next runs are to do."""
        done = len(self.runs)
        self._write("behavior.json", [{}] * done + list(plans) if plans else [])

    def wait_for_run(self, number: int = 1) -> None:
        """Wait until it was started so many times."""
        wait_for(lambda: len(self.runs) >= number)

    def _write(self, name: str, content: object) -> None:
        (self.home / name).write_text(json.dumps(content))


def is_running(pid: int) -> bool:
    """Whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
