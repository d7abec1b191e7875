"""Row 29: no credential, token or signed URL in any output, file or file name."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, environment, run
from tests.fakes.nbia_faults import Answer, Redirect, Status
from tests.faults.scenario import NAME, Scenario
from tests.waiting import wait_for

SECRET = "hunter2sesame"
EVERYTHING = ["--verbose", "--log-file", "run.log", "--events", "events.jsonl", "--json"]


def _arguments(url: str) -> list[str]:
    return ["download", NAME, "-o", "data", "--source", "nbia", "--nbia-url", url, *QUICK]


def _said(home: Path, result: subprocess.CompletedProcess[str]) -> str:
    """All output, and the content and name of every file that the run left."""
    files = [path for path in home.rglob("*") if path.is_file() and ".netrc" not in path.name]
    contents = [path.read_bytes().decode("utf-8", "replace") for path in files]
    return "\n".join([result.stdout, result.stderr, *map(str, files), *contents])


def _with_secret(url: str) -> str:
    return url.replace("http://", f"http://user:{SECRET}@")


FAULTS = {
    "nothing": list,
    "503": lambda: [Status("getImage", code=503, times=None)],
    "401": lambda: [Status("getCollectionValues", code=401, times=None)],
    "echo": lambda: [
        Status(
            "getCollectionValues",
            code=500,
            body=f"cannot GET https://a.b/c?token={SECRET}&x=1 as http://u:{SECRET}@h/".encode(),
            times=None,
        )
    ],
    "form": lambda: [Status("getImage", code=403, body=f"password={SECRET}".encode(), times=None)],
    "zip": lambda: [
        Answer("getImage", body=f"token={SECRET}".encode(), times=None),
        Answer("getSOPInstanceUIDs", body=f'{{"api_key": "{SECRET}"}}'.encode(), times=None),
    ],
    "signed redirect": lambda: [
        Redirect(
            "getCollectionValues",
            location=f"http://127.0.0.1:9/bucket/key?X-Amz-Signature={SECRET}",
            times=None,
        )
    ],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_29_a_secret_in_the_url_is_shown_nowhere(
    scenario: Scenario, tmp_path: Path, fault: str
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    scenario.add(*FAULTS[fault]())
    result = run(*_arguments(_with_secret(scenario.url)), *EVERYTHING, home=home)
    # NBIA that refuses every ZIP with 503 gives single images.
    assert (result.returncode == 0) == (fault in ("nothing", "503")), result.stderr
    assert SECRET not in _said(home, result)
    assert "Traceback" in result.stderr or result.returncode in (0, 1, 3)


def test_fault_29_a_secret_in_the_proxy_is_shown_nowhere(tmp_path: Path) -> None:
    proxy = f"http://user:{SECRET}@127.0.0.1:9"
    result = run(
        *_arguments("http://archive.example/nbia-api/services/v4"),
        *EVERYTHING,
        home=tmp_path,
        HTTP_PROXY=proxy,
        NO_PROXY="",
    )
    assert result.returncode == 3
    assert SECRET not in _said(tmp_path, result)


def test_fault_29_netrc_is_not_sent(scenario: Scenario, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    netrc = home / ".netrc"
    netrc.write_text(f"machine 127.0.0.1 login user password {SECRET}\n", encoding="utf-8")
    netrc.chmod(0o600)
    result = run(*_arguments(scenario.url), *EVERYTHING, home=home)
    assert result.returncode == 0
    sent = [value for request in scenario.server.requests for value in request.headers.values()]
    assert not [value for value in sent if value.startswith("Basic")]


def _command_lines(session: int) -> list[bytes]:
    """The command lines of a session's processes, as anybody may read them."""
    lines = []
    for entry in os.listdir("/proc"):  # noqa: PTH208
        with contextlib.suppress(OSError):
            if entry.isdigit() and os.getsid(int(entry)) == session:
                lines.append(Path("/proc", entry, "cmdline").read_bytes())
    return lines


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_fault_29_a_secret_from_the_environment_is_not_in_the_process_list(
    scenario: Scenario, tmp_path: Path
) -> None:
    scenario.add(Status("getImage", code=503, times=None))
    process = subprocess.Popen(
        [sys.executable, "-m", "tcia_covid", "download", NAME, "-o", "data", "--source", "nbia"],
        env=environment(tmp_path, TCIA_COVID_NBIA_URL=_with_secret(scenario.url)),
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_for(lambda: scenario.server.count("getImage") > 0, process)
        lines = _command_lines(process.pid)
        assert any(b"tcia_covid" in line for line in lines)
        assert not [line for line in lines if SECRET.encode() in line]
    finally:
        process.kill()
        process.wait()
