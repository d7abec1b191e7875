"""The story of adopting a folder: read it, match it, prove it, bring it in."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Collection
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import DestinationError, RequestError, TciaCovidError, UsageError
from tcia_covid.core.events import Emit, Notice, SeriesFinished, discard
from tcia_covid.core.models import Outcome, Series, State
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.operations.adopt.result import (
    MAX_DUPLICATES,
    AdoptResult,
    DuplicateFile,
    IncompleteSeries,
    Mode,
    Reason,
)
from tcia_covid.operations.adopt.scan import Inventory, Matches, OnProgress, match, scan
from tcia_covid.operations.adopt.series import AdoptedSeries, Adopter, Candidate
from tcia_covid.operations.adopt.verification import HashSources
from tcia_covid.selection.request import Options
from tcia_covid.selection.targets import dicom_only
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import check_space
from tcia_covid.store.layout import Layout
from tcia_covid.store.reports.write import owed_notice, write_owed_reports
from tcia_covid.store.tree import Tree, collection_folder, is_in_tree

_MOST_THREADS = 8


def adopt_folder(
    directory: Path,
    output: Path,
    *,
    collection: Collection | None = None,
    mode: Mode = "link",
    options: Options | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: OnProgress = lambda size, images: None,
) -> AdoptResult:
    """Take the DICOM files of any folder into the layout, where the archive's hashes prove them.

    Series that are whole are committed. Images of others wait in staging: the next download of
    the collection fetches only the rest. Nothing in `directory` is changed, except that `move`
    removes a series' files once the series stands in the layout.

    Args:
        directory: what other programs, or this one elsewhere, downloaded.
        output: the folder that holds the collections' folders.
        collection: takes its series alone; None takes every series that an archive knows.
        mode: `link` makes hard links, else reflinks, else copies; `copy` makes reflinks, else
            copies.
        options: archives, layout, threads.
        emit: hears of what is worth a line.
        stop: ends it early; what was committed stays.
        on_progress: hears of bytes and images as they are read.

    Raises:
        RequestError: the folder is none, has no DICOM file, or is one of this program's own.
        ArchiveError: the list of the collection could not be had.
        DestinationError: the output cannot be used.
        InterruptedRunError: `stop` was set.
    """
    options, stop = options or Options(), stop or CancelToken()
    run = _Run(Path(directory), Path(output), collection, mode, options, emit, stop)
    started = time.monotonic()
    archives = open_for_options(options, stop, emit)
    try:
        result = run.carry_out(archives, on_progress)
    finally:
        archives.close()
    result.seconds = time.monotonic() - started
    return result


class _Run:
    def __init__(
        self,
        directory: Path,
        output: Path,
        collection: Collection | None,
        mode: Mode,
        options: Options,
        emit: Emit,
        stop: CancelToken,
    ) -> None:
        self._layout = Layout.parse(options.layout)
        self._registry = load_registry(options.registry)
        self._collection = dicom_only(collection) if collection else None
        self._root = directory.resolve()
        self._output = output.resolve()
        self._mode = mode
        self._options = options
        self._emit = emit
        self._stop = stop
        self._trees: dict[str, Tree] = {}
        name = collection.name if collection else None
        self._result = AdoptResult(str(directory), str(output), mode, name)

    def carry_out(self, archives: Archives, on_progress: OnProgress) -> AdoptResult:
        inventory = self._read(on_progress)
        if not inventory.images and not inventory.damaged:
            return self._nothing_left(inventory)
        lister = None if self._options.source == "idc" else archives.nbia
        matches = match(inventory.series, self._collection, lister)
        self._note(inventory, matches)
        candidates = [self._candidate(one, inventory) for one in matches.known]
        self._refuse_overlap(candidates)
        for tree in self._trees.values():
            tree.prepare()
        adopter = self._adopter(archives)
        self._check_space(adopter, candidates)
        self._tell(f"{len(candidates)} series found: comparing them with the archive's hashes")
        try:
            for candidate, taken in parallel_map(
                adopter.take, candidates, self._options.jobs, self._stop
            ):
                self._count(candidate, taken)
        except DestinationError:
            raise
        except TciaCovidError:
            with contextlib.suppress(DestinationError):
                self._report()
            raise
        self._report()
        return self._result

    def _nothing_left(self, inventory: Inventory) -> AdoptResult:
        """Write what an earlier run owes, that moved all images of the folder.

        Raises:
            RequestError: there was none.
        """
        for root in _trees_in(self._output):
            tree = Tree(root, self._layout, Disk(durable=self._options.durable))
            if tree.has_moved_from(self._root):
                self._trees[root.name] = tree
        if not self._trees:
            raise RequestError(
                f"there is no DICOM file in {self._result.directory}",
                hint=f"{len(inventory.files.zips)} ZIP files are in it: unpack them first"
                if inventory.files.zips
                else "give the folder that the other program downloaded to",
            )
        self._result.files = inventory.files
        notice = (
            f"nothing is left to adopt: the images of {self._result.directory} were moved before"
        )
        self._result.notices.append(notice)
        self._tell(notice)
        self._report()
        return self._result

    def _read(self, on_progress: OnProgress) -> Inventory:
        _refuse_own(self._root, self._output)
        jobs = min(_MOST_THREADS, 2 * (os.cpu_count() or 1))
        ours = _trees_in(self._output)
        inventory = scan(
            self._root, skipped=ours, jobs=jobs, stop=self._stop, on_progress=on_progress
        )
        if self._mode == "move" and (inventory.ours or is_in_tree(self._root)):
            raise UsageError(
                f"{self._result.directory} has a folder that this program keeps receipts of: "
                "moving its files away would leave these without files",
                hint="use --link or --copy",
            )
        return inventory

    def _note(self, inventory: Inventory, matches: Matches) -> None:
        result = self._result
        result.series.found = len(inventory.series)
        result.images.found = inventory.images
        result.files = inventory.files
        result.damaged += inventory.damaged
        result.images.damaged += len(inventory.damaged)
        result.foreign = matches.foreign
        result.series.foreign = len(matches.foreign)
        result.images.foreign = sum(one.images for one in matches.foreign)
        result.notices += matches.notices
        for text in matches.notices:
            self._tell(text)

    def _candidate(self, series: Series, inventory: Inventory) -> Candidate:
        return Candidate(series, inventory.series[series.uid], self._tree(series))

    def _tree(self, series: Series) -> Tree:
        known = self._registry.find(series.collection)
        name = known.name if known else series.collection
        if name not in self._trees:
            root = self._output / collection_folder(name)
            self._trees[name] = Tree(root, self._layout, Disk(durable=self._options.durable))
        return self._trees[name]

    def _refuse_overlap(self, candidates: Sequence[Candidate]) -> None:
        """A folder cannot be taken from and published into at the same time."""
        for candidate in candidates:
            root = candidate.tree.root
            folders = {found.folder for found in candidate.files}
            if any((self._root / folder).is_relative_to(root) for folder in folders):
                raise RequestError(
                    f"{root} is where the series of {candidate.series.collection} would go, and "
                    "files to adopt are in it",
                    hint="name another folder with --output",
                )

    def _adopter(self, archives: Archives) -> Adopter:
        hash_sources = HashSources(archives.order, self._emit, self._stop)
        unsettled = {tree.root: tree.unsettled() for tree in self._trees.values()}
        return Adopter(self._root, self._mode, hash_sources, unsettled, self._stop)

    def _check_space(self, adopter: Adopter, candidates: Sequence[Candidate]) -> None:
        """See that there is room where files have to be copied."""
        if not candidates or (self._mode != "copy" and _one_disk(self._root, self._output)):
            return
        needed = sum(
            found.size
            for candidate in candidates
            if adopter.stands(candidate) is None
            for found in {found.uid: found for found in candidate.files}.values()
        )
        check_space(
            self._result.output,
            needed,
            "copies of the files need",
            "or choose an output folder on the same file system, where links take no space",
        )

    def _count(self, candidate: Candidate, taken: AdoptedSeries) -> None:
        self._count_images(taken)
        result, series = self._result, candidate.series
        counts = result.series
        if taken.receipt is None:
            counts.staged += bool(taken.staged)
            counts.left += not taken.staged
            result.left.append(_left(candidate, taken))
            return
        counts.already_complete += taken.already
        if not taken.already:
            counts.adopted += 1
            result.collections[candidate.tree.root.name] += 1
            self._emit(SeriesFinished(Outcome(series, State.COMPLETE, taken.receipt)))

    def _count_images(self, taken: AdoptedSeries) -> None:
        result, images = self._result, self._result.images
        images.already_complete += taken.there
        images.adopted += taken.adopted
        images.staged += taken.staged
        images.unproven += taken.unproven
        images.damaged += len(taken.damaged)
        images.duplicate += len(taken.doubles)
        result.size += taken.size
        result.not_removed += taken.not_removed
        result.brought += taken.brought
        result.damaged += taken.damaged
        for found, of in taken.doubles[: max(0, MAX_DUPLICATES - len(result.duplicates))]:
            result.duplicates.append(DuplicateFile(found.file, of.file, found.md5 == of.md5))

    def _report(self) -> None:
        """Write the report files of each collection that gained a series."""
        for name, tree in self._trees.items():
            for text in tree.notices:
                self._tell_moved(text)
            known = self._registry.find(name)
            if not write_owed_reports(tree, known, self._registry, self._stop, self._tell_moved):
                self._tell(owed_notice(tree))

    def _tell_moved(self, text: str) -> None:
        """Tell of a file that was moved aside."""
        self._result.notices.append(text)
        self._emit(Notice(text, always=True))

    def _tell(self, text: str) -> None:
        self._emit(Notice(text))


def _left(candidate: Candidate, taken: AdoptedSeries) -> IncompleteSeries:
    series = candidate.series
    return IncompleteSeries(
        series=series.uid,
        collection=series.collection,
        reason=taken.reason or Reason.INCOMPLETE,
        detail=taken.detail,
        staged=taken.staged,
        expected=series.image_count,
    )


def _refuse_own(root: Path, output: Path) -> None:
    """Refuse what is no folder, and what stands in the layout already.

    Raises:
        RequestError: it is one of these.
    """
    if not root.is_dir():
        raise RequestError(f"there is no folder {root}", hint="give the folder to adopt")
    for folder in (root, *root.parents):
        if folder.parent == output and (folder / STATE_FOLDER).is_dir():
            raise RequestError(
                f"{root} is one of this program's own folders in {output}",
                hint="'verify' checks it, 'download' completes it",
            )


def _trees_in(output: Path) -> frozenset[Path]:
    """The collections' folders of this program in the output folder."""
    if not output.is_dir():
        return frozenset()
    return frozenset(child for child in output.iterdir() if (child / STATE_FOLDER).is_dir())


def _one_disk(one: Path, other: Path) -> bool:
    return one.stat().st_dev == other.stat().st_dev
