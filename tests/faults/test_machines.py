"""Rows 36 and 37: containers, removed folders, odd file systems, low limits, read-only trees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_covid.cli.config_file import load
from tcia_covid.cli.main import program
from tests.e2e.command import QUICK, document, environment, run, start
from tests.faults.trial import NAME, Trial

posix = pytest.mark.skipif(sys.platform == "win32", reason="POSIX users, limits and devices")
AS_UNKNOWN_USER = """
import os, pwd
os.environ.pop("HOME", None)
try:
    os.setreuid(54321, -1)
except PermissionError:  # not root: this user at least has no account
    pwd.getpwuid = lambda number: {}[number]
from tcia_covid.cli.signals import main
main()
"""


def arguments(trial: Trial, *more: str) -> list[str]:
    """A download from the trial's archive into its folder."""
    where = ["--nbia-url", trial.url, "--source", "nbia", *QUICK]
    return ["download", NAME, "-o", str(trial.output), *where, *more]


@posix
def test_fault_36_a_download_works_without_a_home_folder(trial: Trial, tmp_path: Path) -> None:
    process = start(
        *arguments(trial),
        home=tmp_path,
        prefix=[sys.executable, "-c", AS_UNKNOWN_USER],
        XDG_CONFIG_HOME="",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert trial.files() == trial.expected()


@posix
def test_fault_36_a_home_folder_that_may_not_be_read_is_a_warning(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    closed = tmp_path / "closed"
    (closed / "tcia-covid").mkdir(parents=True)
    file = closed / "tcia-covid" / "config.yaml"
    file.write_text("jobs: 3\n", encoding="utf-8")
    closed.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(54321)
    try:
        assert load(program.options, [file]) == {}
    finally:
        if is_root:
            os.seteuid(0)
        closed.chmod(0o700)
    warning = f"warning: cannot read {file}, ignored: Permission denied"
    assert capfd.readouterr().err.strip() == warning
    assert load(program.options, [file]) == {"jobs": 3}


def test_fault_36_the_home_folder_of_a_path_has_to_be_known(tmp_path: Path) -> None:
    script = "import os\nos.path.expanduser = lambda path: path\n"
    script += "from tcia_covid.cli.signals import main\nmain()"
    process = start("status", "~/data", home=tmp_path, prefix=[sys.executable, "-c", script])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "'~/data': the home folder is unknown" in err


@posix
@pytest.mark.parametrize("command", ["download", "plan", "status", "verify", "list"])
def test_fault_36_a_removed_working_directory_is_named(tmp_path: Path, command: str) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    targets = ["COVID-19-AR"] if command in {"download", "plan"} else []
    script = f"import os\nos.rmdir({str(gone)!r})\nfrom tcia_covid.cli.signals import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", script, command, *targets],
        env=environment(tmp_path),
        cwd=gone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if command == "list":
        assert done.returncode == 0
    else:
        assert done.returncode == 2
        assert "the working directory no longer exists" in done.stderr


def test_fault_36_the_c_locale_shows_names_as_well_as_it_can(trial: Trial, tmp_path: Path) -> None:
    trial.output = tmp_path / "données"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(*arguments(trial), home=tmp_path, **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert trial.files() == trial.expected()


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--log-file", "--events"])
def test_fault_36_a_log_that_cannot_be_written_ends_the_run_before_it_begins(
    trial: Trial, tmp_path: Path, option: str
) -> None:
    done = run(*arguments(trial, "--json", option, "/dev/full"), home=tmp_path)
    assert done.returncode == 4
    assert document(done)["exit_code"] == 4
    assert "cannot write the log /dev/full: No space left on device" in done.stderr
    assert not trial.output.exists()


@posix
@pytest.mark.parametrize("option", ["--log-file", "--events"])
def test_fault_36_a_log_that_becomes_full_shows_in_the_exit_code(
    trial: Trial, tmp_path: Path, option: str
) -> None:
    log = tmp_path / "log"
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", full], capture_output=True, check=False
    ).returncode:
        pytest.skip("file systems cannot be mounted here")
    log = full / "log"
    log.write_bytes(b"-" * 3800)  # room for the first line
    try:
        done = run(*arguments(trial, "--json", option, str(log)), home=tmp_path)
    finally:
        subprocess.run(["umount", full], check=True)
    assert done.returncode == document(done)["exit_code"] == 4
    assert f"the log is incomplete: {log}: No space left on device" in done.stderr
    assert trial.files() == trial.expected()


@posix
def test_fault_36_a_wrong_variable_of_tqdm_is_no_internal_error(tmp_path: Path) -> None:
    done = run("demo", home=tmp_path, TQDM_MININTERVAL="abc", TQDM_NCOLS="wide")
    assert done.returncode == 0, done.stderr
