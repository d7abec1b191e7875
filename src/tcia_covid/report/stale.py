"""When the report files of a collection's folder are out of date.

The stamp (`reports.json` in the state folder) holds the size and MD5 of each report file. It is
written last, and removed before any change of which series are in place: no stamp, no current
reports. Nothing in it depends on times, so a copy of a tree is as current as the tree was.
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tcia_covid.report.files import MANIFEST, REPORT_FILES
from tcia_covid.report.manifest import manifest
from tcia_covid.store import Tree
from tcia_covid.store.adoption import hash_file


def outdated_reports(tree: Tree, *, by_hash: bool = False) -> list[str]:
    """The report files that are missing, or not what they should be; all if a series changed since.

    Costs a few looks at single files, however many series there are.

    Args:
        tree: the collection's folder.
        by_hash: also read the files, to find changes that keep the size.
    """
    stamp = _stamp(tree)
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
    if not path.is_file() or _stamp(tree) is None:
        return False
    return not _has(path, manifest(tree.receipts.all())) and _stamp(tree) is not None


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


def _stamp(tree: Tree) -> dict[str, dict[str, Any]] | None:
    """Size and MD5 by report file; None while the reports are out of date."""
    try:
        stamp = json.loads(tree.reports_stamp.read_bytes())
        return {
            name: {"size": stamp[name]["size"], "md5": stamp[name]["md5"]} for name in REPORT_FILES
        }
    except (OSError, ValueError, TypeError, KeyError):
        return None
