"""How much is there, what is missing, and whether a run is active."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path

import click
import pytest

from tcia_covid.api.functions import plan
from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.cli.command_table import COMMANDS
from tcia_covid.cli.commands import files, status
from tcia_covid.cli.commands.status import progress_lines, watch_status
from tcia_covid.cli.console import Console
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import InterruptedRunError
from tcia_covid.core.events import ActivityStarted, Event
from tcia_covid.core.models import Series, Totals
from tcia_covid.operations.status import CollectionStatus, Progress, StatusResult, read_status
from tcia_covid.store.locks import Holder, Lock, holders
from tcia_covid.store.receipts import StoredReceipt
from tcia_covid.store.request_record import REQUEST_FILE, RecordedRequest, read_request
from tcia_covid.store.tree import Tree
from tests.unit.trees import NAME, grow, new_tree, series_of, stage

REGISTRY = Registry(
    (Collection(NAME, "DICOM", NAME, series=461, images=31935, size=19_927_664_950),)
)
OTHER = "OTHER-COLLECTION"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return new_tree(tmp_path)


def only(directory: Path, registry: Registry = REGISTRY) -> CollectionStatus:
    (collection,) = read_status(directory, registry).collections
    return collection


def listed(number: int, images: int = 3, size: int = 3000, name: str = NAME) -> Series:
    return series_of(number, image_count=images, size=size, collection=name)


def test_the_percentage_is_of_the_bytes_requested_and_of_the_whole_collection(
    tree: Tree, tmp_path: Path
) -> None:
    receipt = grow(tree, series_of(1))
    series = [listed(1, size=receipt.size), listed(2, size=3 * receipt.size)]
    tree.record_request(series, [])
    status = only(tmp_path)
    assert status.request == Progress(1, 2, receipt.size, 4 * receipt.size)
    assert status.request.percent == 25.0
    assert status.whole == Progress(1, 461, receipt.size, 19_927_664_950)
    first, request, whole, missing = progress_lines(status)
    assert first == f"{NAME} in {tree.root}"
    assert request.startswith("  25.0 %: 1 of 2 series, ")
    assert request.endswith(" of the last request")
    assert whole.startswith("  0.0 %: 1 of 461 series, ")
    assert whole.endswith(" of 19.9 GB of the whole collection")
    assert missing == "  missing: 1 series; listed by --missing"


def test_images_in_staging_count_but_100_percent_means_complete(tree: Tree, tmp_path: Path) -> None:
    stage(tree, series_of(1), images=2)
    size = only(tmp_path).partial[0].size
    tree.record_request([listed(1, images=2, size=size)], [])
    request = only(tmp_path).request
    assert request == Progress(0, 1, size, size)
    assert request.percent == 99.9


@pytest.mark.parametrize(
    ("progress", "percent"),
    [
        (Progress(0, 3, 0, 0), 0.0),
        (Progress(1, 3, 0, 0), 33.3),
        (Progress(2, 3, 2999, 3000), 99.9),
        (Progress(3, 3, 2999, 3000), 100.0),
        (Progress(2, 3, 4000, 3000), 99.9),
        (Progress(0, 0, 0, 0), 100.0),
    ],
)
def test_a_percentage_is_rounded_down(progress: Progress, percent: float) -> None:
    assert progress.percent == percent


def test_of_a_collection_outside_the_registry_what_was_listed_is_expected(tmp_path: Path) -> None:
    tree = new_tree(tmp_path, OTHER)
    every = [listed(n, name=OTHER) for n in (1, 2, 3)]
    grow(tree, every[0])
    tree.record_request(every[:1], every)
    status = only(tmp_path, Registry())
    assert status.expected is not None
    assert (status.expected.series, status.expected.size) == (3, 9000)
    assert status.whole is not None
    assert status.whole.of_series == 3
    assert status.request is not None
    assert status.request.percent == 100.0
    assert status.missing == {}


def test_missing_series_are_those_requested_and_not_complete(tree: Tree, tmp_path: Path) -> None:
    damaged = grow(tree, series_of(1))
    (tree.path(damaged) / damaged.images[0].file).unlink()
    grow(tree, series_of(2))
    stage(tree, series_of(3), images=1)
    tree.record_request([listed(n) for n in (1, 2, 3, 4)], [])
    result = read_status(tmp_path, REGISTRY)
    assert list(result.collections[0].missing) == [series_of(n).uid for n in (1, 3, 4)]
    first = result.missing_series[0]
    assert (first.uid, first.collection, first.image_count, first.size) == (
        series_of(1).uid, NAME, 3, 3000,
    )  # fmt: skip


def test_what_is_missing_is_a_target_with_all_that_the_catalog_knows(tmp_path: Path) -> None:
    cataloged = series_catalog.load("MIDRC-RICORD-1B")[:3]
    tree = new_tree(tmp_path / "data", "MIDRC-RICORD-1B")
    tree.record_request(cataloged, [])
    missing = read_status(tmp_path / "data").missing_series
    assert sorted(missing, key=lambda one: one.uid) == sorted(cataloged, key=lambda one: one.uid)
    assert plan(missing, tmp_path / "elsewhere").selected.series == 3


def test_without_a_recorded_request_the_catalogs_collection_is_what_should_be_there(
    tree: Tree, tmp_path: Path
) -> None:
    status = only(tmp_path)
    assert len(status.missing) == 461
    assert status.request is None
    assert status.is_known


def test_without_a_record_and_outside_the_catalog_nothing_is_known(tmp_path: Path) -> None:
    new_tree(tmp_path, OTHER)
    status = only(tmp_path, Registry())
    assert (status.missing, status.is_known, status.whole) == ({}, False, None)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"series":"many"}',
        '{"series":2,"listed":{"series":1}}',
        '{"series":1,"items":[1]}',
    ],
)
def test_a_damaged_record_is_none(tree: Tree, content: str) -> None:
    (tree.state / REQUEST_FILE).write_text(content, encoding="utf-8")
    assert read_request(tree.state) is None


def test_a_record_of_an_older_version_has_the_number_alone(tree: Tree, tmp_path: Path) -> None:
    (tree.state / REQUEST_FILE).write_text('{"series":7}', encoding="utf-8")
    assert read_request(tree.state) == RecordedRequest(7)
    status = only(tmp_path)
    assert (status.requested, status.request, status.not_started) == (7, None, 7)


def test_names_that_are_no_uids_are_not_taken_from_a_record(tree: Tree) -> None:
    items = [["../../etc", 1, 1], ["1.2.3", 2, -5]]
    (tree.state / REQUEST_FILE).write_text(
        json.dumps({"series": 2, "items": items}), encoding="utf-8"
    )
    request = read_request(tree.state)
    assert request is not None
    assert dict(request.items) == {"1.2.3": Totals(1, 2, 0)}


def test_a_run_at_work_is_known_by_its_locks(tree: Tree, tmp_path: Path) -> None:
    assert only(tmp_path).running is None
    (tree.state / "locks" / "1.2.lock").write_text('{"pid":1,"host":"h","since":"s"}')
    assert only(tmp_path).running is None, "a dead run's file is no lock"
    with tree.hold(series_of(1)), tree.hold(series_of(2)):
        running = only(tmp_path).running
        assert running is not None
        assert running.series == 2
        (process,) = running.processes
        assert process.startswith(f"process {os.getpid()} on ")
        assert (running.rate, running.seconds_left) == (None, None)
    assert only(tmp_path).running is None


def test_looking_at_locks_takes_none_away(tmp_path: Path) -> None:
    with Lock(tmp_path / "a.lock", "a"):
        (holder,) = holders(tmp_path)
        assert holder.process == os.getpid()
        assert holders(tmp_path) == [holder]
    assert holders(tmp_path) == []
    assert str(Holder(0, "", "")) == "unknown process"


def test_the_time_left_follows_from_the_series_completed_lately(tree: Tree, tmp_path: Path) -> None:
    for number, finished in ((1, "2026-01-01T10:00:00Z"), (2, "2026-01-01T10:00:50Z")):
        receipt = grow(tree, series_of(number))
        stored = StoredReceipt(replace(receipt, finished=finished), "")
        tree.receipts.write(stored)
    size = receipt.size
    tree.record_request([*(listed(n, size=size) for n in (1, 2)), listed(3, size=4 * size)], [])
    now = 1767261700.0  # 10:01:40
    with tree.hold(series_of(3)):
        (status,) = read_status(tmp_path, REGISTRY, clock=lambda: now).collections
    running = status.running
    assert running is not None
    assert running.rate == pytest.approx(size / 100)
    assert running.seconds_left == pytest.approx(400)
    assert next(line for line in progress_lines(status) if "running" in line).endswith(
        f"1 series in progress, {size // 100} B/s, 6 min 40 s left"
    )


@dataclass
class Recorder:
    """A log that keeps every event."""

    path: str = ""
    failed: OSError | None = None
    events: list[Event] = field(default_factory=list)

    def take(self, event: Event) -> None:
        self.events.append(event)


def test_reading_many_receipts_is_named_in_case_it_takes_long(tree: Tree, tmp_path: Path) -> None:
    grow(tree, series_of(1))
    log, directory = Recorder(), str(tmp_path)
    console = Console(logs=[log])
    started = ActivityStarted(f"reading the receipts in {directory}")
    with click.Context(COMMANDS["status"]):
        choices = {"missing": False, "watch": False, "format": "table"}
        assert status.command(console, directory=directory, registry=(), **choices) == 0
    assert log.events[0] == started
    log.events.clear()
    choices = {"targets": (), "null": False, "files_format": "paths"}
    assert files.command(console, directory=directory, **choices) == 0
    assert log.events[0] == started


def test_watching_ends_when_all_is_complete(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.record_request([listed(1), listed(2)], [])
    steps = iter((1, 1, 2))

    def read() -> StatusResult:
        number = next(steps)
        if not tree.complete_receipt(series_of(number).uid):
            grow(tree, series_of(number))
        return read_status(tmp_path, REGISTRY)

    assert watch_status(Console(), read, CancelToken(), interval=0.001) == 0
    shown = capsys.readouterr().out
    assert shown.count("1 of 2 series") == 1, "the same status is shown once"
    assert shown.count("100.0 %: 2 of 2 series") == 1
    assert list(steps) == []


def test_watching_ends_when_no_run_is_at_work_any_more(
    tree: Tree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.record_request([listed(1), listed(2)], [])
    looks = 0

    def read() -> StatusResult:
        nonlocal looks
        looks += 1
        if looks < 4:
            with tree.hold(series_of(1)):
                return read_status(tmp_path, REGISTRY)
        return read_status(tmp_path, REGISTRY)

    assert watch_status(Console(), read, CancelToken(), interval=0.0, idle_limit=0.0) == 1
    assert looks == 5, "as long as a run is active, and until nothing has changed since"
    assert "no run has been active" in capsys.readouterr().err


def test_of_shards_all_series_that_they_share_were_requested(tree: Tree, tmp_path: Path) -> None:
    tree.record_request([listed(1), listed(2)], [], shards=2)
    status = only(tmp_path)
    assert (status.requested, status.shards) == (2, 2)
    assert any("2 shards" in line for line in progress_lines(status))
    document = json.loads((tree.state / REQUEST_FILE).read_text(encoding="utf-8"))
    (tree.state / REQUEST_FILE).write_text(json.dumps(document | {"shards": -1}), encoding="utf-8")
    assert only(tmp_path).shards == 1


def test_watching_ends_when_it_is_canceled(tree: Tree, tmp_path: Path) -> None:
    stop = CancelToken()
    tree.record_request([listed(1)], [])

    def read() -> StatusResult:
        stop.set()
        return read_status(tmp_path, REGISTRY)

    with pytest.raises(InterruptedRunError):
        watch_status(Console(), read, stop, interval=60)
