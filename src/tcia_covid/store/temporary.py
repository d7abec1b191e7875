"""Temporary files: named after the run that writes them, removed once that is gone."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tcia_covid.store.machine import machine_name

_MACHINE = machine_name()[:32].replace("~", "-")
_A_DAY = 24 * 3600.0


def new_name() -> str:
    """A name that no other file has."""
    return f"{_MACHINE}~{os.getpid()}~{os.urandom(4).hex()}.part"


def sweep(temporary: Path, remove: Callable[[Path], None]) -> None:
    """Remove the temporary files of runs that are gone."""
    if not temporary.is_dir():
        return
    for part in temporary.glob("*.part"):
        with contextlib.suppress(OSError, ValueError):
            machine, process, _ = part.name.split("~")
            old = time.time() - part.stat().st_mtime > _A_DAY
            if old or (machine == _MACHINE and not _alive(int(process))):
                remove(part)


def _alive(process: int) -> bool:
    if sys.platform == "win32":  # os.kill would end it
        return True
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
