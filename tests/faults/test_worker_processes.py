"""Rows 21 and 22 with several processes: a worker dies, the run is reported to stop."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.core.errors import NoSpaceError, PausedError, StatusError
from tcia_covid.core.events import BytesStored, Event, Notice, SeriesFinished, SeriesStarted
from tcia_covid.http.settings import HttpSettings
from tcia_covid.selection.request import Options
from tcia_covid.transfer import worker
from tcia_covid.transfer.processes import share
from tcia_covid.transfer.worker_processes import ForkedProcess, forked_workers
from tests.e2e.command import COMMAND, QUICK, run, start
from tests.fakes.nbia_faults import Stall, Trickle
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.waiting import LONG, SOON, wait_for

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.fixture(name="crowd")
def _crowd(tmp_path: Path) -> Iterator[Scenario]:
    corpus = synthetic_corpus(NAME, patients=10, series_per_patient=1, images_per_series=3)
    with new_scenario(tmp_path, corpus) as ready:
        yield ready


def _children(pid: int) -> list[int]:
    """The processes that a process has started and that are alive: forked workers of a command."""
    # Not /proc/PID/task/*/children, where some are missing while others end.
    processes = (each.parent for each in Path("/proc").glob("[0-9]*/stat"))
    return [int(each.name) for each in processes if _parent(each) == pid]


def _parent(process: Path) -> int:
    with contextlib.suppress(OSError):  # it has just ended
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _workers() -> list[int]:
    """The workers of this process that are alive: new interpreters. Tests have other children."""
    name = worker.__name__.encode()
    return [child for child in _children(os.getpid()) if name in _command_line(child)]


def _is_of_this_process() -> bool:
    """Whether an event comes from a download thread of this process, not from a worker."""
    return _downloads(threading.current_thread())


def _downloads(thread: threading.Thread) -> bool:
    return thread.name.startswith("series-")


def _command_line(pid: int) -> bytes:
    with contextlib.suppress(OSError):  # it has just ended
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _command(scenario: Scenario, processes: int = 2) -> list[str]:
    archive = ["--nbia-url", scenario.url, "--source", "nbia", "--registry", scenario.registry()]
    return [
        "download",
        NAME,
        "-o",
        str(scenario.output),
        *archive,
        *QUICK,
        f"--processes={processes}",
        f"--jobs={processes}",
        "--json",
    ]


def _counted(events: list[Event]) -> dict[str, object]:
    """The content of events about series, without their order and the sizes of pieces."""
    size: Counter[str] = Counter()
    for event in events:
        if isinstance(event, BytesStored):
            size[event.series] += event.count
    series: Counter[tuple[str, str]] = Counter()
    for event in events:
        if isinstance(event, SeriesStarted):
            series["started", event.series.uid] += 1
        elif isinstance(event, SeriesFinished):
            series["finished", event.outcome.series.uid] += 1
    others = Counter(type(event) for event in events if not isinstance(event, BytesStored))
    return {"bytes": size, "series": series, "others": others}


def test_two_processes_download_and_report_what_one_does(crowd: Scenario, tmp_path: Path) -> None:
    one = crowd.download(processes=1)
    events, files = _counted(crowd.events), crowd.files()
    crowd.output = tmp_path / "other"
    two = crowd.download(processes=2)
    assert crowd.files() == files == crowd.expected()
    assert _counted(crowd.events) == events
    assert two.bytes_received == one.bytes_received > 0
    assert sorted(result.series for result in two.results) == sorted(
        result.series for result in one.results
    )
    same = {"results": [], "output": "", "seconds": 0.0}
    assert replace(two, **same) == replace(one, **same)
    assert _workers() == []


def test_no_process_takes_more_than_its_share_of_few_series(crowd: Scenario) -> None:
    own: list[str] = []
    started = threading.Event()

    def wait_for_worker(event: Event) -> None:
        if not isinstance(event, SeriesStarted):
            return
        if not _is_of_this_process():
            started.set()
        elif not started.is_set():
            own.append(event.series.uid)
            assert started.wait(SOON), "the worker got no series"

    few = [series.uid for series in crowd.all_series[:3]]
    summary = crowd.download(*few, processes=2, jobs=8, on_event=wait_for_worker)
    assert (summary.complete, summary.exit_code) == (3, 0)
    assert len(own) <= 2


def test_fault_21_the_series_of_a_killed_worker_are_downloaded_by_others(crowd: Scenario) -> None:
    killed: list[int] = []
    ended = threading.Event()

    def kill_one(event: Event) -> None:
        if _is_of_this_process():
            ended.wait(LONG)  # so that the worker gets series
        elif isinstance(event, SeriesStarted) and not killed:
            killed.append(_workers()[0])
            os.kill(killed[0], signal.SIGKILL)
            ended.set()

    summary = crowd.download(processes=2, on_event=kill_one)
    crowd.assert_complete(summary)
    assert crowd.tree.series_in_staging() == set()
    notices = [event.text for event in crowd.events if isinstance(event, Notice)]
    text = f"worker process {killed[0]} was ended by signal 9"
    assert f"{text}; its series are downloaded by others" in notices


def test_fault_21_a_run_whose_workers_are_all_killed_downloads_by_itself(crowd: Scenario) -> None:
    def kill_all(event: Event) -> None:
        if isinstance(event, SeriesStarted):
            for pid in _workers():
                os.kill(pid, signal.SIGKILL)

    crowd.assert_complete(crowd.download(processes=3, on_event=kill_all))


def test_fault_21_a_worker_that_dies_last_leaves_its_series_to_this_process(
    crowd: Scenario,
) -> None:
    killed: list[int] = []
    started = threading.Event()

    def kill_last(event: Event) -> None:
        if _is_of_this_process():
            started.wait(LONG)  # so that the worker gets a series
        elif isinstance(event, SeriesStarted) and not killed:
            started.set()
            wait_for(lambda: not any(map(_downloads, threading.enumerate())))
            killed.extend(_workers())
            os.kill(killed[0], signal.SIGKILL)

    crowd.assert_complete(crowd.download(processes=2, jobs=2, on_event=kill_last))
    assert len(killed) == 1


@pytest.mark.parametrize("everybody", [False, True], ids=["to the parent", "to all"])
def test_fault_22_a_signal_stops_all_processes_and_the_same_command_resumes(
    crowd: Scenario, tmp_path: Path, everybody: bool
) -> None:
    crowd.add(Stall("getImage", after=1000, seconds=LONG, skip=4, times=None))
    process = start(*_command(crowd), home=tmp_path)
    wait_for(lambda: crowd.server.count("getImage") >= 6, process)
    workers = _children(process.pid)
    assert len(workers) == 1
    for pid in [*(workers if everybody else []), process.pid]:
        os.kill(pid, signal.SIGINT)
    began = time.monotonic()
    out, err = process.communicate(timeout=SOON)
    assert time.monotonic() - began < SOON
    assert process.returncode == 130, err
    assert json.loads(out)["exit_code"] == 130
    assert "Traceback" not in err
    wait_for(lambda: not [pid for pid in workers if Path(f"/proc/{pid}").exists()])
    crowd.heal()
    again = run(*_command(crowd), home=tmp_path)
    assert again.returncode == 0, again.stderr
    assert crowd.files() == crowd.expected()


def test_fault_21_the_series_of_a_killed_fork_are_downloaded_by_others(
    crowd: Scenario, tmp_path: Path
) -> None:
    crowd.add(Trickle("getImage", size=1000, seconds=0.01, times=None))
    process = start(*_command(crowd), home=tmp_path)
    wait_for(lambda: crowd.server.count("getImage") >= 4, process)
    (fork,) = _children(process.pid)
    os.kill(fork, signal.SIGKILL)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert (
        f"worker process {fork} was ended by signal 9; its series are downloaded by others" in err
    )
    assert json.loads(out)["series"]["complete"] == 10
    assert crowd.files() == crowd.expected()


def test_forks_end_when_their_parent_is_killed(crowd: Scenario, tmp_path: Path) -> None:
    crowd.add(Stall("getImage", after=1000, seconds=LONG, skip=2, times=None))
    process = start(*_command(crowd, processes=3), home=tmp_path)
    wait_for(lambda: crowd.server.count("getImage") >= 4, process)
    forks = _children(process.pid)
    assert len(forks) == 2
    process.kill()
    process.communicate()
    wait_for(lambda: not [pid for pid in forks if Path(f"/proc/{pid}").exists()])


def test_forks_that_are_not_needed_end_with_the_run(crowd: Scenario, tmp_path: Path) -> None:
    one = crowd.all_series[0].uid
    result = run(*_command(crowd, processes=3), "--series", one, home=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["series"]["complete"] == 1


IGNORING = "import os, signal, sys; signal.signal(signal.SIGCHLD, signal.SIG_IGN); "
"""Before the program is run: the system forgets how its children end."""


@pytest.mark.parametrize("series", [1, 10])
def test_workers_whose_end_nobody_can_see_disturb_no_run(
    crowd: Scenario, tmp_path: Path, series: int
) -> None:
    ignoring = [sys.executable, "-c", f"{IGNORING}os.execv(sys.argv[1], sys.argv[1:])", *COMMAND]
    some = ["--max-series", str(series)]
    process = start(*_command(crowd, processes=3), *some, home=tmp_path, prefix=ignoring)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert json.loads(out)["series"]["complete"] == series


def test_a_process_with_threads_starts_interpreters_instead_of_forks() -> None:
    ended = threading.Event()
    threading.Thread(target=ended.wait).start()
    try:
        with forked_workers(1) as start_worker:
            started = start_worker()
            workers = _workers()
            started.close()
    finally:
        ended.set()
    assert workers == [started.process.pid]
    assert started.process.returncode == 0


def test_a_fork_that_another_thread_reaps_gets_no_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    process = ForkedProcess(os.posix_spawn("/bin/sh", ["sh", "-c", "exit 3"], {}))
    killer = threading.Thread(target=process.kill)
    signaled: list[int] = []
    plain = os.waitpid

    def reap(pid: int, options: int) -> tuple[int, int]:
        ended = plain(pid, options)
        killer.start()
        killer.join(0.05)  # it waits until the exit code is known
        return ended

    monkeypatch.setattr(os, "waitpid", reap)
    monkeypatch.setattr(os, "kill", lambda pid, _: signaled.append(pid))
    assert process.wait() == 3
    killer.join(SOON)
    assert not killer.is_alive()
    assert signaled == []


def test_an_error_of_a_worker_ends_the_run(crowd: Scenario, tmp_path: Path) -> None:
    limited = ["bash", "-c", 'ulimit -f 1; exec "$@"', "bash", *COMMAND]
    process = start(*_command(crowd), home=tmp_path, prefix=limited)
    out, err = process.communicate(timeout=LONG)
    assert process.returncode == 4, err
    assert err.count("error: a file has reached the permitted size in") == 1
    assert "Traceback" not in err
    assert json.loads(out)["series"]["complete"] == 0


def test_processes_divide_the_limits_of_a_run() -> None:
    options = Options(jobs=8, http=HttpSettings(max_rate=9e6))
    shares = share(options, 3)
    assert sorted(each.jobs for each in shares) == [2, 3, 3]
    assert [each.http.max_rate for each in shares] == [3e6, 3e6, 3e6]
    assert [each.http.max_rate for each in share(Options(jobs=2), 2)] == [None, None]


@pytest.mark.parametrize(
    "error",
    [
        NoSpaceError("full", hint="free some"),
        PausedError("host", 7.0),
        StatusError("url returned HTTP 503", status=503, body="busy", push_back=True),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_from_a_worker_is_the_same_in_the_parent(error: Exception) -> None:
    received = pickle.loads(pickle.dumps(error))
    assert (type(received), received.args, vars(received)) == (type(error), error.args, vars(error))
