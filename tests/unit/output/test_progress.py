"""What is shown of a run while it goes on."""

from __future__ import annotations

import io
import os
import sys
import threading
from dataclasses import replace

import pytest

from tcia_covid.core.events import (
    BytesStored,
    ConcurrencyChanged,
    Event,
    Notice,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, State
from tcia_covid.output.progress import wording
from tcia_covid.output.progress.bars import Bars, Places, Row
from tcia_covid.output.progress.display import CheckProgress, open_display
from tcia_covid.output.progress.lines import Lines, Ticker
from tcia_covid.output.progress.state import ProgressState, UnderWay
from tests.unit.making import complete, failed, series
from tests.waiting import SOON

STARTED = RunStarted(series=3, images=6, size=3000, already_complete=1, output="data")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def board_after(*events: Event, clock: Clock | None = None) -> ProgressState:
    board = ProgressState(clock or Clock())
    for event in events:
        board.take(event)
    return board


def test_bytes_of_series_under_way_and_complete_add_up() -> None:
    one, two = series("1.1"), series("1.2")
    events: list[Event] = [STARTED, SeriesStarted(one, 0, 0), SeriesStarted(two, 1, 400)]
    events += [BytesStored("1.1", 600), BytesStored("1.2", 100)]
    board = board_after(*events)
    assert board.look().size == 600 + 400 + 100
    board.take(SeriesFinished(complete(one)))
    picture = board.look()
    assert (picture.size, picture.complete) == (1000 + 500, 1)
    assert [item.series.uid for item in picture.under_way] == ["1.2"]


def test_bytes_thrown_away_are_taken_back() -> None:
    one = series("1.1")
    board = board_after(STARTED, SeriesStarted(one, 0, 0), BytesStored("1.1", 600))
    board.take(BytesStored("1.1", -600))
    assert board.look().size == 0


def test_a_series_begun_again_is_counted_once() -> None:
    one = series("1.1")
    first = (SeriesStarted(one, 0, 0), BytesStored("1.1", 600))
    board = board_after(STARTED, *first, SeriesStarted(one, 1, 500))
    picture = board.look()
    assert picture.size == 500
    assert len(picture.under_way) == 1


def test_what_failed_is_not_waited_for_and_changes_no_total() -> None:
    one, clock = series("1.1"), Clock()
    board = board_after(STARTED, SeriesStarted(one, 0, 0), BytesStored("1.1", 300), clock=clock)
    board.take(SeriesFinished(failed(one)))
    clock.now = 10.0
    picture = board.look()
    assert (picture.failed, picture.total, picture.size) == (1, 3000, 300)
    assert picture.left == pytest.approx((3000 - 700 - 300) / 30)


def test_silence_is_told_in_place_of_a_rate() -> None:
    clock = Clock()
    board = board_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    board.take(BytesStored("1.1", 300))
    clock.now = 2.0
    assert "150 B/s" in wording.summary_line(board.look())
    clock.now = 6.0
    told = "300 B of 3.0 kB, waiting for the archive, 6 s, 0 of 3 series"
    assert wording.summary_line(board.look()) == told
    board.take(BytesStored("1.1", -300))
    assert board.look().silence == 6
    board.take(BytesStored("1.1", 600))
    assert "B/s" in wording.summary_line(board.look())


def test_nothing_is_waited_for_before_and_after_the_series() -> None:
    clock = Clock()
    board = board_after(STARTED, clock=clock)
    clock.now = 60.0
    assert not board.look().silence


def test_a_series_that_pauses_says_when_it_goes_on() -> None:
    clock = Clock()
    board = board_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    board.take(SeriesRetried("1.1", "503", 4.0))
    assert wording.series_line(board.look().under_way[0]) == "    0 %  retry in 4 s  P1  series 1.1"
    clock.now = 4.0
    assert wording.series_line(board.look().under_way[0]) == "    0 %  P1  series 1.1"


def test_series_keep_their_lines() -> None:
    places = Places()
    one, two, three, four = (UnderWay(series(f"1.{n}"), 0) for n in (1, 2, 3, 4))
    assert places.order([one, two, three]) == [one, two, three]
    assert places.order([two, three]) == [None, two, three]
    assert places.order([two, four]) == [four, two]


def test_a_line_that_is_too_long_does_without_the_rate() -> None:
    clock = Clock()
    board = board_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    board.take(BytesStored("1.1", 300))
    clock.now = 1.0
    picture = board.look()
    assert wording.summary_line(picture, 60).count(",") == 3
    assert wording.summary_line(picture, 40) == "300 B of 3.0 kB, 9 s left, 0 of 3 series"


def test_a_failure_that_repeats_another_waits_for_the_summary() -> None:
    one, two = (failed(series(f"1.{n}"), "no answer") for n in (1, 2))
    told = lines_after(SeriesFinished(one), SeriesFinished(two))[:-1]
    assert told == ["failed: series 1.1: no answer"]
    told = lines_after(SeriesFinished(one), SeriesFinished(two), verbose=True)[:-1]
    assert len(told) == 2


@pytest.mark.parametrize(
    ("wait", "when"), [(0.0, "at once"), (0.06, "in 0.1 s"), (4.7, "in 4.7 s")]
)
def test_a_retry_is_told_in_plain_words(wait: float, when: str) -> None:
    told = wording.retry_line(RequestRetried("getSOPInstanceUIDs", "refused", wait))
    assert told == f"list of images: refused; again {when}"


def test_what_remains_after_an_interruption_did_not_fail() -> None:
    one = series("1.1")
    board = board_after(STARTED, SeriesStarted(one, 0, 0), BytesStored("1.1", 300))
    board.take(SeriesFinished(Outcome(one, State.REMAINING)))
    picture = board.look()
    assert (picture.failed, picture.total, picture.size) == (0, 3000, 300)


def test_a_series_whose_size_is_not_on_record_moves_no_sum() -> None:
    one = series("1.1", size=None)
    board = board_after(STARTED, SeriesStarted(one, 0, 0), BytesStored("1.1", 300))
    board.take(SeriesFinished(complete(one)))
    assert board.look().size == 0


def test_kept_bytes_are_no_rate() -> None:
    clock = Clock()
    board = board_after(STARTED, SeriesStarted(series("1.1"), 1, 900), clock=clock)
    clock.now = 10.0
    assert board.look().rate == 0
    assert board.look().left is None
    board.take(BytesStored("1.1", 100))
    clock.now = 20.0
    picture = board.look()
    assert picture.rate == pytest.approx(5)
    assert picture.left == pytest.approx((3000 - 1000) / 5)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    board = board_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    for second in range(1, 121):
        clock.now = second
        board.take(BytesStored("1.1", 1000 if second <= 60 else 10))
        board.look()
    assert board.look().rate == pytest.approx(10)


def test_the_board_counts_right_from_many_threads() -> None:
    board = board_after(STARTED, SeriesStarted(series("1.1"), 0, 0))

    def store() -> None:
        for _ in range(2000):
            board.take(BytesStored("1.1", 1))

    threads = [threading.Thread(target=store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert board.look().size == 8000


def test_the_facts_of_a_run_fit_one_line() -> None:
    clock = Clock()
    started = RunStarted(461, 31_935, 19_927_664_950, 0, "data")
    board = board_after(started, SeriesStarted(series("1.1", size=10**10), 0, 0), clock=clock)
    board.take(BytesStored("1.1", 1_200_000_000))
    board.take(SeriesFinished(failed(series("1.2", size=0))))
    clock.now = 39.0
    board.take(BytesStored("1.1", 1))
    clock.now = 40.0
    line = wording.summary_line(board.look())
    assert line == "1.2 of 19.9 GB, 30.0 MB/s, 10 min 24 s left, 0 of 461 series, 1 failed"


def lines_after(*events: Event, verbose: bool = False, clock: Clock | None = None) -> list[str]:
    said: list[str] = []
    display = Lines(said.append, verbose=verbose, every=3600, clock=clock or Clock())
    for event in events:
        display.take(event)
    display.draw()
    display.close()
    return said


def test_without_a_terminal_lines_tell_the_run() -> None:
    one, two = series("1.1"), series("1.2")
    said = lines_after(
        STARTED,
        SeriesStarted(one, 0, 0),
        BytesStored("1.1", 500),
        SeriesFinished(complete(one)),
        SeriesFinished(failed(two, "series 1.2 has 1 of 2 images")),
        Notice("one image has no hash"),
    )
    assert said == [
        "fetching 3 series (6 images, 3.0 kB) into data; 1 are there already",
        "failed: series 1.2 has 1 of 2 images",
        "one image has no hash",
        "33 %: 1.0 of 3.0 kB, 0 B/s, 1 of 3 series, 1 failed",
    ]


def test_what_is_not_on_record_is_not_told_as_nothing() -> None:
    unknown = replace(STARTED, images=0, size=0)
    *_, last = told = lines_after(unknown)
    assert told[0].startswith("fetching 3 series into data")
    assert "0 B of" not in last


def test_a_run_with_nothing_to_do_says_nothing() -> None:
    nothing = RunStarted(series=0, images=0, size=0, already_complete=3, output="data")
    assert lines_after(nothing)[:-1] == []


def test_a_storm_of_retries_is_told_in_few_lines() -> None:
    clock = Clock()
    said: list[str] = []
    display = Lines(said.append, clock=clock)
    for second in range(31):
        clock.now = second
        display.take(SeriesRetried("1.2.3", "503", 1.0))
    assert said == [
        "series 1.2.3: 503; again in 1.0 s",
        "series 1.2.3: 503; again in 1.0 s (14 similar lines left out)",
        "series 1.2.3: 503; again in 1.0 s (14 similar lines left out)",
    ]


def test_those_who_ask_for_detail_hear_of_every_event() -> None:
    one = series("1.1", modality="CT")
    said = lines_after(
        SeriesStarted(one, 1, 500),
        RequestRetried("getSeries", "no answer", 0.5),
        RequestRetried("getSeries", "no answer", 0.5),
        ConcurrencyChanged(4, "503"),
        SeriesFinished(complete(one)),
        SeriesFinished(Outcome(one, State.REMAINING)),
        verbose=True,
    )
    assert said[:-1] == [
        "begun: P1 CT 1.1, 1 image kept",
        "list of series: no answer; again in 0.5 s",
        "list of series: no answer; again in 0.5 s",
        "at most 4 connections: 503",
        "complete: P1 CT 1.1, 2 images, 1.0 kB, checked by md5",
        "remaining: series 1.1",
    ]


def test_fault_29_what_came_from_outside_carries_no_credential_and_steers_no_terminal() -> None:
    url = "https://user:hunter2@archive.test/x?token=hunter2"
    said = lines_after(
        SeriesRetried("1.2", f"{url} failed", 1.0),
        Notice(f"see {url}\x1b[2J"),
        SeriesFinished(failed(series(patient="\x1b]0;x"), f"{url} failed\nforged line")),
        ConcurrencyChanged(1, url),
        SeriesStarted(series(patient="\x1b[2J"), 0, 0),
        verbose=True,
    )
    assert "hunter2" not in "".join(said)
    assert all(line.isprintable() for line in said)


def test_the_ticker_draws_lines_and_ends() -> None:
    said = threading.Event()
    display = Lines(lambda line: said.set() if " of " in line else None, every=0.01)
    display.take(STARTED)
    assert said.wait(SOON)
    display.close()


def test_the_first_line_comes_early() -> None:
    drawn = threading.Event()
    ticker = Ticker(drawn.set, 3600, 0.01)
    ticker.start()
    assert drawn.wait(SOON)
    ticker.close()


def test_a_pipe_gets_plain_lines() -> None:
    display = open_display(io.StringIO(), lambda line: None, bars=False)
    assert isinstance(display, Lines)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [200, 80, 30, 5])
def test_bars_fit_the_terminal_and_leave_it_empty(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((columns, 24)))
    monkeypatch.setattr("tqdm.std._screen_shape_wrapper", lambda: lambda _: (columns, 24))
    stream = Terminal()
    display = Bars(stream, every=3600)
    described = series("1.1", modality="CT", description="Thorax " * 40)
    display.take(STARTED)
    display.take(SeriesStarted(described, 0, 0))
    display.take(BytesStored("1.1", 500))
    display.draw()
    display.take(SeriesFinished(complete(described)))
    display.take(Notice("a notice"))
    display.draw()
    display.close()
    written = stream.getvalue()
    assert "a notice\n" in written
    pieces = written.replace("\n", "\r").split("\r")
    drawn = [piece.replace("\x1b[A", "") for piece in pieces if "notice" not in piece]
    drawn = [piece for piece in drawn if not piece.startswith("fetching")]
    assert max(map(len, drawn)) <= columns
    assert not Row._instances


def test_more_series_than_rows_of_the_terminal_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("shutil.get_terminal_size", lambda *_: os.terminal_size((80, 10)))
    stream = Terminal()
    display = Bars(stream, every=3600)
    display.take(STARTED)
    for number in range(30):
        display.take(SeriesStarted(series(f"1.{number}"), 0, 0))
    display.draw()
    display.close()
    assert stream.getvalue().count("\n") < 200
    assert "1.29" not in stream.getvalue()


def test_a_check_counts_in_lines() -> None:
    said: list[str] = []
    counting = CheckProgress(said.append, None)
    counting.add(1000, 2)
    counting.add(2000, 1)
    counting._draw()
    counting.close()
    assert said[0].startswith("checked 3 images, 3.0 kB, ")


def test_a_check_counts_on_a_terminal() -> None:
    stream = Terminal()
    counting = CheckProgress(sys.exit, stream)
    counting.add(1000, 2)
    counting._draw()
    counting.close()
    assert "checked 2 images, 1.0 kB" in stream.getvalue()
