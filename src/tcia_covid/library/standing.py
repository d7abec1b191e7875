"""What `tcia_covid.status` is."""

from __future__ import annotations

from pathlib import Path

from tcia_covid.defaults import DEFAULT_OUTPUT
from tcia_covid.library.plain import Paths, path_of, paths_of
from tcia_covid.registry import load_registry
from tcia_covid.status import StatusResult
from tcia_covid.status import status as look


def status(
    directory: str | Path = DEFAULT_OUTPUT, *, registry: Paths | None = None
) -> StatusResult:
    """Say what is complete, under way and failed in a folder, without a network.

    Raises:
        RequestError: the folder is not one of this program's.
        RegistryError: a registry file is broken.
    """
    return look(path_of("directory", directory), load_registry(paths_of("registry", registry)))
