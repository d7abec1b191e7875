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
from tcia_covid.errors import EXIT_OK, EXIT_PARTIAL
from tcia_covid.nifti.adopt import adopt
from tcia_covid.nifti.result import VolumeAdoption
from tcia_covid.options import Options
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
    with listening(console) as emit:
        result = supervised(
            lambda stop: adopt(
                directory,
                output,
                collection,
                registry,
                mode=mode,
                durable=options.durable,
                emit=emit,
                stop=stop,
            )
        )
    code = _exit_code(result)
    console.document(_document(result, directory, output, code))
    console.result("\n".join(clean(line) for line in _lines(result)))
    return code


def _exit_code(result: VolumeAdoption) -> int:
    troubles = result.lost or result.failures or result.missing
    return EXIT_PARTIAL if troubles else EXIT_OK


def _lines(result: VolumeAdoption) -> Iterator[str]:
    size = format_size(result.size)
    volumes, patients = count(result.volumes_adopted, "volume"), result.patients_adopted
    yield f"{volumes} of {patients:,} patients adopted: {size}"
    yield f"  {result.proved:,} of them proved by a published hash"
    if result.volumes_there:
        yield f"{count(result.volumes_there, 'volume')} were there before"
    if result.standing is not None and (compared := result.standing.compared()):
        yield compared
    troubles = [f"{one.file}: {one.reason}: {one.detail}" for one in result.unfit]
    troubles += [f"{name}: no file of it is sound" for name in result.lost]
    troubles += [f"{name}: listed in a .sums file, and not there" for name in result.missing]
    troubles += [failure.detail for failure in result.failures]
    yield from troubles[:_MOST]
    if len(troubles) > _MOST:
        yield f"and {len(troubles) - _MOST:,} more: --json lists all"


def _document(result: VolumeAdoption, directory: Path, output: Path, code: int) -> dict[str, Any]:
    return {
        "command": "adopt",
        "directory": str(directory),
        "output": str(output),
        "exit_code": code,
        "patients": {
            "found": result.patients_found,
            "adopted": result.patients_adopted,
            "already_complete": result.patients_there,
        },
        "volumes": {
            "found": result.volumes_found,
            "adopted": result.volumes_adopted,
            "already_complete": result.volumes_there,
            "proved": result.proved,
        },
        "bytes": {"adopted": result.size},
        "left": [asdict(one) for one in result.unfit],
        "lost": result.lost,
        "missing": result.missing,
        "failures": [asdict(failure) for failure in result.failures],
    }
