"""How the result of a download is shown."""

from __future__ import annotations

import json

import pytest

from tcia_covid.cli.commands.download import show_summary
from tcia_covid.cli.console import Console
from tcia_covid.core.errors import InterruptedRunError, NoSpaceError, UnreachableError
from tcia_covid.core.models import Failure
from tcia_covid.output.json_documents import summary_document
from tcia_covid.output.tables import MAX_LINES, failure_lines
from tests.unit.factories import summary

Captured = pytest.CaptureFixture[str]


def failures(count: int) -> list[Failure]:
    return [
        Failure(
            f"1.{n}", "incomplete", f"series 1.{n} has a missing image", (f"1.{n}.1",), "try again"
        )
        for n in range(count)
    ]


def test_a_successful_run_is_summarized_in_three_lines(capsys: Captured) -> None:
    assert show_summary(Console(), summary(already_complete=1)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "3 of 3 series complete in data: 6 images, 3.0 kB (1 already complete before)",
        "downloaded 2.0 kB (compressed) in 12 s: 3 series from NBIA",
        "every image checked against the archive's MD5",
    ]
    assert not err


def test_a_run_with_nothing_left_to_do(capsys: Captured) -> None:
    show_summary(Console(), summary(already_complete=3, bytes_received=0))
    assert capsys.readouterr().out.splitlines() == [
        "3 of 3 series complete in data: 6 images, 3.0 kB (all already complete before)",
        "every image checked against the archive's MD5",
    ]


def test_lists_are_no_download(capsys: Captured) -> None:
    show_summary(Console(), summary(already_complete=3, bytes_received=2800, fetched_from={}))
    assert "nothing to download; 2.8 kB of lists received" in capsys.readouterr().out


def test_series_of_an_earlier_run_are_not_counted_as_an_archives(capsys: Captured) -> None:
    show_summary(Console(), summary(fetched_from={"adopted": 1, "idc": 2, "aspera": 3}))
    places = "1 series from an earlier run, 2 series from IDC, 3 series from Aspera"
    assert f"downloaded 2.0 kB in 12 s: {places}" in capsys.readouterr().out


def test_series_that_no_archive_has_get_another_hint(capsys: Captured) -> None:
    unknown = Failure("1.2.3", "not-available", "the archive does not list 1.2.3")
    result = summary(
        selected=1,
        complete=0,
        failed=1,
        images_stored=0,
        bytes_stored=0,
        bytes_received=0,
        checked_md5=0,
    )
    result.failures, result.exit_code = [unknown], 1
    show_summary(Console(), result)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "0 of 1 series complete in data: 0 images, 0 B",
        "  not-available: the archive does not list 1.2.3",
    ]
    assert err.splitlines() == [
        "error: 1 of 1 series is not complete",
        "no archive has these: check where their UIDs come from",
    ]


def test_other_content_than_expected_is_an_error_of_its_own(capsys: Captured) -> None:
    other = Failure("", "conflict", "package 'A': another version of it exists", hint="compare")
    show_summary(Console(), summary(failures=[other], exit_code=1))
    out, err = capsys.readouterr()
    assert "3 of 3 series complete" in out
    assert err.splitlines() == [
        "error: the folder has other content than expected",
        "the lines above say what to do",
    ]


def test_equal_failures_share_a_line_and_each_series_is_named() -> None:
    equal = [Failure(f"1.{n}", "archive-error", "no answer", hint="wait") for n in range(3)]
    assert list(failure_lines([*equal[:2], *failures(1), *equal[2:]])) == [
        "  archive-error: 3 series: no answer",
        "    wait",
        "    1.0",
        "    1.1",
        "    1.2",
        "  incomplete: series 1.0 has a missing image (missing: 1.0.1)",
        "    try again",
    ]


def test_of_many_equal_failures_the_first_series_are_named() -> None:
    equal = [Failure(f"1.{n}", "archive-error", "no answer") for n in range(MAX_LINES + 5)]
    lines = list(failure_lines(equal))
    assert len(lines) == MAX_LINES + 2
    assert lines[-1] == "    and 5 more: --json lists all"


def test_fault_07_series_without_a_hash_are_reported(capsys: Captured) -> None:
    show_summary(Console(), summary(checked_md5=1, checked_size=2))
    assert (
        "1 series checked against the archive's MD5, 2 series only by count, size and header: "
        "no archive provided a hash of some images ('tcia-covid verify --online' asks NBIA again)"
    ) in capsys.readouterr().out


def test_failures_are_listed_with_what_to_do(capsys: Captured) -> None:
    result = summary(complete=1, failed=2, failures=failures(2), exit_code=1)
    assert show_summary(Console(), result) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-3:] == [
        "  incomplete: series 1.0 has a missing image (missing: 1.0.1)",
        "    try again",
        "  incomplete: series 1.1 has a missing image (missing: 1.1.1)",
    ]
    assert err.splitlines() == [
        "error: 2 of 3 series are not complete",
        "run the same command again: it downloads only what is missing",
    ]


def test_only_the_first_failures_are_listed() -> None:
    lines = list(failure_lines(failures(MAX_LINES + 5)))
    assert lines[-1] == "  and 5 more: --json lists all"
    assert sum("incomplete" in line for line in lines) == MAX_LINES


def test_a_series_is_named_once() -> None:
    first = Failure("1.2", "archive-error", "503 from the archive")
    second = Failure("1.3", "archive-error", "series 1.3: 503")
    assert list(failure_lines([first, second])) == [
        "  archive-error: series 1.2: 503 from the archive",
        "  archive-error: series 1.3: 503",
    ]


def test_a_list_that_is_too_short_gets_another_hint(capsys: Captured) -> None:
    short = Failure("", "incomplete-list", "the archive lists 2 series of C, 3 are expected")
    assert show_summary(Console(), summary(failures=[short], exit_code=1)) == 1
    assert "--accept-listed" in capsys.readouterr().err


def test_fault_22_an_interruption_says_how_to_resume(capsys: Captured) -> None:
    error = InterruptedRunError(exit_code=143)
    result = summary(complete=1, remaining=2, error=error, exit_code=143)
    assert show_summary(Console(), result) == 143
    assert capsys.readouterr().err.splitlines() == [
        "error: interrupted: 1 of 3 series is complete",
        "run the same command again to resume",
        "metadata.csv and the other report files cover what is complete",
    ]


def test_fault_34_an_interruption_says_that_reports_are_out_of_date(capsys: Captured) -> None:
    error = InterruptedRunError(exit_code=143)
    outdated = ["COVID-19-AR/metadata.csv"]
    result = summary(complete=1, remaining=2, error=error, exit_code=143, outdated_reports=outdated)
    show_summary(Console(), result)
    err = capsys.readouterr().err
    assert "report files are out of date: the same command writes them" in err
    assert summary_document(result)["outdated_reports"] == outdated


def test_an_interruption_says_how_much_is_staged(capsys: Captured) -> None:
    error = InterruptedRunError()
    staged = {"partial_series": 2, "partial_bytes": 169_600_000, "fetched_from": {}}
    show_summary(Console(), summary(complete=0, remaining=3, error=error, exit_code=130, **staged))
    out, err = capsys.readouterr()
    assert "downloaded 2.0 kB (compressed) in 12 s\n" in out
    assert "169.6 MB of 2 series staged for the next run" in out
    assert "interrupted: 0 of 3 series are complete; 169.6 MB of 2 others in staging" in err


def test_series_without_an_image_are_not_reported_as_staged(capsys: Captured) -> None:
    error = UnreachableError("no archive answers")
    show_summary(
        Console(),
        summary(
            complete=1, remaining=2, error=error, exit_code=3, partial_series=2, partial_bytes=0
        ),
    )
    out, err = capsys.readouterr()
    assert "staged" not in out + err


def test_an_outage_says_what_remains_and_how_to_resume(capsys: Captured) -> None:
    error = UnreachableError("no archive answers", hint="check the network")
    staged = {"partial_series": 1, "partial_bytes": 1000}
    show_summary(Console(), summary(complete=1, remaining=2, error=error, exit_code=3, **staged))
    remaining = "2 of 3 series were not finished (1.0 kB of 1 series in staging)"
    assert capsys.readouterr().err.splitlines() == [
        "error: no archive answers",
        "check the network",
        f"{remaining}: run the same command again to resume",
    ]


@pytest.mark.parametrize("error", [NoSpaceError("full", hint="free some"), UnreachableError("no")])
def test_the_error_that_ended_the_run_is_reported(capsys: Captured, error: NoSpaceError) -> None:
    result = summary(complete=1, remaining=2, error=error, exit_code=error.exit_code)
    assert show_summary(Console(verbose=True), result) == error.exit_code
    err = capsys.readouterr().err
    assert f"error: {error.message}" in err
    assert error.hint in err


def test_quiet_leaves_the_result_and_errors(capsys: Captured) -> None:
    show_summary(Console(quiet=True), summary())
    out, err = capsys.readouterr()
    assert out.startswith("3 of 3 series complete")
    assert not err
    show_summary(
        Console(quiet=True), summary(complete=2, failed=1, failures=failures(1), exit_code=1)
    )
    out, err = capsys.readouterr()
    assert "series 1.0 has a missing image" in out
    assert "error: 1 of 3 series" in err


def test_json_is_the_only_standard_output(capsys: Captured) -> None:
    show_summary(
        Console(json=True), summary(complete=2, failed=1, failures=failures(1), exit_code=1)
    )
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"][0]["SeriesInstanceUID"] == "1.0"
    assert "error: 1 of 3 series" in err
