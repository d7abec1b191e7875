"""Finds the collections' folders in a folder that a user names."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tcia_covid.core.errors import PermissionDeniedError, RequestError
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.store.tree import Tree


def find_trees(directory: Path) -> list[Tree]:
    """`directory`, if it is a collection's folder, else all such folders in it, by name.

    Raises:
        RequestError: there is none, or the folder cannot be read.
        PermissionDeniedError: a link that is not followed.
    """
    try:
        if not directory.is_dir():
            raise RequestError(
                f"there is no folder {directory}",
                hint="give the folder of 'download --output'",
            )
        if (directory / STATE_FOLDER).is_dir():
            roots = [directory]
        else:
            roots = sorted(path for path in directory.iterdir() if (path / STATE_FOLDER).is_dir())
    except OSError as error:
        raise RequestError(
            f"folder {directory} cannot be read: {error.strerror or error}",
            hint="check the folder's permissions",
        ) from error
    if not roots:
        raise RequestError(
            f"folder {directory} has no collection that this program downloaded",
            hint="give the folder of 'download --output', or a collection's folder in it",
        )
    trees = [Tree(root) for root in roots]
    for tree in trees:
        tree.check_links()
    return trees


@dataclass(frozen=True, slots=True)
class UncheckedFolder:
    """A folder with images and without receipts, next to the collections' folders."""

    folder: str
    """Its name."""
    images: int
    """Files whose names end in .dcm, at any depth."""


def find_unchecked_folders(directory: Path) -> list[UncheckedFolder]:
    """Folders in `directory` that have images, and are not collections' folders."""
    if (directory / STATE_FOLDER).is_dir():
        return []
    unchecked = []
    for folder in sorted(directory.iterdir()):
        is_hidden = folder.name.startswith(".")
        if not is_hidden and folder.is_dir() and not (folder / STATE_FOLDER).is_dir():
            names = (name for _, _, files in os.walk(folder) for name in files)
            images = sum(name.endswith(".dcm") for name in names)
            unchecked += [UncheckedFolder(folder.name, images)] if images else []
    return unchecked


@contextmanager
def listing_errors(directory: Path) -> Iterator[None]:
    """Convert an OSError while listing `directory` into an error for the user.

    Raises:
        PermissionDeniedError: a folder cannot be read.
    """
    try:
        yield
    except OSError as error:
        what = error.filename or directory
        raise PermissionDeniedError(
            f"{what} cannot be read: {error.strerror or error}",
            hint="check the folder's permissions and the file system",
        ) from error
