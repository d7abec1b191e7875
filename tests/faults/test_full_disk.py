"""Row 20 on real file systems: the command ends at a full disk, and resumes when there is space."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, run, start
from tests.fakes.nbia_faults import Fault
from tests.fakes.nbia_replies import Call, Reply
from tests.faults.scenario import NAME, Scenario

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX file systems")
SMALLER_THAN_AN_IMAGE = 60_000
LIMITED = f"""
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({SMALLER_THAN_AN_IMAGE},) * 2)
from tcia_covid.cli.signals import main
main()
"""


def _mounted(folder: Path, option: str) -> Iterator[Path]:
    folder.mkdir()
    mount = shutil.which("mount")
    command = [str(mount), "-t", "tmpfs", "-o", option, "tmpfs", str(folder)]
    if mount is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture
def small_disk(scenario: Scenario) -> Iterator[Path]:
    """The destination is a file system of 80 MB: enough, with what a download leaves free."""
    yield from _mounted(scenario.output, "size=80m")


@dataclass(kw_only=True)
class Filling(Fault):
    """Leaves the disk less room than an image needs, once the run is under way."""

    file: Path

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        free = shutil.disk_usage(self.file.parent).free
        self.file.write_bytes(bytes(max(0, free - SMALLER_THAN_AN_IMAGE)))
        return proceed()


def _arguments(scenario: Scenario) -> list[str]:
    where = ["--nbia-url", scenario.url, "--source", "nbia", *QUICK]
    return ["download", NAME, "-o", str(scenario.output), *where]


def _assert_reported(scenario: Scenario, code: int, err: str, reason: str, hint: str) -> None:
    assert code == 4, err
    assert "downloading 2 series" in err
    assert f"error: {reason} {scenario.output}" in err
    assert f"{hint}, then run the same command again" in err
    assert "Traceback" not in err
    assert not list(scenario.output.rglob("*.part"))
    assert scenario.files().items() <= scenario.expected().items()


def _assert_completed(scenario: Scenario, home: Path) -> None:
    again = run(*_arguments(scenario), home=home)
    assert again.returncode == 0, again.stderr
    assert scenario.files() == scenario.expected()
    assert scenario.tree.series_in_staging() == set()


def test_fault_20_a_full_file_system_ends_the_run_which_continues_once_there_is_space(
    scenario: Scenario, small_disk: Path, tmp_path: Path
) -> None:
    filler = small_disk / "filler"
    scenario.add(Filling("getImage", file=filler))
    result = run(*_arguments(scenario), home=tmp_path)
    reason = "no space left while writing to"
    _assert_reported(scenario, result.returncode, result.stderr, reason, "free some space")
    filler.unlink()
    _assert_completed(scenario, tmp_path)


@pytest.fixture
def few_inodes(scenario: Scenario) -> Iterator[Path]:
    """The destination is a file system with room for 100 files and folders."""
    yield from _mounted(scenario.output, "nr_inodes=100")


def test_fault_36_a_file_system_without_inodes_is_named(
    scenario: Scenario, few_inodes: Path, tmp_path: Path
) -> None:
    (few_inodes / "mine").mkdir()
    for number in range(82):
        (few_inodes / "mine" / str(number)).touch()
    result = run(*_arguments(scenario), home=tmp_path)
    reason = "no inodes left for new files in"
    hint = "remove files that are not needed"
    _assert_reported(scenario, result.returncode, result.stderr, reason, hint)
    shutil.rmtree(few_inodes / "mine")
    _assert_completed(scenario, tmp_path)


def test_fault_20_a_limit_of_file_size_ends_the_run_which_continues_without_it(
    scenario: Scenario, tmp_path: Path
) -> None:
    process = start(*_arguments(scenario), home=tmp_path, prefix=[sys.executable, "-c", LIMITED])
    _, err = process.communicate(timeout=60)
    reason = "a file has reached the permitted size in"
    _assert_reported(scenario, process.returncode, err, reason, "raise the limit (ulimit -f)")
    _assert_completed(scenario, tmp_path)
