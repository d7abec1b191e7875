"""`verify`: re-checks every file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.options import AGAINST_ONLY, ONLINE_ONLY, refuse_unused
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK, UsageError
from tcia_covid.core.units import count, format_duration, format_size, verb
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tcia_covid.output.json_documents import verify_document
from tcia_covid.output.tables import first_lines, outdated_line, unchecked_line

if TYPE_CHECKING:
    from tcia_covid.operations.verify_against import MatchCounts, Mismatch, TargetComparison

_FILTERS = {str(option.name) for option in AGAINST_ONLY}
_MAX_IMAGES = 5
"""Images that a line names; the JSON document names all."""


def command(
    console: Console,
    *,
    directory: str,
    targets: tuple[str, ...],
    deep: bool,
    online: bool,
    strict: bool,
    against: tuple[str, ...],
    jobs: int | None,
    **choices: Any,
) -> int:
    """Re-check every file in DIR against its recorded MD5."""
    if targets and not against:
        raise UsageError(
            f"'verify' checks one folder, and {targets[0]} is a second one",
            hint="TARGETs follow --against",
        )
    if not online:
        refuse_unused(ONLINE_ONLY, "--online", "compare with the archive")
    if not against:
        refuse_unused(AGAINST_ONLY, "--against TARGET", "compare with what the filters select")
    verify: Callable[..., VerifyResult] = verify_directory
    if online or against:
        from tcia_covid.api.functions import verify as verify_api  # noqa: PLC0415 - imports all archives

        if not against:
            choices = {name: choices[name] for name in choices.keys() - _FILTERS}
        words = (*against, *targets) or None
        verify = partial(verify_api, online=online, against=words, **choices)
    check = partial(verify, Path(directory), deep=deep, strict=strict, jobs=jobs)
    result = run_displayed(console, check)
    console.document(verify_document(result))
    console.prose("\n".join([*_lines(result), *_problems(result)]))
    if result.exit_code != EXIT_OK:
        console.error(*_error(result))
    return result.exit_code


def _lines(result: VerifyResult) -> Iterator[str]:
    series, images = result.series, result.images
    yield (
        f"{series.intact:,} of {count(series.checked, 'series')} and {images.intact:,} of "
        f"{count(images.checked, 'image')} in {result.output} are intact "
        f"({format_size(result.read)} read in {format_duration(result.seconds)})"
    )
    if not (series.checked or images.checked):
        yield f"no series is complete: 'tcia-covid status {result.output}' shows what is missing"
    if series.unverified:
        number = f"{count(series.unverified, 'series')} {verb(series.unverified)}"
        yield f"of these {number} not verified: the archive provides no checksum"
    if series.in_progress:
        yield f"{count(series.in_progress, 'series')} not checked: another run works on them"
    if result.online is not None:
        online = result.online
        yield (
            f"archive: {count(online.verified, 'series')} verified by its hash, "
            f"{online.changed:,} changed, {online.no_hash:,} without a hash, "
            f"{online.no_response:,} without a response"
        )
    if result.against is not None:
        yield from _comparison(result.against)


def _comparison(against: TargetComparison) -> Iterator[str]:
    series = against.series
    yield from (f"note: {notice}" for notice in against.notices)
    versions = f" in the version of the lock file ({', '.join(against.pinned)})"
    yield (
        f"{series.complete:,} of {count(series.expected, 'series')} of "
        f"{', '.join(against.targets)} {verb(series.complete)} complete"
        f"{versions if against.pinned else ''}; "
        f"{series.missing:,} missing, {series.changed:,} changed, {series.extra:,} extra"
    )
    yield from first_lines(map(_mismatch, against.mismatches))


def _mismatch(mismatch: Mismatch) -> str:
    images = count(mismatch.image_count, "image") if mismatch.image_count is not None else ""
    where = ", ".join(filter(None, (mismatch.collection, mismatch.patient, images)))
    named = f": {', '.join(mismatch.images[:_MAX_IMAGES])}" if mismatch.images else ""
    more = f" and {others:,} more" if (others := len(mismatch.images) - _MAX_IMAGES) > 0 else ""
    series = f" series {mismatch.series}" if mismatch.series else ""
    of = f" ({where})" if where else ""
    return f"{mismatch.state.value}{series}{of}: {mismatch.detail}{named}{more}"


def _problems(result: VerifyResult) -> Iterator[str]:
    yield from map(unchecked_line, result.unchecked)
    if result.outdated_reports:
        yield outdated_line(result.outdated_reports)
    yield from first_lines(
        f"{damage.reason.value}: {damage.file}" + (f" ({damage.detail})" if damage.detail else "")
        for damage in result.damage
    )
    if result.unexpected:
        yield f"{count(len(result.unexpected), 'unexpected file')}: not downloaded, not touched"
    yield from first_lines(f"unexpected: {file.file} ({file.detail})" for file in result.unexpected)


def _error(result: VerifyResult) -> tuple[str, str]:
    """What is wrong, and what to do next."""
    if result.damage:
        message = f"{count(len(result.damage), 'file')} in {result.output} failed verification"
        repairable = [damage for damage in result.damage if damage.repairable]
        if not repairable:
            return (
                message,
                "no download changes these files: look at them, then move or delete them",
            )
        words = ["download", *sorted({damage.option for damage in repairable} - {""})]
        return message, (
            f"'{' '.join(words)}' with the same target and folder downloads only the damaged files"
        )
    if result.against is not None and result.against.mismatches:
        return _incomplete(result.against.series, result.output)
    if result.unchecked:
        folders = count(len(result.unchecked), "folder")
        return f"{folders} in {result.output} could not be checked", "they have no receipts"
    if result.strict and result.unexpected:
        files = count(len(result.unexpected), "unexpected file")
        return f"{files} in {result.output}", "remove them, or leave out --strict"
    return "the archive did not respond for some series", "run the same command again later"


def _incomplete(series: MatchCounts, output: str) -> tuple[str, str]:
    """How the folder differs from the targets, and what to do next."""
    numbers = {"missing": series.missing, "changed": series.changed, "extra": series.extra}
    counts = ", ".join(f"{number:,} {state}" for state, number in numbers.items() if number)
    hints = []
    if series.missing or series.changed:
        hints.append(
            "'download' with the same targets and folder downloads what is missing, and with "
            "--update what changed"
        )
    if series.extra:
        hints.append("name the extra series with further TARGETs, or check one collection's folder")
    return f"{output} is not what the targets name: {counts}", "\n".join(hints)
