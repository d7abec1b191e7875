"""Renames the folders and files of a download as another layout does; nothing is downloaded."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tcia_covid.catalog.collections import Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_OK,
    EXIT_PARTIAL,
    DestinationError,
    LockedError,
    SeriesError,
    TakenOverError,
)
from tcia_covid.core.events import Emit, ImagesChecked, Notice, discard
from tcia_covid.core.models import Receipt
from tcia_covid.core.safe_names import is_system_file
from tcia_covid.store.discovery import find_trees, listing_errors
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.layout import Layout
from tcia_covid.store.reports import outdated_notice, reports_at_end, update_reports
from tcia_covid.store.tree import Relayout, Tree

_MAX_LISTED = 1000
"""Series and files in the lists of a result."""


@dataclass(slots=True)
class SeriesCounts:
    """Numbers of series."""

    found: int = 0
    renamed: int = 0
    """With `dry_run`: to rename."""
    unchanged: int = 0
    """They have the names of the layout."""
    skipped: int = 0
    """They keep their names, for the reason in `skipped`."""


@dataclass(frozen=True, slots=True)
class SkippedSeries:
    """A series that keeps its folder and names."""

    series: str
    """SeriesInstanceUID."""
    folder: str
    """Relative to the folder of the request, with forward slashes; the collection's folder if the
    receipt cannot be read."""
    reason: str
    """`incomplete`, `linked`, `locked`, or why it could not be renamed."""
    detail: str


@dataclass(slots=True)
class RelayoutResult:
    """The outcomes of the series in a folder."""

    directory: str
    layout: str
    dry_run: bool = False
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: int = 0
    """In the series that were renamed."""
    renamed: list[tuple[str, str]] = field(default_factory=list)
    """Old and new folders, the first thousand."""
    skipped: list[SkippedSeries] = field(default_factory=list)
    left_behind: list[str] = field(default_factory=list)
    """Other files in folders that series were renamed from; they stay there."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0, or 1 if series keep their names."""
        return EXIT_PARTIAL if self.series.skipped else EXIT_OK


_DETAILS = {
    Relayout.INCOMPLETE: "files are missing or damaged: 'download' repairs the series, then run "
    "the same command again",
    Relayout.LINKED: "its files are behind links or on another file system: they stay there",
}


def relayout_directory(
    directory: Path,
    layout: str,
    *,
    dry_run: bool = False,
    durable: bool = True,
    keep_formulas: bool = False,
    registry: Registry | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> RelayoutResult:
    """Rename the folders and files of all complete series in a folder as a layout does.

    Running it again resumes where a run was stopped. Files of other programs stay where they are.

    The arguments and errors are those of `tcia_covid.relayout`; `durable` and `keep_formulas` are
    those of a download.
    """
    started = time.monotonic()
    stop, registry = stop or CancelToken(), registry or Registry()
    result = RelayoutResult(str(directory), layout, dry_run)
    parsed = Layout.parse(layout)
    for found in find_trees(directory):
        tree = Tree(found.root, parsed, Disk(durable=durable), keep_formulas=keep_formulas)
        prefix = "" if tree.root == directory else f"{tree.root.name}/"
        run = _TreeRelayout(tree, prefix, result, emit, stop)
        with listing_errors(directory):
            if dry_run:
                run.preview()
            else:
                _rename(run, registry)
    result.seconds = round(time.monotonic() - started, 3)
    return result


def _rename(run: _TreeRelayout, registry: Registry) -> None:
    tree = run.tree

    def notify(text: str) -> None:
        run.result.notices.append(text)
        run.emit(Notice(text, always=True))

    def write_reports() -> None:
        for text in tree.notices:
            if text not in run.result.notices:
                notify(text)
        collection = registry.find(tree.root.name)
        if not update_reports(tree, collection, registry, run.stop, notify):
            run.emit(Notice(outdated_notice(tree)))

    tree.prepare()
    if not tree.locks_work():
        raise DestinationError(
            f"locks have no effect in {tree.root}: two runs could rename the same series at once",
            hint="rename the folder where locks work, on a local disk, and copy it back",
        )
    with reports_at_end(write_reports):
        run.rename()


@dataclass(slots=True)
class _TreeRelayout:
    """Renames the series of one collection's folder; adds to a result."""

    tree: Tree
    prefix: str
    """Of the paths in the result."""
    result: RelayoutResult
    emit: Emit
    stop: CancelToken

    def preview(self) -> None:
        """Count what `rename` would do."""
        for receipt in self._receipts():
            self.stop.check()
            known = self.tree.with_headers(receipt)
            outcome = self.tree.relayout_outcome(known)
            self._note(receipt, outcome, self.tree.path_in_layout(known))
            self.emit(ImagesChecked(receipt.size, len(receipt.images), "compared"))

    def rename(self) -> None:
        """Rename every complete series, then name the files that stay in old folders."""
        locked = [receipt for receipt in self._receipts() if not self._rename(receipt)]
        for receipt in locked:  # another run may have finished with it by now
            if not self._rename(receipt):
                self._skip(
                    receipt.series.uid, receipt.folder, "locked", "another run works on the series"
                )
        self.result.left_behind += self._left_behind()

    def _receipts(self) -> Iterator[Receipt]:
        for uid in sorted(self.tree.receipts.uids()):
            stored = self.tree.receipts.read(uid)
            if stored is None or stored.receipt.is_dicom:  # volumes have one layout
                self.result.series.found += 1
            if stored is None:
                detail = f"the receipt of {uid} cannot be read: 'download' writes it again"
                self._skip(uid, "", Relayout.INCOMPLETE.value, detail)
            elif stored.receipt.is_dicom:
                yield stored.receipt

    def _rename(self, receipt: Receipt) -> bool:
        """Rename one series; False if another run works on it."""
        self.stop.check()
        try:
            outcome = self.tree.relayout(receipt.series)
        except (LockedError, TakenOverError):
            return False
        except SeriesError as error:  # a path that is too long, or no folder of its own
            self._skip(receipt.series.uid, receipt.folder, error.reason.value, error.message)
            return True
        is_renamed = outcome is Relayout.RENAMED
        stored = self.tree.receipts.read(receipt.series.uid) if is_renamed else None
        self._note(receipt, outcome, stored.receipt.folder if stored else "")
        self.emit(ImagesChecked(receipt.size, len(receipt.images), "in the layout"))
        return True

    def _note(self, receipt: Receipt, outcome: Relayout, folder: str) -> None:
        """Add an outcome to the result; `folder` is the one that the layout gives the series."""
        if outcome is Relayout.RENAMED:
            self._count(receipt, folder)
        elif outcome is Relayout.UNCHANGED:
            self.result.series.unchanged += 1
        else:
            self._skip(receipt.series.uid, receipt.folder, outcome.value, _DETAILS[outcome])

    def _count(self, receipt: Receipt, folder: str) -> None:
        self.result.series.renamed += 1
        self.result.images += len(receipt.images)
        if len(self.result.renamed) < _MAX_LISTED:
            self.result.renamed.append((self.prefix + receipt.folder, self.prefix + folder))

    def _skip(self, uid: str, folder: str, reason: str, detail: str) -> None:
        self.result.series.skipped += 1
        if len(self.result.skipped) < _MAX_LISTED:
            self.result.skipped.append(SkippedSeries(uid, self.prefix + folder, reason, detail))

    def _left_behind(self) -> Iterator[str]:
        """Files that belong to no series in the folders that series were renamed from."""
        folders, origins = set(), set()
        for uid in sorted(self.tree.receipts.uids()):
            stored = self.tree.receipts.read(uid)
            if stored is not None:
                folders.add(stored.receipt.folder)
                if stored.moved_from is not None:
                    origins.add(stored.moved_from.folder)
        with destination_errors(str(self.tree.root)):
            for origin in sorted(origins - folders):
                yield from self._files_below(origin, folders)

    def _files_below(self, origin: str, folders: set[str]) -> Iterator[str]:
        top = self.tree.root.joinpath(*PurePosixPath(origin).parts)
        for path, subfolders, names in os.walk(top):
            relative = Path(path).relative_to(self.tree.root).as_posix()
            subfolders[:] = sorted(
                name for name in subfolders if f"{relative}/{name}" not in folders
            )
            for name in sorted(names):
                if not is_system_file(name):
                    yield f"{self.prefix}{relative}/{name}"
