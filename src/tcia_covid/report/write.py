"""How the files of a collection's folder are written anew."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.errors import DestinationError, HeldError
from tcia_covid.model import Receipt
from tcia_covid.registry import Collection, Registry
from tcia_covid.report.files import CITATION, LICENCE, MANIFEST, METADATA
from tcia_covid.report.manifest import manifest
from tcia_covid.report.metadata import metadata
from tcia_covid.report.notices import Terms, citation, licence, unregistered
from tcia_covid.report.stale import STAMP, receipts_state, reports_are_stale
from tcia_covid.report.written import Tell, replacing
from tcia_covid.store import Tree
from tcia_covid.store.disk import explain
from tcia_covid.store.locks import Lock

_ATTEMPTS = 3
"""How often the reports are written while other runs go on committing series."""
_WAIT = 60.0
"""Seconds that another run may take to write them before it is not waited for."""
_POLL = 0.1


def write_reports(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    tell: Tell = lambda text: None,
) -> None:
    """Write metadata.csv, manifest-md5.txt, LICENSE.txt and CITATION.bib from the receipts.

    Each is put in place at once. Where another process writes them it is waited for, and they
    are written again only if it had not seen the latest receipt. A file of one of these names that
    this program did not write, or that somebody changed, is moved aside in sight.

    Args:
        tree: the collection's folder.
        collection: what the registry says of it; None if it has no such collection.
        registry: the whole registry, for TCIA's own citation.
        tell: hears where a file was moved to.

    Raises:
        DestinationError: the folder cannot be written.
    """
    deadline = time.monotonic() + _WAIT
    try:
        while time.monotonic() < deadline:
            try:
                with Lock(_lock_folder(tree) / "reports.lock", f"the reports of {tree.root}"):
                    _write_until_fresh(tree, collection, registry, tell)
                return
            except HeldError:
                time.sleep(_POLL)
                if not reports_are_stale(tree):
                    return
        # Whoever holds the lock hangs. Two writers do no harm: the stamp tells whose state it is.
        _write_until_fresh(tree, collection, registry, tell)
    except OSError as error:
        raise explain(error, str(tree.root)) from error


def _lock_folder(tree: Tree) -> Path:
    folder = tree.state / "locks"
    tree.disk.make_folder(folder)
    return folder


def _write_until_fresh(
    tree: Tree, collection: Collection | None, registry: Registry, tell: Tell
) -> None:
    """Write the reports, and again if receipts were written meanwhile; not without an end."""
    for _ in range(_ATTEMPTS):
        state, uids = receipts_state(tree), tree.receipts.uids()
        whole = _write(tree, collection, registry, tell)
        # The names are compared too: the clock of a file system ticks in milliseconds.
        fresh = (receipts_state(tree), tree.receipts.uids()) == (state, uids)
        stamp = state if whole and fresh else None
        tree.write_file(tree.state / STAMP, json.dumps(stamp).encode())
        if fresh:
            return


def _write(tree: Tree, collection: Collection | None, registry: Registry, tell: Tell) -> bool:
    """Write the reports once; False if a series was left out that may come back as it was."""
    seen = _Seen()
    with replacing(tree, MANIFEST, tell) as write:  # each receipt is read once
        receipts = _noting(_standing(tree), seen, write)
        _put(tree, METADATA, metadata(receipts, collection.name if collection else ""), tell)
    known = collection or unregistered(min(seen.names, default=tree.root.name), seen.terms)
    _put(tree, LICENCE, [licence(known, seen.terms)], tell)
    _put(tree, CITATION, [citation(known, registry)], tell)
    return seen.series == len(tree.receipts.uids())


def _put(tree: Tree, name: str, content: Iterable[bytes], tell: Tell) -> None:
    with replacing(tree, name, tell) as write:
        for piece in content:
            write(piece)


def _standing(tree: Tree) -> Iterator[Receipt]:
    """Receipts whose series' folder stands: one that is being mended is not in the tree."""
    return (one for one in tree.receipts.all() if _stands(tree, one))


def _stands(tree: Tree, receipt: Receipt) -> bool:
    """Whether a folder is there.

    Raises:
        DestinationError: that cannot be told.
    """
    # Joining Paths takes as long as the look.
    path = f"{tree.root}{os.sep}{receipt.folder.replace('/', os.sep)}"
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise DestinationError(
            f"cannot look at {path}: {error.strerror}",
            hint="see that you may read it and that its disk is sound, then run the same command "
            "again; until then the reports stay as they are",
        ) from error


@dataclass(slots=True)
class _Seen:
    """What the receipts that passed by had in common."""

    series: int = 0
    terms: set[Terms] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    """Of the collection, as archives spell it."""


def _noting(
    receipts: Iterable[Receipt], seen: _Seen, write: Callable[[bytes], None]
) -> Iterator[Receipt]:
    """Pass receipts on; note what they have in common, and write their lines of the manifest."""
    for receipt in receipts:
        seen.series += 1
        seen.terms.add(Terms.of(receipt.series))
        seen.names.add(receipt.series.collection)
        for lines in manifest([receipt]):
            write(lines)
        yield receipt
