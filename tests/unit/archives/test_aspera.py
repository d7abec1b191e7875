from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.archives.aspera import (
    AscliTransfer,
    TransferLock,
    error_from_ascli,
    find_ascli,
    install_commands,
    receive_command,
)
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ConnectionLostError,
    InterruptedRunError,
    LockedError,
    NoSpaceError,
    NotAvailableError,
    PermissionDeniedError,
    RequestError,
    TciaCovidError,
    TlsError,
    UnreachableError,
)
from tests.fakes.ascli import FakeAscli, is_running
from tests.waiting import LONG, soon, wait_for

SECRET = "eyJwYXNzY29kZSI6ImFiYyJ9"
URL = f"https://faspex.example.org/aspera/faspex/public/package?context={SECRET}"
FILES = {"CT/a.bin": b"a" * 5000, "CT/sub/b.bin": b"b" * 7000, "CT.sums": b"sums"}


@pytest.fixture
def ascli(tmp_path: Path) -> FakeAscli:
    fake = FakeAscli(tmp_path)
    fake.package(URL, FILES)
    return fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "received"
    made.mkdir()
    return made


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[TransferLock]:
    with TransferLock(tmp_path / "package.lock", "the package") as lock:
        yield lock


def transfer(
    ascli: FakeAscli, folder: Path, lock: TransferLock, **options: object
) -> AscliTransfer:
    return AscliTransfer(
        str(ascli.program), URL, folder, lock, options.pop("stop", CancelToken()), **options
    )


def received(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_a_package_is_received_completely(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    sizes: list[int] = []
    running = transfer(ascli, folder, lock, on_bytes=sizes.append)
    running.run()
    assert received(folder) == FILES
    assert sum(sizes) == running.received == 12004


def test_the_link_is_on_no_command_line(ascli: FakeAscli, folder: Path, lock: TransferLock) -> None:
    transfer(ascli, folder, lock, max_rate=1_000_000).run()
    (run,) = ascli.runs
    assert SECRET not in " ".join(run["argv"])
    assert run["argv"] == [
        *("faspex5", "packages", "receive", "--url=@env:TCIA_COVID_PACKAGE_URL"),
        f"--to-folder={folder}",
        '--ts=@json:{"target_rate_kbps":8000}',
    ]


def test_single_paths_are_received(ascli: FakeAscli, folder: Path, lock: TransferLock) -> None:
    transfer(ascli, folder, lock, paths=["/CT/sub/b.bin"]).run()
    assert received(folder) == {"b.bin": FILES["CT/sub/b.bin"]}


def test_a_transfer_resumes_an_earlier_one(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    ascli.behave({"stop_at": 1}, {})
    with pytest.raises(UnreachableError, match="Data transfer timeout") as caught:
        transfer(ascli, folder, lock).run()
    assert caught.value.retryable
    again = transfer(ascli, folder, lock)
    again.run()
    assert received(folder) == FILES
    assert again.received < 12004


def test_warnings_are_passed_on_without_secrets(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    lines: list[str] = []
    output = [
        f"\x1b[33mWARN\x1b[0m: about {URL}",
        "Time: 00:01 =--- 5%\rTime: 00:02",
        "x" * 100_000,
    ]
    ascli.behave({"say": output})
    transfer(ascli, folder, lock, on_line=lines.append).run()
    assert len(lines) == 1
    assert lines[0].startswith("WARN: about https://faspex.example.org/")
    assert SECRET not in lines[0]


def test_a_package_that_is_gone_is_not_available(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    running = transfer(ascli, folder, lock)
    running.url = "https://faspex.example.org/other"
    with pytest.raises(NotAvailableError, match="404 Not Found") as caught:
        running.run()
    assert caught.value.exit_code == 3


def test_cancellation_ends_ascli_at_once(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    ascli.behave({"before": LONG})
    stop = CancelToken()

    def stop_it() -> None:
        ascli.wait_for_run()
        stop.set()

    threading.Thread(target=stop_it).start()
    with soon(), pytest.raises(InterruptedRunError):
        transfer(ascli, folder, lock, stop=stop).run()
    (run,) = ascli.runs
    assert run["group"] == run["pid"]
    assert not is_running(run["pid"])


def test_an_ascli_that_ignores_signals_is_killed(
    ascli: FakeAscli, folder: Path, lock: TransferLock
) -> None:
    ascli.behave({"deaf": True, "before": LONG})
    stop = CancelToken()

    def stop_later() -> None:
        ascli.wait_for_run()
        time.sleep(0.3)
        stop.set()

    threading.Thread(target=stop_later).start()
    with pytest.raises(InterruptedRunError):
        transfer(ascli, folder, lock, stop=stop).run()
    assert not is_running(ascli.runs[0]["pid"])


def test_silence_ends_at_the_timeout(ascli: FakeAscli, folder: Path, lock: TransferLock) -> None:
    ascli.behave({"before": LONG})
    with pytest.raises(ConnectionLostError, match="neither wrote nor printed anything") as caught:
        transfer(ascli, folder, lock, timeout=0.3).run()
    assert caught.value.retryable


def test_a_program_that_cannot_be_started_is_named(folder: Path, lock: TransferLock) -> None:
    running = AscliTransfer("/nowhere/ascli", URL, folder, lock, CancelToken())
    with pytest.raises(RequestError, match="/nowhere/ascli cannot be started"):
        running.run()


_HOLD = """
import os, sys
from pathlib import Path
from tcia_covid.archives.aspera import AscliTransfer as Transfer
from tcia_covid.archives.aspera import TransferLock
from tcia_covid.core.cancellation import CancelToken as Stop
program, folder, path = sys.argv[1:]
with TransferLock(Path(path), "the package") as lock:
    Transfer(program, "x", Path(folder), lock, Stop()).run()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors are not inherited there")
def test_an_ascli_that_outlives_its_run_keeps_the_package_locked(
    ascli: FakeAscli, folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "package.lock"
    ascli.behave({"before": LONG})
    command = [sys.executable, "-c", _HOLD, str(ascli.program), str(folder), str(path)]
    with subprocess.Popen(command) as run:
        ascli.wait_for_run()
        run.kill()
    with pytest.raises(LockedError), TransferLock(path, "the package"):
        pass
    pid = ascli.runs[0]["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: not is_running(pid))
    with TransferLock(path, "the package"):
        pass


@pytest.mark.parametrize(
    ("lines", "kind", "code"),
    [
        (
            ["ERROR: Other(RuntimeError): No Aspera transfer module or SDK found.", "Refer to x"],
            RequestError,
            2,
        ),
        (["ERROR: Other: no FASP installation found"], RequestError, 2),
        (["ERROR: Network: getaddrinfo: Name or service not known"], UnreachableError, 3),
        (
            ["ERROR: Transfer: Server aborted session: Session initiation failed"],
            UnreachableError,
            3,
        ),
        (["ERROR: SSL: certificate verify failed"], TlsError, 3),
        (["ERROR: Rest: faspex.example.org 403 Forbidden"], NotAvailableError, 3),
        (["ERROR: Rest: Not authorized"], NotAvailableError, 3),
        (["ERROR: Transfer: No space left on device"], NoSpaceError, 4),
        (
            ["ERROR: Other(Errno::EACCES): Permission denied @ dir_s_mkdir"],
            PermissionDeniedError,
            4,
        ),
        (["E, [2025-02-27T01:56:51.404963 #404] ERROR -- : Internal"], ConnectionLostError, 3),
        (["ERROR: Argument: Missing mandatory option: username"], RequestError, 2),
        (["ERROR: Tool: Bad faspex5 public link, missing context in query"], RequestError, 2),
        (["something else"], ConnectionLostError, 3),
        ([], ConnectionLostError, 3),
    ],
)
def test_failures_become_errors_of_this_program(
    lines: list[str], kind: type[TciaCovidError], code: int
) -> None:
    error = error_from_ascli(1, lines, "/data")
    assert type(error) is kind
    assert error.exit_code == code
    assert error.hint


def test_the_reason_is_the_last_error_that_was_printed() -> None:
    lines = ["ERROR: first", "ERROR: second", "Use --log-level=debug to get more details."]
    assert "second" in error_from_ascli(1, lines, "/data").message
    assert "exit code 3" in error_from_ascli(3, [], "/data").message
    assert "SIGKILL" in error_from_ascli(-9, [], "/data").message
    assert "signal 99" in error_from_ascli(-99, [], "/data").message


def test_ascli_is_found_on_the_path(
    ascli: FakeAscli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ascli() is None
    monkeypatch.setenv("PATH", ascli.path)
    assert find_ascli() == str(ascli.program)


def test_the_commands_for_people_can_be_typed() -> None:
    assert receive_command("https://x.example/p?context=a&b", "my data") == (
        "ascli faspex5 packages receive '--url=https://x.example/p?context=a&b' "
        "'--to-folder=my data'"
    )
    assert install_commands()[0].startswith("gem install aspera-cli")
