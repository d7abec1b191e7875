"""Adopting NIfTI volumes on the console, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tcia_covid.adopt import Mode
from tcia_covid.cli.console import Console
from tcia_covid.cli.listening import listening
from tcia_covid.cli.supervise import supervised
from tcia_covid.errors import EXIT_OK
from tcia_covid.nifti.adopt import adopt
from tcia_covid.nifti.result import VolumeAdoption
from tcia_covid.options import DEFAULT_JOBS, Options
from tcia_covid.progress.phrases import clean
from tcia_covid.registry import Collection, load_registry
from tcia_covid.selection.sizes import count, format_size

_MOST = 20


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
    with listening(console) as emit:
        result = supervised(
            lambda stop: adopt(
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
    console.document(_document(result, directory, output, mode))
    troubles = "\n".join(clean(line) for line in _troubles(result))
    if console.quiet:
        console.report(troubles)
    else:
        console.result("\n".join(filter(None, (*map(clean, _lines(result)), troubles))))
    if result.exit_code != EXIT_OK:
        console.complain(*_complaint(result, directory, collection))
    return result.exit_code


def _lines(result: VolumeAdoption) -> Iterator[str]:
    size = format_size(result.size)
    volumes, patients = count(result.volumes_adopted, "volume"), result.patients_adopted
    yield f"{volumes} of {count(patients, 'patient')} adopted: {size}"
    if result.proved:
        yield f"  {result.proved:,} of them proved by a published hash"
    if result.volumes_there:
        yield f"there before: {count(result.volumes_there, 'volume')}"
    if result.not_removed:
        yield f"{count(result.not_removed, 'original')} of volumes that stand not removed"
    if result.standing is not None and (compared := result.standing.compared()):
        yield compared


def _troubles(result: VolumeAdoption) -> Iterator[str]:
    troubles = [f"{one.file}: {one.reason}: {one.detail}" for one in result.unfit]
    troubles += [f"{name}: no file of it is sound" for name in result.lost]
    troubles += [f"{name}: listed in a .sums file, and not there" for name in result.missing]
    troubles += [f"{name}: stands with another hash than a .sums file's" for name in result.refuted]
    troubles += [failure.detail for failure in result.failures]
    yield from troubles[:_MOST]
    if len(troubles) > _MOST:
        yield f"and {len(troubles) - _MOST:,} more: --json lists all"


def _complaint(result: VolumeAdoption, directory: Path, collection: Collection) -> tuple[str, str]:
    """What to say of an adoption that left something behind, and what to do next."""
    if result.standing is not None and result.standing.exceeds:
        return result.standing.compared(), "remove those that are not of the collection"
    if result.lost or result.refuted or result.missing or result.failures:
        fetch = f"'tcia-covid download \"{collection.name}\"' fetches what lacks"
        return f"not all volumes of {directory} are in the layout, or sound", fetch
    return (
        f"files in {directory} are damaged, or differ from the volumes that stand",
        "they were left as they are; a .sums file beside them tells which are right",
    )


def _document(result: VolumeAdoption, directory: Path, output: Path, mode: Mode) -> dict[str, Any]:
    standing = result.standing
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
            "standing": standing.patients if standing else None,
            "expected": standing.patients_expected if standing else None,
        },
        "volumes": {
            "found": result.volumes_found,
            "adopted": result.volumes_adopted,
            "already_complete": result.volumes_there,
            "proved": result.proved,
            "standing": standing.volumes if standing else None,
            "expected": standing.volumes_expected if standing else None,
        },
        "bytes": {"adopted": result.size},
        "brought": dict(result.ways),
        "not_removed": result.not_removed,
        "left": [asdict(one) for one in result.unfit],
        "lost": result.lost,
        "refuted": result.refuted,
        "missing": result.missing,
        "failures": [asdict(failure) for failure in result.failures],
        "notices": result.notices,
    }
