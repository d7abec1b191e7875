"""The progress display."""

from __future__ import annotations

import io
import os
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
from tcia_covid.output.progress import (
    ActiveSeries,
    CheckProgress,
    Display,
    ProgressState,
    Ticker,
    retry_line,
    series_line,
    summary_line,
)
from tcia_covid.output.progress_bars import Bars, CheckBar, Places
from tests.unit.making import complete, failed, series
from tests.waiting import SOON

STARTED = RunStarted(series=3, images=6, size=3000, already_complete=1, output="data")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def state_after(*events: Event, clock: Clock | None = None) -> ProgressState:
    state = ProgressState(clock or Clock())
    for event in events:
        state.take(event)
    return state


def test_bytes_of_active_and_complete_series_add_up() -> None:
    first, second = series("1.1"), series("1.2")
    events: list[Event] = [STARTED, SeriesStarted(first, 0, 0), SeriesStarted(second, 1, 400)]
    events += [BytesStored("1.1", 600), BytesStored("1.2", 100)]
    state = state_after(*events)
    assert state.snapshot().size == 600 + 400 + 100
    state.take(SeriesFinished(complete(first)))
    progress = state.snapshot()
    assert (progress.size, progress.complete) == (1000 + 500, 1)
    assert [item.series.uid for item in progress.active] == ["1.2"]


def test_discarded_bytes_are_subtracted() -> None:
    first = series("1.1")
    state = state_after(STARTED, SeriesStarted(first, 0, 0), BytesStored("1.1", 600))
    state.take(BytesStored("1.1", -600))
    assert state.snapshot().size == 0


def test_a_restarted_series_is_counted_once() -> None:
    restarted = series("1.1")
    before = (SeriesStarted(restarted, 0, 0), BytesStored("1.1", 600))
    state = state_after(STARTED, *before, SeriesStarted(restarted, 1, 500))
    progress = state.snapshot()
    assert progress.size == 500
    assert len(progress.active) == 1


def test_failed_series_do_not_count_for_the_time_left() -> None:
    first, clock = series("1.1"), Clock()
    state = state_after(STARTED, SeriesStarted(first, 0, 0), BytesStored("1.1", 300), clock=clock)
    state.take(SeriesFinished(failed(first)))
    clock.now = 10.0
    progress = state.snapshot()
    assert (progress.failed, progress.total, progress.size) == (1, 3000, 300)
    assert progress.left == pytest.approx((3000 - 700 - 300) / 30)


def test_silence_is_shown_instead_of_a_rate() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    state.take(BytesStored("1.1", 300))
    clock.now = 2.0
    assert "150 B/s" in summary_line(state.snapshot())
    clock.now = 6.0
    line = "300 B of 3.0 kB, waiting for the archive, 6 s, 0 of 3 series"
    assert summary_line(state.snapshot()) == line
    state.take(BytesStored("1.1", -300))
    assert state.snapshot().silence == 6
    state.take(BytesStored("1.1", 600))
    assert "B/s" in summary_line(state.snapshot())


def test_no_silence_is_shown_without_active_series() -> None:
    clock = Clock()
    state = state_after(STARTED, clock=clock)
    clock.now = 60.0
    assert not state.snapshot().silence


def test_a_pausing_series_shows_when_it_is_retried() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    state.take(SeriesRetried("1.1", "503", 4.0))
    assert series_line(state.snapshot().active[0]) == "    0 %  retry in 4 s  P1  series 1.1"
    clock.now = 4.0
    assert series_line(state.snapshot().active[0]) == "    0 %  P1  series 1.1"


def test_series_keep_their_lines() -> None:
    places = Places()
    first, second, third, fourth = (ActiveSeries(series(f"1.{n}"), 0) for n in (1, 2, 3, 4))
    assert places.order([first, second, third]) == [first, second, third]
    assert places.order([second, third]) == [None, second, third]
    assert places.order([second, fourth]) == [fourth, second]


def test_a_line_that_is_too_long_omits_the_rate() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    state.take(BytesStored("1.1", 300))
    clock.now = 1.0
    progress = state.snapshot()
    assert summary_line(progress, 60).count(",") == 3
    assert summary_line(progress, 40) == "300 B of 3.0 kB, 9 s left, 0 of 3 series"


def test_a_repeated_failure_is_only_in_the_summary() -> None:
    first, second = (failed(series(f"1.{n}"), "no answer") for n in (1, 2))
    line = lines_after(SeriesFinished(first), SeriesFinished(second))[:-1]
    assert line == ["failed: series 1.1: no answer"]
    line = lines_after(SeriesFinished(first), SeriesFinished(second), verbose=True)[:-1]
    assert len(line) == 2


@pytest.mark.parametrize(
    ("wait", "when"), [(0.0, "retrying"), (0.06, "retry in 0.1 s"), (4.7, "retry in 4.7 s")]
)
def test_a_retry_says_what_why_and_when(wait: float, when: str) -> None:
    line = retry_line(RequestRetried("getSOPInstanceUIDs", "refused", wait))
    assert line == f"list of images: refused; {when}"


def test_remaining_series_do_not_count_as_failed() -> None:
    first = series("1.1")
    state = state_after(STARTED, SeriesStarted(first, 0, 0), BytesStored("1.1", 300))
    state.take(SeriesFinished(Outcome(first, State.REMAINING)))
    progress = state.snapshot()
    assert (progress.failed, progress.total, progress.size) == (0, 3000, 300)


def test_a_series_of_unknown_size_does_not_change_the_sum() -> None:
    first = series("1.1", size=None)
    state = state_after(STARTED, SeriesStarted(first, 0, 0), BytesStored("1.1", 300))
    state.take(SeriesFinished(complete(first)))
    assert state.snapshot().size == 0


def test_kept_bytes_do_not_count_for_the_rate() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 1, 900), clock=clock)
    clock.now = 10.0
    assert state.snapshot().rate == 0
    assert state.snapshot().left is None
    state.take(BytesStored("1.1", 100))
    clock.now = 20.0
    progress = state.snapshot()
    assert progress.rate == pytest.approx(5)
    assert progress.left == pytest.approx((3000 - 1000) / 5)


def test_the_rate_is_that_of_the_last_seconds() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    for second in range(1, 121):
        clock.now = second
        state.take(BytesStored("1.1", 1000 if second <= 60 else 10))
        state.snapshot()
    assert state.snapshot().rate == pytest.approx(10)


def test_the_state_is_thread_safe() -> None:
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0))

    def store() -> None:
        for _ in range(2000):
            state.take(BytesStored("1.1", 1))

    threads = [threading.Thread(target=store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert state.snapshot().size == 8000


def test_the_summary_is_one_line() -> None:
    clock = Clock()
    started = RunStarted(461, 31_935, 19_927_664_950, 0, "data")
    state = state_after(started, SeriesStarted(series("1.1", size=10**10), 0, 0), clock=clock)
    state.take(BytesStored("1.1", 1_200_000_000))
    state.take(SeriesFinished(failed(series("1.2", size=0))))
    clock.now = 39.0
    state.take(BytesStored("1.1", 1))
    clock.now = 40.0
    line = summary_line(state.snapshot())
    assert line == "1.2 of 19.9 GB, 30.0 MB/s, 10 min 24 s left, 0 of 461 series, 1 failed"


def lines_after(*events: Event, verbose: bool = False, clock: Clock | None = None) -> list[str]:
    lines: list[str] = []
    display = Display(lines.append, verbose=verbose, interval=3600, clock=clock or Clock())
    for event in events:
        display.take(event)
    display.draw()
    display.close()
    return lines


def test_without_a_terminal_lines_show_the_run() -> None:
    first, second = series("1.1"), series("1.2")
    lines = lines_after(
        STARTED,
        SeriesStarted(first, 0, 0),
        BytesStored("1.1", 500),
        SeriesFinished(complete(first)),
        SeriesFinished(failed(second, "series 1.2 has 1 of 2 images")),
        Notice("one image has no hash"),
    )
    assert lines == [
        "downloading 3 series (6 images, 3.0 kB) into data; 1 already complete",
        "failed: series 1.2 has 1 of 2 images",
        "one image has no hash",
        "33 %: 1.0 of 3.0 kB, 0 B/s, 1 of 3 series, 1 failed",
    ]


def test_unknown_sizes_are_not_shown_as_zero() -> None:
    unknown = replace(STARTED, images=0, size=0)
    *_, last = line = lines_after(unknown)
    assert line[0].startswith("downloading 3 series into data")
    assert "0 B of" not in last


def test_a_run_with_nothing_to_do_shows_nothing() -> None:
    nothing = RunStarted(series=0, images=0, size=0, already_complete=3, output="data")
    assert lines_after(nothing)[:-1] == []


def test_many_retries_are_shown_in_few_lines() -> None:
    clock = Clock()
    lines: list[str] = []
    display = Display(lines.append, clock=clock)
    for second in range(31):
        clock.now = second
        display.take(SeriesRetried("1.2.3", "503", 1.0))
    assert lines == [
        "series 1.2.3: 503; retry in 1.0 s",
        "series 1.2.3: 503; retry in 1.0 s (14 similar lines omitted)",
        "series 1.2.3: 503; retry in 1.0 s (14 similar lines omitted)",
    ]


def test_verbose_shows_every_event() -> None:
    first = series("1.1", modality="CT")
    lines = lines_after(
        SeriesStarted(first, 1, 500),
        RequestRetried("getSeries", "no answer", 0.5),
        RequestRetried("getSeries", "no answer", 0.5),
        ConcurrencyChanged(4, "503"),
        SeriesFinished(complete(first)),
        SeriesFinished(Outcome(first, State.REMAINING)),
        verbose=True,
    )
    assert lines[:-1] == [
        "started: P1 CT 1.1, 1 image kept",
        "list of series: no answer; retry in 0.5 s",
        "list of series: no answer; retry in 0.5 s",
        "at most 4 connections: 503",
        "complete: P1 CT 1.1, 2 images, 1.0 kB, checked by md5",
        "remaining: series 1.1",
    ]


def test_fault_29_lines_contain_no_credentials_and_no_control_characters() -> None:
    url = "https://user:hunter2@archive.test/x?token=hunter2"
    lines = lines_after(
        SeriesRetried("1.2", f"{url} failed", 1.0),
        Notice(f"see {url}\x1b[2J"),
        SeriesFinished(failed(series(patient="\x1b]0;x"), f"{url} failed\nforged line")),
        ConcurrencyChanged(1, url),
        SeriesStarted(series(patient="\x1b[2J"), 0, 0),
        verbose=True,
    )
    assert "hunter2" not in "".join(lines)
    assert all(line.isprintable() for line in lines)


def test_the_ticker_writes_lines_until_closed() -> None:
    lines = threading.Event()
    display = Display(lambda line: lines.set() if " of " in line else None, interval=0.01)
    display.take(STARTED)
    assert lines.wait(SOON)
    display.close()


def test_the_first_line_comes_early() -> None:
    drawn = threading.Event()
    ticker = Ticker(drawn.set, 3600, 0.01)
    ticker.start()
    assert drawn.wait(SOON)
    ticker.close()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", [200, 80, 30, 5])
def test_bars_fit_the_terminal_and_are_removed(columns: int) -> None:
    stream = Terminal()
    display = Bars(stream, interval=3600, size=lambda _: os.terminal_size((columns, 24)))
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
    drawn = [piece for piece in drawn if not piece.startswith("downloading")]
    assert max(map(len, drawn)) <= columns
    last = written.rpartition("\r")[0].rpartition("\r")[2]
    assert not last.strip(), "the rows are cleared"


def test_series_beyond_the_rows_of_the_terminal_are_omitted() -> None:
    stream = Terminal()
    display = Bars(stream, interval=3600, size=lambda _: os.terminal_size((80, 10)))
    display.take(STARTED)
    for number in range(30):
        display.take(SeriesStarted(series(f"1.{number}"), 0, 0))
    display.draw()
    display.close()
    assert stream.getvalue().count("\n") < 200
    assert "1.29" not in stream.getvalue()


def test_check_progress_in_lines() -> None:
    lines: list[str] = []
    progress = CheckProgress(lines.append)
    progress.add(1000, 2)
    progress.add(2000, 1)
    progress.draw()
    progress.close()
    assert lines[0].startswith("checked 3 images, 3.0 kB, ")


def test_check_progress_on_a_terminal() -> None:
    stream = Terminal()
    progress = CheckBar(stream)
    progress.add(1000, 2)
    progress.draw()
    progress.close()
    assert "checked 2 images, 1.0 kB" in stream.getvalue()
