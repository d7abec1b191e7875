"""Rows 36 and 37: containers, removed folders, odd file systems, low limits, read-only trees."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tcia_covid.cli.config_file import load
from tcia_covid.core.events import Notice
from tcia_covid.operations.verify import verify_directory
from tests.e2e.command import QUICK, document, environment, run, start
from tests.fakes.other_downloaders import flat
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as started

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
LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_{limit}, ({number}, {number}))
from tcia_covid.cli.signals import main
main()
"""


def arguments(scenario: Scenario, *more: str) -> list[str]:
    """A download from the scenario's archive into its folder."""
    where = ["--nbia-url", scenario.url, "--source", "nbia", *QUICK]
    return ["download", NAME, "-o", str(scenario.output), *where, *more]


@posix
def test_fault_36_a_download_works_without_a_home_folder(
    scenario: Scenario, tmp_path: Path
) -> None:
    process = start(
        *arguments(scenario),
        home=tmp_path,
        prefix=[sys.executable, "-c", AS_UNKNOWN_USER],
        XDG_CONFIG_HOME="",
    )
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert scenario.files() == scenario.expected()


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
        assert load([file]) == {}
    finally:
        if is_root:
            os.seteuid(0)
        closed.chmod(0o700)
    warning = f"warning: cannot read {file}, ignored: Permission denied"
    assert capfd.readouterr().err.strip() == warning
    assert {name: setting.value for name, setting in load([file]).items()} == {"jobs": 3}


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


def test_fault_36_the_c_locale_shows_names_as_well_as_it_can(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.output = tmp_path / "données"
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(*arguments(scenario), home=tmp_path, **plain)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert scenario.files() == scenario.expected()


@posix
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("option", ["--log-file", "--events"])
def test_fault_36_a_log_that_cannot_be_written_ends_the_run_before_it_begins(
    scenario: Scenario, tmp_path: Path, option: str
) -> None:
    done = run(*arguments(scenario, "--json", option, "/dev/full"), home=tmp_path)
    assert done.returncode == 4
    assert document(done)["exit_code"] == 4
    assert "cannot write the log /dev/full: No space left on device" in done.stderr
    assert not scenario.output.exists()


@posix
@pytest.mark.parametrize("option", ["--log-file", "--events"])
def test_fault_36_a_log_that_becomes_full_shows_in_the_exit_code(
    scenario: Scenario, tmp_path: Path, option: str
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
        done = run(*arguments(scenario, "--json", option, str(log)), home=tmp_path)
    finally:
        subprocess.run(["umount", full], check=True)
    assert done.returncode == document(done)["exit_code"] == 4
    assert f"the log is incomplete: {log}: No space left on device" in done.stderr
    assert scenario.files() == scenario.expected()


@posix
def test_fault_36_an_invalid_variable_of_tqdm_is_no_internal_error(tmp_path: Path) -> None:
    done = run("demo", home=tmp_path, TQDM_MININTERVAL="abc", TQDM_NCOLS="wide")
    assert done.returncode == 0, done.stderr


@posix
def test_fault_36_a_file_system_without_fsync_is_used_and_reported_once(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(_: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", unsupported)
    summary = scenario.download(durable=True)
    scenario.assert_complete(summary)
    assert [text for text in summary.notices if "(fsync)" in text] == summary.notices
    assert len(summary.notices) == 1


def test_fault_36_unknown_free_space_refuses_nothing(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unknown(_: str) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    scenario.assert_complete(scenario.download())
    notices = [event.text for event in scenario.events if isinstance(event, Notice)]
    assert any("free space of" in text and "is unknown" in text for text in notices)


@posix
@pytest.mark.parametrize("files", [12, 24, 40])
def test_fault_36_few_open_files_mean_fewer_series_at_once(
    scenario: Scenario, tmp_path: Path, files: int
) -> None:
    script = LIMITED.format(limit="NOFILE", number=files)
    process = start(*arguments(scenario), home=tmp_path, prefix=[sys.executable, "-c", script])
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "instead of 8: few open files are permitted (ulimit -n)" in err
    assert scenario.files() == scenario.expected()


def with_few_threads(number: int) -> list[str]:
    """The command, with so many threads.

    The limit counts for users alone, so root becomes one that may read and write everything.
    """
    setpriv = shutil.which("setpriv")
    if setpriv is None or os.geteuid() != 0:
        pytest.skip("needs root and setpriv")
    capabilities = "+dac_override,+dac_read_search"
    user = [setpriv, "--reuid=54321", "--clear-groups", f"--inh-caps=-all,{capabilities}"]
    user.append(f"--ambient-caps={capabilities}")
    return [*user, sys.executable, "-c", LIMITED.format(limit="NPROC", number=number)]


@posix
@pytest.mark.parametrize("threads", [0, 2])
def test_fault_36_verify_and_adopt_need_no_threads(tmp_path: Path, threads: int) -> None:
    prefix = with_few_threads(threads)
    with started(tmp_path, synthetic_corpus(NAME, patients=2, images_per_series=2)) as scenario:
        flat(tmp_path / "have", scenario.corpus)
        for folder in (tmp_path, tmp_path / "have"):
            folder.chmod(0o755)
        where = ["--nbia-url", scenario.url, "--source", "nbia"]
        output = scenario.output.relative_to(
            tmp_path
        )  # the folders above may be closed to the user
        adopt = ["adopt", "have", "--copy", "-o", str(output), *where]
        for command in (adopt, ["verify", str(output)]):
            process = start(*command, home=tmp_path, prefix=prefix)
            _, err = process.communicate(timeout=60)
            assert process.returncode == 0, err
        assert scenario.files() == scenario.expected()


@posix
@pytest.mark.parametrize("threads", [0, 1, 4])
def test_fault_36_few_threads_mean_fewer_series_at_once(tmp_path: Path, threads: int) -> None:
    prefix = with_few_threads(threads)
    corpus = synthetic_corpus(NAME, patients=4, series_per_patient=2, images_per_series=2)
    with started(tmp_path, corpus) as scenario:
        process = start(*arguments(scenario), home=tmp_path, prefix=prefix)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "the system permits no more threads; continuing with fewer threads" in err
        assert scenario.files() == scenario.expected()


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, also for root."""
    if os.geteuid() != 0:
        modes = {path: path.stat().st_mode for path in [folder, *folder.rglob("*")]}
        for path, mode in modes.items():
            path.chmod(mode & ~0o222)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    for options in (["--bind", str(folder)], ["-o", "remount,ro,bind"]):
        command = ["mount", *options, str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@posix
def test_fault_37_a_complete_tree_that_may_not_be_written_is_complete(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.assert_complete(scenario.download())
    with read_only(scenario.output):
        done = run(*arguments(scenario, "--json"), home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert document(done)["series"]["already_complete"] == 2
        for command in ("status", "verify"):
            done = run(command, scenario.output, home=tmp_path)
            assert done.returncode == 0, done.stderr


@posix
def test_fault_37_a_read_only_tree_with_missing_images_is_an_error(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.download()
    image = next(scenario.output.rglob("*.dcm"))
    image.unlink()
    with read_only(scenario.output):
        done = run(*arguments(scenario), home=tmp_path)
        assert done.returncode == 4
        assert f"error: cannot write to {scenario.output}" in done.stderr
        assert run("verify", scenario.output, home=tmp_path).returncode == 1
    scenario.assert_complete(scenario.download())


@posix
def test_fault_37_outdated_reports_of_a_read_only_tree_are_named(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.download()
    (scenario.output / NAME / "metadata.csv").unlink()
    with read_only(scenario.output):
        done = run(*arguments(scenario, "--json"), home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert document(done)["outdated_reports"] == [f"{NAME}/metadata.csv"]


class LowerCaseEntry:
    """An entry of a folder as a file system lists it that keeps no capitals."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self._entry = entry
        self.name = entry.name.lower()
        self.path = str(Path(entry.path).with_name(self.name))

    def __fspath__(self) -> str:
        return self.path

    def __getattr__(self, name: str) -> object:
        return getattr(self._entry, name)


@contextmanager
def lower_case_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """List a tree in lower case; links, which are not listed, make both spellings work."""
    scandir = os.scandir
    for path in sorted(root.rglob("*")):
        alias = path.with_name(path.name.lower())
        if not alias.exists():
            alias.symlink_to(path.name)

    @contextmanager
    def listed(folder: str | Path = ".") -> Iterator[Iterator[object]]:
        with scandir(folder) as entries:
            yield (LowerCaseEntry(entry) for entry in entries if not entry.is_symlink())

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", listed)
        yield


@posix
def test_fault_36_names_listed_in_lower_case_are_recognized(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.download(layout="P-{patient}/S-{series}")
    foreign = scenario.output / NAME / "Mine"
    foreign.mkdir()
    shutil.copy(next(scenario.output.rglob("*.dcm")), foreign / "copy.dcm")
    with lower_case_names(scenario.output / NAME, monkeypatch):
        result = verify_directory(scenario.output)
        assert [found.file for found in result.unexpected] == [f"{NAME}/mine/copy.dcm"]
        assert not result.damage
        assert scenario.download().already_complete == 2


@posix
def test_fault_36_few_open_files_are_enough_to_adopt(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=3, series_per_patient=4, images_per_series=4)
    with started(tmp_path, corpus) as scenario:
        scenario.download()
        shutil.rmtree(scenario.output / NAME / ".tcia-covid")
        script = LIMITED.format(limit="NOFILE", number=16)
        where = ["--copy", "--nbia-url", scenario.url, "--source", "nbia", "-o", "new"]
        prefix = [sys.executable, "-c", script]
        process = start("adopt", scenario.output, *where, home=tmp_path, prefix=prefix)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert sum(1 for _ in (tmp_path / "new").rglob("*.dcm")) == 48
