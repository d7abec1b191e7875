"""`verify`: re-checks every file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.options import ONLINE_ONLY, refuse_unused
from tcia_covid.cli.progress import check_progress, run_displayed
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tcia_covid.output.json_documents import verify_document
from tcia_covid.output.tables import first_lines, outdated_line, unchecked_line


def command(
    console: Console,
    *,
    directory: str,
    deep: bool,
    online: bool,
    strict: bool,
    jobs: int | None,
    **choices: Any,
) -> int:
    """Re-check every file in DIR against its recorded MD5."""
    verify = _online(choices) if online else _offline()
    with check_progress(console) as on_progress:
        check = partial(verify, Path(directory), deep=deep, strict=strict, jobs=jobs)
        result = run_displayed(console, partial(check, on_progress=on_progress))
    console.document(verify_document(result))
    console.prose("\n".join([*_lines(result), *_problems(result)]))
    if result.exit_code != EXIT_OK:
        console.error(*_error(result))
    return result.exit_code


def _online(choices: dict[str, Any]) -> Callable[..., VerifyResult]:
    from tcia_covid.api.functions import verify  # noqa: PLC0415 - imports all archives

    return partial(verify, online=True, **choices)


def _offline() -> Callable[..., VerifyResult]:
    refuse_unused(ONLINE_ONLY, "--online", "compare with the archive")
    return verify_directory


def _lines(result: VerifyResult) -> Iterator[str]:
    series, images = result.series, result.images
    yield (
        f"{series.intact:,} of {count(series.checked, 'series')} and {images.intact:,} of "
        f"{count(images.checked, 'image')} in {result.output} are intact "
        f"({format_size(result.size)} read in {format_duration(result.seconds)})"
    )
    if series.unverified:
        number = count(series.unverified, "series")
        yield f"of these {number} are not verified: the archive provides no checksum"
    if series.in_progress:
        yield f"{count(series.in_progress, 'series')} not checked: another run works on them"
    if result.online is not None:
        online = result.online
        yield (
            f"archive: {count(online.verified, 'series')} verified by its hash, "
            f"{online.changed:,} changed, {online.no_hash:,} without a hash, "
            f"{online.no_response:,} without a response"
        )


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
    if result.unchecked:
        folders = count(len(result.unchecked), "folder")
        return f"{folders} in {result.output} could not be checked", "they have no receipts"
    if result.strict and result.unexpected:
        files = count(len(result.unexpected), "unexpected file")
        return f"{files} in {result.output}", "remove them, or leave out --strict"
    return "the archive did not respond for some series", "run the same command again later"
