"""Report files after runs that end early: they cover what is complete, or are reported."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import InterruptedRunError
from tcia_covid.core.events import ActivityStarted, Event, SeriesFinished
from tcia_covid.operations.adopt import adopt_folder
from tcia_covid.operations.status import read_status
from tcia_covid.operations.verify import verify_directory
from tcia_covid.output.json_documents import summary_document
from tcia_covid.selection.request import Options
from tcia_covid.store.receipts import Receipts, StoredReceipt
from tcia_covid.store.reports import REPORT_FILES, outdated_reports, update_reports
from tests.e2e.command import COMMAND, QUICK, SIGNALS, document, environment, run, start
from tests.fakes.nbia_faults import SlowStart, Status
from tests.fakes.other_downloaders import flat
from tests.fakes.synthetic import synthetic_corpus
from tests.faults.scenario import NAME, Scenario
from tests.faults.scenario import scenario as new_scenario
from tests.waiting import LONG, SOON, wait_for

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")


@pytest.fixture(name="crowd")
def _crowd(tmp_path: Path) -> Iterator[Scenario]:
    """An archive with 24 series of which it gives six, and then nothing more."""
    corpus = synthetic_corpus(
        NAME, patients=12, series_per_patient=2, images_per_series=3, rows=64, columns=64
    )
    with new_scenario(tmp_path, corpus) as ready:
        ready.add(SlowStart("getImage", seconds=LONG, skip=6, times=None))
        yield ready


def _arguments(scenario: Scenario, *more: str) -> list[str]:
    url = ["--nbia-url", scenario.url, "--source", "nbia"]
    return ["download", NAME, "-o", str(scenario.output), *url, *QUICK, *more]


def _begun(
    scenario: Scenario, home: Path, *more: str, prefix: list[str] | None = None
) -> subprocess.Popen[str]:
    """A run that has completed six series, and waits for more."""
    process = start(*_arguments(scenario, "-j", "2", *more), home=home, prefix=prefix)
    wait_for(lambda: scenario.server.count("getImage") >= 8, process)
    time.sleep(0.2)
    return process


def _assert_reports_true(scenario: Scenario, series: int) -> None:
    """The report files name exactly the images that are in place."""
    root = scenario.tree.root
    with (root / "metadata.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == series
    lines = (root / "manifest-md5.txt").read_text("utf-8").splitlines()
    assert {line[34:]: line[:32] for line in lines} == scenario.files()
    assert outdated_reports(scenario.tree, by_hash=True) == []


def _outdated(scenario: Scenario, home: Path) -> tuple[list[str], list[str], str]:
    """What `status --json` and `verify --json` name, and what both say in words."""
    status = document(run("status", scenario.output, "--json", home=home))
    checked = run("verify", scenario.output, "--json", home=home)
    assert checked.returncode == 0, checked.stderr
    text = run("status", scenario.output, home=home).stdout
    text += run("verify", scenario.output, home=home).stdout
    return (
        status["collections"][0]["outdated_reports"],
        document(checked)["outdated_reports"],
        text,
    )


@POSIX
@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_fault_34_after_a_signal_the_reports_cover_what_is_complete(
    crowd: Scenario, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    process = _begun(crowd, tmp_path, "--json", "--log-file", "log", "--events", "events")
    process.send_signal(number)
    out, err = process.communicate(timeout=SOON)
    assert process.returncode == code, err
    _assert_reports_true(crowd, 6)
    assert json.loads(out)["outdated_reports"] == []
    assert "report files cover what is complete" in err
    last = json.loads((tmp_path / "events").read_text().splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("command-finished", code)
    assert f"download ended with exit code {code}" in (tmp_path / "log").read_text()
    assert _outdated(crowd, tmp_path)[:2] == ([], [])


@POSIX
def test_fault_34_after_a_kill_outdated_reports_are_named_until_they_are_written(
    crowd: Scenario, tmp_path: Path
) -> None:
    process = _begun(crowd, tmp_path)
    process.kill()
    process.communicate()
    by_status, by_verify, text = _outdated(crowd, tmp_path)
    assert by_status == [*REPORT_FILES]
    assert by_verify == [f"{NAME}/{name}" for name in REPORT_FILES]
    assert text.count("the next 'download' or 'adopt' writes them") == 2
    here = min(crowd.tree.receipts.uids())
    nothing_to_do = crowd.download(here)
    assert (nothing_to_do.exit_code, nothing_to_do.already_complete) == (0, 1)
    _assert_reports_true(crowd, 6)
    assert _outdated(crowd, tmp_path)[:2] == ([], [])


@POSIX
def test_fault_34_a_run_that_gets_no_list_writes_outdated_reports(
    crowd: Scenario, tmp_path: Path
) -> None:
    process = _begun(crowd, tmp_path)
    process.kill()
    process.communicate()
    crowd.add(Status("getSeries", code=503, times=None))
    registry = crowd.registry()
    result = run(*_arguments(crowd, "--registry", registry), home=tmp_path)
    assert result.returncode == 3, result.stderr
    _assert_reports_true(crowd, 6)


def test_fault_34_after_an_outage_the_reports_cover_what_is_complete(tmp_path: Path) -> None:
    corpus = synthetic_corpus(NAME, patients=20, series_per_patient=1, images_per_series=1)
    with new_scenario(tmp_path, corpus) as scenario:
        scenario.settings = replace(scenario.settings, outage_timeout=0)
        scenario.add(Status(("getImage", "getSingleImage"), code=503, skip=5, times=None))
        summary = scenario.download(jobs=2)
        assert summary.exit_code == 1
        _assert_reports_true(scenario, summary.complete)
        assert summary_document(summary)["outdated_reports"] == []


@POSIX
def test_fault_34_a_closed_terminal_ends_the_run_in_an_orderly_way(
    crowd: Scenario, tmp_path: Path
) -> None:
    """The kernel and the shell each send SIGHUP; then every write to the terminal fails."""
    terminal, end = os.openpty()
    process = subprocess.Popen(
        [*COMMAND, *_arguments(crowd, "-j", "2", "--events", "events")],
        env=environment(tmp_path, TERM="xterm"),
        cwd=tmp_path,
        stdin=end,
        stdout=end,
        stderr=end,
        start_new_session=True,
    )
    os.close(end)
    wait_for(lambda: crowd.server.count("getImage") >= 8)
    time.sleep(0.2)
    os.close(terminal)
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.02)
    assert process.wait(SOON) == 129
    last = json.loads((tmp_path / "events").read_text().splitlines()[-1])
    assert (last["type"], last["exit_code"]) == ("command-finished", 129)
    _assert_reports_true(crowd, 6)


@POSIX
def test_under_nohup_a_run_outlives_its_terminal(crowd: Scenario, tmp_path: Path) -> None:
    process = _begun(crowd, tmp_path, prefix=["nohup", *COMMAND])
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(2.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SOON)
    assert process.returncode == 143


@pytest.mark.parametrize("name", REPORT_FILES)
@pytest.mark.parametrize("change", ["deleted", "longer", "other"])
def test_fault_34_a_changed_report_file_is_noticed_and_written_again(
    scenario: Scenario, name: str, change: str
) -> None:
    scenario.download()
    path = scenario.tree.root / name
    right = path.read_bytes()
    if change == "deleted":
        path.unlink()
    else:
        path.write_bytes(right + b"more" if change == "longer" else b"X" + right[1:])
    outdated = read_status(scenario.output).collections[0].outdated_reports
    assert outdated == ([] if change == "other" else [name]), "status looks at sizes alone"
    found = verify_directory(scenario.output)
    if name == "manifest-md5.txt" and change != "deleted":
        assert [damaged.file for damaged in found.damage] == [f"{NAME}/{name}"]
        assert (found.exit_code, found.outdated_reports) == (1, [])
    else:
        assert (found.exit_code, found.damage) == (0, [])
        assert found.outdated_reports == [f"{NAME}/{name}"]
    summary = scenario.download()
    assert scenario.asked("getImage") == 0
    assert (summary.exit_code, summary.outdated_reports) == (0, [])
    assert path.read_bytes() == right
    assert verify_directory(scenario.output).outdated_reports == []


def test_fault_34_a_copy_of_a_tree_is_as_current_as_the_tree(scenario: Scenario) -> None:
    scenario.download()
    copy = scenario.folder / "copy"
    shutil.copytree(scenario.output, copy, copy_function=shutil.copyfile)
    for path in [copy, *copy.rglob("*")]:
        os.utime(path, (10**9, 10**9))
    assert read_status(copy).collections[0].outdated_reports == []
    assert verify_directory(copy).outdated_reports == []


def test_fault_34_a_read_only_tree_is_still_examined(scenario: Scenario) -> None:
    scenario.download()
    (scenario.tree.root / "metadata.csv").unlink()
    (scenario.tree.root / "LICENSE.txt").write_bytes(b"other")
    folders = [path for path in [scenario.output, *scenario.output.rglob("*")] if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        if os.access(scenario.output, os.W_OK):
            pytest.skip("nothing is forbidden to this user")
        expected = ["metadata.csv", "LICENSE.txt"]
        assert read_status(scenario.output).collections[0].outdated_reports == expected
        found = verify_directory(scenario.output)
        assert found.outdated_reports == [f"{NAME}/{name}" for name in expected]
        assert found.exit_code == 0
    finally:
        for folder in folders:
            folder.chmod(0o755)


# adopt

KILLED = """
import os, signal, sys
from pathlib import Path
from tcia_covid.store.disk import Disk
have, left = Path(sys.argv.pop(1)), int(sys.argv.pop(1))
remove = Disk.remove
def removing(self, path):
    remove(self, path)
    if Path(path).is_relative_to(have) and len(list(have.iterdir())) - 1 == left:
        os.kill(os.getpid(), signal.SIGKILL)
Disk.remove = removing
from tcia_covid.cli.signals import main
main()
"""
"""The command, which is killed once so many originals are left."""


@POSIX
@pytest.mark.parametrize("left", [0, 1, 6])
def test_fault_34_a_killed_adopt_move_continues_with_the_same_command(
    scenario: Scenario, left: int
) -> None:
    have = scenario.folder / "have"
    have.mkdir()
    flat(have, scenario.corpus)
    (have / "mine.txt").write_text("mine")
    where = ("-o", scenario.output, "--nbia-url", scenario.url, "--source", "nbia")
    command = ("adopt", have, "--move", "--json", "-j", "1", *where)
    killed = start(
        *map(str, (have, left, *command)),
        home=scenario.folder,
        prefix=[sys.executable, "-c", KILLED],
    )
    killed.communicate(timeout=SOON)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(have.iterdir())) - 1 == left
    assert read_status(scenario.output).collections[0].outdated_reports == [*REPORT_FILES]
    for _ in range(2):
        again = run(*command, home=scenario.folder)
        assert again.returncode == 0, again.stderr
    result = document(again)
    assert (result["series"]["found"], result["files"]["not_dicom"]) == (0, 1)
    assert "nothing is left to adopt" in again.stderr
    assert scenario.files() == scenario.expected()
    _assert_reports_true(scenario, 2)
    assert (have / "mine.txt").read_text() == "mine"


def test_fault_34_adopt_move_that_was_killed_resumes_next_to_foreign_images(
    scenario: Scenario,
) -> None:
    have = scenario.folder / "have"
    have.mkdir()
    flat(have, scenario.corpus)
    where = ("-o", scenario.output, "--nbia-url", scenario.url, "--source", "nbia")
    command = ("adopt", have, "--move", "--json", "-j", "1", *where)
    killed = start(
        *map(str, (have, -1, *command)), home=scenario.folder, prefix=[sys.executable, "-c", KILLED]
    )
    killed.communicate(timeout=SOON)
    flat(have, synthetic_corpus("OTHER", patients=1, series_per_patient=1, seed=34))
    known = ("--collection", NAME, "--registry", scenario.registry())
    again = run(*command, *known, home=scenario.folder)
    assert again.returncode == 0, again.stderr
    assert "nothing is left to adopt" in again.stderr
    _assert_reports_true(scenario, 2)


def test_a_folder_that_nothing_was_moved_from_is_still_refused(scenario: Scenario) -> None:
    scenario.download()
    (scenario.folder / "have").mkdir()
    where = ("-o", scenario.output, "--nbia-url", scenario.url, "--source", "nbia")
    result = run("adopt", scenario.folder / "have", "--move", *where, home=scenario.folder)
    assert result.returncode == 2
    assert "there is no DICOM file" in result.stderr


def test_fault_34_an_interrupted_adoption_writes_the_reports(scenario: Scenario) -> None:
    have = scenario.folder / "have"
    have.mkdir()
    flat(have, scenario.corpus)
    # The second series is still waiting for its hashes when the first is reported.
    scenario.add(SlowStart("", seconds=0.5, times=None))
    stop = CancelToken()

    def listen(event: Event) -> None:
        if isinstance(event, SeriesFinished):
            stop.set(InterruptedRunError())

    options = Options(jobs=1, source="nbia", nbia_url=scenario.url, durable=False)
    with pytest.raises(InterruptedRunError):
        adopt_folder(have, scenario.output, options=options, emit=listen, stop=stop)
    assert scenario.files()
    _assert_reports_true(scenario, len(scenario.tree.receipts.uids()))


# Many series


def test_fault_34_reports_that_take_too_long_after_a_signal_stay_out_of_date(
    scenario: Scenario,
) -> None:
    scenario.download()
    scenario.tree.invalidate_reports()
    stop = CancelToken()
    stop.set(InterruptedRunError())
    stop.since -= 1.7
    registry = load_registry(())
    assert update_reports(scenario.tree, None, registry, stop) is False
    assert outdated_reports(scenario.tree) == [*REPORT_FILES]
    assert not list(scenario.tree.temporary.iterdir())
    assert update_reports(scenario.tree, None, registry, CancelToken()) is True
    _assert_reports_true(scenario, 2)


def test_the_end_of_a_run_reads_each_receipt_once(
    scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Receipts.read
    asked: list[str] = []

    def noting(self: Receipts, uid: str) -> StoredReceipt | None:
        asked.append(uid)
        return read(self, uid)

    def on_event(event: Event) -> None:
        if isinstance(event, ActivityStarted) and "report files" in event.text:
            asked.clear()

    monkeypatch.setattr(Receipts, "read", noting)
    summary = scenario.download(on_event=on_event)
    assert sorted(asked) == sorted(series.uid for series in scenario.all_series)
    scenario.assert_complete(summary)
