"""`adopt` as a user runs it: in a process of its own, against the demonstration archive."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tcia_covid.demo.walkthrough import REGISTRY as DEMO_REGISTRY
from tests.e2e.command import QUICK, document, run
from tests.fakes.nbia import ArchiveServer
from tests.fakes.other_downloaders import flat, idc_index, retriever_descriptive, tcia_utils
from tests.fakes.synthetic import synthetic_corpus

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture
def command(server: ArchiveServer, tmp_path: Path) -> Command:
    """Run a command against the archive, in an empty home."""

    def call(name: str, *arguments: str | Path) -> CompletedProcess[str]:
        urls = ("--nbia-url", server.base_url, "--source", "nbia", "--registry", DEMO_REGISTRY)
        options = (*urls, *QUICK, "--no-fsync", "--no-progress")
        return run(name, *arguments, *options, home=tmp_path)

    return call


@pytest.fixture
def have(tmp_path: Path, server: ArchiveServer) -> Path:
    """DEMO-CT as NBIA's retriever leaves it."""
    folder = tmp_path / "have"
    retriever_descriptive(folder, [item for item in server.corpus if item.collection == "DEMO-CT"])
    return folder


def test_a_folder_is_adopted_verified_and_not_downloaded_again(
    command: Command, have: Path, server: ArchiveServer
) -> None:
    done = command("adopt", have, "--collection", "demo-ct", "-o", "data")
    assert done.returncode == 0, done.stderr
    assert "4 series imported into data: 53 images" in done.stdout
    assert "hard-linked" in done.stdout
    assert command("download", "DEMO-CT", "-o", "data").returncode == 0
    assert server.count("getImage") == 0
    checked = run("verify", have.parent / "data", "--deep", home=have.parent)
    assert checked.returncode == 0, checked.stdout


def test_the_document_has_the_outcome_of_each_series(command: Command, have: Path) -> None:
    victim = min(have.rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes()[:-100])
    flat(have / "private", synthetic_corpus(patients=1, series_per_patient=1))
    done = command("adopt", have, "-o", "data", "--json")
    result = document(done)
    assert (done.returncode, result["exit_code"], result["command"]) == (1, 1, "adopt")
    assert result["series"]["found"] == 5
    assert result["series"]["adopted"] == 3
    assert result["series"]["foreign"] == 1
    assert [item["file"] for item in result["damaged"]] == [victim.relative_to(have).as_posix()]
    assert result["foreign"][0]["Collection"] is None
    assert result["incomplete"][0]["reason"] == "incomplete"


def test_what_is_left_is_named_with_what_to_do(command: Command, have: Path) -> None:
    min(have.rglob("*.dcm")).unlink()
    done = command("adopt", have, "-o", "data")
    assert done.returncode == 1
    assert "incomplete: series" in done.stdout
    assert "staged for 'download'" in done.stdout
    assert "'download' with --output data downloads only what is missing" in done.stderr
    assert command("download", "DEMO-CT", "-o", "data").returncode == 0


def test_moving_empties_the_folder_of_images(command: Command, have: Path) -> None:
    done = command("adopt", have, "--move", "-o", "data")
    assert done.returncode == 0, done.stderr
    assert not list(have.rglob("*.dcm"))
    assert list(have.rglob("metadata.csv"))
    assert command("adopt", have, "--move", "-o", "data").returncode == 0


def test_several_tools_folders_side_by_side(
    command: Command, tmp_path: Path, server: ArchiveServer
) -> None:
    series = [item for item in server.corpus if item.collection == "DEMO-MULTI"]
    idc_index(tmp_path / "all" / "idc", series[:8])
    tcia_utils(tmp_path / "all", series[4:])
    done = command("adopt", tmp_path / "all", "--copy", "-o", "data")
    assert done.returncode == 0, done.stderr
    assert "15 series imported" in done.stdout
    assert "12 duplicate files not imported" in done.stdout


def test_an_archive_that_is_down_ends_with_3_and_loses_nothing(tmp_path: Path, have: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        options = ("--nbia-url", url, "--idc-url", url, *QUICK)
        done = run("adopt", have, "-o", "data", *options, home=tmp_path)
    assert done.returncode == 3
    assert "no archive" in done.stderr
    assert len(list(have.rglob("*.dcm"))) == 53


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no folder"),
        (["have", "--link", "--move"], "exclude each other"),
        (["have", "--collection", "DEMO-CTT"], "did you mean 'DEMO-CT'?"),
        ([], "Missing argument 'DIR'"),
    ],
)
def test_what_makes_no_sense_is_refused(
    command: Command, have: Path, arguments: list[str], said: str
) -> None:
    done = command("adopt", *arguments)
    assert done.returncode == 2
    assert said.lower() in done.stderr.lower()


def test_its_own_output_is_refused(command: Command, have: Path) -> None:
    command("adopt", have, "-o", "data")
    shutil.rmtree(have)
    done = command("adopt", "data/DEMO-CT", "-o", "data")
    assert done.returncode == 2
    assert "own folders" in done.stderr
