"""A check of a download, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from tcia_covid.cli.console import Console
from tcia_covid.cli.listening import draws_bars, listening
from tcia_covid.cli.standing import outdated_line, unchecked_line
from tcia_covid.cli.supervise import supervised
from tcia_covid.errors import EXIT_OK
from tcia_covid.events import Emit
from tcia_covid.library.verifying import verify
from tcia_covid.progress.counting import Counting
from tcia_covid.progress.phrases import clean
from tcia_covid.selection.sizes import count, format_duration, format_size
from tcia_covid.stop import Stop
from tcia_covid.verify import Damage, VerifyResult, document

_MOST = 20


def show_check(console: Console, directory: str, **choices: Any) -> int:
    """Check a folder and show what was found; give the exit code."""
    with listening(console) as emit:
        found = supervised(lambda stop: _check(console, directory, emit, stop, choices))
    console.document(document(found))
    console.result("\n".join([*_lines(found), *_troubles(found)]))
    if found.exit_code != EXIT_OK:
        console.complain(*_complaint(found))
    return found.exit_code


def _check(
    console: Console, directory: str, emit: Emit, stop: Stop, choices: dict[str, Any]
) -> VerifyResult:
    bars = draws_bars() and not (console.quiet or console.no_progress)
    counting = Counting(console.say, sys.stderr if bars else None)
    try:
        return verify(directory, emit=emit, stop=stop, on_progress=counting.add, **choices)
    finally:
        counting.close()


def _lines(found: VerifyResult) -> Iterator[str]:
    yield (
        f"{found.series.intact:,} of {count(found.series.checked, 'series')} and "
        f"{found.images.intact:,} of {count(found.images.checked, 'image')} in {found.output} are "
        f"intact ({format_size(found.size)} read in {format_duration(found.seconds)})"
    )
    if found.unproven:
        yield (
            f"of these {count(found.unproven, 'series')} were never checked against a hash of the "
            "archive, for it has none: they are as they came"
        )
    if found.under_way:
        yield f"{count(found.under_way, 'series')} left out: a download works on them"
    if found.online is not None:
        one = found.online
        yield (
            f"archive: {count(one.proved, 'series')} proved by its hash, {one.differing:,} differ, "
            f"{one.without_hash:,} without a hash, {one.unanswered:,} unanswered"
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
        yield clean(f"  unexpected: {one.file} ({one.detail})")
    if len(found.unexpected) > _MOST:
        yield f"  and {len(found.unexpected) - _MOST:,} more: --json lists all"


def _damage(one: Damage) -> str:
    detail = f" ({one.detail})" if one.detail else ""
    return clean(f"  {one.reason.value}: {one.file}{detail}")


def _complaint(found: VerifyResult) -> tuple[str, str]:
    if not found.damage and found.unchecked:
        folders = count(len(found.unchecked), "folder")
        return f"{folders} in {found.output} could not be checked", "no receipts tell what is right"
    if not found.damage and found.strict and found.unexpected:
        files = count(len(found.unexpected), "unexpected file")
        return f"{files} in {found.output}", "remove them, or leave out --strict"
    if not found.damage:
        return "the archive gave no answer for some series", "run the same command again later"
    what = count(len(found.damage), "file")
    mendable = [one for one in found.damage if one.mendable]
    if mendable:
        words = ["download", *sorted({one.option for one in mendable} - {""})]
        hint = f"'{' '.join(words)}' with the same target and folder fetches what is damaged, "
        hint += "and no more"
    else:
        hint = "no download changes these: look at them, then move or remove them"
    return f"{what} in {found.output} failed verification", hint
