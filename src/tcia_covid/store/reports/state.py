"""When the report files of a collection's folder are out of date.

The stamp (`reports.json` in the state folder) has the size and MD5 of each report file. It is
written last, and removed before any change of which series are in place: without a stamp the
reports are out of date. It has no times in it, so a copy of a tree is as current as the tree was.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict

from tcia_covid.core.files import open_regular
from tcia_covid.core.models import Receipt
from tcia_covid.formats.hashes import hash_file
from tcia_covid.store.disk import read_state
from tcia_covid.store.tree import Tree

METADATA = "metadata.csv"
MANIFEST = "manifest-md5.txt"
LICENSE = "LICENSE.txt"
CITATION = "CITATION.bib"
REPORT_FILES = (METADATA, MANIFEST, LICENSE, CITATION)


class WrittenFile(TypedDict):
    """What a report file was when it was written."""

    size: int
    md5: str


def outdated_reports(tree: Tree, *, by_hash: bool = False) -> list[str]:
    """The report files that are missing or changed; all of them if a series changed since.

    Takes a few `stat` calls, however many series there are.

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
    """Whether manifest-md5.txt differs from the receipts, although no series changed since."""
    path = tree.root / MANIFEST
    if not path.is_file() or _read_stamp(tree) is None:
        return False
    with open(path, "rb", opener=open_regular) as file:
        lines = manifest(tree.receipts.all())
        same = all(file.read(len(line)) == line for line in lines) and not file.read(1)
    return not same and _read_stamp(tree) is not None


def manifest(receipts: Iterable[Receipt]) -> Iterator[bytes]:
    """The manifest's content: a line for each image, in the format of `md5sum`.

    No name in the tree has a character that `md5sum` escapes.
    """
    for receipt in receipts:
        lines = [f"{image.md5}  {receipt.folder}/{image.file}\n" for image in receipt.images]
        yield "".join(lines).encode()


def _differs(path: Path, written: WrittenFile, *, by_hash: bool) -> bool:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size != written["size"]:
            return True
        return by_hash and hash_file(path, "md5")[1] != written["md5"]
    except OSError:
        return True


def _read_stamp(tree: Tree) -> dict[str, WrittenFile] | None:
    """The written files by name; None while the reports are out of date."""
    try:
        stamp = json.loads(read_state(tree.reports_stamp))
        return {
            name: {"size": stamp[name]["size"], "md5": stamp[name]["md5"]} for name in REPORT_FILES
        }
    except (OSError, ValueError, TypeError, KeyError):
        return None
