"""Where a package is received, and what is known of it from one run to the next."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import PurePosixPath

from tcia_covid.faspex import Package
from tcia_covid.faspex.transfer import TransferLock
from tcia_covid.model import Failure
from tcia_covid.nifti.finding import Finds, find_volumes
from tcia_covid.nifti.tree import VolumeTree
from tcia_covid.store.sizes import size_of

_FORMAT = 1
_MOST_PATHS = 200
"""Volumes that are asked for one by one; more than that, and the whole package is."""


class Inbox:
    """The folder of one package, in the state folder of its collection.

    `files` takes what arrives. `listing.json` says what is in the package, once all of it was
    received. `receiving` stands while files may be half-written.

    Args:
        tree: the collection's folder.
        package: the package.
    """

    def __init__(self, tree: VolumeTree, package: Package) -> None:
        self._tree = tree
        self.package = package
        self.folder = tree.state / "faspex" / package.key
        self.files = self.folder / "files"
        self._listing = self.folder / "listing.json"
        self._receiving = self.folder / "receiving"

    def lock(self) -> TransferLock:
        """The lock of the package."""
        self._tree.disk.make_folder(self.files)
        return TransferLock(self.folder / "lock", f"package '{self.package.title}'")

    @property
    def is_interrupted(self) -> bool:
        """Whether an earlier run began to receive and did not come to its end."""
        return self._receiving.exists()

    @property
    def size(self) -> int:
        """Bytes that were received and not taken in yet."""
        return size_of(self.files)

    def lacking(self) -> list[str] | None:
        """The paths of the volumes that do not stand; None if the package was never received whole.

        No paths at all ask for everything: that many are not asked for one by one.
        """
        listed = self._listed()
        if listed is None:
            return None
        standing = self._tree.standing_files()
        return [path for path in listed if PurePosixPath(path).name not in standing]

    def begin(self) -> None:
        """Files will be half-written from now on."""
        self._tree.write_file(self._receiving, self.package.title.encode())

    def note(self, failure: Failure | None) -> None:
        """Leave word for `status` of why the package did not arrive, or that it did."""
        with contextlib.suppress(OSError):
            if failure is None:
                self._tree.failures.clear(f"package-{self.package.key}")
            else:
                self._tree.failures.write(f"package-{self.package.key}", [asdict(failure)])

    def finish(self, *, whole: bool) -> None:
        """All that was asked for is here; `whole` if that was the whole package."""
        if whole:
            text = json.dumps({"format": _FORMAT, "files": list(self._volumes())}, indent=1)
            self._tree.write_file(self._listing, text.encode())
        self._tree.disk.remove(self._receiving)

    def finds(self) -> Finds:
        """The volumes that were received."""
        return find_volumes(self.files, self._tree.pattern)

    def set_aside(self, files: Sequence[str]) -> None:
        """Move files that are not sound out, so that they are received again."""
        for file in files:
            with contextlib.suppress(FileNotFoundError):
                self._tree.keep_bad(self.files / file, "packages")

    def tidy(self) -> None:
        """Remove folders that nothing is left in."""
        for folder in sorted(self.files.rglob("*"), reverse=True):
            if folder.is_dir() and not folder.is_symlink():
                self._tree.disk.remove_empty(folder)

    def _listed(self) -> list[str] | None:
        try:
            document = json.loads(self._listing.read_bytes())
            listed = [one for one in document["files"] if isinstance(one, str)]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        return listed if document.get("format") == _FORMAT else None

    def _volumes(self) -> Iterator[str]:
        """The volumes' paths in the package, as they arrived."""
        for name, paths in sorted(self.finds().volumes.items()):
            yield f"/{paths[0].relative_to(self.files).as_posix()}" if paths else f"/{name.file}"


def asked(paths: Sequence[str] | None) -> tuple[str, ...]:
    """What to ask for: single paths, or nothing for the whole package."""
    return tuple(paths) if paths is not None and len(paths) <= _MOST_PATHS else ()
