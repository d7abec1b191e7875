"""`download` on a terminal: bars where they make sense, and a terminal that is closed."""

from __future__ import annotations

import os
import re
import select
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.command import COMMAND, QUICK, environment, run
from tests.e2e.tmux import PROMPT, needs_tmux, terminal
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Fault, Faults, SlowStart, Status
from tests.fakes.nbia_replies import Call, Reply
from tests.fakes.nbia_servers import NAME
from tests.fakes.scripted_server import closed_port
from tests.waiting import LONG, wait_for

if sys.platform != "win32":
    import fcntl
    import termios

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX terminals")


def test_on_a_terminal_bars_are_drawn_and_removed(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    faults.add(SlowStart("getImage", seconds=0.5, times=1))
    where = ["--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml"]
    shown = on_a_terminal([*COMMAND, "download", NAME, *where], tmp_path)
    assert " % " in shown
    assert "of 6 series" in shown
    last = shown.rpartition("\x1b[J")[2]
    assert "6 of 6 series complete" in last


def test_a_closed_terminal_does_not_end_a_run(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    seen = threading.Event()
    faults.add(Waiting("getImage", until=seen, times=None))
    faults.add(Status("getImage", code=503))
    where = ["--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml"]
    process, terminal = open_terminal([*COMMAND, "download", NAME, *where, *QUICK], tmp_path)
    wait_for(lambda: archive.count("getImage"), process)
    os.close(terminal)
    seen.set()
    assert process.wait(LONG) == 0
    assert len(list((tmp_path / "tcia-data").rglob("*.dcm"))) == 12


@pytest.mark.parametrize(
    ("columns", "variable", "value"),
    [(80, "CI", "true"), (80, "TERM", "dumb"), (80, "TCIA_COVID_NO_PROGRESS", "1"), (0, "X", "")],
)
def test_a_terminal_that_cannot_show_bars_gets_plain_lines(
    archive: ArchiveServer, tmp_path: Path, columns: int, variable: str, value: str
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    where = ["--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml"]
    command = [*COMMAND, "download", NAME, *where]
    shown = on_a_terminal(command, tmp_path, columns, **{variable: value})
    assert "\x1b" not in shown
    assert "downloading 6 series" in shown


@pytest.mark.parametrize(
    "command",
    [
        "list",
        "series ricord-1a --max-series 5",
        "series COVID-19-NY-SBU --max-series 20",
        "plan ricord-1a ar",
        "info ar",
        "help targets",
        "download covid-19-arr",
    ],
)
def test_no_word_is_broken_at_any_width(tmp_path: Path, command: str) -> None:
    def plain(columns: int) -> str:
        shown = on_a_terminal([*COMMAND, *command.split()], tmp_path, columns)
        # Of the progress display on a slow machine, and what other programs change in between.
        return re.sub(r"\x1b\[[?0-9]*[A-Za-z]|working \.\.\. \d+ s|[\d.]+\s+\w+\s+free", "", shown)

    whole = plain(2000)
    words = {*re.findall(r"\w+", whole), "SeriesInstanceUID"}
    for columns in (40, 60, 80):
        shown = plain(columns)
        assert {*re.findall(r"(?<!…)\b\w+", shown)} <= words
        long = [line for line in shown.splitlines() if len(line) > columns]
        assert all(len(line.split()) == 1 or "://" in line for line in long), long


def test_at_80_columns_tables_keep_what_one_chooses_by(tmp_path: Path) -> None:
    listed = on_a_terminal([*COMMAND, "list"], tmp_path).splitlines()
    assert listed[0].split() == ["collection", "modality", "size", "about"]
    assert "CR, DX" in listed[5]
    assert "COVID-positive, annotated" in listed[5]
    series = on_a_terminal([*COMMAND, "series", "ricord-1a", "--max-series", "2"], tmp_path)
    assert series.split()[:6] == ["patient", "modality", "images", "size", "description", "series"]
    assert re.search(r"  CT +2 +944\.2 kB  SCOUT CHEST +…997846\r?\n", series)
    assert "'--format txt' prints every SeriesInstanceUID whole" in series


def test_no_color_changes_nothing_since_no_color_is_used(
    archive: ArchiveServer, faults: Faults, tmp_path: Path
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    faults.add(SlowStart("getImage", seconds=0.5, times=1))
    where = ["--source", "nbia", "--nbia-url", archive.base_url, "--registry", "registry.yaml"]
    shown = on_a_terminal([*COMMAND, "download", NAME, *where], tmp_path, NO_COLOR="1")
    assert " % " in shown
    assert not re.findall(r"\x1b\[[0-9;]*m", shown)


LARGE = ["download", "COVID-19-NY-SBU", "--source", "nbia", "--no-space-check", *QUICK]
QUESTION = "start this download? [y/N]: "


def dialog(home: Path, answer: str, *arguments: str, **more: str) -> tuple[int, str]:
    """The exit code of a download that answers a question, and what the terminal showed."""
    nbia = f"http://127.0.0.1:{closed_port()}/v4"
    command = [*COMMAND, *LARGE, "--nbia-url", nbia, *arguments]
    process, terminal = open_terminal(command, home, 200, **more)
    shown = ""
    while select.select([terminal], [], [], LONG)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        shown += piece.decode()
        if shown.endswith(QUESTION) and answer:
            os.write(terminal, answer.encode())
            answer = ""
    code = process.wait(LONG)
    os.close(terminal)
    return code, shown


def test_a_large_download_has_to_be_confirmed_at_a_terminal(tmp_path: Path) -> None:
    code, shown = dialog(tmp_path, "n\n")
    assert code == 2
    assert shown.count(QUESTION) == 1
    assert "17,950 series, 562,376 images, 511.5 GB" in shown
    assert re.search(r"disk: .* free", shown)
    assert re.search(r"time: about 14 h 1\d min", shown)
    assert "error: nothing was downloaded" in shown
    assert not (tmp_path / "tcia-data").exists()
    code, shown = dialog(tmp_path, "y\n")
    assert (code, shown.count(QUESTION)) == (3, 1), "it continues, and fails at the closed port"


@needs_tmux
@pytest.mark.parametrize("key", ["C-c", "C-d"])
def test_the_error_has_its_own_line_where_a_key_ends_the_question(tmp_path: Path, key: str) -> None:
    with terminal(tmp_path, 120) as tmux:
        nbia = f"http://127.0.0.1:{closed_port()}/v4"
        tmux.command([*COMMAND, *LARGE, "--nbia-url", nbia])
        tmux.wait(lambda screen: QUESTION.rstrip() in screen[-1])
        tmux.keys(key)
        ended = tmux.wait(lambda screen: screen[-1] == PROMPT)
    assert any(line.startswith("error: interrupted") for line in ended)


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--yes"], {}),
        (["-q"], {}),
        (["--json"], {}),
        (["--max-series", "5"], {}),
        (["--confirm-above", "1TB"], {}),
        ([], {"TCIA_COVID_YES": "1"}),
        ([], {"TCIA_COVID_CONFIRM_ABOVE": "600GB"}),
    ],
)
def test_no_confirmation_is_requested(
    tmp_path: Path, arguments: list[str], more: dict[str, str]
) -> None:
    code, shown = dialog(tmp_path, "n\n", *arguments, **more)
    assert (code, QUESTION in shown) == (3, False)


def test_without_a_terminal_no_confirmation_is_requested(tmp_path: Path) -> None:
    nbia = f"http://127.0.0.1:{closed_port()}/v4"
    ran = run(*LARGE, "--nbia-url", nbia, home=tmp_path)
    assert (ran.returncode, QUESTION in ran.stderr) == (3, False)


@dataclass(kw_only=True)
class Waiting(Fault):
    """The answer waits for something."""

    until: threading.Event

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        self.until.wait(LONG)
        return proceed()


def open_terminal(
    command: list[str], home: Path, columns: int = 80, **more: str
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a command on a terminal of its own."""
    variables = {"CI": "", "TERM": "xterm", "COLUMNS": "", **more}
    terminal, end = os.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(
        command, stdin=end, stdout=end, stderr=end, cwd=home, env=environment(home, **variables)
    )
    os.close(end)
    return process, terminal


def test_the_demo_breaks_its_lines_between_words(tmp_path: Path) -> None:
    shown = on_a_terminal([*COMMAND, "demo", "shown"], tmp_path, 60).replace("\r", "")
    *sentences, _ = shown.split("next:")
    long = [line for line in "".join(sentences).splitlines() if len(line) > 60]
    assert all(" " not in line.strip() for line in long)
    assert "-m tcia_covid download COVID-19-AR --first-patients 1 -o data\n" in shown


def on_a_terminal(command: list[str], home: Path, columns: int = 80, **more: str) -> str:
    """What a command writes to a terminal."""
    process, terminal = open_terminal(command, home, columns, **more)
    shown = b""
    while select.select([terminal], [], [], LONG)[0]:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break  # Linux says so at a terminal's end
        if not piece:
            break
        shown += piece
    process.wait(LONG)
    os.close(terminal)
    return shown.decode()
