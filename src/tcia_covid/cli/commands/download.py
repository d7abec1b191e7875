"""`download`: the main job."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from tcia_covid.api.options import request_from
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.commands.plan import effort_lines, show_plan
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import (
    EXIT_OK,
    ArchiveError,
    FailureReason,
    InterruptedRunError,
    RequestError,
)
from tcia_covid.core.limits import processors
from tcia_covid.core.models import ADOPTED, archive_label
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.summary import Summary
from tcia_covid.core.units import count, format_duration, format_size, verb
from tcia_covid.operations.download import download_request
from tcia_covid.operations.plan import plan_request
from tcia_covid.output.json_documents import summary_document
from tcia_covid.output.tables import failure_lines
from tcia_covid.selection.request import Request
from tcia_covid.transfer.processes import most_processes
from tcia_covid.transfer.worker_processes import forked_workers

_OTHER_CONTENT = (FailureReason.CONFLICT, FailureReason.UNEXPECTED)
"""Reasons of failures where something else is in the folder than expected."""
CONFIRM_ABOVE = 50_000_000_000
"""Bytes; more than four of the six collections together."""
_OUTDATED = "metadata.csv and the other report files are out of date: the same command writes them"


def command(
    console: Console,
    *,
    targets: tuple[str, ...],
    output: str,
    dry_run: bool,
    yes: bool,
    confirm_above: int | None,
    **choices: Any,
) -> int:
    """Download what TARGET names, complete and checked."""
    request = request_from(targets, output, **choices)
    if dry_run:
        return show_plan(console, request)
    if not (yes or console.json or console.quiet) and is_interactive():
        confirm(console, request, CONFIRM_ABOVE if confirm_above is None else confirm_above)
    options = request.options
    processes = 1 if options.supporting_only else most_processes(options, processors())
    with forked_workers(processes - 1) as start_worker:
        work = partial(download_request, request, start_worker=start_worker)
        summary = run_displayed(console, work)
    return show_summary(console, summary)


def is_interactive() -> bool:
    """Whether a person can be asked."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


def confirm(console: Console, request: Request, above: int) -> None:
    """Ask once before more than `above` bytes are downloaded.

    Raises:
        RequestError: the answer is no.
    """
    options = request.options
    registry = load_registry(options.registry)
    known = [registry.find(target) for target in request.targets]
    sizes = [collection.size for collection in known if collection and collection.size]
    if options.supporting_only or (known and len(sizes) == len(known) and sum(sizes) <= above):
        return
    plan = run_displayed(console, partial(plan_request, request))
    is_refused = options.space_check and plan.fits is False  # the download says so
    if plan.needed <= above or is_refused:
        return
    console.message("\n".join(effort_lines(plan)))
    try:
        is_wanted = click.confirm("start this download?", err=True)
    except click.Abort:
        click.echo(err=True)  # the question's line ends with ^C
        raise
    if not is_wanted:
        raise RequestError(
            "nothing was downloaded",
            hint="--modality, --first-patients or --max-size select less; --yes does not ask",
        )


def show_summary(console: Console, summary: Summary) -> int:
    """Show the summary of a download; give the exit code."""
    if console.json:
        console.document(summary_document(summary))
    console.prose("\n".join((*_lines(summary), *failure_lines(summary.failures))))
    if summary.exit_code != EXIT_OK:
        console.error(*_error(summary))
        if summary.error is not None:
            console.trace(summary.error)
    return summary.exit_code


def _lines(summary: Summary) -> Iterator[str]:
    if isinstance(summary.error, ArchiveError) and not (
        summary.complete or summary.failures or summary.partial_bytes
    ):
        return  # the error says it all
    if summary.selected or not summary.supporting:
        yield from _image_lines(summary)
    yield from (clean_line(files.text) for files in summary.supporting)


def _image_lines(summary: Summary) -> Iterator[str]:
    already = summary.already_complete
    before = "all" if already == summary.selected else f"{already:,}"
    yield (
        f"{_complete(summary)} complete in {summary.output}: "
        f"{count(summary.images_stored, 'image')}, {format_size(summary.bytes_stored)}"
        + (f" ({before} already complete before)" if already else "")
    )
    if summary.partial_bytes:
        yield f"{_staged(summary)} staged for the next run"
    if summary.bytes_received and already == summary.selected and not summary.supporting:
        yield f"nothing to download; {format_size(summary.bytes_received)} of lists received"
    elif summary.bytes_received:
        compressed = " (compressed)" if _is_compressed(summary) else ""
        yield (
            f"downloaded {format_size(summary.bytes_received)}{compressed} in "
            f"{format_duration(summary.seconds)}{_sources(summary)}"
        )
    if summary.complete:
        yield _checked(summary)


def _complete(summary: Summary) -> str:
    return f"{summary.complete:,} of {count(summary.selected, 'series')}"


def _staged(summary: Summary) -> str:
    return f"{format_size(summary.partial_bytes)} of {count(summary.partial_series, 'series')}"


def _is_compressed(summary: Summary) -> bool:
    """Whether ZIPs arrived, as NBIA sends them; before the first series only the sizes show it."""
    if summary.fetched_from:
        return "nbia" in summary.fetched_from
    return summary.bytes_received < summary.partial_bytes


def _sources(summary: Summary) -> str:
    """Where the series that this run completed came from."""
    places = {ADOPTED: "an earlier run"}
    sources = [
        f"{count(number, 'series')} from {places.get(name, archive_label(name))}"
        for name, number in summary.fetched_from.items()
        if number
    ]
    return f": {', '.join(sources)}" if sources else ""


def _checked(summary: Summary) -> str:
    if not summary.checked_size:
        return "every image checked against the archive's MD5"
    by_md5 = f"{count(summary.checked_md5, 'series')} checked against the archive's MD5, "
    return (
        f"{by_md5 if summary.checked_md5 else ''}{count(summary.checked_size, 'series')} only by "
        "count, size and header: no archive provided a hash of some images ('tcia-covid verify "
        "--online' asks NBIA again)"
    )


def _error(summary: Summary) -> tuple[str, str]:
    """What is wrong, and what to do next."""
    error = summary.error
    outdated = _OUTDATED if summary.outdated_reports else ""
    if isinstance(error, InterruptedRunError):
        if summary.complete and not outdated:
            outdated = "metadata.csv and the other report files cover what is complete"
        hints = ["run the same command again to resume", outdated]
        return f"interrupted: {_preserved(summary)}", "\n".join(filter(None, hints))
    if error is not None:
        hints = [clean_line(error.hint), _remaining(summary), outdated]
        return clean_line(error.message), "\n".join(filter(None, hints))
    if summary.complete == summary.selected:
        return _other_error(summary)
    missing = summary.selected - summary.complete
    reasons = {failure.reason for failure in summary.failures}
    message = f"{missing:,} of {count(summary.selected, 'series')} {verb(missing)} not complete"
    if reasons == {FailureReason.CHANGED}:
        return message, "they changed: the lines above say what to do"
    if reasons == {FailureReason.NOT_AVAILABLE}:
        return message, "no archive has these: check where their UIDs come from"
    return message, "run the same command again: it downloads only what is missing"


def _other_error(summary: Summary) -> tuple[str, str]:
    """What is wrong although all series are complete."""
    if failed := sum(len(files.failures) for files in summary.supporting):
        return (
            f"{count(failed, 'supporting file')} {verb(failed)} missing",
            "run the same command again: it downloads only what is missing",
        )
    if any(failure.reason in _OTHER_CONTENT for failure in summary.failures):
        return "the folder has other content than expected", "the lines above say what to do"
    return (
        "the archive's list is not as expected",
        "run the same command again later, or with --accept-listed if the list is correct",
    )


def _preserved(summary: Summary) -> str:
    """What an interrupted run leaves for the next one."""
    complete = f"{_complete(summary)} {verb(summary.complete)} complete"
    if not summary.partial_bytes:
        return complete
    others = f"{summary.partial_series:,} {'other' if summary.partial_series == 1 else 'others'}"
    return f"{complete}; {format_size(summary.partial_bytes)} of {others} in staging"


def _remaining(summary: Summary) -> str:
    """How to resume a run that an error ended."""
    if not summary.remaining:
        return ""
    staged = f" ({_staged(summary)} in staging)" if summary.partial_bytes else ""
    rest = f"{summary.remaining:,} of {count(summary.selected, 'series')}"
    return f"{rest} were not finished{staged}: run the same command again to resume"
