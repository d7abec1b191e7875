"""`verify`: every file once more."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tcia_covid.api.functions import verify as verify_directory
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.commands.status import outdated_line
from tcia_covid.cli.console import Console
from tcia_covid.cli.failures import unchecked_line
from tcia_covid.cli.options import DEEP, EVERYWHERE, ONLINE, PATIENCE, READERS, STRICT, directory
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import draws_bars, progress_display
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK
from tcia_covid.core.events import Emit
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.operations.verify.result import Damage, VerifyResult, document
from tcia_covid.output.progress.display import CheckProgress
from tcia_covid.output.progress.wording import clean_line

_MOST = 20


@as_command(directory(), DEEP, ONLINE, STRICT, READERS, *PATIENCE, *EVERYWHERE)
def verify(console: Console, directory: str, **choices: Any) -> int:
    """Re-check every file in DIR against its recorded MD5.

    Missing, changed and unreadable files are listed (exit code 1); the next 'download' repairs
    just those. Files that this program did not write are listed as unexpected.
    """
    return show_check(console, directory, **choices)


def show_check(console: Console, directory: str, **choices: Any) -> int:
    """Check a folder and show what was found; give the exit code."""
    with progress_display(console) as emit:
        found = run_cancellable(lambda stop: _check(console, directory, emit, stop, choices))
    console.document(document(found))
    console.result("\n".join([*_lines(found), *_troubles(found)]))
    if found.exit_code != EXIT_OK:
        console.complain(*_complaint(found))
    return found.exit_code


def _check(
    console: Console, directory: str, emit: Emit, stop: CancelToken, choices: dict[str, Any]
) -> VerifyResult:
    bars = draws_bars() and not (console.quiet or console.no_progress)
    counting = CheckProgress(console.say, sys.stderr if bars else None)
    try:
        return verify_directory(
            directory, emit=emit, stop=stop, on_progress=counting.add, **choices
        )
    finally:
        counting.close()


def _lines(found: VerifyResult) -> Iterator[str]:
    yield (
        f"{found.series.intact:,} of {count(found.series.checked, 'series')} and "
        f"{found.images.intact:,} of {count(found.images.checked, 'image')} in {found.output} are "
        f"intact ({format_size(found.size)} read in {format_duration(found.seconds)})"
    )
    if found.series.unverified:
        series = count(found.series.unverified, "series")
        yield f"of these {series} are not verified: the archive provides no checksum"
    if found.series.in_progress:
        yield f"{count(found.series.in_progress, 'series')} not checked: another run works on them"
    if found.online is not None:
        one = found.online
        yield (
            f"archive: {count(one.verified, 'series')} verified by its hash, "
            f"{one.changed:,} changed, {one.no_hash:,} without a hash, "
            f"{one.no_response:,} without a response"
        )


def _troubles(found: VerifyResult) -> Iterator[str]:
    yield from map(unchecked_line, found.unchecked)
    if found.outdated_reports:
        yield outdated_line(found.outdated_reports)
    yield from _damage_lines(found)
    yield from _unexpected_lines(found)


def _damage_lines(found: VerifyResult) -> Iterator[str]:
    yield from (_damage(one) for one in found.damage[:_MOST])
    if len(found.damage) > _MOST:
        yield f"  and {len(found.damage) - _MOST:,} more: --json lists all"


def _unexpected_lines(found: VerifyResult) -> Iterator[str]:
    if found.unexpected:
        yield f"{count(len(found.unexpected), 'unexpected file')}: not downloaded, not touched"
    for one in found.unexpected[:_MOST]:
        yield clean_line(f"  unexpected: {one.file} ({one.detail})")
    if len(found.unexpected) > _MOST:
        yield f"  and {len(found.unexpected) - _MOST:,} more: --json lists all"


def _damage(one: Damage) -> str:
    detail = f" ({one.detail})" if one.detail else ""
    return clean_line(f"  {one.reason.value}: {one.file}{detail}")


def _complaint(found: VerifyResult) -> tuple[str, str]:
    if not found.damage and found.unchecked:
        folders = count(len(found.unchecked), "folder")
        return f"{folders} in {found.output} could not be checked", "no receipts tell what is right"
    if not found.damage and found.strict and found.unexpected:
        files = count(len(found.unexpected), "unexpected file")
        return f"{files} in {found.output}", "remove them, or leave out --strict"
    if not found.damage:
        return "the archive did not respond for some series", "run the same command again later"
    what = count(len(found.damage), "file")
    repairable = [one for one in found.damage if one.repairable]
    if repairable:
        words = ["download", *sorted({one.option for one in repairable} - {""})]
        hint = f"'{' '.join(words)}' with the same target and folder downloads only the damaged "
        hint += "files"
    else:
        hint = "no download changes these: look at them, then move or remove them"
    return f"{what} in {found.output} failed verification", hint


command = verify
