"""The logs: events as one JSON object per line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcia_covid.core.errors import UnreachableError, UsageError
from tcia_covid.core.events import (
    BytesStored,
    CommandFinished,
    CommandStarted,
    ConcurrencyChanged,
    DamageFound,
    Notice,
    RequestRetried,
    RunFinished,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.output.logs import EventLog
from tests.unit.factories import complete, failed, series, summary

ALL = (
    CommandStarted("download"),
    RunStarted(1, 2, 1000, 0, "data"),
    SeriesStarted(series(), 1, 500),
    BytesStored("1.2.3", 100),
    SeriesRetried("1.2.3", "cut", 1.0),
    RequestRetried("getSeries", "https://u:hunter2@a/b?api_key=hunter2 failed", 1.0),
    SeriesFinished(complete(series())),
    SeriesFinished(failed(series())),
    ConcurrencyChanged(4, "503"),
    Notice("a note"),
    DamageFound("1.2.3", "C/P1/1.2/1.2.3/1.dcm", "changed", "other bytes"),
    RunFinished(summary()),
    CommandFinished("download", 3, UnreachableError("http://u:hunter2@a failed", hint="wait")),
)


def test_every_event_except_arriving_bytes_is_a_line_with_type_and_time(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    for event in ALL:
        log.take(event)
    log.close()
    log.take(ALL[0])
    lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert [line["type"] for line in lines] == [
        *("command-started", "run-started", "series-started", "series-retried"),
        *("request-retried", "series-finished", "series-finished", "concurrency-changed", "notice"),
        *("damage-found", "run-finished", "command-finished"),
    ]
    assert all(line["time"].endswith("Z") for line in lines)
    assert lines[1]["bytes"] == 1000
    assert lines[2]["SeriesInstanceUID"] == lines[3]["SeriesInstanceUID"] == "1.2.3"
    assert lines[2]["partial"] == {"images": 1, "bytes": 500}
    assert (lines[5]["state"], lines[5]["checked"], lines[5]["images"]) == ("complete", "md5", 2)
    assert lines[6]["failure"]["reason"] == "incomplete"
    assert lines[10]["summary"]["command"] == "download"
    assert lines[11]["exit_code"] == 3
    assert lines[11]["error"]["type"] == "UnreachableError"
    assert log.failed is None


def test_fault_29_the_event_log_contains_no_credentials(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    for event in ALL:
        log.take(event)
    log.close()
    assert "hunter2" not in (tmp_path / "events").read_text()


def test_a_second_run_appends_to_the_log(tmp_path: Path) -> None:
    for _ in range(2):
        log = EventLog(tmp_path / "events")
        log.take(Notice("x"))
        log.close()
    assert len((tmp_path / "events").read_text().splitlines()) == 2


def test_a_log_that_cannot_be_opened_is_an_error_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write events to"):
        EventLog(tmp_path / "none" / "events")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_that_fills_its_disk_does_not_stop_the_run() -> None:
    log = EventLog("/dev/full")
    log.take(Notice("x"))
    log.take(Notice("y"))
    log.close()
    assert log.failed is not None


def test_file_names_that_are_not_text_are_escaped(tmp_path: Path) -> None:
    log = EventLog(tmp_path / "events")
    log.take(RunStarted(1, 2, 1000, 0, "d\udcff"))
    log.close()
    line = (tmp_path / "events").read_text(encoding="utf-8")
    assert json.loads(line)["output"] == "d\udcff"
