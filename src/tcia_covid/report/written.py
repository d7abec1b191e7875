"""Which files of a collection's folder this program wrote: a report replaces no others.

A folder of empty files, one a report and MD5, is the record: runs that write reports at the same
time, on machines whose locks lock nothing, do not lose each other's entries.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.store import Tree
from tcia_covid.store.adoption import hash_file
from tcia_covid.store.quarantine import move_aside, moved_aside

Tell = Callable[[str], None]
"""Takes a sentence for the user."""

_FOLDER = "reports"
"""In the state folder."""
_A_DAY = 24 * 3600.0


@contextmanager
def replacing(tree: Tree, name: str, tell: Tell) -> Iterator[Callable[[bytes], None]]:
    """Give what writes a report, which is put in place in the end, if all went well.

    A file in its place that this program did not write, or that somebody changed since, is moved
    aside in sight first.

    Args:
        tree: the collection's folder.
        name: the report.
        tell: hears where a file was moved to.
    """
    md5 = hashlib.md5(usedforsecurity=False)
    with tree.disk.replacing(tree.root / name, tree.temporary) as write:

        def both(data: bytes) -> None:
            write(data)
            md5.update(data)

        yield both
        _record(tree, name, md5.hexdigest())
        _make_way(tree, name, tell)
    _forget(tree, name, md5.hexdigest())


def _record(tree: Tree, name: str, md5: str) -> None:
    tree.disk.make_folder(tree.state / _FOLDER)
    with contextlib.suppress(FileExistsError):
        tree.disk.create(tree.state / _FOLDER / f"{name}.{md5}").close()


def _make_way(tree: Tree, name: str, tell: Tell) -> None:
    path = tree.root / name
    if os.path.lexists(path) and not _is_ours(tree, name):
        tell(moved_aside(path, move_aside(tree.disk, path)))


def _is_ours(tree: Tree, name: str) -> bool:
    """Whether this program wrote the very bytes that are in a report's place."""
    path = tree.root / name
    if not path.is_file():
        return False
    _, md5 = hash_file(path, "md5")
    return (tree.state / _FOLDER / f"{name}.{md5}").exists()


def _records(tree: Tree, name: str) -> list[Path]:
    return list((tree.state / _FOLDER).glob(f"{name}.*"))


def _forget(tree: Tree, name: str, md5: str) -> None:
    """Remove what is on record of versions that nobody is writing any more."""
    for record in _records(tree, name):
        with contextlib.suppress(OSError):
            old = time.time() - record.stat().st_mtime > _A_DAY
            if old and record.name != f"{name}.{md5}":
                tree.disk.remove(record)
