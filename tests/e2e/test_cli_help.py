"""The command starts at once: it imports only what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tcia_covid.cli.command_table import COMMANDS
from tests.e2e.command import document, environment, run
from tests.unit.trees import grow, new_tree, series_of

NAMES = [*COMMANDS]
SLOW = {
    "requests",
    "urllib3",
    "http.client",
    "ssl",
    "email",
    "pydicom",
    "importlib.metadata",
}
"""These take a tenth of a second or more together."""


RARE = {
    "tcia_covid.archives.aspera",
    "tcia_covid.archives.portal",
    "tcia_covid.nifti",
    "tcia_covid.selection.manifests.read",
    "tcia_covid.supporting.download",
}
"""For packages, supporting files and manifests, which few runs need."""


def imported_by(*arguments: str, home: Path) -> set[str]:
    """Modules that a command imports, and their packages."""
    code = (
        "import sys; before = set(sys.modules); from tcia_covid.cli.main import run; "
        f"code = run({list(arguments)!r}); print(code, *(set(sys.modules) - before))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(home),
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    code, *modules = ran.stdout.splitlines()[-1].split()
    assert code == "0"
    return {*modules, *(name.partition(".")[0] for name in modules)}


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--version"], *([name, "--help"] for name in NAMES), ["adopt", "--help-all"]],
)
def test_help_imports_no_command(tmp_path: Path, arguments: list[str]) -> None:
    imported = imported_by(*arguments, home=tmp_path)
    assert not {f"tcia_covid.cli.commands.{name}" for name in NAMES} & imported
    others = {"requests", "urllib3", "pydicom", "yaml", "tqdm", "numpy", "ssl", "decimal"}
    assert not others & imported


@pytest.mark.parametrize(
    "arguments",
    [
        *(["list"], ["info", "COVID-19-AR"], ["cite", "COVID-19-AR"], ["--version"]),
        *(["plan", "COVID-19-AR"], ["series", "COVID-19-AR", "--max-series", "1"]),
        ["plan", "CT Images in COVID-19"],
    ],
)
def test_commands_without_requests_import_no_http(tmp_path: Path, arguments: list[str]) -> None:
    assert not SLOW & imported_by(*arguments, home=tmp_path)


@pytest.mark.parametrize("command", [["status"], ["verify"], ["verify", "--json", "--jobs", "2"]])
def test_commands_that_read_a_folder_import_no_http(tmp_path: Path, command: list[str]) -> None:
    grow(new_tree(tmp_path / "data"), series_of(1))
    assert not SLOW & imported_by(*command, "data", home=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [["plan", "COVID-19-AR"], ["download", "COVID-19-AR", "--dry-run"], ["series", "COVID-19-AR"]],
)
def test_commands_import_nothing_for_what_was_not_requested(
    tmp_path: Path, arguments: list[str]
) -> None:
    assert not {*SLOW, *RARE} & imported_by(*arguments, home=tmp_path)


def test_the_list_of_collections_imports_no_progress_display(tmp_path: Path) -> None:
    assert not {"tcia_covid.core.events", "concurrent.futures"} & imported_by("list", home=tmp_path)


def test_the_status_imports_no_archive(tmp_path: Path) -> None:
    grow(new_tree(tmp_path / "data"), series_of(1))
    imported = imported_by("status", "data", home=tmp_path)
    assert not {"tcia_covid.archives", "tcia_covid.api", "tcia_covid.transfer"} & imported


def test_garbage_is_collected_while_a_command_runs(tmp_path: Path) -> None:
    code = (
        "import atexit, gc, sys; from tcia_covid.cli.signals import main; "
        "sys.argv = ['tcia-covid', 'list']; atexit.register(lambda: print(gc.isenabled())); main()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.splitlines()[-1] == "True"


def test_python_m_runs_the_same_program(tmp_path: Path) -> None:
    ran = run("--help", home=tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: tcia-covid [OPTIONS] COMMAND")
    assert all(f"  {name}  " in ran.stdout for name in NAMES)


def test_without_a_command_the_help_is_shown(tmp_path: Path) -> None:
    bare, asked = run(home=tmp_path), run("help", home=tmp_path)
    assert (bare.returncode, bare.stderr) == (0, "")
    assert bare.stdout == asked.stdout == run("--help", home=tmp_path).stdout


def test_help_as_json(tmp_path: Path) -> None:
    shown = document(run("help", "layout", "--json", home=tmp_path))
    assert (shown["command"], shown["topic"]) == ("help", "layout")
    assert shown["text"] == run("help", "layout", home=tmp_path).stdout.rstrip("\n")
