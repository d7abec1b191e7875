"""What a download did, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from tcia_covid.cli.console import Console
from tcia_covid.document import summary_document
from tcia_covid.errors import EXIT_OK, InterruptedRunError
from tcia_covid.model import ADOPTED, Failure
from tcia_covid.progress.phrases import clean, failure
from tcia_covid.selection.sizes import count, format_duration, format_size

if TYPE_CHECKING:
    from tcia_covid.summary import Summary

MOST_FAILURES = 20
_OTHERWISE = ("conflict", "unexpected")
_ORIGINS = {ADOPTED: "that an earlier run left"}


def present(console: Console, summary: Summary) -> int:
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
    yield from (clean(one.told) for one in summary.supporting)


def _image_lines(summary: Summary) -> Iterator[str]:
    yield (
        f"{summary.complete:,} of {count(summary.selected, 'series')} complete in "
        f"{summary.output}: {count(summary.images_stored, 'image')}, "
        f"{format_size(summary.bytes_stored)}{_already(summary)}"
    )
    if summary.kept_bytes:
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
    return f"{format_size(summary.kept_bytes)} of {count(summary.kept_series, 'series')}"


def _compressed(summary: Summary) -> bool:
    """Whether what came was ZIPs, as NBIA's are; of an early end only the sizes tell."""
    if summary.fetched_from:
        return "nbia" in summary.fetched_from
    return summary.bytes_received < summary.kept_bytes


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


def failure_lines(failures: Sequence[Failure]) -> Iterator[str]:
    """The first failures, each with what to do; a hint that holds for several is said once.

    Series that failed alike share a line; their UIDs follow it.
    """
    told = ""
    left = len(failures)
    for alike in _alike(failures)[:MOST_FAILURES]:
        one, left = alike[0], left - len(alike)
        yield f"  {one.reason}: {_told(alike)}"
        if one.hint and one.hint != told:
            told = one.hint
            yield f"    {clean(one.hint)}"
        if len(alike) > 1:
            yield from named([failed.series for failed in alike if failed.series])
    if left:
        yield f"  and {left:,} more: --json lists all"


def named(uids: Sequence[str]) -> Iterator[str]:
    """The first of some series, a line each."""
    yield from (f"    {clean(uid)}" for uid in uids[:MOST_FAILURES])
    if len(uids) > MOST_FAILURES:
        yield f"    and {len(uids) - MOST_FAILURES:,} more: --json lists all"


def _alike(failures: Sequence[Failure]) -> list[list[Failure]]:
    """Failures of the same words together, in the order of the first of each."""
    groups: dict[tuple[str, ...], list[Failure]] = {}
    for one in failures:
        groups.setdefault((one.reason, one.detail, one.hint, *one.missing), []).append(one)
    return list(groups.values())


def _told(alike: Sequence[Failure]) -> str:
    one = alike[0]
    if len(alike) == 1:
        return f"{failure(one)}{_missing(one)}"
    return clean(f"{count(len(alike), 'series')}: {one.detail}{_missing(one)}")


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
        reports = _outdated(summary)
        if summary.complete and not reports:
            reports = "metadata.csv and the other report files cover what is complete"
        hints = ["the same command goes on where this one stopped", reports]
        return f"interrupted: {_left(summary)}", "\n".join(filter(None, hints))
    if error is not None:
        hints = [clean(error.hint), _rest(summary), _outdated(summary)]
        return clean(error.message), "\n".join(filter(None, hints))
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
    if not summary.kept_bytes:
        return f"{complete} and kept"
    others = f"{summary.kept_series:,} {'other' if summary.kept_series == 1 else 'others'}"
    return f"{complete}; {format_size(summary.kept_bytes)} of {others} are kept, too"


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
    kept = f" ({_kept(summary)} are kept)" if summary.kept_bytes else ""
    rest = f"{summary.remaining:,} of {count(summary.selected, 'series')}"
    return f"{rest} were not finished{kept}: the same command goes on"
