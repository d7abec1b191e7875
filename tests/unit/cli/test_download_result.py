"""The end of a download, in words."""

from __future__ import annotations

import json

import pytest

from tcia_covid.cli.commands.download import show_summary
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import MOST_FAILURES, failure_lines
from tcia_covid.core.errors import InterruptedRunError, NoSpaceError, UnreachableError
from tcia_covid.core.models import Failure
from tcia_covid.output.json_documents import summary_document
from tests.unit.making import summary

Captured = pytest.CaptureFixture[str]


def failures(count: int) -> list[Failure]:
    return [
        Failure(f"1.{n}", "incomplete", f"series 1.{n} lacks an image", (f"1.{n}.1",), "try again")
        for n in range(count)
    ]


def test_a_run_that_went_well_is_told_in_three_lines(capsys: Captured) -> None:
    assert show_summary(Console(), summary(already_complete=1)) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "3 of 3 series complete in data: 6 images, 3.0 kB (1 were there)",
        "downloaded 2.0 kB (compressed) in 12 s: 3 series from nbia",
        "every image checked against the archive's MD5",
    ]
    assert not err


def test_a_run_with_nothing_left_to_do(capsys: Captured) -> None:
    show_summary(Console(), summary(already_complete=3, bytes_received=0))
    assert capsys.readouterr().out.splitlines() == [
        "3 of 3 series complete in data: 6 images, 3.0 kB (all were there)",
        "every image checked against the archive's MD5",
    ]


def test_what_an_earlier_run_left_is_no_archive(capsys: Captured) -> None:
    show_summary(Console(), summary(fetched_from={"adopted": 1, "idc": 2}))
    line = "downloaded 2.0 kB in 12 s: 1 series that an earlier run left, 2 series from idc"
    assert line in capsys.readouterr().out


def test_series_that_no_archive_has_are_told_apart(capsys: Captured) -> None:
    unknown = Failure("1.2.3", "not-available", "the archive does not list 1.2.3")
    found = summary(
        selected=1,
        complete=0,
        failed=1,
        images_stored=0,
        bytes_stored=0,
        bytes_received=0,
        checked_md5=0,
    )
    found.failures, found.exit_code = [unknown], 1
    show_summary(Console(), found)
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "0 of 1 series complete in data: 0 images, 0 B",
        "  not-available: the archive does not list 1.2.3",
    ]
    assert err.splitlines() == [
        "error: 1 of 1 series are not complete",
        "no archive has these: check where their UIDs are from",
    ]


def test_another_version_than_the_one_that_stands_is_told_as_such(capsys: Captured) -> None:
    other = Failure("", "conflict", "package 'A': another version of it stands", hint="compare")
    show_summary(Console(), summary(failures=[other], exit_code=1))
    out, err = capsys.readouterr()
    assert "3 of 3 series complete" in out
    assert err.splitlines() == [
        "error: what stands is not what is expected",
        "the lines above say what to do about it",
    ]


def test_failures_of_the_same_words_are_one_line_and_each_series_is_named() -> None:
    alike = [Failure(f"1.{n}", "archive-error", "no answer", hint="wait") for n in range(3)]
    assert list(failure_lines([*alike[:2], *failures(1), *alike[2:]])) == [
        "  archive-error: 3 series: no answer",
        "    wait",
        "    1.0",
        "    1.1",
        "    1.2",
        "  incomplete: series 1.0 lacks an image (missing: 1.0.1)",
        "    try again",
    ]


def test_of_many_that_failed_alike_the_first_are_named() -> None:
    alike = [Failure(f"1.{n}", "archive-error", "no answer") for n in range(MOST_FAILURES + 5)]
    lines = list(failure_lines(alike))
    assert len(lines) == MOST_FAILURES + 2
    assert lines[-1] == "    and 5 more: --json lists all"


def test_fault_07_series_without_a_hash_are_told(capsys: Captured) -> None:
    show_summary(Console(), summary(checked_md5=1, checked_size=2))
    assert (
        "1 series checked against the archive's MD5, 2 series by count, size and header alone: "
        "no archive had, or could be asked for, a hash of some images "
        "('tcia-covid verify --online' asks NBIA again)"
    ) in capsys.readouterr().out


def test_failures_are_listed_and_what_to_do_is_said(capsys: Captured) -> None:
    found = summary(complete=1, failed=2, failures=failures(2), exit_code=1)
    assert show_summary(Console(), found) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[-3:] == [
        "  incomplete: series 1.0 lacks an image (missing: 1.0.1)",
        "    try again",
        "  incomplete: series 1.1 lacks an image (missing: 1.1.1)",
    ]
    assert err.splitlines() == [
        "error: 2 of 3 series are not complete",
        "the same command tries them again and fetches only what is missing",
    ]


def test_only_the_first_failures_are_listed() -> None:
    lines = list(failure_lines(failures(MOST_FAILURES + 5)))
    assert lines[-1] == "  and 5 more: --json lists all"
    assert sum("incomplete" in line for line in lines) == MOST_FAILURES


def test_a_series_is_named_once() -> None:
    first = Failure("1.2", "archive-error", "503 from the archive")
    second = Failure("1.3", "archive-error", "series 1.3: 503")
    assert list(failure_lines([first, second])) == [
        "  archive-error: series 1.2: 503 from the archive",
        "  archive-error: series 1.3: 503",
    ]


def test_a_list_that_is_too_short_is_told_apart_from_series_that_failed(capsys: Captured) -> None:
    short = Failure("", "incomplete-list", "the archive lists 2 series of C, 3 are expected")
    assert show_summary(Console(), summary(failures=[short], exit_code=1)) == 1
    assert "--accept-listed" in capsys.readouterr().err


def test_fault_22_an_interruption_says_how_to_go_on(capsys: Captured) -> None:
    error = InterruptedRunError(exit_code=143)
    found = summary(complete=1, remaining=2, error=error, exit_code=143)
    assert show_summary(Console(), found) == 143
    assert capsys.readouterr().err.splitlines() == [
        "error: interrupted: 1 of 3 series are complete and kept",
        "the same command goes on where this one stopped",
        "metadata.csv and the other report files cover what is complete",
    ]


def test_fault_34_an_interruption_says_that_reports_are_out_of_date(capsys: Captured) -> None:
    error = InterruptedRunError(exit_code=143)
    outdated = ["COVID-19-AR/metadata.csv"]
    found = summary(complete=1, remaining=2, error=error, exit_code=143, outdated_reports=outdated)
    show_summary(Console(), found)
    said = capsys.readouterr().err
    assert "report files are out of date: the same command writes them" in said
    assert summary_document(found)["outdated_reports"] == outdated


def test_an_interruption_says_what_is_kept_of_series_that_are_begun(capsys: Captured) -> None:
    error = InterruptedRunError()
    kept = {"partial_series": 2, "partial_bytes": 169_600_000, "fetched_from": {}}
    show_summary(Console(), summary(complete=0, remaining=3, error=error, exit_code=130, **kept))
    out, err = capsys.readouterr()
    assert "downloaded 2.0 kB (compressed) in 12 s\n" in out
    assert "169.6 MB of 2 series begun and kept for the next run" in out
    assert "interrupted: 0 of 3 series are complete; 169.6 MB of 2 others are kept, too" in err


def test_series_that_are_begun_without_an_image_are_not_said_to_be_kept(capsys: Captured) -> None:
    error = UnreachableError("no archive answers")
    show_summary(
        Console(),
        summary(
            complete=1, remaining=2, error=error, exit_code=3, partial_series=2, partial_bytes=0
        ),
    )
    out, err = capsys.readouterr()
    assert "kept" not in out + err


def test_an_outage_says_what_remains_and_how_to_go_on(capsys: Captured) -> None:
    error = UnreachableError("no archive answers", hint="check the network")
    kept = {"partial_series": 1, "partial_bytes": 1000}
    show_summary(Console(), summary(complete=1, remaining=2, error=error, exit_code=3, **kept))
    assert capsys.readouterr().err.splitlines() == [
        "error: no archive answers",
        "check the network",
        "2 of 3 series were not finished (1.0 kB of 1 series are kept): the same command goes on",
    ]


@pytest.mark.parametrize("error", [NoSpaceError("full", hint="free some"), UnreachableError("no")])
def test_what_ended_the_run_is_told(capsys: Captured, error: NoSpaceError) -> None:
    found = summary(complete=1, remaining=2, error=error, exit_code=error.exit_code)
    assert show_summary(Console(verbose=True), found) == error.exit_code
    err = capsys.readouterr().err
    assert f"error: {error.message}" in err
    assert error.hint in err


def test_the_quiet_hear_the_result_and_errors_alone(capsys: Captured) -> None:
    show_summary(Console(quiet=True), summary())
    out, err = capsys.readouterr()
    assert out.startswith("3 of 3 series complete")
    assert not err
    show_summary(
        Console(quiet=True), summary(complete=2, failed=1, failures=failures(1), exit_code=1)
    )
    out, err = capsys.readouterr()
    assert "series 1.0 lacks an image" in out
    assert "error: 1 of 3 series" in err


def test_json_is_all_there_is_on_standard_output(capsys: Captured) -> None:
    show_summary(
        Console(json=True), summary(complete=2, failed=1, failures=failures(1), exit_code=1)
    )
    out, err = capsys.readouterr()
    assert json.loads(out)["failures"][0]["SeriesInstanceUID"] == "1.0"
    assert "error: 1 of 3 series" in err
