"""How the files of a collection's folder are written anew."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import DestinationError, InterruptedRunError, LockedError
from tcia_covid.core.models import Receipt
from tcia_covid.store.disk import destination_error, destination_errors
from tcia_covid.store.locks import Lock
from tcia_covid.store.reports.license_files import (
    LicenseTerms,
    citation_file,
    license_file,
    license_file_unregistered,
)
from tcia_covid.store.reports.metadata import metadata
from tcia_covid.store.reports.state import (
    CITATION,
    LICENSE,
    MANIFEST,
    METADATA,
    Tell,
    manifest,
    replacing,
    reports_are_stale,
)
from tcia_covid.store.tree import Tree

_ATTEMPTS = 3
"""How often the reports are written while other runs go on committing series."""
_POLL = 0.1
_AFTER_SIGNAL = 1.6
"""Seconds after a signal in which reports are still written; the program ends within 2."""


def write_owed_reports(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    stop: CancelToken,
    tell: Tell = lambda text: None,
) -> bool:
    """Write the reports if they are out of date; whether they are current in the end.

    After a signal only as many seconds are spent on them as are left: the reports of a thousand
    series take a fifth of a second. What is not written then stays recorded, for the next run.

    Raises:
        DestinationError: the folder cannot be written.
    """
    interrupted = isinstance(stop.reason, InterruptedRunError)
    until = stop.since + _AFTER_SIGNAL if interrupted else None
    with destination_errors(str(tree.root)):
        if not reports_are_stale(tree):
            return True
        try:
            write_reports(tree, collection, registry, tell, until=until)
        except OutOfTimeError:
            return False
        return not reports_are_stale(tree)


def write_reports(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    tell: Tell = lambda text: None,
    *,
    until: float | None = None,
    lock_timeout: float = 60.0,
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
        until: when to give up, in seconds of the monotonic clock.
        lock_timeout: seconds to wait for another run that writes them.

    Raises:
        OutOfTimeError: that time has come.
        DestinationError: the folder cannot be written.
    """
    deadline = time.monotonic() + lock_timeout
    try:
        while time.monotonic() < deadline:
            try:
                with Lock(_lock_folder(tree) / "reports.lock", f"the reports of {tree.root}"):
                    _write_until_fresh(tree, collection, registry, tell, until)
                return
            except LockedError:
                _check_time(until)
                time.sleep(_POLL)
                if not reports_are_stale(tree):
                    return
        # Whoever holds the lock hangs. Two writers do no harm: both write what the receipts say.
        _write_until_fresh(tree, collection, registry, tell, until)
    except OSError as error:
        raise destination_error(error, str(tree.root)) from error


def owed_notice(tree: Tree) -> str:
    """What to say where the reports could not be written in time."""
    return (
        f"the report files in {tree.root} are out of date: the same command, or the next "
        "'tcia-covid download' of the collection, writes them"
    )


class OutOfTimeError(Exception):
    """There is no time left to write the reports."""


def _check_time(until: float | None) -> None:
    if until is not None and time.monotonic() > until:
        raise OutOfTimeError


def _lock_folder(tree: Tree) -> Path:
    folder = tree.state / "locks"
    tree.disk.make_folder(folder)
    return folder


def _write_until_fresh(
    tree: Tree,
    collection: Collection | None,
    registry: Registry,
    tell: Tell,
    until: float | None,
) -> None:
    """Write the reports, and again if series changed meanwhile; not without an end."""
    for _ in range(_ATTEMPTS):
        tree.disk.remove(tree.reports_begun)
        with contextlib.suppress(FileExistsError):  # another writer, where locks hold nothing
            tree.disk.create(tree.reports_begun).close()
        files = _Files(tree, tell, until)
        whole = _write(files, collection, registry)
        if _stamp(tree, files.written if whole else None):
            return


def _stamp(tree: Tree, written: dict[str, dict[str, Any]] | None) -> bool:
    """Record what the reports are; False if a series changed since they were begun.

    Whoever changes a series removes the file that becomes the stamp here, so that no change is
    overlooked.

    Args:
        tree: the collection's folder.
        written: size and MD5 by file; None if the reports do not count as current.
    """
    try:
        with FileIO(tree.reports_begun, "r+") as file:
            tree.disk.write(file, json.dumps(written).encode())
        tree.disk.replace(tree.reports_begun, tree.reports_stamp)
    except FileNotFoundError:
        return False
    return True


def _write(files: _Files, collection: Collection | None, registry: Registry) -> bool:
    """Write the reports once; False if a series was left out that may come back as it was."""
    seen, tree = _Seen(), files.tree
    with files.writing(MANIFEST) as write:  # each receipt is read once
        receipts = _noting(_standing(tree), seen, write)
        files.put(METADATA, metadata(receipts, collection.name if collection else ""))
    known = collection or license_file_unregistered(
        min(seen.names, default=tree.root.name), seen.terms
    )
    files.put(LICENSE, [license_file(known, seen.terms)])
    files.put(CITATION, [citation_file(known, registry)])
    return seen.series == len(tree.receipts.uids())


class _Files:
    """Puts report files in place, and notes what they are.

    Args:
        tree: the collection's folder.
        tell: hears where a file was moved to.
        until: when to give up, in seconds of the monotonic clock.
    """

    def __init__(self, tree: Tree, tell: Tell, until: float | None) -> None:
        self.tree = tree
        self._tell = tell
        self.written: dict[str, dict[str, Any]] = {}
        self._until = until

    def put(self, name: str, content: Iterable[bytes]) -> None:
        """Write one file whose pieces are `content`."""
        with self.writing(name) as write:
            for piece in content:
                write(piece)

    @contextmanager
    def writing(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Give what writes to one file, which is put in place in the end."""
        md5, size = hashlib.md5(usedforsecurity=False), 0
        with replacing(self.tree, name, self._tell) as write:

            def add(piece: bytes) -> None:
                nonlocal size
                _check_time(self._until)
                write(piece)
                md5.update(piece)
                size += len(piece)

            yield add
        self.written[name] = {"size": size, "md5": md5.hexdigest()}


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
    terms: set[LicenseTerms] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    """Of the collection, as archives spell it."""


def _noting(
    receipts: Iterable[Receipt], seen: _Seen, write: Callable[[bytes], None]
) -> Iterator[Receipt]:
    """Pass receipts on; note what they have in common, and write their lines of the manifest."""
    for receipt in receipts:
        seen.series += 1
        seen.terms.add(LicenseTerms.of(receipt.series))
        seen.names.add(receipt.series.collection)
        for lines in manifest([receipt]):
            write(lines)
        yield receipt
