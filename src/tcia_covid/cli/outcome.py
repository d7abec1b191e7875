"""What a download did, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tcia_covid.cli.console import Console
from tcia_covid.cli.tables import count
from tcia_covid.document import summary_document
from tcia_covid.errors import EXIT_OK, InterruptedRunError
from tcia_covid.model import Failure, Summary
from tcia_covid.progress.phrases import clean, failure
from tcia_covid.selection.sizes import format_duration, format_size

MOST_FAILURES = 20


def present(console: Console, summary: Summary) -> int:
    """Show the summary of a download; give the exit code."""
    console.document(summary_document(summary))
    listed = "\n".join(failure_lines(summary.failures))
    if console.quiet:
        console.report(listed)
    else:
        console.result("\n".join(filter(None, (*_lines(summary), listed))))
    if summary.exit_code != EXIT_OK:
        console.complain(*_complaint(summary))
        if summary.error is not None:
            console.trace(summary.error)
    return summary.exit_code


def _lines(summary: Summary) -> Iterator[str]:
    yield (
        f"{summary.complete:,} of {count(summary.selected, 'series')} complete in "
        f"{summary.output}: {count(summary.images_stored, 'image')}, "
        f"{format_size(summary.bytes_stored)}{_already(summary)}"
    )
    if summary.bytes_received:
        yield (
            f"received {format_size(summary.bytes_received)} in "
            f"{format_duration(summary.seconds)}{_sources(summary)}"
        )
    if summary.complete:
        yield _checked(summary)


def _already(summary: Summary) -> str:
    already = summary.already_complete
    if not already:
        return ""
    return " (all were there)" if already == summary.selected else f" ({already:,} were there)"


def _sources(summary: Summary) -> str:
    used = [f"{count(number, 'series')} from {name}" for name, number in summary.sources.items()]
    named = [one for one in used if not one.startswith("0 ")]
    return f" ({', '.join(named)})" if named else ""


def _checked(summary: Summary) -> str:
    if not summary.checked_size:
        return "every image checked against the archive's MD5"
    proved = f"{count(summary.checked_md5, 'series')} checked against the archive's MD5, "
    return (
        f"{proved if summary.checked_md5 else ''}{count(summary.checked_size, 'series')} by count, "
        "size and header alone: the archive has no hash of some images"
    )


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """The first failures, each with what to do; a hint that holds for several is said once."""
    told = ""
    for number, one in enumerate(failures):
        if number == MOST_FAILURES:
            rest = f"{len(failures) - MOST_FAILURES:,} more"
            yield f"  and {rest}: --json or 'tcia-covid status' lists all"
            return
        yield f"  {one.reason}: {failure(one)}{_missing(one)}"
        if one.hint and one.hint != told:
            told = one.hint
            yield f"    {clean(one.hint)}"


def _missing(one: Failure) -> str:
    unnamed = [uid for uid in one.missing if uid not in one.detail]
    if not unnamed:
        return ""
    more = f" and {len(unnamed) - 1:,} more" if len(unnamed) > 1 else ""
    return f" (missing: {unnamed[0]}{more})"


def _complaint(summary: Summary) -> tuple[str, str]:
    """What to say of a run that did not end well: the message and what to do next."""
    error = summary.error
    if isinstance(error, InterruptedRunError):
        kept = f"{summary.complete:,} of {count(summary.selected, 'series')} are complete and kept"
        return f"interrupted: {kept}", "the same command goes on where this one stopped"
    if error is not None:
        return clean(error.message), clean(error.hint)
    lacking = summary.selected - summary.complete
    if not lacking:
        return (
            "the archive's list is not what is expected of it",
            "run the same command again later, or with --accept-listed if the list is right",
        )
    return (
        f"{lacking:,} of {count(summary.selected, 'series')} are not complete",
        "the same command tries them again and fetches only what is missing",
    )
