"""Finding the collections' folders that a user means by one folder's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.errors import PermissionRefusedError, RequestError
from tcia_covid.store import Tree
from tcia_covid.store.tree import STATE


def trees_in(directory: Path) -> list[Tree]:
    """The collection's folder that `directory` is, or all those that stand in it, by name.

    Raises:
        RequestError: there is none, or the folder cannot be read.
    """
    try:
        if not directory.is_dir():
            raise RequestError(
                f"there is no folder {directory}", hint="give the folder that was downloaded to"
            )
        if (directory / STATE).is_dir():
            return [Tree(directory)]
        roots = sorted(child for child in directory.iterdir() if (child / STATE).is_dir())
    except OSError as error:
        raise RequestError(
            f"folder {directory} cannot be read: {error.strerror or error}",
            hint="check the folder's permissions",
        ) from error
    if not roots:
        raise RequestError(
            f"folder {directory} holds no collection that this program downloaded",
            hint="give the folder that 'download --output' named, or a collection's folder in it",
        )
    return [Tree(root) for root in roots]


@contextmanager
def readable(directory: Path) -> Iterator[None]:
    """Turn a folder that the system does not give into an error for the user.

    Raises:
        DestinationError: what is being looked at below `directory` cannot be read.
    """
    try:
        yield
    except OSError as error:
        what = error.filename or directory
        raise PermissionRefusedError(
            f"{what} cannot be read: {error.strerror or error}",
            hint="check the folder's permissions and the file system",
        ) from error
