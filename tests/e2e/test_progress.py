"""The progress display in a real terminal emulator: sizes, Ctrl-Z, Ctrl-C, and without one."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.core.units import display_width
from tests.e2e.command import COMMAND, run
from tests.e2e.tmux import PROMPT, Tmux, needs_tmux, terminal
from tests.fakes.nbia import ArchiveServer
from tests.fakes.nbia_faults import Faults, SlowStart, Trickle
from tests.fakes.nbia_servers import NAME
from tests.fakes.synthetic import synthetic_corpus

BAR = re.compile(r"\[=*#*-*\]  +\d+ %")
ROW = re.compile(r" +\d+ % .*(患者|\.\.\.)")
PATIENTS = [f"患者山田太郎{number:02d}" for number in range(8)]


@pytest.fixture(name="slow")
def _slow(tmp_path: Path) -> Iterator[ArchiveServer]:
    """An archive that takes minutes for its 16 series."""
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    corpus = synthetic_corpus(
        NAME, patients=PATIENTS, series_per_patient=2, images_per_series=2, rows=64, columns=64
    )
    faults = Faults()
    faults.add(Trickle("getImage", size=100, seconds=0.2, times=None))
    with ArchiveServer(corpus, interceptor=faults, compression=1) as server:
        yield server


def download(server: ArchiveServer) -> list[str]:
    where = ["--source", "nbia", "--nbia-url", server.base_url, "--registry", "registry.yaml"]
    return [*COMMAND, "download", NAME, *where]


def bars(screen: list[str]) -> list[str]:
    return [line for line in screen if BAR.search(line)]


def rows(screen: list[str]) -> list[str]:
    return [line for line in screen if ROW.match(line)]


def is_drawn(screen: list[str]) -> bool:
    return len(bars(screen)) == 1 and len(rows(screen)) > 0


def wait_for_progress(tmux: Tmux) -> list[str]:
    """Wait for a drawing that is newer than the screen is now."""
    before = bars(tmux.screen())
    return tmux.wait(lambda screen: is_drawn(screen) and bars(screen) != before)


def assert_one_drawing(tmux: Tmux, columns: int) -> None:
    """The screen has one bar and each series once, and lines fit."""
    screen = wait_for_progress(tmux)
    drawn = screen[screen.index(bars(screen)[0]) :]
    assert len(rows(screen)) == len(rows(drawn))
    assert len(set(rows(drawn))) == len(rows(drawn)) or columns < 50
    assert max(map(display_width, drawn)) < columns


@needs_tmux
def test_after_every_change_of_size_there_is_one_drawing(
    slow: ArchiveServer, tmp_path: Path
) -> None:
    with terminal(tmp_path, 100) as tmux:
        tmux.command(download(slow))
        assert_one_drawing(tmux, 100)
        for columns, lines in [(60, 24), (40, 24), (40, 9), (200, 9), (120, 30), (53, 12)]:
            tmux.resize(columns, lines)
            time.sleep(0.3)
            assert_one_drawing(tmux, columns)
        assert "more" in tmux.screen()[-1]


@needs_tmux
def test_ctrl_z_leaves_nothing_and_fg_draws_again(slow: ArchiveServer, tmp_path: Path) -> None:
    with terminal(tmp_path, 80) as tmux:
        tmux.command(download(slow))
        wait_for_progress(tmux)
        tmux.keys("C-z")
        stopped = tmux.wait(lambda screen: screen[-1] == PROMPT and "Stopped" in screen[-2])
        assert not bars(stopped)
        assert not rows(stopped)
        tmux.resize(60)
        tmux.keys("echo a$((40 + 2))", "Enter")
        tmux.wait(lambda screen: "a42" in screen)
        tmux.keys("fg", "Enter")
        assert_one_drawing(tmux, 60)
        shown = tmux.screen()
        assert shown.index("a42") < shown.index(bars(shown)[0])
        tmux.keys("C-z")
        tmux.wait(lambda screen: screen[-1] == PROMPT and not bars(screen))


@needs_tmux
def test_in_the_background_nothing_is_drawn(slow: ArchiveServer, tmp_path: Path) -> None:
    with terminal(tmp_path, 80) as tmux:
        tmux.command(download(slow))
        wait_for_progress(tmux)
        tmux.keys("C-z")
        tmux.wait(lambda screen: screen[-1] == PROMPT and not bars(screen))
        tmux.keys("bg", "Enter")
        before = slow.count("getImage")
        time.sleep(0.8)
        assert not bars(tmux.screen())
        tmux.keys("fg", "Enter")
        wait_for_progress(tmux)
        assert slow.count("getImage") >= before


@needs_tmux
def test_ctrl_c_leaves_only_the_result(slow: ArchiveServer, tmp_path: Path) -> None:
    with terminal(tmp_path, 80) as tmux:
        tmux.command(download(slow))
        wait_for_progress(tmux)
        tmux.resize(50)
        tmux.keys("C-c")
        ended = tmux.wait(lambda screen: screen[-1] == PROMPT)
        assert not bars(ended)
        assert not rows(ended)
        assert any("interrupted" in line for line in ended)
        assert "^C" not in "".join(ended)


@needs_tmux
def test_waiting_for_a_list_is_shown(
    tmp_path: Path, archive: ArchiveServer, faults: Faults
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    faults.add(SlowStart("getSeries", seconds=8.0, times=1))
    with terminal(tmp_path, 80) as tmux:
        tmux.command(download(archive))
        tmux.wait(lambda screen: f"asking NBIA for the list of {NAME} ... 2 s" in screen)
        tmux.keys("C-c")
        ended = tmux.wait(lambda screen: screen[-1] == PROMPT)
        assert "asking" not in "".join(ended)
        faults.clear()


def test_in_a_pipe_waiting_for_a_list_is_named_within_three_seconds(
    tmp_path: Path, archive: ArchiveServer, faults: Faults
) -> None:
    (tmp_path / "registry.yaml").write_text(f"collections: {{{NAME}: {{format: DICOM}}}}\n")
    faults.add(SlowStart("getSeries", seconds=3.5, times=1))
    ran = run(*download(archive)[len(COMMAND) :], home=tmp_path)
    assert ran.returncode == 0
    assert ran.stderr.startswith(f"asking NBIA for the list of {NAME} ... ")
    assert "\x1b" not in ran.stderr + ran.stdout
