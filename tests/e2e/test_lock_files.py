"""Lock files and proofs of completeness, with the real command and an archive on loopback."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from tcia_covid.cli import config_file
from tcia_covid.cli.main import run
from tests.e2e import command as processes
from tests.e2e.command import document
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import NAME
from tests.fakes.scripted_server import closed_port

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(name="command")
def _command(
    archive: ArchiveServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs a command against the archive; `nbia` is another address of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(config_file, "user_folder", lambda: tmp_path / "user")
    for name, value in {"SOURCE": "nbia", "RETRY_WAIT": "0.01", "RETRIES": "1"}.items():
        monkeypatch.setenv(f"TCIA_COVID_{name}", value)

    def command(*words: str, nbia: str = archive.base_url) -> CompletedProcess[str]:
        monkeypatch.setenv("TCIA_COVID_NBIA_URL", nbia)
        capsys.readouterr()
        code = run(words)
        return CompletedProcess(words, code, *capsys.readouterr())

    return command


@pytest.fixture(name="offline")
def _offline(command: Command) -> Command:
    """Runs a command whose archive refuses connections."""
    nowhere = f"http://127.0.0.1:{closed_port()}"
    return lambda *words: command(*words, nbia=nowhere)


def edit(lock: Path, column: str, value: str, row: int = 0) -> str:
    """Change a value of a lock file; gives the series' UID."""
    with lock.open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[row][column] = value
    with lock.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return rows[row]["SeriesInstanceUID"]


@pytest.mark.parametrize("style", ["csv", "json"])
def test_a_lock_file_downloads_its_versions_and_proves_the_folder(
    command: Command, offline: Command, tmp_path: Path, style: str
) -> None:
    (tmp_path / "lock").write_text(command("series", NAME, "--format", style).stdout)
    downloaded = command("download", "lock", "--frozen", "-o", "data")
    assert downloaded.returncode == 0, downloaded.stderr
    proved = offline("verify", "data", "--against", "lock")
    assert proved.returncode == 0, proved.stderr
    assert "6 of 6 series of lock are complete in the version of the lock file" in proved.stdout


def test_a_changed_value_fails_and_the_rest_is_downloaded(command: Command, tmp_path: Path) -> None:
    lock = tmp_path / "lock.csv"
    lock.write_text(command("series", NAME, "--format", "csv").stdout)
    uid = edit(lock, "FileSize", "1")
    planned = document(command("plan", "lock.csv", "--frozen", "--json"))
    assert (planned["exit_code"], planned["series"]["selected"]) == (1, 5)
    failed = command("download", "lock.csv", "--frozen", "--json")
    assert failed.returncode == 1
    summary = document(failed)
    assert summary["series"]["complete"] == 5
    (failure,) = summary["failures"]
    assert (failure["SeriesInstanceUID"], failure["reason"]) == (uid, "changed")
    assert "FileSize is " in failure["detail"]
    assert command("download", "lock.csv").returncode == 0  # a mere list of series
    assert command("verify", "--against", "lock.csv").returncode == 1


def test_a_frozen_download_needs_lock_files(command: Command, tmp_path: Path) -> None:
    refused = command("download", NAME, "--frozen")
    assert refused.returncode == 2
    assert "SMALL, and --frozen needs the version of each series" in refused.stderr
    (tmp_path / "list.txt").write_text(command("series", NAME, "--format", "txt").stdout)
    refused = command("download", "list.txt", "--frozen")
    assert refused.returncode == 2
    assert not (tmp_path / "tcia-data").exists()


def test_two_sites_prove_the_same_bytes(archive: ArchiveServer, tmp_path: Path) -> None:
    """In processes of their own, as users run them."""

    def output(*words: str, nbia: str = archive.base_url) -> str:
        variables = {"TCIA_COVID_NBIA_URL": nbia, "TCIA_COVID_SOURCE": "nbia"}
        ran = processes.run(*words, home=tmp_path, **variables)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    output("download", NAME, "-o", "first")
    lock = output("series", NAME, "--md5", "-o", "first", "--format", "csv")
    (tmp_path / "lock.csv").write_text(lock)
    output("download", "lock.csv", "--frozen", "-o", "second")
    nowhere = f"http://127.0.0.1:{closed_port()}"
    assert "series_hash" in output("verify", "second", "--against", "lock.csv", nbia=nowhere)
    assert output("series", NAME, "--md5", "-o", "second", "--format", "csv") == lock


def test_other_bytes_never_reach_the_folder(command: Command, tmp_path: Path) -> None:
    assert command("download", NAME, "-o", "first").returncode == 0
    lock = tmp_path / "lock.csv"
    lock.write_text(command("series", NAME, "--md5", "-o", "first", "--format", "csv").stdout)
    uid = edit(lock, "series_hash", "0" * 32)
    failed = command("download", "lock.csv", "--frozen", "-o", "second", "--json")
    assert failed.returncode == 1
    (failure,) = document(failed)["failures"]
    assert (failure["SeriesInstanceUID"], failure["reason"]) == (uid, "changed")
    assert "its series_hash is " in failure["detail"]
    assert not list((tmp_path / "second").rglob(f"{uid}/*.dcm"))
    failed = command("download", "lock.csv", "--frozen", "-o", "first", "--json")
    assert [item["reason"] for item in document(failed)["failures"]] == ["changed"]
    assert command("verify", "first", "--against", "lock.csv").returncode == 1


def test_hashes_are_of_complete_series_only(command: Command) -> None:
    assert command("download", NAME, "--max-series", "4", "-o", "data").returncode == 0
    listed = command("series", NAME, "--md5", "-o", "data", "--json")
    assert listed.returncode == 1
    found = json.loads(listed.stdout)
    assert [len(found["series"]), len(found["failures"])] == [4, 2]
    assert all(len(series["series_hash"]) == 32 for series in found["series"])
    assert {failure["reason"] for failure in found["failures"]} == {"missing"}
    assert command("series", NAME, "--md5").returncode == 2
    assert command("series", NAME, "-o", "data").returncode == 2


def test_verify_names_what_is_missing_extra_and_changed(
    command: Command, offline: Command, archive: ArchiveServer, tmp_path: Path
) -> None:
    uids = sorted(series.uid for series in archive.corpus)
    missing, changed, extra = uids[0], uids[1], uids[2]
    assert command("download", *uids[1:]).returncode == 0
    named = [uid for uid in uids if uid != extra]
    (tmp_path / "list.tcia").write_text("ListOfSeriesToDownload=\n" + "\n".join(named))
    image = min((tmp_path / "tcia-data").rglob(f"{changed}/*.dcm"))
    image.unlink()
    checked = offline("verify", "--against", "list.tcia", "--json")
    assert checked.returncode == 1
    against = document(checked)["against"]
    assert against["series"] == {
        "expected": 5,
        "complete": 3,
        "missing": 1,
        "extra": 1,
        "changed": 1,
    }
    found = {mismatch["state"]: mismatch for mismatch in against["mismatches"]}
    assert {state: item["SeriesInstanceUID"] for state, item in found.items()} == {
        "missing": missing,
        "changed": changed,
        "extra": extra,
    }
    assert found["changed"]["images"] == [image.stem]
    (tmp_path / "checked.json").write_text(checked.stdout)
    wanted = document(command("series", "checked.json", "--json"))["series"]
    assert sorted(series["SeriesInstanceUID"] for series in wanted) == [missing, changed]
    text = offline("verify", "tcia-data", "--against", "list.tcia", extra).stdout
    assert "of 6 series of list.tcia, " in text
    assert f"missing series {missing}: " in text
    assert f"1 image missing: {image.stem}" in text


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["verify", "--patient", "A"], "--patient has no effect without --against TARGET"),
        (["verify", "tcia-data", "b"], "'verify' checks one folder, and b is a second one"),
        (["verify", "--against", NAME], f"'{NAME}' is not in the catalog, and 'verify --against'"),
    ],
)
def test_what_verify_cannot_compare_is_refused(
    command: Command, words: list[str], problem: str
) -> None:
    assert command("download", NAME, "--max-series", "1").returncode == 0
    refused = command(*words)
    assert refused.returncode == 2
    assert problem in refused.stderr
