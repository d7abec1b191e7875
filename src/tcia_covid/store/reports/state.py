"""When the report files of a collection's folder are out of date.

The stamp (`reports.json` in the state folder) holds the size and MD5 of each report file. It is
written last, and removed before any change of which series are in place: no stamp, no current
reports. Nothing in it depends on times, so a copy of a tree is as current as the tree was.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tcia_covid.core.models import Receipt
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import move_aside, moved_aside
from tcia_covid.store.tree import Tree

Tell = Callable[[str], None]
"""Takes a sentence for the user."""
_FOLDER = "reports"
"""In the state folder."""
_A_DAY = 24 * 3600.0
METADATA = "metadata.csv"
MANIFEST = "manifest-md5.txt"
LICENSE = "LICENSE.txt"
CITATION = "CITATION.bib"
REPORT_FILES = (METADATA, MANIFEST, LICENSE, CITATION)


def outdated_reports(tree: Tree, *, by_hash: bool = False) -> list[str]:
    """The report files that are missing, or not what they should be; all if a series changed since.

    Costs a few looks at single files, however many series there are.

    Args:
        tree: the collection's folder.
        by_hash: also read the files, to find changes that keep the size.
    """
    stamp = _read_stamp(tree)
    if stamp is None:
        return [*REPORT_FILES] if tree.receipts.uids() else []
    return [
        name for name in REPORT_FILES if _differs(tree.root / name, stamp[name], by_hash=by_hash)
    ]


def reports_are_stale(tree: Tree) -> bool:
    """Whether a report file is out of date."""
    return bool(outdated_reports(tree))


def manifest_was_changed(tree: Tree) -> bool:
    """Whether manifest-md5.txt is not what the receipts say, although no series changed since."""
    path = tree.root / MANIFEST
    if not path.is_file() or _read_stamp(tree) is None:
        return False
    return not _has(path, manifest(tree.receipts.all())) and _read_stamp(tree) is not None


def _differs(path: Path, known: dict[str, Any], *, by_hash: bool) -> bool:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size != known["size"]:
            return True
        return by_hash and hash_file(path, "md5")[1] != known["md5"]
    except OSError:
        return True


def _has(path: Path, content: Iterable[bytes]) -> bool:
    """Whether a file has this content and no more."""
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in content) and not file.read(1)


def _read_stamp(tree: Tree) -> dict[str, dict[str, Any]] | None:
    """Size and MD5 by report file; None while the reports are out of date."""
    try:
        stamp = json.loads(tree.reports_stamp.read_bytes())
        return {
            name: {"size": stamp[name]["size"], "md5": stamp[name]["md5"]} for name in REPORT_FILES
        }
    except (OSError, ValueError, TypeError, KeyError):
        return None


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


def manifest(receipts: Iterable[Receipt]) -> Iterator[bytes]:
    """The file's content: a line an image, the MD5, two blanks, the file relative to the manifest.

    No name in the tree has a character that `md5sum` would spell differently.
    """
    for receipt in receipts:
        lines = [f"{image.md5}  {receipt.folder}/{image.file}\n" for image in receipt.images]
        yield "".join(lines).encode()
