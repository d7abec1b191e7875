"""`relayout` and `--layout` as a user runs them."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

import pytest

from tests.e2e.command import document, run
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_servers import NAME

pytestmark = pytest.mark.e2e
REGISTRY = ("--registry", "registry.yaml")


def images(home: Path) -> dict[str, str]:
    """Paths of images by MD5."""
    return {
        hashlib.md5(path.read_bytes()).hexdigest(): path.relative_to(home / "data").as_posix()
        for path in sorted((home / "data").rglob("*.dcm"))
    }


def test_download_relayout_and_download_again(archive: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")

    def run_json(*words: str, code: int = 0) -> dict[str, object]:
        url = {"TCIA_COVID_NBIA_URL": archive.base_url}
        ran = run(*words, *REGISTRY, "--json", home=tmp_path, **url)
        assert ran.returncode == code, ran.stderr
        return document(ran)

    download = ("download", NAME, "-o", "data", "--source", "nbia")
    run_json(*download)
    before = images(tmp_path)
    notes = (tmp_path / "data" / next(iter(before.values()))).with_name("notes.txt")
    notes.write_text("mine")
    requests = len(archive.requests)

    planned = run_json("relayout", "data", "--layout", "retriever", "--dry-run")
    assert images(tmp_path) == before
    done = run_json("relayout", "data", "--layout", "retriever")
    assert done["series"] == planned["series"]
    assert done["series"] == {"found": 6, "renamed": 6, "unchanged": 0, "skipped": 0}
    assert done["left_behind"] == [notes.relative_to(tmp_path / "data").as_posix()]
    assert notes.read_text() == "mine"
    after = images(tmp_path)
    assert after.keys() == before.keys()
    assert {path.rpartition("/")[2] for path in after.values()} == {"1-1.dcm", "1-2.dcm"}
    assert len(archive.requests) == requests, "nothing is downloaded"
    assert run_json("verify", "data")["damage"] == []
    with (tmp_path / "data" / "metadata.csv").open(newline="") as file:
        folders = {row["File Location"] for row in csv.DictReader(file)}
    assert folders == {f"./{path.rpartition('/')[0]}" for path in after.values()}

    assert run_json(*download, "--layout", "retriever")["notices"] == []
    (notice,) = run_json(*download)["notices"]  # type: ignore[misc]
    assert "6 series in data have the names of another layout than uid" in notice
    assert images(tmp_path) == after

    (tmp_path / "data" / next(iter(after.values()))).unlink()
    run_json("relayout", "data", "--layout", "uid", code=1)
    run_json(*download)
    assert images(tmp_path).keys() == before.keys()
    run_json("relayout", "data", "--layout", "uid")
    assert images(tmp_path) == before
    assert run_json("verify", "data")["outdated_reports"] == []


def test_a_relayout_without_a_layout_is_refused(tmp_path: Path) -> None:
    ran = run("relayout", "data", home=tmp_path)
    assert ran.returncode == 2
    assert "add --layout" in ran.stderr
