"""The progress display."""

from __future__ import annotations

import io
import os
import re
import threading
from dataclasses import replace

import pytest

from tcia_covid.core.events import (
    ActivityFinished,
    ActivityStarted,
    BytesStored,
    ConcurrencyChanged,
    Event,
    ImagesChecked,
    Notice,
    Phase,
    PhaseChanged,
    RateLimited,
    RequestRetried,
    RunStarted,
    SeriesFinished,
    SeriesRetried,
    SeriesStarted,
)
from tcia_covid.core.models import Outcome, State
from tcia_covid.core.units import cut, display_width
from tcia_covid.output.progress import (
    Display,
    ProgressState,
    Snapshot,
    retry_line,
    series_line,
    status_line,
    summary_parts,
)
from tcia_covid.output.progress_bars import Bars, frame
from tests.unit.factories import complete, failed, series
from tests.waiting import SOON

STARTED = RunStarted(series=3, images=6, size=3000, already_complete=1, output="data")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def summary_line(progress: Snapshot) -> str:
    return ", ".join(summary_parts(progress))


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
    assert (progress.size, progress.complete) == (1000 + 500, 1 + 1)
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
    line = "300 B of 3.0 kB, waiting for the archive, 6 s, 1 of 4 series"
    assert summary_line(state.snapshot()) == line
    state.take(BytesStored("1.1", -300))
    assert state.snapshot().silence == 6
    state.take(BytesStored("1.1", 600))
    assert "B/s" in summary_line(state.snapshot())


def test_no_silence_is_shown_while_series_are_moved_into_place() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    clock.now = 60.0
    assert state.snapshot().silence == 60
    state.take(PhaseChanged("1.1", Phase.COMMITTING))
    assert not state.snapshot().silence


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
    assert series_line(state.snapshot().active[0]) == "    0 %  queued  P1  series 1.1"


def test_a_series_shows_what_happens_to_it() -> None:
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0))
    lines = [series_line(state.snapshot().active[0])]
    for phase in (Phase.DOWNLOADING, Phase.CHECKING, Phase.COMMITTING):
        state.take(PhaseChanged("1.1", phase))
        lines.append(series_line(state.snapshot().active[0]))
    assert lines == [
        "    0 %  queued  P1  series 1.1",
        "    0 %  P1  series 1.1",
        "    0 %  checking  P1  series 1.1",
        "    0 %  moving into place  P1  series 1.1",
    ]


def test_series_that_other_runs_work_on_are_counted() -> None:
    state = state_after(STARTED)
    state.take(PhaseChanged("1.1", Phase.LOCKED))
    state.take(PhaseChanged("1.2", Phase.LOCKED))
    state.take(PhaseChanged("1.1", Phase.LOCKED))
    assert "2 locked by other runs" in status_line(state.snapshot())
    state.take(SeriesStarted(series("1.1"), 0, 0))
    state.take(SeriesFinished(complete(series("1.2"))))
    assert not state.snapshot().locked


def test_the_maximum_rate_is_named_while_it_delays_bytes() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    state.take(RateLimited())
    assert "throttled by --max-rate" in summary_parts(state.snapshot())
    clock.now = 60.0
    state.take(BytesStored("1.1", 10))
    assert "throttled by --max-rate" not in summary_parts(state.snapshot())


def test_what_earlier_runs_did_is_part_of_the_total() -> None:
    started = RunStarted(2, 4, 2000, 2, "data", already_bytes=6000)
    state = state_after(started, SeriesStarted(series("1.1"), 1, 400), BytesStored("1.1", 600))
    progress = state.snapshot()
    assert (progress.size, progress.total, progress.existing) == (7000, 8000, 6400)
    assert (progress.complete, progress.series) == (2, 4)
    assert frame(progress, 120, 24)[0] == (
        f"[{'=' * 24}{'#' * 2}{'-' * 4}]  87 %  "
        "7.0 of 8.0 kB, 0 B/s, 2 of 4 series, 6.4 kB from before"
    )


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
    display = Display(lines.append, verbose=verbose, clock=clock or Clock())
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
        SeriesStarted(series("1.3"), 0, 0),
    )
    assert lines == [
        "downloading 3 series (6 images, 3.0 kB) into data; 1 already complete",
        "failed: series 1.2 has 1 of 2 images",
        "one image has no hash",
        "33 %: 1.0 of 3.0 kB, 0 B/s, 2 of 4 series, 1 failed",
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


def test_silence_ends_within_three_seconds_and_then_at_intervals() -> None:
    clock = Clock()
    lines: list[str] = []
    display = Display(lines.append, clock=clock)
    display.take(ActivityStarted("asking NBIA for the list of A"))
    for quarter in range(4 * 91):
        clock.now = quarter / 4
        display.tick()
    assert lines == [
        f"asking NBIA for the list of A ... {seconds}"
        for seconds in ("2 s", "10 s", "30 s", "1 min", "1 min 30 s")
    ]
    display.take(ActivityFinished("asking NBIA for the list of A"))
    display.take(ActivityStarted("writing the report files"))
    for quarter in range(4 * 91, 4 * 96):
        clock.now = quarter / 4
        display.tick()
    assert lines[5:] == ["writing the report files ... 2 s"]


def test_lines_about_a_run_come_soon_and_then_every_30_seconds() -> None:
    clock = Clock()
    lines: list[tuple[float, str]] = []
    display = Display(lambda line: lines.append((clock.now, line)), clock=clock)
    display.take(STARTED)
    display.take(SeriesStarted(series("1.1"), 0, 0))
    for second in range(1, 121):
        clock.now = second
        display.take(BytesStored("1.1", 1))
        display.tick()
    assert [when for when, _ in lines] == [0, 3, 11, 31, 61, 91]
    assert lines[-1][1].startswith("3 %: ")


def test_what_is_unknown_is_named_as_work() -> None:
    clock = Clock()
    lines: list[str] = []
    display = Display(lines.append, clock=clock)
    clock.now = 2.5
    display.tick()
    assert lines == ["working ... 2 s"]


def test_checked_images_are_counted() -> None:
    clock = Clock()
    state = state_after(ImagesChecked(1000, 2), ImagesChecked(2000, 1), clock=clock)
    clock.now = 2.0
    assert status_line(state.snapshot()) == "checked 3 images, 3.0 kB, 1.5 kB/s"
    assert frame(state.snapshot(), 80, 24) == ["checked 3 images, 3.0 kB, 1.5 kB/s"]


def test_the_ticker_writes_lines_until_closed() -> None:
    written = threading.Event()
    display = Display(lambda _: written.set(), gaps=(0.0,), interval=0.01)
    display.start()
    assert written.wait(SOON)
    display.close()


NAMES = ("P1", "患者山田太郎", "김철수", "Żółć", "الاسم", "ก็ดี", "…█")


@pytest.mark.parametrize("columns", [*range(1, 45), 60, 80, 120, 200])
@pytest.mark.parametrize("lines", [1, 2, 5, 12, 24])
def test_every_line_fits_the_terminal(columns: int, lines: int) -> None:
    state = state_after(RunStarted(50, 100, 50_000, 10, "data", already_bytes=10_000))
    for number in range(30):
        name = NAMES[number % len(NAMES)]
        listed = series(f"1.{number}", patient=name, modality="CT", description=f"{name} " * 9)
        state.take(SeriesStarted(listed, 0, 0))
        state.take(BytesStored(f"1.{number}", 100))
    drawn = frame(state.snapshot(), columns, lines)
    assert len(drawn) <= max(0, lines - 1)
    assert all(display_width(line, ambiguous=2) < columns or not line for line in drawn)


@pytest.mark.parametrize(("lines", "more"), [(12, "  and 21 more"), (24, "  and 9 more")])
def test_series_beyond_the_lines_of_the_terminal_are_counted(lines: int, more: str) -> None:
    state = state_after(STARTED)
    for number in range(30):
        state.take(SeriesStarted(series(f"1.{number}"), 0, 0))
    drawn = frame(state.snapshot(), 80, lines)
    assert drawn[-1] == more
    assert len(drawn) == lines - 1


def test_queued_series_come_after_those_that_download() -> None:
    state = state_after(STARTED, *(SeriesStarted(series(f"1.{n}"), 0, 0) for n in (1, 2, 3)))
    state.take(PhaseChanged("1.3", Phase.DOWNLOADING))
    rows = frame(state.snapshot(), 80, 24)[-3:]
    assert [row.rpartition(" ")[2] for row in rows] == ["1.3", "1.1", "1.2"]


def test_on_a_narrow_terminal_the_text_is_below_the_bar() -> None:
    clock = Clock()
    state = state_after(STARTED, SeriesStarted(series("1.1"), 0, 0), clock=clock)
    state.take(BytesStored("1.1", 1500))
    clock.now = 1.0
    assert frame(state.snapshot(), 40, 24)[:3] == [
        f"[{'#' * 15}{'-' * 15}]  50 %",
        "1.5 of 3.0 kB, 1.5 kB/s, 1 s left",
        "1 of 4 series",
    ]


def test_an_activity_is_shown_after_a_second() -> None:
    clock = Clock()
    state = state_after(ActivityStarted("asking NBIA for the list of A"), clock=clock)
    assert frame(state.snapshot(), 80, 24) == []
    clock.now = 10.0
    assert frame(state.snapshot(), 80, 24) == ["asking NBIA for the list of A ... 10 s"]


@pytest.mark.parametrize(
    ("text", "columns", "expected"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdef", 5, "ab..."),
        ("患者山田", 8, "患者山田"),
        ("患者山田", 7, "患者..."),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("abcdef", 2, ".."),
        ("abcdef", 0, ""),
    ],
)
def test_text_is_cut_by_the_columns_it_takes(text: str, columns: int, expected: str) -> None:
    assert cut(text, columns) == expected


def bars(stream: io.StringIO, columns: int = 80, lines: int = 24) -> Bars:
    return Bars(stream, size=lambda _: os.terminal_size((columns, lines)), clock=Clock())


def test_text_above_the_bars_is_wrapped_between_words() -> None:
    stream = io.StringIO()
    bars(stream, columns=20).take(Notice("a notice of several words"))
    assert "a notice of several\n  words\n" in stream.getvalue()


def test_text_above_the_bars_stays_and_the_bars_are_erased_at_the_end() -> None:
    stream = io.StringIO()
    display = bars(stream)
    display.take(STARTED)
    display.take(SeriesStarted(series("1.1"), 0, 0))
    display.draw()
    display.take(Notice("a notice"))
    display.close()
    written = stream.getvalue()
    assert "\x1b[Ka notice\n\x1b[?7l[" in written
    assert written.endswith("\x1b[1A\r\r \x1b[J\r\x1b[K")


def test_nothing_is_drawn_while_the_process_is_stopped() -> None:
    stream = io.StringIO()
    display = bars(stream)
    display.take(STARTED)
    display.draw()
    display.suspend()
    assert stream.getvalue().endswith("\r \x1b[J\r\x1b[K")
    before = stream.getvalue()
    display.draw()
    assert stream.getvalue() == before
    display.resume()
    display.draw()
    assert stream.getvalue() > before


def test_characters_that_the_terminal_cannot_show_are_replaced() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "ascii")
    display = bars(stream)
    display.take(STARTED)
    display.take(SeriesStarted(series("1.1", patient="山田"), 0, 0))
    display.draw()
    assert b"queued  ??  series" in raw.getvalue()


def test_no_color_is_used() -> None:
    stream = io.StringIO()
    display = bars(stream)
    display.take(STARTED)
    display.take(SeriesStarted(series("1.1"), 0, 0))
    display.take(SeriesFinished(failed(series("1.2"))))
    display.draw()
    display.close()
    assert not re.findall(r"\x1b\[[0-9;]*m", stream.getvalue())
