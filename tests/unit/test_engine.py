"""Many series at once: their order, and how a run ends when it cannot go on."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tcia_covid import engine as engine_module
from tcia_covid.archives.base import Archive, Sink
from tcia_covid.engine import Engine
from tcia_covid.errors import (
    ConfigError,
    DestinationError,
    IncompleteSeriesError,
    InterruptedRunError,
    NoSpaceError,
    NotAvailableError,
    TciaCovidError,
    UnreachableError,
)
from tcia_covid.events import Event, Notice, SeriesFinished
from tcia_covid.held import Job
from tcia_covid.http import HttpSettings
from tcia_covid.model import Outcome, RemoteImage, Series, State, StoredImage
from tcia_covid.stop import Stop
from tcia_covid.store import Tree
from tcia_covid.store.locks import Lock
from tcia_covid.transfer import Context
from tests.unit.trees import grow, image_of, md5_of, new_tree, series_of

SETTINGS = HttpSettings(retries=0, retry_wait=0, first_byte_timeout=0.4)
IMAGES = 2


def listed(number: int, *, images: int = IMAGES) -> Series:
    """A series as the archive has it on record: its size is that of its images."""
    series = series_of(number)
    size = sum(len(image_of(series, n)) for n in range(1, images + 1))
    return replace(series, image_count=images, size=size)


@dataclass
class FakeArchive:
    """Has every series that it is asked for; `before` runs first, and may raise."""

    before: Callable[[Series], None] = lambda series: None
    asked: list[str] = field(default_factory=list)
    name: str = "nbia"
    skips_known: bool = False

    def holds(self, series: Series) -> bool:
        return True

    def list_collection(self, collection: str) -> list[Series]:
        return []

    def list_series(self, uids: Iterable[str]) -> list[Series]:
        return []

    def images(self, series: Series) -> list[RemoteImage]:
        self.before(series)
        count = series.image_count or 0
        return [RemoteImage(uid=f"{series.uid}.{n}") for n in range(1, count + 1)]

    def receive_series(self, series: Series, sink: Sink) -> None:
        self.asked.append(series.uid)
        self.before(series)
        for number in range(1, (series.image_count or 0) + 1):
            sink.receive([image_of(series, number)], source=self.name)

    def receive_image(self, series: Series, image: RemoteImage, sink: Sink) -> StoredImage:
        self.before(series)
        content = image_of(series, int((image.uid or "").rpartition(".")[2]))
        return sink.receive([content], source=self.name, image=image)

    def image_md5(self, series: Series, uid: str) -> str | None:
        return md5_of(image_of(series, int(uid.rpartition(".")[2])))

    def series_md5(self, series: Series) -> str | None:
        return None


class Run:
    """One engine at work on one tree."""

    def __init__(self, tree: Tree, archive: Archive, workers: int = 2) -> None:
        self.tree = tree
        self.stop = Stop()
        self.events: list[Event] = []
        self.outcomes: list[Outcome] = []
        self.seconds = 0.0
        context = Context(self.stop, SETTINGS, self.events.append)
        self.engine = Engine([archive], context, workers, self.outcomes.append)

    def __call__(self, series: Iterable[Series]) -> Run:
        started = time.monotonic()
        self.engine.run([Job(one, self.tree) for one in series])
        self.seconds = time.monotonic() - started
        return self

    @property
    def states(self) -> dict[str, State]:
        """How each series ended; a series that ended twice fails the test."""
        found = {outcome.series.uid: outcome.state for outcome in self.outcomes}
        assert len(found) == len(self.outcomes), "a series was reported twice"
        return found

    def states_of(self, series: Iterable[Series]) -> list[State | None]:
        return [self.states.get(one.uid) for one in series]

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


@contextmanager
def held_by_another_run(tree: Tree, series: Series) -> Iterator[None]:
    """Another open file holds the lock, as another process would."""
    with Lock(tree.state / "locks" / f"{series.uid}.lock", "the series"):
        yield


def raising(error: Exception, *uids: str) -> Callable[[Series], None]:
    """Fail for the series with these UIDs, or for all."""

    def before(series: Series) -> None:
        if not uids or series.uid in uids:
            raise error

    return before


def unreachable() -> UnreachableError:
    return UnreachableError("h refused the connection", retryable=True)


def test_every_series_is_brought_into_the_tree_and_told_once(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 8)]
    run = Run(tree, FakeArchive(), workers=3)(series)
    assert run.states_of(series) == [State.COMPLETE] * 7
    assert all(tree.standing(one.uid) for one in series)
    finished = [event.outcome for event in run.events if isinstance(event, SeriesFinished)]
    assert sorted(one.series.uid for one in finished) == sorted(one.uid for one in series)
    assert not run.stop.is_set()


def test_the_biggest_series_comes_first_and_equals_come_in_a_stable_order(tree: Tree) -> None:
    small, big, middle, other = listed(1), listed(2, images=9), listed(3, images=4), listed(4)
    unknown = replace(listed(5), size=None)
    archive = FakeArchive()
    Run(tree, archive, workers=1)([small, unknown, other, middle, big])
    first = list(dict.fromkeys(archive.asked))
    assert first[:2] == [big.uid, middle.uid]
    assert first[2:] == [small.uid, other.uid, unknown.uid]


def test_no_work_is_no_problem(tree: Tree) -> None:
    assert Run(tree, FakeArchive())([]).outcomes == []


def test_no_more_series_are_under_way_than_there_are_workers(tree: Tree) -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def before(series: Series) -> None:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        time.sleep(0.01)
        with lock:
            under_way -= 1

    Run(tree, FakeArchive(before), workers=3)(listed(number) for number in range(1, 13))
    assert most == 3


def test_a_series_that_stands_already_is_not_asked_for(tree: Tree) -> None:
    series = listed(1)
    grow(tree, series, IMAGES)
    archive = FakeArchive()
    run = Run(tree, archive)([series])
    assert run.states == {series.uid: State.ALREADY}
    assert archive.asked == []


def test_a_series_that_fails_leaves_the_others_alone(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 6)]
    error = IncompleteSeriesError("two are missing", hint="later", missing=("1.2", "1.3"))
    run = Run(tree, FakeArchive(raising(error, series[2].uid)))(series)
    expected = [State.COMPLETE, State.COMPLETE, State.FAILED, State.COMPLETE, State.COMPLETE]
    assert run.states_of(series) == expected
    (failed,) = [outcome for outcome in run.outcomes if outcome.state is State.FAILED]
    assert failed.failure is not None
    assert failed.failure.reason == "incomplete"
    assert failed.failure.missing == ("1.2", "1.3")
    assert (failed.failure.detail, failed.failure.hint) == ("two are missing", "later")


def test_series_that_the_archive_denies_never_end_the_run(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 12)]
    run = Run(tree, FakeArchive(raising(NotAvailableError("not public"))))(series)
    assert run.states_of(series) == [State.FAILED] * 11
    assert {outcome.failure.reason for outcome in run.outcomes if outcome.failure} == {
        "not-available"
    }
    assert not run.stop.is_set()


def test_an_unreachable_archive_ends_the_run_after_some_failures_in_a_row(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 40)]
    archive = FakeArchive(raising(unreachable()))
    run = Run(tree, archive)(series)
    assert isinstance(run.stop.reason, UnreachableError)
    failed = [uid for uid, state in run.states.items() if state is State.FAILED]
    assert 4 <= len(failed) <= 6
    assert set(run.states_of(series)) == {State.FAILED, State.REMAINING}
    assert len(run.outcomes) == len(series)


def test_failures_with_successes_between_do_not_end_the_run(tree: Tree) -> None:
    series = [listed(number) for number in range(11, 31)]
    down = {one.uid for number, one in enumerate(series, 1) if number % 4}
    run = Run(tree, FakeArchive(raising(unreachable(), *down)), workers=1)(series)
    assert not run.stop.is_set()
    assert list(run.states.values()).count(State.COMPLETE) == 5


@pytest.mark.parametrize("error", [NoSpaceError("disk full"), DestinationError("read-only")])
def test_a_destination_that_fails_ends_the_run_at_once(tree: Tree, error: DestinationError) -> None:
    series = [listed(number) for number in range(1, 20)]
    archive = FakeArchive(raising(error))
    run = Run(tree, archive, workers=2)(series)
    assert run.stop.reason is error
    assert run.states_of(series) == [State.REMAINING] * 19
    assert len(archive.asked) <= 2


def test_an_error_of_the_system_while_writing_is_the_destinations(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 5)]
    full = OSError(errno.ENOSPC, "No space left on device")
    run = Run(tree, FakeArchive(raising(full)), workers=1)(series)
    assert isinstance(run.stop.reason, NoSpaceError)
    assert run.states_of(series) == [State.REMAINING] * 4


def test_a_request_that_cannot_be_carried_out_ends_the_run_with_its_reason(tree: Tree) -> None:
    """A CA bundle or a proxy setting that cannot be used concerns every series."""
    series = [listed(number) for number in range(1, 6)]
    error = ConfigError("the CA bundle cannot be read")
    run = Run(tree, FakeArchive(raising(error)), workers=1)(series)
    assert run.stop.reason is error
    assert run.states_of(series) == [State.REMAINING] * 5


def test_a_fault_of_the_program_ends_the_run_and_is_told(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 6)]
    bug = KeyError("https://user:hunter2@host/x?token=hunter2")
    run = Run(tree, FakeArchive(raising(bug)), workers=1)(series)
    reason = run.stop.reason
    assert isinstance(reason, TciaCovidError)
    assert reason.__cause__ is bug
    assert "a fault of the program itself: KeyError" in reason.message
    assert "--verbose" in reason.hint
    assert "hunter2" not in reason.message
    assert run.states_of(series) == [State.REMAINING] * 5


@pytest.mark.parametrize("state", [State.COMPLETE, State.FAILED, State.HELD])
def test_a_fault_while_an_outcome_is_counted_is_not_swallowed(
    tree: Tree, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_POLL", 0.05)
    good, bad, theirs = listed(1), listed(2), listed(3)
    run = Run(tree, FakeArchive(raising(IncompleteSeriesError("no"), bad.uid)), workers=1)

    def count(outcome: Outcome) -> None:
        if outcome.state is state:
            raise ZeroDivisionError("bug")
        run.outcomes.append(outcome)

    run.engine._on_outcome = count
    with held_by_another_run(tree, theirs):
        run([good, bad, theirs])
    assert isinstance(run.stop.reason, TciaCovidError)
    assert isinstance(run.stop.reason.__cause__, ZeroDivisionError)


def test_an_interruption_leaves_the_rest_as_remaining(tree: Tree) -> None:
    series = [listed(number) for number in range(1, 12)]
    run = Run(tree, FakeArchive(lambda one: run.stop.wait(9)), workers=2)
    threading.Timer(0.2, run.stop.set).start()
    run(series)
    assert run.seconds < 1
    assert isinstance(run.stop.reason, InterruptedRunError)
    assert run.states_of(series) == [State.REMAINING] * 11


def test_what_was_complete_before_an_interruption_stays_complete(tree: Tree) -> None:
    series = [listed(1, images=5), listed(2), listed(3)]

    def before(one: Series) -> None:
        if one.uid != series[0].uid:
            run.stop.set()
            run.stop.check()

    run = Run(tree, FakeArchive(before), workers=1)
    run(series)
    assert run.states_of(series) == [State.COMPLETE, State.REMAINING, State.REMAINING]
    assert tree.standing(series[0].uid) is not None


def test_workers_that_do_not_notice_the_interruption_are_left_behind(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a name resolution, which nothing can end."""
    assert engine_module._ABANDON_AFTER < 2
    monkeypatch.setattr(engine_module, "_ABANDON_AFTER", 0.2)
    series = [listed(number) for number in range(1, 6)]
    free = threading.Event()
    run = Run(tree, FakeArchive(lambda one: free.wait(5) and None), workers=2)
    threading.Timer(0.1, run.stop.set).start()
    try:
        run(series)
        assert run.seconds < 1
        assert run.states_of(series) == [State.REMAINING] * 5
    finally:
        free.set()
    time.sleep(0.1)
    assert run.states_of(series) == [State.REMAINING] * 5


def test_a_series_that_another_run_lets_go_of_is_taken_up(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_POLL", 0.05)
    mine, theirs = listed(1), listed(2)
    archive = FakeArchive()
    run = Run(tree, archive)
    with held_by_another_run(tree, theirs):
        thread = threading.Thread(target=run, args=([theirs, mine],))
        thread.start()
        time.sleep(0.2)
        assert run.states == {mine.uid: State.COMPLETE}
    thread.join()
    assert run.states == {mine.uid: State.COMPLETE, theirs.uid: State.COMPLETE}
    assert sum("held by another run" in text for text in run.texts()) == 1


def test_a_series_that_another_run_holds_in_vain_is_reported_with_its_holder(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_POLL", 0.05)
    mine, theirs = listed(1), listed(2)
    with held_by_another_run(tree, theirs):
        run = Run(tree, FakeArchive())([theirs, mine])
    assert run.states == {mine.uid: State.COMPLETE, theirs.uid: State.HELD}
    (held,) = [outcome for outcome in run.outcomes if outcome.state is State.HELD]
    assert held.failure is not None
    assert held.failure.reason == "held"
    assert "process" in held.failure.detail
    assert SETTINGS.first_byte_timeout <= run.seconds < 2


def test_a_series_that_another_run_gets_on_with_is_waited_for(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_POLL", 0.05)
    theirs = listed(1)
    folder = tree.staging / theirs.uid / "another"
    run = Run(tree, FakeArchive())
    with held_by_another_run(tree, theirs):
        thread = threading.Thread(target=run, args=([theirs],))
        thread.start()
        folder.mkdir(parents=True)
        for number in range(12):
            (folder / f"{number}.part").write_bytes(b"x")
            time.sleep(0.06)
        assert run.outcomes == [], "given up although the other run got on"
    thread.join()
    assert run.states == {theirs.uid: State.COMPLETE}


def test_series_held_by_another_run_remain_when_this_one_is_interrupted(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_POLL", 0.05)
    series = [listed(number) for number in range(1, 4)]
    run = Run(tree, FakeArchive(), workers=1)
    threading.Timer(0.2, run.stop.set).start()
    with (
        held_by_another_run(tree, series[0]),
        held_by_another_run(tree, series[1]),
        held_by_another_run(tree, series[2]),
    ):
        run(series)
    assert run.states_of(series) == [State.REMAINING] * 3
    assert run.seconds < 1
