"""`status` as a user runs it: how far a download is, what is missing, and until it is complete."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, document, run, start
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, NotGranted
from tests.fakes.nbia_servers import NAME
from tests.waiting import wait_for


def options(archive: ArchiveServer) -> list[str]:
    return ["--nbia-url", archive.base_url, "--source", "nbia", "-o", "data", *QUICK]


def test_what_is_missing_is_a_manifest_that_download_takes(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    uid = min(series.uid for series in archive.corpus)
    faults.add(
        NotGranted(("getImage", "getSingleImage", "getImageWithMD5Hash"), series=uid, times=None)
    )
    assert run("download", NAME, *options(archive), home=tmp_path).returncode == 1
    shown = run("status", "data", home=tmp_path)
    assert "83." in shown.stdout, shown.stdout
    assert "5 of 6 series" in shown.stdout
    assert "of the whole collection" in shown.stdout, "as the archive listed it"
    assert "missing: 1 series; listed by --missing" in shown.stdout
    parsed = document(run("status", "data", "--missing", "--json", home=tmp_path))
    assert [series["SeriesInstanceUID"] for series in parsed["missing"]] == [uid]
    faults.clear()
    for kind in ("csv", "txt", "tcia"):
        listed = run("status", "data", "--missing", "--format", kind, home=tmp_path)
        assert listed.returncode == 0
        assert listed.stdout.count(uid) == 1
        assert "1 series missing" in listed.stderr
        (tmp_path / f"missing.{kind}").write_text(listed.stdout, encoding="utf-8")
        planned = run("plan", f"missing.{kind}", "--json", *options(archive)[:6], home=tmp_path)
        assert document(planned)["series"]["selected"] == 1
    assert run("download", "missing.tcia", *options(archive), home=tmp_path).returncode == 0
    assert (
        document(run("status", "data", "--json", home=tmp_path))["collections"][0]["missing_files"]
        == []
    )


def test_of_the_first_patients_both_percentages_are_shown(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    done = run("download", NAME, "--first-patients", "1", *options(archive), home=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = run("status", "data", home=tmp_path).stdout.splitlines()
    assert any(line.startswith("  100.0 %: ") and "last request" in line for line in lines)
    assert any(" of 6 series" in line and "whole collection" in line for line in lines)
    (collection,) = document(run("status", "data", "--json", home=tmp_path))["collections"]
    assert collection["request"]["percent"] == 100.0
    assert 0 < collection["whole"]["percent"] < 100


def test_of_one_shard_what_all_shards_should_download_is_missing(
    archive: ArchiveServer, tmp_path: Path
) -> None:
    where = options(archive)
    first = run("download", NAME, "--shard", "1/2", *where, home=tmp_path)
    assert first.returncode == 0, first.stderr
    done = document(run("status", "data", "--json", home=tmp_path))["collections"][0]["series"]
    assert 0 < done["complete"] < 6
    assert done["missing"] == 6 - done["complete"]
    shown = run("status", "data", home=tmp_path).stdout
    assert "all 2 shards" in shown
    second = run("download", NAME, "--shard", "2/2", *where, home=tmp_path)
    assert second.returncode == 0, second.stderr
    assert "100.0 %: 6 of 6 series" in run("status", "data", home=tmp_path).stdout


def test_watching_a_complete_folder_ends_at_once(archive: ArchiveServer, tmp_path: Path) -> None:
    assert run("download", NAME, *options(archive), home=tmp_path).returncode == 0
    watched = run("status", "data", "--watch", home=tmp_path)
    assert watched.returncode == 0
    assert "100.0 %: 6 of 6 series" in watched.stdout
    refused = run("status", "data", "--watch", "--json", home=tmp_path)
    assert refused.returncode == 2


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_watching_ends_with_ctrl_c(archive: ArchiveServer, faults: Faults, tmp_path: Path) -> None:
    faults.add(NotGranted(("getImage", "getSingleImage", "getImageWithMD5Hash"), times=None))
    run("download", NAME, *options(archive), home=tmp_path)
    process = start("status", "data", "--watch", home=tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    wait_for(lambda: process.poll() is not None)
