"""`demo`: the next steps that it shows, and options that have no effect."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from tcia_covid.cli.commands.demo import NEXT, called_as
from tcia_covid.cli.main import program, run

Captured = pytest.CaptureFixture[str]
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="scripts with #!")


def script(folder: Path) -> str:
    folder.mkdir(parents=True)
    path = folder / "tcia-covid"
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


@posix_only
def test_a_program_on_the_path_is_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = script(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert called_as([installed]) == "tcia-covid"


@posix_only
def test_a_program_elsewhere_is_called_by_the_path_that_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "bin")
    script(tmp_path / "my venv")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert called_as(["my venv/tcia-covid"]) == "'my venv/tcia-covid'"
    monkeypatch.setenv("PATH", os.devnull)
    assert called_as(["venv/bin/tcia-covid"]) == "venv/bin/tcia-covid"


def test_a_module_is_called_with_the_interpreter_that_was_typed() -> None:
    argv = ["/lib/tcia_covid/__main__.py", "demo"]
    called = called_as(argv, ["python3.12", "-m", "tcia_covid"], windows=False)
    assert called == "python3.12 -m tcia_covid"
    called = called_as(argv, ["C:\\My Python\\python.exe", "-m", "tcia_covid"], windows=True)
    assert called == '"C:\\My Python\\python.exe" -m tcia_covid'


@pytest.mark.parametrize("words", NEXT)
def test_the_next_commands_can_be_parsed(words: str) -> None:
    name, *arguments = shlex.split(words)
    program.commands[name].make_context(name, arguments)


def test_options_without_effect_are_refused(capsys: Captured) -> None:
    assert run(["demo", "--port", "8080"]) == 2
    assert "--port has no effect without --serve" in capsys.readouterr().err
    assert run(["demo", "here", "--serve"]) == 2
    assert "DIR has no effect with --serve" in capsys.readouterr().err
    assert not Path("here").exists()
