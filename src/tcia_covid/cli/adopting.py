"""Adopting a folder on the console, in words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tcia_covid.adopt import AdoptResult, Mode, adopt, document
from tcia_covid.adopt.result import Damaged, Foreign, Left, Reason
from tcia_covid.cli.console import Console
from tcia_covid.cli.listening import draws_bars, listening
from tcia_covid.cli.supervise import supervised
from tcia_covid.errors import EXIT_OK, UsageError
from tcia_covid.events import Emit
from tcia_covid.library.choices import options_of
from tcia_covid.options import Options
from tcia_covid.progress.counting import Counting
from tcia_covid.progress.phrases import clean
from tcia_covid.registry import Collection, load_registry
from tcia_covid.selection.sizes import count, format_duration, format_size
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.stop import Stop

_MOST = 20
"""Lines of each kind; --json has all."""
_WAYS = {
    "link": "by hard link",
    "reflink": "by reflink",
    "copy": "by copy",
    "kept": "from staging",
}


def mode_of(*, link: bool, move: bool, copy: bool) -> Mode:
    """How files are to be brought.

    Raises:
        UsageError: in two ways at once.
    """
    chosen: list[Mode] = []
    chosen += ["link"] if link else []
    chosen += ["move"] if move else []
    chosen += ["copy"] if copy else []
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", hint="choose one")
    return chosen[0] if chosen else "link"


def show_adoption(
    console: Console,
    directory: str,
    output: str,
    *,
    collection: str | None,
    mode: Mode,
    **choices: Any,
) -> int:
    """Adopt a folder and show what came of it; give the exit code."""
    options = options_of(**choices)
    known = _known(collection, options) if collection else None
    if known is not None and not known.is_dicom:
        from tcia_covid.cli.adopting_volumes import show_volume_adoption  # noqa: PLC0415

        folder, into = Path(directory), Path(output)
        return show_volume_adoption(console, folder, into, known, mode, options)
    with listening(console) as emit:

        def work(stop: Stop) -> AdoptResult:
            return _adopt(console, Path(directory), Path(output), known, mode, options, emit, stop)

        result = supervised(work)
    console.document(document(result))
    if console.quiet:
        console.report("\n".join(_troubles(result)))
    else:
        console.result("\n".join((*_lines(result), *_troubles(result))))
    if result.exit_code != EXIT_OK:
        console.complain(*_complaint(result))
    return result.exit_code


def _known(name: str, options: Options) -> Collection:
    registry = load_registry(options.registry)
    found = registry.find(name)
    if found is None:
        error = unknown_collection(name, (), registry)
        error.hint = f"{error.hint}; without --collection, those of any public one are taken"
        raise error
    return found


def _adopt(
    console: Console,
    directory: Path,
    output: Path,
    collection: Collection | None,
    mode: Mode,
    options: Options,
    emit: Emit,
    stop: Stop,
) -> AdoptResult:
    bars = draws_bars() and not (console.quiet or console.no_progress)
    counting = Counting(console.say, sys.stderr if bars else None)
    try:
        return adopt(
            directory,
            output,
            collection=collection,
            mode=mode,
            options=options,
            emit=emit,
            stop=stop,
            on_progress=counting.add,
        )
    finally:
        counting.close()


def _lines(result: AdoptResult) -> Iterator[str]:
    series, images = result.series, result.images
    yield (
        f"{count(series.adopted, 'series')} adopted into {result.output}: "
        f"{count(images.adopted, 'image')}, {format_size(result.size)}"
        f"{_ways(result)}, in {format_duration(result.seconds)}"
    )
    for name, number in sorted(result.collections.items()):
        yield f"  {name}: {count(number, 'series')}"
    if series.already_complete:
        yield f"{count(series.already_complete, 'series')} were complete there before"
    if series.staged:
        yield (
            f"{count(series.staged, 'series')} not complete: {count(images.staged, 'image')} of "
            "them wait there for 'download'"
        )
    yield from _rest(result)


def _rest(result: AdoptResult) -> Iterator[str]:
    images, files = result.images, result.files
    if images.duplicate:
        yield f"{count(images.duplicate, 'file')} of images that are there twice, not taken"
    if result.not_removed:
        yield f"{count(result.not_removed, 'original')} of images that stand not removed"
    if files.zips:
        yield f"{count(len(files.zips), 'ZIP file')} not looked into: {files.zips[0]}, for one"
    if files.links:
        yield f"{count(files.links, 'symbolic link')} not followed"
    if files.not_dicom:
        yield f"{count(files.not_dicom, 'other file')} left alone"


def _ways(result: AdoptResult) -> str:
    used = [_WAYS[way] for way, number in result.brought.most_common() if number]
    return f" ({', '.join(used)})" if used else ""


def _troubles(result: AdoptResult) -> Iterator[str]:
    yield from _some([_left(one) for one in result.left])
    yield from _some([_damaged(one) for one in result.damaged])
    yield from _some(
        [_conflict(one.file, one.of) for one in result.duplicates if not one.same_bytes]
    )
    yield from _some([_foreign(one) for one in result.foreign])


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST:,} more: --json lists all"


def _left(one: Left) -> str:
    return clean(f"  {one.reason.value}: series {one.series} of {one.collection}: {one.detail}")


def _damaged(one: Damaged) -> str:
    return clean(f"  {one.reason.value}: {one.file} ({one.detail})")


def _conflict(file: str, of: str) -> str:
    return clean(f"  conflict: {file} is another version of {of}, which was taken")


def _foreign(one: Foreign) -> str:
    what = f"is of {one.collection}" if one.collection else "is not known to any archive"
    if not one.asked:
        what = "is not in the catalogue, and no archive could be asked"
    images = count(one.images, "image")
    return clean(f"  foreign: series {one.series} {what} ({images}: {one.example}, …)")


def _complaint(result: AdoptResult) -> tuple[str, str]:
    """What to say of an adoption that left something behind, and what to do next."""
    unanswered = any(one.reason is Reason.UNANSWERED for one in result.left)
    if unanswered or any(not one.asked for one in result.foreign):
        return "no archive answered for some series", "run the same command again later"
    if not (result.series.adopted or result.series.already_complete or result.left):
        return (
            f"no series in {result.directory} is of {result.collection or 'an archive'}",
            "the files were left as they are",
        )
    if result.left:
        return (
            f"{count(len(result.left), 'series')} in {result.directory} are not complete or right",
            f"'download' with --output {result.output} fetches what lacks, and no more",
        )
    return f"something in {result.directory} was not adopted", "it was left as it is"
