"""Runs the recipes of docs/using-the-data.md, each in an environment and a folder of its own.

    python -m tests.ecosystem [RECIPE...]

Packages come from the package index (MONAI needs 1 GB); programs, such as DCMTK's storescu, have to
be installed: a recipe whose programs are missing is skipped. This is no part of the test suite.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.archive import real_names
from tests.e2e.command import environment
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import REPOSITORY

PAGE = REPOSITORY / "docs" / "using-the-data.md"
COLLECTION = "COVID-19-AR"
_RECIPE = re.compile(
    r"<!-- recipe (?P<name>[\w-]+)(?:, pip: (?P<pip>[^,]*?))?"
    r"(?:, programs: (?P<programs>.*?))? -->\n"
    r"```(?P<language>sh|python)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A block of the page."""

    name: str
    packages: tuple[str, ...]
    programs: tuple[str, ...]
    language: str
    code: str


def recipes(page: str) -> list[Recipe]:
    """The recipes of a page, in its order."""
    return [
        Recipe(
            found["name"],
            tuple((found["pip"] or "").split()),
            tuple((found["programs"] or "").split()),
            found["language"],
            found["code"],
        )
        for found in _RECIPE.finditer(page)
    ]


def main(names: Sequence[str]) -> int:
    """Run the recipes of these names, or all; 0 if none failed."""
    known = recipes(PAGE.read_text(encoding="utf-8"))
    if unknown := set(names) - {recipe.name for recipe in known}:
        print(f"no recipe {', '.join(unknown)}; there are {', '.join(each.name for each in known)}")
        return 2
    failed = False
    with (
        tempfile.TemporaryDirectory() as folder,
        ArchiveServer(real_names(), compression=1) as server,
    ):
        for recipe in known:
            if names and recipe.name not in names:
                continue
            missing = [name for name in recipe.programs if shutil.which(name) is None]
            if missing:
                print(
                    f"{recipe.name:12} skipped: {', '.join(missing)} is not installed", flush=True
                )
                continue
            began = time.monotonic()
            problem = attempt(recipe, Path(folder) / recipe.name, server.base_url)
            failed = failed or bool(problem)
            print(
                f"{recipe.name:12} {problem or 'ok'} ({time.monotonic() - began:.0f} s)", flush=True
            )
    return int(failed)


def attempt(recipe: Recipe, folder: Path, url: str) -> str:
    """Run one recipe on a fresh tree; empty if all went well, else what went wrong."""
    folder.mkdir()
    venv.create(folder / "venv", with_pip=True)
    python = str(folder / "venv" / "bin" / "python")
    settings = environment(
        folder,
        PATH=f"{folder / 'venv' / 'bin'}{os.pathsep}{os.environ['PATH']}",
        TCIA_COVID_NBIA_URL=url,
        TCIA_COVID_SOURCE="nbia",
        TCIA_COVID_ACCEPT_LISTED="1",
        GIT_CONFIG_GLOBAL=str(folder / "gitconfig"),
    )
    script = [python, "-c", recipe.code]
    if recipe.language == "sh":
        script = ["bash", "-euo", "pipefail", "-c", recipe.code]
    steps = [
        [python, "-m", "pip", "install", "--quiet", str(REPOSITORY), *recipe.packages],
        ["tcia-covid", "download", COLLECTION, "-o", "data", "--no-progress"],
        script,
        ["tcia-covid", "verify", "data"],
    ]
    for step in steps:
        done = subprocess.run(
            step,
            cwd=folder,
            env=settings,
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        if done.returncode:
            return (
                f"failed at {' '.join(step)[:60]!r}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            )
        if step is script:
            print(done.stdout.rstrip()[-400:])
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
