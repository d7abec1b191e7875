"""Rows 21 to 23 and 30: processes that die, get a signal, or share a destination."""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.e2e.command import QUICK, SIGNALS, run, start
from tests.fakes.corpus import Corpus
from tests.fakes.nbia_faults import SlowStart, Stall, Trickle
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.waiting import LONG, SOON, wait_for

KILLS = int(os.environ.get("TCIA_COVID_TEST_KILLS", "40")) // 4
"""Of each of two trees."""
"""For each of two destinations."""
JOBS = 4
BUFFERED = 128 * 1024
"""Bytes that the archive has sent and the program has not read."""
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def _many(patients: int, images: int = 3) -> Corpus:
    return synthetic_corpus(
        NAME, patients=patients, series_per_patient=2, images_per_series=images, rows=64, columns=64
    )


@pytest.fixture(name="crowd")
def _crowd(tmp_path: Path) -> Iterator[Scenario]:
    with new_scenario(tmp_path, _many(12)) as ready:
        yield ready


def _arguments(scenario: Scenario, *more: str) -> list[str]:
    url = ["--nbia-url", scenario.url, "--source", "nbia"]
    return ["download", NAME, "-o", str(scenario.output), *url, *QUICK, *more]


def _images_sent(scenario: Scenario) -> int:
    names = ("getImage", "getSingleImage")
    return sum(request.sent for request in scenario.server.requests if request.endpoint in names)


def _kept(scenario: Scenario) -> dict[str, int]:
    """Bytes of the complete images in staging, by series."""
    folders = {item.uid: scenario.tree.staging / item.uid for item in scenario.corpus}
    return {
        uid: sum(path.stat().st_size for path in folder.rglob("*.dcm.staged"))
        for uid, folder in folders.items()
        if folder.exists()
    }


def _streamed_again(scenario: Scenario, since: int, kept: dict[str, int]) -> int:
    """Bytes that were here when a stream brought them again, since so many requests."""
    asked = [
        request for request in scenario.server.requests[since:] if request.endpoint == "getImage"
    ]
    return sum(min(item.sent, kept.get(item.params["SeriesInstanceUID"], 0)) for item in asked)


def _killed(scenario: Scenario, home: Path, sent: float, pause: float) -> None:
    """Start the command, and kill it `pause` seconds after the archive sent so many bytes."""
    before = _images_sent(scenario)
    process = start(*_arguments(scenario, "-j", str(JOBS), "--no-fsync"), home=home)
    while process.poll() is None and _images_sent(scenario) - before < sent:
        time.sleep(0.005)
    time.sleep(pause)
    process.kill()
    process.communicate()


def _add_users_files(scenario: Scenario) -> set[Path]:
    """Add a file of a user, and a hidden one, to each folder of the tree."""
    root = scenario.tree.root
    # A commit that was killed may leave images under their final names in staging.
    state = scenario.tree.state
    folders = {path.parent for path in root.rglob("*.dcm") if state not in path.parents}
    added = {folder / name for folder in folders for name in ("notes.txt", ".view")}
    for path in added:
        path.write_text("mine")
    return added


def _kill_again_and_again(folder: Path, seed: int) -> None:
    moments = random.Random(seed)
    corpus = synthetic_corpus(NAME, patients=20, images_per_series=20, rows=128, columns=128)
    with new_scenario(folder, corpus, compression=0) as scenario:
        scenario.add(Trickle("getImage", size=8192, seconds=0.002, times=None))
        expected, fill = scenario.expected(), 0
        first = run(*_arguments(scenario, "--max-series", "1"), home=folder)
        assert first.returncode == 0, first.stderr
        users_files = _add_users_files(scenario)
        most = JOBS * sum(image.size for image in scenario.series.images)
        for _ in range(KILLS):
            since, kept = len(scenario.server.requests), _kept(scenario)
            _killed(scenario, folder, moments.uniform(0, most), moments.uniform(0, 0.05))
            fill += _streamed_again(scenario, since, kept)
            assert all(expected[name] == md5 for name, md5 in scenario.files().items())
            users_files |= _add_users_files(scenario)
        scenario.heal()
        since, kept = len(scenario.server.requests), _kept(scenario)
        result = run(*_arguments(scenario), home=folder)
        assert result.returncode == 0, result.stderr
        fill += _streamed_again(scenario, since, kept)
        assert scenario.files() == expected
        assert {path.read_text() for path in users_files} == {"mine"}
        assert not [
            path for path in scenario.tree.state.rglob("*") if path.suffix in (".part", ".dcm")
        ]
        assert scenario.tree.series_in_staging() == set()
        images = [image.size for item in corpus for image in item.images]
        lost = _images_sent(scenario) - sum(images) - fill
        assert lost <= KILLS * JOBS * (max(images) + BUFFERED)


@pytest.mark.timeout(600)
def test_fault_21_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    """What is fetched again: an image a worker and kill, and what the chosen fill costs.

    The fill costs nothing where it asks for single images, and the images that were here where
    it requests the whole stream because most of it is missing. The server counts what it gave to
    the system, so that what is in the buffers of the connection is added.
    """
    seeds = [random.randrange(1 << 32) for _ in range(2)]
    print(f"seeds {seeds}")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_kill_again_and_again, folders, seeds))


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("when", ["click", "tcia_covid.cli.commands.list", "tcia_covid.catalog"])
def test_fault_22_a_signal_before_the_work_is_reported_like_one_during_it(
    tmp_path: Path, number: signal.Signals, code: int, when: str
) -> None:
    process = start("list", "--json", home=tmp_path, prefix=_signalled(number, when))
    out, err = process.communicate(timeout=20)
    assert process.returncode == code, err
    assert json.loads(out)["exit_code"] == code
    assert err.endswith("error: interrupted\nrun the same command again to continue\n")
    assert "Traceback" not in err


def _signalled(number: signal.Signals, when: str) -> list[str]:
    """The command, which a signal reaches when it imports a module."""
    text = f"""
import os, sys, tcia_covid.cli.signals
class Signalling:
    def find_spec(self, name, *_):
        if name == {when!r}:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), {int(number)})
sys.meta_path.insert(0, Signalling())
tcia_covid.cli.signals.main()
"""
    return [sys.executable, "-c", text]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
@pytest.mark.parametrize("where", ["list", "first byte", "body", "trickle"])
def test_fault_22_a_signal_stops_within_two_seconds_and_the_same_command_resumes(
    crowd: Scenario, tmp_path: Path, number: signal.Signals, code: int, where: str
) -> None:
    if where == "list":
        crowd.add(SlowStart("getSeries", seconds=LONG))
    elif where == "first byte":
        crowd.add(SlowStart("getImage", seconds=LONG, skip=6, times=None))
    elif where == "body":
        crowd.add(Stall("getImage", after=3000, seconds=LONG, skip=6, times=None))
    else:
        crowd.add(Trickle("getImage", size=10, seconds=0.2, skip=6, times=None))
    watched = "getSeries" if where == "list" else "getImage"
    process = start(*_arguments(crowd, "-j", "4"), home=tmp_path)
    wait_for(lambda: crowd.server.count(watched) >= (1 if where == "list" else 9), process)
    time.sleep(0.2)
    process.send_signal(number)
    _, err = process.communicate(timeout=SOON)
    assert process.returncode == code, err
    assert "same command" in err
    assert "Traceback" not in err
    expected = crowd.expected()
    assert all(expected[name] == md5 for name, md5 in crowd.files().items())
    assert not list(crowd.output.rglob("*.part"))
    crowd.heal()
    again = run(*_arguments(crowd), home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert crowd.files() == crowd.expected()


def _together(
    scenario: Scenario, home: Path, commands: list[list[str]], prefix: list[str] | None
) -> None:
    processes = [start(*command, home=home, prefix=prefix) for command in commands]
    for process in processes:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    assert scenario.files() == scenario.expected()
    assert scenario.tree.series_in_staging() == set()


@pytest.mark.parametrize("count", [2, 4, 8])
def test_fault_23_processes_on_one_destination_share_the_work(
    crowd: Scenario, tmp_path: Path, count: int
) -> None:
    crowd.add(SlowStart("getImage", seconds=0.1, times=None))
    _together(crowd, tmp_path, [_arguments(crowd, "-j", "2")] * count, None)
    asked = Counter(
        request.params["SeriesInstanceUID"]
        for request in crowd.server.requests
        if request.endpoint == "getImage"
    )
    assert set(asked.values()) == {1}
    assert len(asked) == 24


def test_fault_23_shards_on_one_destination_do_not_meet(crowd: Scenario, tmp_path: Path) -> None:
    shards = [_arguments(crowd, "--shard", f"{number}/4") for number in range(1, 5)]
    _together(crowd, tmp_path, shards, None)
    assert crowd.asked("getImage") == 24


NO_LOCKS = [
    sys.executable,
    "-c",
    "import fcntl; fcntl.flock = lambda *_: None\nfrom tcia_covid.cli.signals import main; main()",
]


def test_fault_23_locks_without_effect_waste_bandwidth_but_lose_no_data(
    crowd: Scenario, tmp_path: Path
) -> None:
    crowd.add(SlowStart("getImage", seconds=0.1, times=None))
    _together(crowd, tmp_path, [_arguments(crowd, "-j", "4")] * 3, NO_LOCKS)


def test_fault_23_a_killed_holder_does_not_block_the_next_run(
    crowd: Scenario, tmp_path: Path
) -> None:
    crowd.add(SlowStart("getImage", seconds=LONG, times=4))
    process = start(*_arguments(crowd, "-j", "4"), home=tmp_path)
    wait_for(lambda: crowd.server.count("getImage") >= 4, process)
    process.kill()
    process.communicate()
    result = run(*_arguments(crowd), home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert crowd.files() == crowd.expected()


def test_fault_30_a_clock_that_jumps_changes_nothing(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(random.Random(30).sample(range(-(10**9), 10**9), 10_000))
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + next(jumps))
    scenario.add(SlowStart("getImage", seconds=0.2))
    summary = scenario.download()
    scenario.assert_complete(summary)
    assert summary.seconds < SOON


def test_status_counts_what_an_interrupted_run_did_not_begin(
    crowd: Scenario, tmp_path: Path
) -> None:
    crowd.add(SlowStart("getImage", seconds=LONG, skip=6, times=None))
    process = start(*_arguments(crowd, "-j", "2"), home=tmp_path)
    wait_for(lambda: crowd.server.count("getImage") >= 8, process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    text = run("status", crowd.output, home=tmp_path).stdout
    assert "complete: 6 series" in text
    assert "not started: 18 series of the last request" in text
