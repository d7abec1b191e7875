"""`adopt`: files that are there already."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tcia_covid.api.options import options_from, output_from
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.cli.click_commands import as_command
from tcia_covid.cli.console import Console
from tcia_covid.cli.options import (
    COLLECTION,
    COPY,
    EVERYWHERE,
    JOBS,
    LAYOUT,
    LINK,
    MOVE,
    NO_FSYNC,
    OUTPUT,
    PATIENCE,
    SOURCE,
)
from tcia_covid.cli.param_types import FOLDER
from tcia_covid.cli.signals import run_cancellable
from tcia_covid.cli.subscribers import draws_bars, progress_display
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import EXIT_OK, UsageError
from tcia_covid.core.events import Emit
from tcia_covid.core.units import count, format_duration, format_size
from tcia_covid.nifti.adopt import adopt_volumes
from tcia_covid.nifti.result import VolumeAdoption
from tcia_covid.operations.adopt.adopt import adopt_folder
from tcia_covid.operations.adopt.result import (
    AdoptResult,
    DamagedFile,
    ForeignSeries,
    IncompleteSeries,
    Mode,
    document,
)
from tcia_covid.output.progress.display import CheckProgress
from tcia_covid.output.progress.wording import clean_line
from tcia_covid.selection.request import DEFAULT_JOBS, Options
from tcia_covid.selection.targets import unknown_collection

_MOST = 20
"""Lines of each kind; --json has all."""
_METHODS = {
    "link": "by hard link",
    "reflink": "by reflink",
    "copy": "by copy",
    "staged": "from staging",
}
_MOST_VOLUMES = 20


@as_command(
    click.Argument(["directory"], metavar="DIR", type=FOLDER),
    COLLECTION,
    LINK,
    MOVE,
    COPY,
    OUTPUT,
    SOURCE,
    LAYOUT,
    JOBS,
    *PATIENCE,
    NO_FSYNC,
    *EVERYWHERE,
)
def adopt(
    console: Console,
    directory: str,
    output: str,
    *,
    collection: str | None,
    link: bool,
    move: bool,
    copy: bool,
    **choices: Any,
) -> int:
    """Take images in that are in DIR already.

    DIR may be what any other program downloaded: names and folders mean nothing, each DICOM file
    is read, hashed and compared with the archive's own hashes. Whole series go into the layout;
    images of others wait in it, and 'download' fetches only the rest. DIR stays as it is, except
    that --move removes what was taken. Of 'CT Images in COVID-19', which --collection has to
    name, NIfTI volumes are taken: by their names, each read to its end.
    """
    mode, into = mode_from(link=link, move=move, copy=copy), output_from(output)
    return show_adoption(console, directory, into, collection=collection, mode=mode, **choices)


def mode_from(*, link: bool, move: bool, copy: bool) -> Mode:
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
    options = options_from(**choices)
    known = _known(collection, options) if collection else None
    if known is not None and not known.is_dicom:
        folder, into = Path(directory), Path(output)
        return show_volume_adoption(console, folder, into, known, mode, options)
    with progress_display(console) as emit:

        def work(stop: CancelToken) -> AdoptResult:
            return _adopt(console, Path(directory), Path(output), known, mode, options, emit, stop)

        result = run_cancellable(work)
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
    stop: CancelToken,
) -> AdoptResult:
    bars = draws_bars() and not (console.quiet or console.no_progress)
    counting = CheckProgress(console.say, sys.stderr if bars else None)
    try:
        return adopt_folder(
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
        f"{_methods(result)}, in {format_duration(result.seconds)}"
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
    if files.zip_files:
        yield f"{count(len(files.zip_files), 'ZIP file')} not opened, such as {files.zip_files[0]}"
    if files.symlinks:
        yield f"{count(files.symlinks, 'symbolic link')} not followed"
    if files.not_dicom:
        yield f"{count(files.not_dicom, 'other file')} left alone"


def _methods(result: AdoptResult) -> str:
    methods = sorted(result.placed, key=lambda method: -result.placed[method])
    return f" ({', '.join(_METHODS[method] for method in methods)})" if methods else ""


def _troubles(result: AdoptResult) -> Iterator[str]:
    yield from _some([_left(one) for one in result.incomplete])
    yield from _some([_damaged(one) for one in result.damaged])
    yield from _some(
        [_conflict(one.file, one.duplicate_of) for one in result.duplicates if not one.same_bytes]
    )
    yield from _some([_foreign(one) for one in result.foreign])


def _some(lines: list[str]) -> Iterator[str]:
    yield from lines[:_MOST]
    if len(lines) > _MOST:
        yield f"  and {len(lines) - _MOST:,} more: --json lists all"


def _left(one: IncompleteSeries) -> str:
    return clean_line(
        f"  {one.reason.value}: series {one.series} of {one.collection}: {one.detail}"
    )


def _damaged(one: DamagedFile) -> str:
    return clean_line(f"  {one.reason.value}: {one.file} ({one.detail})")


def _conflict(file: str, of: str) -> str:
    return clean_line(f"  conflict: {file} is another version of {of}, which was taken")


def _foreign(one: ForeignSeries) -> str:
    what = f"is of {one.collection}" if one.collection else "is not known to any archive"
    if not one.looked_up:
        what = "is not in the catalog, and no archive could be asked"
    images = count(one.images, "image")
    return clean_line(f"  foreign: series {one.series} {what} ({images}: {one.example}, …)")


def _complaint(result: AdoptResult) -> tuple[str, str]:
    """What to say of an adoption that left something behind, and what to do next."""
    if result.lacks_response:
        return "no archive responded for some series", "run the same command again later"
    if not (result.series.adopted or result.series.already_complete or result.incomplete):
        return (
            f"no series in {result.directory} is of {result.collection or 'an archive'}",
            "the files were left as they are",
        )
    if result.incomplete:
        return (
            f"{count(len(result.incomplete), 'series')} in {result.directory} are not complete",
            f"'download' with --output {result.output} fetches only the missing images",
        )
    return f"something in {result.directory} was not adopted", "it was left as it is"


def show_volume_adoption(
    console: Console,
    directory: Path,
    output: Path,
    collection: Collection,
    mode: Mode,
    options: Options,
) -> int:
    """Take volumes in and show what came of it; give the exit code."""
    registry = load_registry(options.registry)
    if (options.source, options.layout) != (Options().source, Options().layout):
        console.say(
            f"--source and --layout are for DICOM: {collection.name} has one place and form"
        )
    with progress_display(console) as emit:
        result = run_cancellable(
            lambda stop: adopt_volumes(
                directory,
                output,
                collection,
                registry,
                mode=mode,
                durable=options.durable,
                jobs=None if options.jobs == DEFAULT_JOBS else options.jobs,
                emit=emit,
                stop=stop,
            )
        )
    console.document(_volume_document(result, directory, output, mode))
    troubles = "\n".join(clean_line(line) for line in _volume_problems(result))
    if console.quiet:
        console.report(troubles)
    else:
        console.result("\n".join(filter(None, (*map(clean_line, _volume_lines(result)), troubles))))
    if result.exit_code != EXIT_OK:
        console.complain(*_volume_complaint(result, directory, collection))
    return result.exit_code


def _volume_lines(result: VolumeAdoption) -> Iterator[str]:
    size = format_size(result.size)
    volumes, patients = count(result.volumes_adopted, "volume"), result.patients_adopted
    yield f"{volumes} of {count(patients, 'patient')} adopted: {size}"
    if result.proved:
        yield f"  {result.proved:,} of them proved by a published hash"
    if result.volumes_there:
        yield f"there before: {count(result.volumes_there, 'volume')}"
    if result.not_removed:
        yield f"{count(result.not_removed, 'original')} of volumes that stand not removed"
    if result.inventory is not None and (compared := result.inventory.compared()):
        yield compared


def _volume_problems(result: VolumeAdoption) -> Iterator[str]:
    troubles = [f"{one.file}: {one.reason}: {one.detail}" for one in result.unfit]
    troubles += [f"{name}: no file of it is sound" for name in result.lost]
    troubles += [f"{name}: listed in a .sums file, and not there" for name in result.missing]
    troubles += [f"{name}: stands with another hash than a .sums file's" for name in result.refuted]
    troubles += [failure.detail for failure in result.failures]
    yield from troubles[:_MOST_VOLUMES]
    if len(troubles) > _MOST_VOLUMES:
        yield f"and {len(troubles) - _MOST_VOLUMES:,} more: --json lists all"


def _volume_complaint(
    result: VolumeAdoption, directory: Path, collection: Collection
) -> tuple[str, str]:
    """What to say of an adoption that left something behind, and what to do next."""
    if result.inventory is not None and result.inventory.exceeds:
        return result.inventory.compared(), "remove those that are not of the collection"
    if result.lost or result.refuted or result.missing or result.failures:
        fetch = f"'tcia-covid download \"{collection.name}\"' fetches what lacks"
        return f"not all volumes of {directory} are in the layout, or sound", fetch
    return (
        f"files in {directory} are damaged, or differ from the volumes that stand",
        "they were left as they are; a .sums file beside them tells which are right",
    )


def _volume_document(
    result: VolumeAdoption, directory: Path, output: Path, mode: Mode
) -> dict[str, Any]:
    inventory = result.inventory
    return {
        "command": "adopt",
        "directory": str(directory),
        "output": str(output),
        "mode": mode,
        "exit_code": result.exit_code,
        "patients": {
            "found": result.patients_found,
            "adopted": result.patients_adopted,
            "already_complete": result.patients_there,
            "in_layout": inventory.patients if inventory else None,
            "expected": inventory.patients_expected if inventory else None,
        },
        "volumes": {
            "found": result.volumes_found,
            "adopted": result.volumes_adopted,
            "already_complete": result.volumes_there,
            "verified": result.proved,
            "in_layout": inventory.volumes if inventory else None,
            "expected": inventory.volumes_expected if inventory else None,
        },
        "bytes": {"adopted": result.size},
        "placed": dict(result.ways),
        "not_removed": result.not_removed,
        "rejected": [asdict(one) for one in result.unfit],
        "lost": result.lost,
        "mismatched": result.refuted,
        "missing": result.missing,
        "failures": [failure.to_dict() for failure in result.failures],
        "notices": result.notices,
    }


command = adopt
