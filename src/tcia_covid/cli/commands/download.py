"""`download`: the main job."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tcia_covid.api.options import request_from
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.commands.plan import show_plan
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import failure_lines
from tcia_covid.cli.options import DOWNLOADING, DRY_RUN, EVERYWHERE, FILTERS, SUPPORTING, targets
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import progress_display
from tcia_covid.core.errors import EXIT_OK, InterruptedRunError
from tcia_covid.core.models import ADOPTED
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.download import download_request
from tcia_covid.output.json_documents import summary_document
from tcia_covid.output.progress.wording import clean_line

if TYPE_CHECKING:
    from tcia_covid.core.summary import Summary

_OTHERWISE = ("conflict", "unexpected")
_ORIGINS = {ADOPTED: "that an earlier run left"}


@as_command(targets(required=False), *FILTERS, *DOWNLOADING, DRY_RUN, *SUPPORTING, *EVERYWHERE)
def download(
    console: Console, targets: tuple[str, ...], output: str, *, dry_run: bool, **choices: Any
) -> int:
    """Download what TARGET names, complete and checked.

    TARGET is a collection (name, alias, slug or DOI), a manifest (.tcia, .csv, .tsv, .txt, - for
    standard input) or a SeriesInstanceUID. Running the same command again goes on where the last
    run stopped, mends what was damaged, and costs next to nothing when all is there.
    """
    request = request_from(targets, output, **choices)
    if dry_run:
        return show_plan(console, request)
    with progress_display(console) as emit:
        summary = run_cancellable(lambda stop: download_request(request, emit=emit, stop=stop))
    return show_summary(console, summary)


def show_summary(console: Console, summary: Summary) -> int:
    """Show the summary of a download; give the exit code."""
    console.document(summary_document(summary))
    console.result("\n".join((*_lines(summary), *failure_lines(summary.failures))))
    if summary.exit_code != EXIT_OK:
        console.complain(*_complaint(summary))
        if summary.error is not None:
            console.trace(summary.error)
    return summary.exit_code


def _lines(summary: Summary) -> Iterator[str]:
    if summary.selected or not summary.supporting:
        yield from _image_lines(summary)
    yield from (clean_line(one.text) for one in summary.supporting)


def _image_lines(summary: Summary) -> Iterator[str]:
    yield (
        f"{summary.complete:,} of {count(summary.selected, 'series')} complete in "
        f"{summary.output}: {count(summary.images_stored, 'image')}, "
        f"{format_size(summary.bytes_stored)}{_already(summary)}"
    )
    if summary.partial_bytes:
        yield f"{_kept(summary)} begun and kept for the next run"
    if summary.bytes_received:
        packed = " (compressed)" if _compressed(summary) else ""
        yield (
            f"downloaded {format_size(summary.bytes_received)}{packed} in "
            f"{format_duration(summary.seconds)}{_sources(summary)}"
        )
    if summary.complete:
        yield _checked(summary)


def _kept(summary: Summary) -> str:
    return f"{format_size(summary.partial_bytes)} of {count(summary.partial_series, 'series')}"


def _compressed(summary: Summary) -> bool:
    """Whether what came was ZIPs, as NBIA's are; of an early end only the sizes tell."""
    if summary.fetched_from:
        return "nbia" in summary.fetched_from
    return summary.bytes_received < summary.partial_bytes


def _already(summary: Summary) -> str:
    already = summary.already_complete
    if not already:
        return ""
    return " (all were there)" if already == summary.selected else f" ({already:,} were there)"


def _sources(summary: Summary) -> str:
    """Where the series that this run completed came from."""
    named = [
        f"{count(number, 'series')} {_ORIGINS.get(name) or f'from {name}'}"
        for name, number in summary.fetched_from.items()
        if number
    ]
    return f": {', '.join(named)}" if named else ""


def _checked(summary: Summary) -> str:
    if not summary.checked_size:
        return "every image checked against the archive's MD5"
    proved = f"{count(summary.checked_md5, 'series')} checked against the archive's MD5, "
    return (
        f"{proved if summary.checked_md5 else ''}{count(summary.checked_size, 'series')} by count, "
        "size and header alone: no archive had, or could be asked for, a hash of some images "
        "('tcia-covid verify --online' asks NBIA again)"
    )


def _complaint(summary: Summary) -> tuple[str, str]:
    """What to say of a run that did not end well: the message and what to do next."""
    error = summary.error
    if isinstance(error, InterruptedRunError):
        reports = _outdated(summary)
        if summary.complete and not reports:
            reports = "metadata.csv and the other report files cover what is complete"
        hints = ["the same command goes on where this one stopped", reports]
        return f"interrupted: {_left(summary)}", "\n".join(filter(None, hints))
    if error is not None:
        hints = [clean_line(error.hint), _rest(summary), _outdated(summary)]
        return clean_line(error.message), "\n".join(filter(None, hints))
    lacking = summary.selected - summary.complete
    if not lacking:
        return _beside_series(summary)
    message = f"{lacking:,} of {count(summary.selected, 'series')} are not complete"
    if {one.reason for one in summary.failures} == {"not-available"}:
        return message, "no archive has these: check where their UIDs are from"
    return message, "the same command tries them again and fetches only what is missing"


def _beside_series(summary: Summary) -> tuple[str, str]:
    """What to say where all series are complete, and something else is wrong."""
    beside = sum(one.failed for one in summary.supporting)
    if beside:
        files = "supporting file is" if beside == 1 else "supporting files are"
        return f"{beside:,} {files} not there", "the same command tries again, and fetches no more"
    if any(one.reason in _OTHERWISE for one in summary.failures):
        return "what stands is not what is expected", "the lines above say what to do about it"
    return (
        "the archive's list is not what is expected of it",
        "run the same command again later, or with --accept-listed if the list is right",
    )


def _left(summary: Summary) -> str:
    """What an interrupted run leaves behind."""
    complete = f"{summary.complete:,} of {count(summary.selected, 'series')} are complete"
    if not summary.partial_bytes:
        return f"{complete} and kept"
    others = f"{summary.partial_series:,} {'other' if summary.partial_series == 1 else 'others'}"
    return f"{complete}; {format_size(summary.partial_bytes)} of {others} are kept, too"


def _outdated(summary: Summary) -> str:
    """What to do about report files that do not cover what is complete."""
    if summary.outdated_reports:
        return (
            "metadata.csv and the other report files are out of date: the same command writes them"
        )
    return ""


def _rest(summary: Summary) -> str:
    """How a run that something else ended goes on."""
    if not summary.remaining:
        return ""
    kept = f" ({_kept(summary)} are kept)" if summary.partial_bytes else ""
    rest = f"{summary.remaining:,} of {count(summary.selected, 'series')}"
    return f"{rest} were not finished{kept}: the same command goes on"


command = download
