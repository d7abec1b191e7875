"""Completion in real shells, which run the real command."""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.command import environment
from tests.e2e.test_terminal import open_terminal
from tests.waiting import LONG

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shells of POSIX")
LINES = [
    ("tcia-covid dow", "tcia-covid download "),
    ("tcia-covid download COVID-19-NY", "tcia-covid download COVID-19-NY-SBU "),
    ("tcia-covid plan ct-im", "tcia-covid plan ct-images "),
    ("tcia-covid download ./my-c", "tcia-covid download ./my-cart.tcia "),
    ("tcia-covid download ar --modality C", "CR"),
    ("tcia-covid download ar --no-fs", "tcia-covid download ar --no-fsync "),
    ("tcia-covid status my-f", "tcia-covid status my-folder/"),
]
STARTS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
PREPARE = {
    "bash": 'PS1="> "; eval "$(tcia-covid completion bash)"',
    "zsh": 'PS1="> "; autoload -U compinit; compinit -u -D; eval "$(tcia-covid completion zsh)"',
}


@pytest.fixture(name="home")
def _home(tmp_path: Path) -> Path:
    """A folder with the command, a manifest and a folder."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "tcia-covid"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tcia_covid "$@"\n')
    command.chmod(0o755)
    (tmp_path / "my-cart.tcia").touch()
    (tmp_path / "my-folder").mkdir()
    return tmp_path


def variables(home: Path) -> dict[str, str]:
    return {"PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"}


class Shell:
    """A shell on a terminal."""

    def __init__(self, name: str, home: Path) -> None:
        more = {"TERM": "dumb" if name == "bash" else "xterm", "LC_ALL": "C.UTF-8"}
        self.process, self.terminal = open_terminal(
            STARTS[name], home, 200, **variables(home), **more
        )
        self.type(f"{PREPARE[name]}; echo rea''dy\n")
        self.wait("ready\r")

    def type(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def wait(self, text: str) -> str:
        """What is shown until `text` is."""
        shown, deadline = "", time.monotonic() + LONG
        while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\x07|\x08", "", shown):
            assert time.monotonic() < deadline, shown
            if select.select([self.terminal], [], [], 1)[0]:
                shown += os.read(self.terminal, 65536).decode(errors="replace")
        return shown

    def close(self) -> None:
        self.process.kill()
        self.process.wait(LONG)
        os.close(self.terminal)


@pytest.mark.parametrize("name", STARTS)
def test_a_shell_completes_what_is_typed(home: Path, name: str) -> None:
    if shutil.which(name) is None:
        pytest.skip(f"needs {name}")
    shell = Shell(name, home)
    try:
        for typed, completed in LINES:
            shell.type(f"{typed}\t\t")
            shell.wait(completed)
            shell.type("\x15")  # removes the line
    finally:
        shell.close()


def test_fish_completes_what_is_typed(home: Path) -> None:
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("needs fish")
    asked = "; ".join(f"complete -C '{typed}'; echo ==" for typed, _ in LINES)
    ran = subprocess.run(
        [fish, "--no-config", "-c", f"tcia-covid completion fish | source; {asked}"],
        cwd=home,
        env=environment(home, **variables(home)),
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG,
    )
    for (_, completed), offered in zip(LINES, ran.stdout.split("=="), strict=False):
        assert completed.split()[-1] in offered


def test_negatives_and_options_without_effect_are_not_offered(home: Path) -> None:
    def offered(words: str) -> str:
        asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
        more = {**asked, "_TCIA_COVID_COMPLETE": "bash_complete"}
        ran = subprocess.run(
            [home / "bin" / "tcia-covid"],
            cwd=home,
            env=environment(home, **variables(home), **more),
            capture_output=True,
            text=True,
            check=False,
            timeout=LONG,
        )
        assert not ran.stderr
        return ran.stdout

    names = offered("tcia-covid download --")
    assert "plain,--max-rate\n" in names
    assert "--no-fsync" in names
    assert not {"plain,--fsync", "plain,--no-json", "plain,--progress"} & {*names.splitlines()}
    assert "--no-progress" not in offered("tcia-covid info --no")
    assert "--no-json" not in offered("tcia-covid --no")
    (home / "tcia-covid.yaml").write_text("jbos: 3\n")
    assert "COVID-19-AR" in offered("tcia-covid download COVID")
    assert offered("tcia-covid dwnload COVID").strip() == ""
