"""`files` as a user runs it, in a folder that `download` made."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

from tcia_covid.core.models import IMAGE_NAMES
from tests.e2e.command import document, run
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import NAME

pytestmark = pytest.mark.e2e


@pytest.fixture(name="home")
def _home(archive: ArchiveServer, tmp_path: Path) -> Path:
    """A folder in which `data` has six series of two images."""
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    ran = run(
        *("download", NAME, "-o", "data", "--registry", "registry.yaml", "--source", "nbia"),
        home=tmp_path,
        TCIA_COVID_NBIA_URL=archive.base_url,
    )
    assert ran.returncode == 0, ran.stderr
    return tmp_path


def test_files_in_every_format(home: Path) -> None:
    """One download serves all, since that is what takes the time."""
    listed = run("files", "data", home=home)
    assert listed.returncode == 0, listed.stderr
    paths = listed.stdout.splitlines()
    assert len(paths) == 12
    assert all((home / path).is_file() for path in paths)
    assert listed.stderr == "6 series in data\n"

    with_nul = run("files", "data", "--null", "-q", home=home)
    assert with_nul.stdout.split("\0") == [*paths, ""]
    assert with_nul.stderr == ""

    shown = document(run("files", "data", NAME, "--json", home=home))
    assert [file for series in shown["series"] for file in series["files"]] == paths
    assert document(run("files", "data", "--format", "json", home=home)) == shown

    table = list(
        csv.DictReader(run("files", "data", "--format", "csv", home=home).stdout.splitlines())
    )
    assert [row["path"] for row in table] == paths
    with (home / "data" / NAME / "images.csv").open(newline="") as file:
        rows = {row["SOPInstanceUID"]: row for row in csv.DictReader(file)}
    for row in table:
        assert {**rows[row["SOPInstanceUID"]], "path": row["path"]} == row
        assert row["path"].endswith(rows[row["SOPInstanceUID"]]["path"])
        assert all(row[name] for name in ("SOPClassUID", "InstanceNumber", "TransferSyntaxUID"))
    assert set(IMAGE_NAMES.values()) - {"StudyID"} < set(table[0])

    uid = shown["series"][2]["SeriesInstanceUID"]
    assert run("files", "data", uid, home=home).stdout.splitlines() == shown["series"][2]["files"]


def test_a_target_that_is_not_there_gives_exit_code_1(home: Path) -> None:
    ran = run("files", "data", "1.2.3.4", home=home)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "1.2.3.4" in ran.stderr
    assert "no complete series in data of 1 target:\n  1.2.3.4\n" in ran.stderr


def test_filters_that_exclude_everything_give_exit_code_2(home: Path) -> None:
    ran = run("files", "data", "--modality", "XA", home=home)
    assert (ran.returncode, ran.stdout) == (2, "")


@pytest.mark.skipif(sys.platform == "win32", reason="runs xargs")
def test_the_paths_are_for_xargs(home: Path) -> None:
    command = [sys.executable, "-m", "tcia_covid", "files", "data", "-0", "-q"]
    with subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE) as process:
        counted = subprocess.run(
            ["xargs", "-0", "wc", "-c"],
            stdin=process.stdout,
            cwd=home,
            capture_output=True,
            check=True,
        )
    assert len(counted.stdout.splitlines()) == 13
