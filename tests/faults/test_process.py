"""Rows 21 to 23 and 30: processes that die, are told to stop, or share a destination."""

from __future__ import annotations

import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcia_covid.demo.corpus import Corpus
from tests.e2e.command import QUICK, run, start
from tests.fakes.faults import SlowStart, Stall, Trickle
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.trial import NAME, Trial
from tests.faults.trial import trial as new_trial

KILLS = 100
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


def _many(patients: int, images: int = 3) -> Corpus:
    return synthetic_corpus(
        NAME, patients=patients, series_per_patient=2, images_per_series=images, rows=64, columns=64
    )


@pytest.fixture(name="crowd")
def _crowd(tmp_path: Path) -> Iterator[Trial]:
    with new_trial(tmp_path, _many(12)) as ready:
        yield ready


def _arguments(trial: Trial, *more: str) -> list[str]:
    url = ["--nbia-url", trial.url, "--source", "nbia"]
    return ["download", NAME, "-o", str(trial.output), *url, *QUICK, *more]


def _images_sent(trial: Trial) -> int:
    names = ("getImage", "getSingleImage")
    return sum(one.sent for one in trial.server.requests if one.endpoint in names)


def test_fault_21_a_hundred_kills_at_random_moments_lose_nothing(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    jobs = 4
    with new_trial(tmp_path, _many(100)) as trial:
        trial.add(SlowStart("getImage", seconds=0.05, times=None))
        for _ in range(KILLS):
            before = trial.server.count("getImage")
            process = start(*_arguments(trial, "-j", str(jobs), "--no-fsync"), home=tmp_path)
            while process.poll() is None and trial.server.count("getImage") == before:
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.2))
            process.kill()
            process.communicate()
            expected = trial.expected()
            assert all(expected[name] == md5 for name, md5 in trial.files().items())
        committed = len(trial.files())
        assert committed > 0
        sent = _images_sent(trial)
        result = run(*_arguments(trial), home=tmp_path)
        assert result.returncode == 0, result.stderr
        assert trial.files() == trial.expected()
        state = trial.tree.state
        leftovers = [path for path in state.rglob("*") if path.suffix in (".part", ".dcm")]
        assert leftovers == []
        assert trial.tree.under_way() == set()
        sent += _images_sent(trial) - sent
        whole = sum(image.size for one in trial.corpus for image in one.images)
        biggest = max(sum(image.size for image in one.images) for one in trial.corpus)
        assert sent <= whole + KILLS * jobs * biggest


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
@pytest.mark.parametrize("where", ["list", "first byte", "body", "trickle"])
def test_fault_22_a_signal_stops_within_two_seconds_and_the_same_command_goes_on(
    crowd: Trial, tmp_path: Path, number: signal.Signals, code: int, where: str
) -> None:
    if where == "list":
        crowd.add(SlowStart("getSeries", seconds=60))
    elif where == "first byte":
        crowd.add(SlowStart("getImage", seconds=60, skip=6, times=None))
    elif where == "body":
        crowd.add(Stall("getImage", after=3000, seconds=60, skip=6, times=None))
    else:
        crowd.add(Trickle("getImage", size=10, seconds=0.2, skip=6, times=None))
    watched = "getSeries" if where == "list" else "getImage"
    process = start(*_arguments(crowd, "-j", "4"), home=tmp_path)
    while crowd.server.count(watched) < (1 if where == "list" else 9):
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(number)
    told = time.monotonic()
    _, err = process.communicate(timeout=10)
    assert time.monotonic() - told < 2
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
    trial: Trial, home: Path, commands: list[list[str]], prefix: list[str] | None
) -> None:
    processes = [start(*command, home=home, prefix=prefix) for command in commands]
    for process in processes:
        _, err = process.communicate(timeout=90)
        assert process.returncode == 0, err
    assert trial.files() == trial.expected()
    assert trial.tree.under_way() == set()


@pytest.mark.parametrize("count", [2, 4, 8])
def test_fault_23_processes_on_one_destination_share_the_work(
    crowd: Trial, tmp_path: Path, count: int
) -> None:
    crowd.add(SlowStart("getImage", seconds=0.1, times=None))
    _together(crowd, tmp_path, [_arguments(crowd, "-j", "2")] * count, None)
    asked = Counter(
        one.params["SeriesInstanceUID"]
        for one in crowd.server.requests
        if one.endpoint == "getImage"
    )
    assert set(asked.values()) == {1}
    assert len(asked) == 24


def test_fault_23_shards_on_one_destination_do_not_meet(crowd: Trial, tmp_path: Path) -> None:
    shards = [_arguments(crowd, "--shard", f"{number}/4") for number in range(1, 5)]
    _together(crowd, tmp_path, shards, None)
    assert crowd.asked("getImage") == 24


NO_LOCKS = [
    sys.executable,
    "-c",
    "import fcntl; fcntl.flock = lambda *_: None\nfrom tcia_covid.cli import main; main()",
]


def test_fault_23_locks_that_lock_nothing_cost_bandwidth_and_never_data(
    crowd: Trial, tmp_path: Path
) -> None:
    crowd.add(SlowStart("getImage", seconds=0.1, times=None))
    _together(crowd, tmp_path, [_arguments(crowd, "-j", "4")] * 3, NO_LOCKS)


def test_fault_23_a_killed_holder_does_not_block_the_next_run(crowd: Trial, tmp_path: Path) -> None:
    crowd.add(SlowStart("getImage", seconds=60, times=4))
    process = start(*_arguments(crowd, "-j", "4"), home=tmp_path)
    while crowd.server.count("getImage") < 4:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    result = run(*_arguments(crowd), home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert crowd.files() == crowd.expected()


def test_fault_30_a_clock_that_jumps_changes_nothing(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    jumps = iter(random.Random(30).sample(range(-(10**9), 10**9), 10_000))
    real = time.time()
    monkeypatch.setattr(time, "time", lambda: real + next(jumps))
    trial.add(SlowStart("getImage", seconds=0.2))
    summary = trial.download()
    trial.assert_complete(summary)
    assert summary.seconds < 10


def test_status_says_what_an_interrupted_run_did_not_begin(crowd: Trial, tmp_path: Path) -> None:
    crowd.add(SlowStart("getImage", seconds=60, skip=6, times=None))
    process = start(*_arguments(crowd, "-j", "2"), home=tmp_path)
    while crowd.server.count("getImage") < 8:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    process.communicate()
    said = run("status", crowd.output, home=tmp_path).stdout
    assert "complete: 6 series" in said
    assert "not begun: 18 series of those last asked for" in said
