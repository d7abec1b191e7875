"""`adopt`: imports files that exist already."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from tcia_covid.api.functions import adopt
from tcia_covid.cli.console import Console
from tcia_covid.cli.progress import run_displayed
from tcia_covid.core.errors import EXIT_OK, UsageError
from tcia_covid.core.redaction import clean_line
from tcia_covid.core.units import count, format_duration, format_size, verb
from tcia_covid.nifti.adopt import VolumeAdoption
from tcia_covid.operations.adopt import AdoptResult
from tcia_covid.operations.adopt_scan import ForeignSeries
from tcia_covid.output.json_documents import adopt_document, volume_adoption_document
from tcia_covid.output.tables import first_lines
from tcia_covid.store.placement import Mode

_METHODS = {
    "link": "hard-linked",
    "reflink": "reflinked",
    "copy": "copied",
    "staged": "already staged",
}


def command(
    console: Console,
    *,
    directory: str,
    output: str,
    collection: str | None,
    link: bool,
    move: bool,
    copy: bool,
    **choices: Any,
) -> int:
    """Import DICOM files that you already have in DIR."""
    mode = mode_from(link=link, move=move, copy=copy)
    work = partial(adopt, directory, output, collection=collection, mode=mode, **choices)
    result = run_displayed(console, work)
    if isinstance(result, VolumeAdoption):
        if choices["source"] or choices["layout"]:
            console.message(f"--source and --layout have no effect: {collection} is not DICOM")
        document = volume_adoption_document(result)
        lines = [*map(clean_line, _volume_lines(result))]
        problems, error = _volume_problems(result), _volume_error(result, collection)
    else:
        document, lines = adopt_document(result), [*_lines(result)]
        problems, error = _problems(result), _error(result)
    console.document(document)
    if console.quiet:  # only what is wrong
        console.warning("\n".join(problems))
    else:
        console.prose("\n".join([*lines, *problems]))
    if result.exit_code != EXIT_OK:
        console.error(*error)
    return result.exit_code


def mode_from(*, link: bool, move: bool, copy: bool) -> Mode:
    """How to place files.

    Raises:
        UsageError: several modes are given.
    """
    given: dict[Mode, bool] = {"link": link, "move": move, "copy": copy}
    chosen = [mode for mode, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise UsageError(
            f"--{chosen[0]} and --{chosen[1]} exclude each other", hint="use only one of them"
        )
    return chosen[0] if chosen else "link"


def _lines(result: AdoptResult) -> Iterator[str]:
    series, images = result.series, result.images
    methods = sorted(result.placed, key=lambda method: -result.placed[method])
    how = f" ({', '.join(_METHODS[method] for method in methods)})" if methods else ""
    yield (
        f"{count(series.adopted, 'series')} imported into {result.output}: "
        f"{count(images.adopted, 'image')}, {format_size(result.size)}"
        f"{how}, in {format_duration(result.seconds)}"
    )
    for name, number in sorted(result.collections.items()):
        yield f"  {name}: {count(number, 'series')}"
    if series.already_complete:
        yield f"{count(series.already_complete, 'series')} already complete before"
    if series.staged:
        yield (
            f"{count(series.staged, 'series')} incomplete: {count(images.staged, 'image')} of "
            "them staged for 'download'"
        )
    yield from _ignored(result)


def _ignored(result: AdoptResult) -> Iterator[str]:
    images, files = result.images, result.files
    if images.duplicate:
        yield f"{count(images.duplicate, 'duplicate file')} not imported"
    if result.not_removed:
        yield f"{count(result.not_removed, 'original')} of imported images not removed"
    if files.zip_files:
        yield f"{count(len(files.zip_files), 'ZIP file')} not opened, such as {files.zip_files[0]}"
    if files.symlinks:
        yield f"{count(files.symlinks, 'symbolic link')} not followed"
    if files.not_dicom:
        yield f"{count(files.not_dicom, 'other file')} ignored"


def _problems(result: AdoptResult) -> Iterator[str]:
    yield from first_lines(
        f"{series.reason.value}: series {series.series} of {series.collection}: {series.detail}"
        for series in result.incomplete
    )
    yield from first_lines(
        f"{file.reason.value}: {file.file} ({file.detail})" for file in result.damaged
    )
    yield from first_lines(
        f"conflict: {file.file} is another version of {file.duplicate_of}, which was imported"
        for file in result.duplicates
        if not file.same_bytes
    )
    yield from first_lines(map(_foreign_line, result.foreign))


def _foreign_line(series: ForeignSeries) -> str:
    if not series.looked_up:
        problem = "is not in the catalog, and no archive responded"
    elif series.collection:
        problem = f"belongs to {series.collection}"
    else:
        problem = "is unknown to all archives"
    images = count(series.images, "image")
    return f"foreign: series {series.series} {problem} ({images}: {series.example}, …)"


def _error(result: AdoptResult) -> tuple[str, str]:
    """What is wrong, and what to do next."""
    if result.without_response:
        return "no archive responded for some series", "run the same command again later"
    if not (result.series.adopted or result.series.already_complete or result.incomplete):
        return (
            f"no series in {result.directory} belongs to {result.collection or 'an archive'}",
            "the files were not changed",
        )
    if result.incomplete:
        number = len(result.incomplete)
        return (
            f"{count(number, 'series')} in {result.directory} {verb(number)} incomplete",
            f"'download' with --output {result.output} downloads only what is missing",
        )
    return f"some files in {result.directory} were not imported", "they were not changed"


def _volume_lines(result: VolumeAdoption) -> Iterator[str]:
    size = format_size(result.size)
    volumes, patients = count(result.volumes.adopted, "volume"), result.patients.adopted
    yield f"{volumes} of {count(patients, 'patient')} imported: {size}"
    if result.volumes.verified:
        yield f"  {result.volumes.verified:,} of them match a published hash"
    if result.volumes.already_complete:
        yield f"{count(result.volumes.already_complete, 'volume')} already complete before"
    if result.not_removed:
        yield f"{count(result.not_removed, 'original')} of imported volumes not removed"
    if compared := result.inventory.compared():
        yield compared


def _volume_problems(result: VolumeAdoption) -> Iterator[str]:
    problems = [f"{file.file}: {file.reason}: {file.detail}" for file in result.rejected]
    problems += [f"{name}: all files of it are damaged" for name in result.lost]
    problems += [f"{name}: missing, but listed in a .sums file" for name in result.missing]
    problems += [
        f"{name}: its hash differs from that in a .sums file" for name in result.mismatched
    ]
    problems += [failure.detail for failure in result.failures]
    yield from first_lines(problems, indent="")


def _volume_error(result: VolumeAdoption, collection: str | None) -> tuple[str, str]:
    """What is wrong, and what to do next."""
    if result.inventory.exceeds:
        return result.inventory.compared(), "remove those that do not belong to the collection"
    if result.lost or result.mismatched or result.missing or result.failures:
        return (
            f"some volumes in {result.directory} are missing or damaged",
            f"'tcia-covid download \"{collection}\"' downloads what is missing",
        )
    return (
        f"files in {result.directory} are damaged, or differ from imported volumes",
        "they were not changed; a .sums file next to them would show which are correct",
    )
