"""The command starts at once: it imports what a verb needs when it needs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tcia_covid.cli.entry import NAMES
from tests.e2e.command import environment, run


def imported_by(*arguments: str, home: Path) -> set[str]:
    """Packages that a command imports."""
    code = (
        "import sys; from tcia_covid.cli.entry import run; "
        f"code = run({list(arguments)!r}); print(code, *sys.modules, file=sys.stderr)"
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
    code, *modules = ran.stderr.split()
    assert code == "0"
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([n, "--help"] for n in NAMES)])
def test_help_imports_no_package_but_click(tmp_path: Path, arguments: list[str]) -> None:
    slow = {"requests", "urllib3", "pydicom", "yaml", "tqdm", "numpy", "ssl"}
    assert not slow & imported_by(*arguments, home=tmp_path)


@pytest.mark.parametrize("arguments", [["list"], ["info", "COVID-19-AR"]])
def test_what_the_registry_answers_needs_no_http(tmp_path: Path, arguments: list[str]) -> None:
    assert not {"requests", "pydicom", "tqdm"} & imported_by(*arguments, home=tmp_path)


def test_a_plan_reads_no_dicom(tmp_path: Path) -> None:
    assert "pydicom" not in imported_by("plan", "COVID-19-AR", home=tmp_path)


def test_python_m_runs_the_same_program(tmp_path: Path) -> None:
    ran = run("--help", home=tmp_path)
    assert ran.returncode == 0
    assert ran.stdout.startswith("Usage: tcia-covid [OPTIONS] VERB")
    assert all(f"  {name}  " in ran.stdout for name in NAMES)


def test_no_verb_is_an_error_with_a_way_out(tmp_path: Path) -> None:
    ran = run(home=tmp_path)
    assert ran.returncode == 2
    assert not ran.stdout
    assert "--help explains them" in ran.stderr
