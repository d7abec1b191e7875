"""`download` and related commands as a user runs them, against an archive on loopback."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tcia_covid.cli.commands.demo import NEXT
from tcia_covid.demo.walkthrough import REGISTRY
from tests.e2e.command import QUICK, SIGNALS, document, run, start
from tests.fakes.corpus import Corpus
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, SlowStart, Status
from tests.fakes.nbia_servers import NAME, Authority
from tests.fakes.scripted_server import closed_port
from tests.waiting import LONG, SOON, wait_for

SECRET = "hunter2"

Ran = Any


@pytest.fixture(name="command")
def _command(archive: ArchiveServer, tmp_path: Path) -> Callable[..., Ran]:
    """Runs a command against the archive; the output folder is `data` in the current folder."""
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    variables = {
        "TCIA_COVID_NBIA_URL": archive.base_url,
        "TCIA_COVID_SOURCE": "nbia",
        "TCIA_COVID_REGISTRY": "registry.yaml",
        "TCIA_COVID_OUTPUT": "data",
        "TCIA_COVID_RETRY_WAIT": "0.01",
        "TCIA_COVID_RETRIES": "2",
    }

    def command(*arguments: str, **more: str) -> Ran:
        return run(*arguments, home=tmp_path, **{**variables, **more})

    return command


def test_a_download_reports_on_both_streams(command: Callable[..., Ran]) -> None:
    ran = command("download", NAME)
    assert ran.returncode == 0
    assert ran.stdout.startswith("6 of 6 series complete in data: 12 images, ")
    assert "every image checked against the archive's MD5" in ran.stdout
    assert ran.stderr.startswith("downloading 6 series (12 images, ")


def test_a_download_as_json_has_one_document(command: Callable[..., Ran]) -> None:
    shown = document(command("download", NAME, "--json"))
    assert shown["series"]["complete"] == 6
    again = document(command("download", NAME, "--json"))
    assert again["series"] == {**shown["series"], "already_complete": 6}
    assert again["exit_code"] == 0


def test_quiet_prints_only_the_result_of_a_good_run(command: Callable[..., Ran]) -> None:
    for arguments in (["download", NAME], ["verify"]):
        ran = command(*arguments, "--quiet")
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith("6 of 6 series ")


@pytest.mark.parametrize("name", ["download", "adopt"])
def test_quiet_reports_a_file_of_the_user_that_was_moved_aside(
    command: Callable[..., Ran], tmp_path: Path, name: str
) -> None:
    (tmp_path / "data" / NAME).mkdir(parents=True)
    (tmp_path / "data" / NAME / "LICENSE.txt").write_text("mine")
    words = [NAME]
    if name == "adopt":
        command("download", NAME, TCIA_COVID_OUTPUT="have")
        words = ["have", "--source", "nbia"]
    ran = command(name, *words, "--quiet", "--json")
    aside = Path("data", NAME, "LICENSE.txt.moved-aside")
    assert (tmp_path / aside).read_text() == "mine"
    assert str(aside) in ran.stderr
    (notice,) = document(ran)["notices"]
    assert str(aside) in notice
    again = command(name, *words, "--quiet", "--json")
    assert (again.stderr, document(again)["notices"]) == ("", [])


def test_filters_choose_and_a_second_run_adds(command: Callable[..., Ran]) -> None:
    assert (
        document(command("download", NAME, "--json", "--first-patients", "1"))["series"]["selected"]
        == 2
    )
    shown = document(command("plan", NAME, "--json"))
    assert shown["series"] == {"selected": 6, "already_complete": 2, "partial": 0, "to_fetch": 4}
    rest = document(command("download", NAME, "--json"))
    assert (rest["series"]["complete"], rest["series"]["already_complete"]) == (6, 2)


def test_a_download_can_be_inspected_verified_and_repaired(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    command("download", NAME)
    (collection,) = document(command("status", "--json"))["collections"]
    assert collection["series"]["complete"] == 6
    assert "complete: 6 series" in command("status", "data").stdout
    victim = min((tmp_path / "data").rglob("*.dcm"))
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    found = command("verify")
    assert found.returncode == 1
    assert f"changed: {victim.relative_to(tmp_path / 'data').as_posix()}" in found.stdout
    assert "error: 1 file in data failed verification" in found.stderr
    assert document(command("verify", "--json"))["exit_code"] == 1
    assert command("download", NAME).returncode == 0
    assert command("verify", "--deep", "--online").returncode == 0


def test_failed_series_are_listed_and_the_others_are_complete(
    command: Callable[..., Ran], archive: ArchiveServer, faults: Faults
) -> None:
    victim = min(archive.corpus, key=lambda series: series.uid)
    names = ("getImage", "getSingleImage", "getImageWithMD5Hash")
    faults.add(Status(names, code=404, times=None, series=victim.uid))
    ran = command("download", NAME)
    assert ran.returncode == 1
    assert ran.stdout.startswith("5 of 6 series complete")
    assert victim.uid in ran.stdout
    assert "error: 1 of 6 series is not complete" in ran.stderr
    shown = document(command("download", NAME, "--json"))
    assert [failure["SeriesInstanceUID"] for failure in shown["failures"]] == [victim.uid]
    assert shown["exit_code"] == 1
    assert "failed: 1 series" in command("status").stdout


def test_an_archive_that_cannot_be_reached_ends_with_3(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{closed_port()}/nbia-api/services/v4"
    ran = run(
        *("download", "COVID-19-AR", "--source", "nbia", "--nbia-url", url, *QUICK, "--json"),
        home=tmp_path,
    )
    assert ran.returncode == 3
    assert document(ran)["error"]["type"] == "UnreachableError"
    assert len([line for line in ran.stderr.splitlines() if "retry in" not in line]) <= 3


@pytest.mark.parametrize("fault", ["refused", "name", "proxy", "TLS"])
def test_fault_43_a_network_that_never_worked_ends_with_3_and_one_sentence(
    tmp_path: Path, fault: str
) -> None:
    url = f"http://127.0.0.1:{closed_port()}"
    quick, variables = ["--retry-wait", "0.01"], {}
    with ExitStack() as stack:
        if fault == "refused":
            quick = []
        elif fault == "name":
            url = "https://archive.invalid"
        elif fault == "proxy":
            url, variables = "https://archive.invalid", {"HTTPS_PROXY": url}
        else:
            tls = Authority().server_context()
            server = ArchiveServer(Corpus([], []), tls=tls)
            url = stack.enter_context(server).base_url.rpartition("/nbia-api")[0]
        where = ["--nbia-url", f"{url}/nbia-api/services/v4", "--idc-url", url]
        started = time.monotonic()
        # Any machine has the space for one patient.
        what = ["COVID-19-AR", "--first-patients", "1"]
        ran = run("download", *what, *where, *quick, home=tmp_path, **variables)
        seconds = time.monotonic() - started
    assert ran.returncode == 3
    assert seconds < 20  # 10 s, and what a busy machine takes to start
    (error,) = [line for line in ran.stderr.splitlines() if line.startswith("error:")]
    assert error.startswith("error: no archive gave a usable response (IDC: ")
    assert "failed:" not in ran.stderr
    assert not ran.stdout
    status = run("status", "tcia-data", "--json", home=tmp_path)
    assert not document(status)["collections"][0]["failures"]


def test_a_file_in_the_place_of_the_folder_ends_with_4(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("in the way")
    ran = command("download", NAME)
    assert ran.returncode == 4
    assert "data" in ran.stderr
    assert not ran.stdout


def test_logs_record_the_run(command: Callable[..., Ran], tmp_path: Path) -> None:
    assert command("download", NAME, "--log-file", "log", "--events", "events").returncode == 0
    lines = events_in(tmp_path)
    types = [line["type"] for line in lines]
    assert types[:2] == ["command-started", "run-started"]
    assert types[-2:] == ["run-finished", "command-finished"]
    assert sum(line["type"] == "series-finished" for line in lines) == 6
    log = (tmp_path / "log").read_text()
    assert "downloading 6 series" in log
    assert "DEBUG" in log
    assert "finished: 6 of 6 series complete" in log


def test_logs_record_the_damage_that_verify_found(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    command("download", NAME)
    victim = min((tmp_path / "data").rglob("*.dcm"))
    victim.write_bytes(b"x" + victim.read_bytes()[1:])
    assert command("verify", "--log-file", "log", "--events", "events").returncode == 1
    file = victim.relative_to(tmp_path / "data").as_posix()
    (found,) = [line for line in events_in(tmp_path) if line["type"] == "damage-found"]
    assert (found["file"], found["reason"]) == (file, "changed")
    log = (tmp_path / "log").read_text()
    assert f"changed: {file}" in log
    assert "verify ended with exit code 1" in log


@pytest.mark.parametrize(
    ("arguments", "code", "error"),
    [
        (("list",), 0, None),
        (("info", "COVID-19-AR"), 0, None),
        (("cite", "COVID-19-AR"), 0, None),
        (("status", "nowhere"), 2, "RequestError"),
        (("download", "NOBODYS"), 2, "UnknownCollectionError"),
        (("download", NAME, "--nbia-url", "http://127.0.0.1:9/v4"), 3, "UnreachableError"),
    ],
)
def test_logs_record_how_a_command_ended(
    command: Callable[..., Ran], tmp_path: Path, arguments: tuple[str, ...], code: int, error: str
) -> None:
    assert command(*arguments, "--log-file", "log", "--events", "events").returncode == code
    lines = events_in(tmp_path)
    assert (lines[0]["type"], lines[0]["command"]) == ("command-started", arguments[0])
    last = lines[-1]
    assert (last["type"], last["command"], last["exit_code"]) == (
        *("command-finished", arguments[0]),
        code,
    )
    assert (last["error"] and last["error"]["type"]) == error
    log = (tmp_path / "log").read_text()
    assert f"{arguments[0]} ended with exit code {code}" in log


@pytest.mark.skipif(sys.platform != "linux", reason="names that are no text")
def test_a_folder_whose_name_is_not_text_works_everywhere(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    name = os.fsdecode(b"d\xff")
    ran = command("download", NAME, "-o", name, "--json", "--log-file", "log", "--events", "events")
    assert ran.returncode == 0, ran.stderr
    assert document(ran)["output"] == name
    assert name in [event.get("output") for event in events_in(tmp_path)]
    assert "d\\udcff" in (tmp_path / "log").read_text()


def test_errors_before_the_run_are_in_the_log_with_their_traceback(
    command: Callable[..., Ran], tmp_path: Path
) -> None:
    assert command("download", "no.tcia", "--log-file", "log").returncode == 2
    log = (tmp_path / "log").read_text()
    assert "there is no file no.tcia" in log
    assert "Traceback" in log


def test_fault_29_no_output_contains_a_credential(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    (tmp_path / ".netrc").write_text(f"machine 127.0.0.1 login me password {SECRET}\n")
    (tmp_path / ".netrc").chmod(0o600)
    url = archive.base_url.replace("http://", f"http://me:{SECRET}@")
    page = f"<html>see {url}?token={SECRET}</html>".encode()
    everywhere = ("--source", "nbia", "--nbia-url", url, "--registry", "registry.yaml", *QUICK)
    logged = ("--log-file", "log", "--events", "events", "--verbose")
    for fault in (
        Status("getSeries", code=500, body=page, times=None),
        Status("getImage", code=403, body=page, times=None),
    ):
        faults.add(fault)
        for extra in ((), ("--json",)):
            ran = run("download", NAME, *everywhere, *logged, *extra, home=tmp_path)
            assert ran.returncode != 0
            assert SECRET not in ran.stdout + ran.stderr
        faults.clear()
    for kept in ("log", "events"):
        assert SECRET not in (tmp_path / kept).read_text()
    assert not [path for path in (tmp_path / "tcia-data").rglob("*") if SECRET in str(path)]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("endpoint", ["getSeries", "getImage"])
def test_fault_22_a_signal_ends_the_run_in_time_and_says_how_to_resume(
    archive: ArchiveServer,
    faults: Faults,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    endpoint: str,
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    faults.add(SlowStart(endpoint, seconds=LONG, times=None))
    where = ("--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml")
    process = start("download", NAME, *where, "--json", home=tmp_path)
    wait_for(lambda: archive.count(endpoint) > 0, process)
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    assert process.returncode == code
    shown = json.loads(out)
    assert shown["exit_code"] == code
    assert shown["error"]["type"] == "InterruptedRunError"
    assert "the same command" in err
    assert "Traceback" not in err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_fault_22_a_wait_that_no_signal_interrupts_does_not_delay_the_program(
    tmp_path: Path,
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, socket, threading\n"
        "def getaddrinfo(*_, **__):\n"
        "    pathlib.Path('asked').touch()\n"
        f"    threading.Event().wait({LONG})\n"
        "socket.getaddrinfo = getaddrinfo\n"
    )
    process = start(
        *("download", "COVID-19-AR", "--source", "nbia"), home=tmp_path, PYTHONPATH=str(tmp_path)
    )
    wait_for((tmp_path / "asked").exists, process)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 143
    assert "error: interrupted" in err


def test_a_closed_pipe_does_not_end_a_run(archive: ArchiveServer, tmp_path: Path) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    where = ("--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml")
    process = start("download", NAME, *where, home=tmp_path)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    err = process.stderr.read()
    process.stderr.close()
    assert process.wait(LONG) == 0
    assert "Traceback" not in err
    assert len(list((tmp_path / "tcia-data").rglob("*.dcm"))) == 12


def test_the_demo_runs(tmp_path: Path) -> None:
    ran = run("demo", "shown", home=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "intact\n\nthe files are in shown" in ran.stdout
    last = [line.strip() for line in ran.stdout.splitlines()[-3:]]
    called = f"{sys.executable} -m tcia_covid"
    assert last == [f"{called} {words}" for words in NEXT]
    shown = document(run("demo", "again", "--json", home=tmp_path))
    assert shown["exit_code"] == 0
    assert "1. download;" in " ".join(shown["lines"])
    assert not any("\n" in line for line in shown["lines"])
    twice = run("demo", "shown", home=tmp_path)
    assert (twice.returncode, twice.stdout) == (2, "")
    assert "the demo ran in shown before" in twice.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_the_demo_archive_runs_until_it_is_interrupted(tmp_path: Path) -> None:
    process = start("demo", "--serve", home=tmp_path)
    assert process.stdout
    url = process.stdout.readline().strip()
    where = ("--source", "nbia", "--nbia-url", url, "--registry", str(REGISTRY))
    assert document(run("download", "DEMO-CT", *where, "--json", home=tmp_path))["exit_code"] == 0
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == 130
    assert "error" not in err
    assert err.endswith("the archive has stopped\n")


def test_a_port_that_is_in_use_is_reported(archive: ArchiveServer, tmp_path: Path) -> None:
    ran = run("demo", "--serve", "--port", str(archive.port), home=tmp_path)
    assert ran.returncode == 2
    assert f"cannot use port {archive.port}" in ran.stderr


def events_in(folder: Path) -> list[dict[str, Any]]:
    """What `--events events` wrote."""
    lines = (folder / "events").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
