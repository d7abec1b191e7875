"""When the files of a collection's folder are out of date."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from tcia_covid.report.files import MANIFEST, REPORT_FILES
from tcia_covid.report.manifest import manifest
from tcia_covid.store import Tree

STAMP = "reports.json"
"""In the state folder: of which state of the receipts the reports are."""


def reports_are_stale(tree: Tree) -> bool:
    """Whether a receipt was written since the reports, or one of these is missing.

    Costs a few looks at single files, however many series there are.
    """
    receipts = receipts_state(tree)
    missing = [name for name in REPORT_FILES if not (tree.root / name).is_file()]
    if receipts is None or len(missing) == len(REPORT_FILES):
        return bool(tree.receipts.uids())
    return bool(missing) or _stamp(tree) != receipts


def manifest_was_changed(tree: Tree) -> bool:
    """Whether somebody changed manifest-md5.txt since it was written; stale ones are not judged."""
    path = tree.root / MANIFEST
    if not path.is_file() or reports_are_stale(tree):
        return False
    return not _has(path, manifest(tree.receipts.all())) and not reports_are_stale(tree)


def let_reports_be_stale(tree: Tree) -> None:
    """Have the next download write the reports anew."""
    tree.disk.remove(tree.state / STAMP)


def _has(path: Path, content: Iterable[bytes]) -> bool:
    """Whether a file has this content and no more."""
    with path.open("rb") as file:
        return all(file.read(len(piece)) == piece for piece in content) and not file.read(1)


def receipts_state(tree: Tree) -> int | None:
    """A number that changes when a receipt is written: the folder's time; None if there is none."""
    try:
        return tree.receipts.folder.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _stamp(tree: Tree) -> int | None:
    try:
        stamp = json.loads((tree.state / STAMP).read_bytes())
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, int) else None
