"""Row 27: broken input of users, through the real command."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.command import run
from tests.faults.scenario import NAME, Scenario

UID = "1.3.6.1.4.1.14519.5.2.1.9999.103.3144050301958868320974875419705"

BROKEN = {
    "uid.tcia": (f"manifestVersion=3.0\nListOfSeriesToDownload=\n{UID}\n1.2..3\n", "line 4"),
    "uid.txt": (f"{UID}\n1.2.3.l\n", "line 2"),
    "column.csv": ("Name,Value\na,b\n", "SeriesInstanceUID"),
    "cell.csv": (f"SeriesInstanceUID,Modality\n{UID},CT\nx,CT\n", "line 3"),
    "empty.txt": ("\n\n", "empty.txt"),
    "old.tcia": ("downloadServerUrl=x\n", "old.tcia"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_fault_27_a_broken_manifest_is_refused_with_line_and_reason(
    tmp_path: Path, name: str
) -> None:
    content, message = BROKEN[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    result = run("download", name, home=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert len(result.stderr.strip().splitlines()) <= 3


def test_fault_27_an_unusual_but_readable_manifest_is_accepted(
    scenario: Scenario, tmp_path: Path
) -> None:
    uid = scenario.series.uid
    odd = f"\ufeffdownloadServerUrl=x\r\nListOfSeriesToDownload=\r\n\r\n{uid},\r\n {uid} \r\n"
    manifest = tmp_path / "odd.tcia"
    manifest.write_bytes(odd.encode())
    summary = scenario.download(str(manifest))
    assert (summary.exit_code, summary.selected, summary.complete) == (0, 1, 1)


REGISTRIES = {
    "collections: [\n": "line 2",
    "collections:\n  X:\n    format: JPEG\n": "line 3",
    "collections:\n  X:\n    format: DICOM\n    pateints: 3\n": "line 4",
    "collections:\n  X:\n    format: DICOM\n    images: -3\n": "line 4",
    "collections:\n  X: " + "[" * 100_000: "line 2",
    "collections:\n  X: " + "- " * 100_000: "line 2",
}


@pytest.mark.parametrize("content", REGISTRIES, ids=lambda content: content[:60])
def test_fault_27_a_broken_registry_is_refused_with_its_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "mine.yaml").write_text(content, encoding="utf-8")
    result = run("list", "--registry", "mine.yaml", home=tmp_path)
    assert result.returncode == 2
    assert REGISTRIES[content] in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [("jobs: many\n", "line 1"), ("\njbos: 3\n", "line 2"), ("- a\n", "line 1")],
)
def test_fault_27_a_broken_configuration_is_refused_with_its_line(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / "tcia-covid.yaml").write_text(content, encoding="utf-8")
    result = run("plan", NAME, home=tmp_path)
    assert result.returncode == 2
    assert message in result.stderr


def test_fault_27_a_series_that_no_archive_knows_is_named(scenario: Scenario) -> None:
    summary = scenario.download("1.2.3.4.5", scenario.series.uid)
    assert summary.exit_code == 1
    assert [(failure.series, failure.reason) for failure in summary.failures] == [
        ("1.2.3.4.5", "not-available")
    ]
    assert summary.complete == 1
