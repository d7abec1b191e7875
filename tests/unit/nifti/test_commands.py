"""Collections of volumes, and supporting files, from the command line."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.cli.main import run
from tests.e2e.command import SIGNALS, start
from tests.fakes import nifti as fake
from tests.fakes.ascli import FakeAscli, is_running
from tests.fakes.portal import FakePortal
from tests.fakes.scripted_server import closed_port
from tests.waiting import LONG, SOON

SECRET = "c2VjcmV0"
PACKAGE = f"https://faspex.example.org/aspera/faspex/public/package?context={SECRET}"
CSV = b"patient,age\n" * 100
Captured = pytest.CaptureFixture[str]


@pytest.fixture
def site() -> Iterator[FakePortal]:
    with FakePortal() as running:
        images = running.download("Images (NIfTI)", url=PACKAGE)
        running.file("table.csv", CSV)
        table = running.download("Clinical data", url=running.address("table.csv"))
        running.collection("ct-images-in-covid-19", images, table)
        yield running


@pytest.fixture
def ascli(tmp_path: Path) -> FakeAscli:
    running = FakeAscli(tmp_path)
    running.package(PACKAGE, {f"CT/{name}": data for name, data in fake.whole().items()})
    return running


@pytest.fixture
def common(tmp_path: Path, site: FakePortal, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The options that make it a run of this test."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / "registry.yaml"
    path.write_text(
        f"collections:\n  {fake.NAME}:\n    format: NIfTI\n    slug: ct-images-in-covid-19\n"
        f"    page: https://www.cancerimagingarchive.net/collection/ct-images-in-covid-19/\n"
        f"    patients: 3\n    volumes: 4\n    aliases: [ct-images]\n"
        f'    aspera: {{packages: 1, file_pattern: "{fake.PATTERN}"}}\n'
    )
    quick = ["--retries", "1", "--retry-wait", "0.01"]
    return ["--registry", str(path), "--site-url", site.url, "--no-fsync", *quick]


def document(capsys: Captured) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_packages_are_downloaded_verified_and_shown(
    ascli: FakeAscli,
    common: list[str],
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", ascli.path)
    data = str(tmp_path / "data")
    assert run(["download", "ct-images", "-o", data, "--json", *common]) == 0
    found = document(capsys)
    assert found["series"]["complete"] == 3
    assert found["images"] == {"expected": 4, "stored": 4}
    assert found["sources"]["aspera"] == 3
    assert run(["verify", data, "--deep", "--json"]) == 0
    assert document(capsys)["images"]["intact"] == 4
    assert run(["status", data, "--json", *common[:2]]) == 0
    (inventory,) = document(capsys)["collections"]
    assert (inventory["series"]["complete"], inventory["series"]["expected"]) == (3, 3)
    assert run(["download", "ct-images", "-o", data, *common]) == 0
    assert "3 of 3 series complete" in capsys.readouterr().out


def test_volumes_are_verified_without_requests(
    common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    folder, data = fake.write(tmp_path / "have", fake.whole()), str(tmp_path / "data")
    assert run(["adopt", str(folder), "--collection", fake.NAME, "-o", data, *common[:2]]) == 0
    capsys.readouterr()
    nobody = ["--nbia-url", f"http://127.0.0.1:{closed_port()}", "--retries", "0"]
    assert run(["verify", data, "--online", "--json", *nobody]) == 0
    online = document(capsys)["online"]
    assert (online["no_hash"], online["no_response"]) == (3, 0)


def test_without_ascli_the_exit_code_is_2_and_the_commands_are_shown(
    common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    log = tmp_path / "events"
    arguments = ["download", "ct-images", "-o", str(tmp_path / "data"), "--events", str(log)]
    assert run([*arguments, *common]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert "gem install aspera-cli" in err
    assert "  ascli faspex5 packages receive '--url=@file:" in err
    assert "error: CT Images in COVID-19 is published as NIfTI" in err
    assert SECRET not in err + log.read_text()
    assert run([*arguments[:4], "--json", "--quiet", *common]) == 2
    commands = document(capsys)["error"]["commands"]
    assert all(f"  {command}" in err for command in commands)
    assert len(commands) == 4


def test_supporting_files_are_downloaded_without_ascli(
    common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    data = tmp_path / "data"
    assert run(["download", "ct-images", "-o", str(data), "--supporting", *common]) == 2
    assert (data / fake.NAME / "supporting" / "table.csv").read_bytes() == CSV
    assert "1 supporting file (" in capsys.readouterr().err


@pytest.mark.parametrize("command", [["plan"], ["download", "--dry-run"]])
def test_packages_are_planned_without_a_request(
    command: list[str], site: FakePortal, common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    data = str(tmp_path / "data")
    folder = fake.write(tmp_path / "have", {fake.name(1): fake.volume(1)})
    assert run(["adopt", str(folder), "--collection", fake.NAME, "-o", data, *common[:2]]) == 0
    capsys.readouterr()
    assert run([*command, "ct-images", "-o", data, *common]) == 0
    out = capsys.readouterr().out
    assert "ascli, which downloads its packages, is not on PATH" in out
    assert "https://www.cancerimagingarchive.net/collection/ct-images" in out
    assert run([*command, "ct-images", "-o", data, "--json", *common]) == 0
    planned = document(capsys)
    assert planned["series"]["selected"] == 3
    assert planned["images"] == {
        "selected": 4,
        "already_complete": 1,
        "partial": 0,
        "to_fetch": 3,
    }
    assert not site.heads
    assert run([*command, "ct-images", "--patient", "0001", "-o", data, *common]) == 2


@pytest.mark.parametrize(
    "arguments", [["series", "ct-images"], ["download", "ct-images", "COVID-19-AR"]]
)
def test_a_request_for_its_dicom_names_the_command_that_works(
    arguments: list[str], common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    options = [] if arguments[0] == "series" else ["-o", str(tmp_path / "data")]
    assert run([*arguments, *options, *common[:2]]) == 2
    err = capsys.readouterr().err
    assert f"'tcia-covid download \"{fake.NAME}\"' alone" in err
    assert "https://www.cancerimagingarchive.net/collection/ct-images" in err
    assert run(["info", "ct-images", *common[:2]]) == 0
    assert f'tcia-covid download "{fake.NAME}"' in capsys.readouterr().out


def test_a_folder_of_volumes_is_adopted(
    common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    files = {**fake.whole(), "readme.txt": b"x", fake.name(9): b"<html>"}
    folder = fake.write(tmp_path / "have", files)
    data = str(tmp_path / "data")
    options = [*common[:2], "--no-fsync"]
    arguments = ["adopt", str(folder), "--collection", fake.NAME, "-o", data, *options]
    assert run([*arguments, "--json"]) == 1
    found = document(capsys)
    assert (found["patients"]["adopted"], found["volumes"]["adopted"]) == (3, 4)
    assert sorted(file["file"] for file in found["rejected"]) == ["readme.txt", fake.name(9)]
    assert found["lost"] == [fake.name(9)]
    for file in ("readme.txt", fake.name(9)):
        (folder / file).unlink()
    capsys.readouterr()
    assert run(arguments) == 0
    assert "4 volumes already complete before" in capsys.readouterr().out
    assert run(["verify", data, "--deep"]) == 0


def test_adopt_reports_rejected_volumes_and_what_to_do(
    common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    folder, data = fake.write(tmp_path / "have", fake.whole()), str(tmp_path / "data")
    arguments = ["--collection", fake.NAME, "-o", data, "--copy", *common[:2]]
    assert run(["adopt", str(folder), *arguments, "--layout", "descriptive", "--jobs", "1"]) == 0
    assert "--layout have no effect" in capsys.readouterr().err
    other = fake.write(tmp_path / "other", {fake.name(1): fake.volume(99)})
    assert run(["adopt", str(other), *arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert "differ from imported volumes" in err
    assert (found["mode"], found["placed"], found["not_removed"]) == ("copy", {}, 0)
    assert (found["volumes"]["in_layout"], found["volumes"]["expected"]) == (4, 4)
    assert (found["patients"]["in_layout"], found["patients"]["expected"]) == (3, 3)
    cut = fake.write(tmp_path / "cut", {fake.name(3): fake.volume(3)[:-9]})
    assert run(["adopt", str(cut), *arguments, "--quiet"]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert f"{fake.name(3)}: damaged" in err
    assert f"'tcia-covid download \"{fake.NAME}\"' downloads what is missing" in err


def test_only_supporting_files_are_downloaded(
    site: FakePortal, common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    data = tmp_path / "data"
    arguments = ["download", "ct-images", "-o", str(data), "--supporting-only", *common]
    assert run([*arguments, "--json"]) == 0
    found = document(capsys)
    (notice,) = found["notices"]
    assert "1 supporting file (1.2 kB" in notice
    (supporting,) = found["supporting"]
    assert (supporting["fetched"], supporting["already_complete"], supporting["failed"]) == (
        1,
        0,
        0,
    )
    (file,) = supporting["files"]
    assert (file["file"], file["bytes"], file["fetched"]) == ("table.csv", len(CSV), True)
    assert (data / fake.NAME / "supporting" / "table.csv").read_bytes() == CSV
    asked = len(site.heads)
    capsys.readouterr()
    assert run(arguments) == 0
    out, err = capsys.readouterr()
    assert "1 supporting file (1.2 kB" in out
    assert "supporting" not in err
    assert len(site.heads) == asked
    assert run(["status", str(data), "--json", *common[:2]]) == 0
    (inventory,) = document(capsys)["collections"]
    assert inventory["supporting"] == {"files": 1, "bytes": len(CSV), "missing": []}
    (data / fake.NAME / "supporting" / "table.csv").write_bytes(b"mine")
    assert run(["verify", str(data)]) == 1
    assert "'download --supporting' with the same target" in capsys.readouterr().err


def test_missing_supporting_files_are_reported(
    site: FakePortal, common: list[str], tmp_path: Path, capsys: Captured
) -> None:
    site.files.clear()
    data = str(tmp_path / "data")
    assert run(["download", "ct-images", "-o", data, "--supporting-only", *common]) == 1
    err = capsys.readouterr().err
    assert "error: 1 supporting file is missing" in err
    assert "--accept-listed" not in err


def test_supporting_files_are_downloaded_with_the_images(
    ascli: FakeAscli,
    common: list[str],
    tmp_path: Path,
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", ascli.path)
    data = tmp_path / "data"
    assert run(["download", "ct-images", "-o", str(data), "--supporting", *common]) == 0
    assert "1 supporting file (" in capsys.readouterr().out
    assert (data / fake.NAME / "supporting" / "table.csv").exists()
    assert (data / fake.NAME / "0001").is_dir()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_an_interrupt_ends_ascli_in_time(
    ascli: FakeAscli, common: list[str], tmp_path: Path, number: signal.Signals, code: int
) -> None:
    ascli.behave({"deaf": True, "before": LONG})
    command = ["download", "ct-images", "-o", tmp_path / "data", *common]
    with start(*command, home=tmp_path, PATH=ascli.path) as process:
        ascli.wait_for_run()
        time.sleep(0.2)
        process.send_signal(number)
        _, err = process.communicate(timeout=SOON)
    assert process.returncode == code
    assert "interrupted" in err
    assert not is_running(ascli.runs[0]["pid"])


def test_the_link_is_in_no_process_list(
    ascli: FakeAscli, common: list[str], tmp_path: Path
) -> None:
    ascli.behave({"before": 1})
    command = ["download", "ct-images", "-o", tmp_path / "data", *common]
    with start(*command, home=tmp_path, PATH=ascli.path) as process:
        ascli.wait_for_run()
        proc = Path("/proc")
        if proc.is_dir():
            ids = (process.pid, ascli.runs[0]["pid"])
            lines = [(proc / str(number) / "cmdline").read_bytes() for number in ids]
            assert all(lines)
            assert not any(SECRET.encode() in line for line in lines)
        process.communicate(timeout=LONG)
    assert process.returncode == 0
