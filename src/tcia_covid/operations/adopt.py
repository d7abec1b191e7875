"""Adopt a folder: read it, look up its series, verify them, place them in the layout."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    EXIT_ARCHIVE,
    EXIT_OK,
    EXIT_PARTIAL,
    RequestError,
)
from tcia_covid.core.events import Emit, Notice, SeriesFinished, discard
from tcia_covid.core.limits import affordable_jobs, processors
from tcia_covid.core.models import Outcome, Series, State
from tcia_covid.core.parallel import parallel_map
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.core.units import count
from tcia_covid.operations.adopt_scan import (
    DamagedFile,
    DuplicateFile,
    ForeignSeries,
    Inventory,
    OtherFiles,
    Reason,
    match,
    scan,
)
from tcia_covid.operations.adopt_series import AdoptedSeries, Adopter, Candidate, HashSources
from tcia_covid.selection.request import Options
from tcia_covid.selection.targets import dicom_only
from tcia_covid.store.disk import Disk
from tcia_covid.store.free_space import check_space
from tcia_covid.store.layout import Layout, collection_folder
from tcia_covid.store.placement import Mode, check_move, refuse_own_folder
from tcia_covid.store.reports import outdated_notice, reports_at_end, update_reports
from tcia_covid.store.tree import Tree

MAX_DUPLICATES = 1000
"""Maximum number of listed duplicates; all are counted."""
_MAX_THREADS = 8


@dataclass(frozen=True, slots=True)
class IncompleteSeries:
    """A series of the archive that is not complete in the layout."""

    series: str
    collection: str
    reason: Reason
    detail: str
    staged: int
    """Images in staging, for the next download."""
    expected: int | None
    """Images that the archive has."""


@dataclass(slots=True)
class SeriesCounts:
    """Numbers of series."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    staged: int = 0
    """Incomplete or not verified, with images in staging."""
    skipped: int = 0
    """Incomplete, with no usable image."""
    foreign: int = 0


@dataclass(slots=True)
class ImageCounts:
    """Numbers of DICOM files."""

    found: int = 0
    adopted: int = 0
    already_complete: int = 0
    staged: int = 0
    unverified: int = 0
    """Not adopted: the archive has no hash of them."""
    damaged: int = 0
    duplicate: int = 0
    foreign: int = 0


@dataclass(slots=True)
class AdoptResult:
    """What `adopt` did."""

    directory: str
    output: str
    mode: Mode
    collection: str | None = None
    """The collection that was asked for; None for any."""
    series: SeriesCounts = field(default_factory=SeriesCounts)
    images: ImageCounts = field(default_factory=ImageCounts)
    files: OtherFiles = field(default_factory=OtherFiles)
    size: int = 0
    """Bytes of the adopted images."""
    not_removed: int = 0
    """Originals that `move` did not remove although their image is in the layout."""
    placed: dict[str, int] = field(default_factory=dict)
    """Images by method: `link`, `reflink`, `copy`; `staged` if in staging from an earlier run."""
    collections: dict[str, int] = field(default_factory=dict)
    """Adopted series by collection."""
    incomplete: list[IncompleteSeries] = field(default_factory=list)
    damaged: list[DamagedFile] = field(default_factory=list)
    foreign: list[ForeignSeries] = field(default_factory=list)
    duplicates: list[DuplicateFile] = field(default_factory=list)
    """The first ones; `images.duplicate` counts all."""
    moved_before: bool = False
    """Whether an earlier run moved all images of the folder."""
    notices: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 if everything is in the layout, 3 if nothing is and no archive responded, else 1.

        Foreign series count only if no collection was asked for.
        """
        foreign = bool(self.foreign) and self.collection is None
        in_layout = self.series.adopted or self.series.already_complete or self.moved_before
        nothing = bool(self.series.found) and not in_layout
        if not (self.incomplete or self.damaged or foreign or nothing):
            return EXIT_OK
        return EXIT_ARCHIVE if nothing and self.without_response else EXIT_PARTIAL

    @property
    def without_response(self) -> bool:
        """Whether the archives did not respond for some series."""
        return any(series.reason is Reason.NO_RESPONSE for series in self.incomplete) or not all(
            series.looked_up for series in self.foreign
        )


def adopt_folder(
    directory: Path,
    output: Path,
    *,
    collection: Collection | None = None,
    mode: Mode = "link",
    options: Options | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> AdoptResult:
    """Import the DICOM files of a folder that the archive's hashes confirm.

    Complete series are committed. Correct images of incomplete series go to staging, and the next
    download requests only the others. `directory` is not changed, except that `move` removes the
    files of a series once it is complete in the layout.

    The arguments and errors are those of `tcia_covid.adopt`. Without `collection`, every series
    that an archive knows is adopted.
    """
    options, stop = options or Options(), stop or CancelToken()
    started = time.monotonic()
    run = _Run(
        Path(directory).resolve(),
        Path(output).resolve(),
        dicom_only(collection) if collection else None,
        load_registry(options.registry),
        options,
        emit,
        stop,
        AdoptResult(str(directory), str(output), mode, collection.name if collection else None),
    )
    with closing(open_for_options(options, stop, emit)) as archives:
        result = run.adopt(archives)
    result.seconds = round(time.monotonic() - started, 3)
    return result


@dataclass(slots=True)
class _Run:
    root: Path
    output: Path
    collection: Collection | None
    registry: Registry
    options: Options
    emit: Emit
    stop: CancelToken
    result: AdoptResult
    trees: dict[str, Tree] = field(default_factory=dict)

    def adopt(self, archives: Archives) -> AdoptResult:
        inventory = self._scan()
        # Before the request to an archive, which may be down.
        moved_before = self._write_outdated_reports()
        lister = None if self.options.source == "idc" else archives.nbia
        known, foreign = match(inventory.series, self.collection, lister, self._note)
        self._count_scanned(inventory, foreign)
        if not (known or inventory.damaged):
            return self._nothing_left(moved_before=moved_before)
        candidates = [
            Candidate(series, inventory.series[series.uid], self._tree_of(series))
            for series in known
        ]
        self._refuse_overlap(candidates)
        for tree in self.trees.values():
            tree.prepare()
        hash_sources = HashSources(archives.order, self.emit, self.stop)
        unsettled = {tree.root: tree.needs_check() for tree in self.trees.values()}
        adopter = Adopter(self.root, self.result.mode, hash_sources, unsettled, self.stop)
        self._check_space(adopter, candidates)
        self._notify(f"comparing {len(candidates)} series with the archive's hashes")
        jobs = affordable_jobs(self.options.jobs)
        with reports_at_end(lambda: self._write_reports(self.trees)):
            for candidate, adopted in parallel_map(adopter.adopt, candidates, jobs, self.stop):
                self._count(candidate, adopted)
        return self.result

    def _scan(self) -> Inventory:
        trees = _tree_roots(self.output)
        refuse_own_folder(self.root, trees)
        inventory = scan(
            self.root,
            skipped=trees,
            jobs=affordable_jobs(min(_MAX_THREADS, 2 * processors())),
            stop=self.stop,
            emit=self.emit,
        )
        if self.result.mode == "move":
            check_move(self.root, has_tree=inventory.has_tree)
        return inventory

    def _write_outdated_reports(self) -> bool:
        """Write the reports that an earlier run, which moved images of the folder, did not.

        Returns whether there was such a run.
        """
        trees = {root.name: self._tree(root) for root in _tree_roots(self.output)}
        moved_to = {name: tree for name, tree in trees.items() if tree.has_moved_from(self.root)}
        for tree in moved_to.values():
            tree.prepare()
        self._write_reports(moved_to)
        return bool(moved_to)

    def _nothing_left(self, *, moved_before: bool) -> AdoptResult:
        """Return the result where the folder has no image to adopt.

        Raises:
            RequestError: it has no image at all, and none was moved from it.
        """
        directory = self.result.directory
        if moved_before:
            self.result.moved_before = True
            self._note(f"nothing is left to adopt: the images of {directory} were moved before")
        elif not self.result.series.found:
            hint = "give the folder that the other program downloaded to"
            if zip_files := self.result.files.zip_files:
                hint = f"unpack the {count(len(zip_files), 'ZIP file')} in it first"
            elif any(root.is_relative_to(self.root) for root in _tree_roots(self.output)):
                hint = "the collections' folders in it are this program's: they need no import"
            raise RequestError(f"there is no DICOM file in {directory}", hint=hint)
        return self.result

    def _count_scanned(self, inventory: Inventory, foreign: list[ForeignSeries]) -> None:
        result = self.result
        result.files = inventory.files
        result.series.found = len(inventory.series)
        result.images.found = inventory.images
        result.damaged += inventory.damaged
        result.images.damaged += len(inventory.damaged)
        result.foreign = foreign
        result.series.foreign = len(foreign)
        result.images.foreign = sum(series.images for series in foreign)

    def _tree_of(self, series: Series) -> Tree:
        known = self.registry.find(series.collection)
        name = known.name if known else series.collection
        if name not in self.trees:
            self.trees[name] = self._tree(self.output / collection_folder(name))
        return self.trees[name]

    def _tree(self, root: Path) -> Tree:
        layout, disk = Layout.parse(self.options.layout), Disk(durable=self.options.durable)
        return Tree(root, layout, disk, keep_formulas=self.options.keep_formulas)

    def _refuse_overlap(self, candidates: Sequence[Candidate]) -> None:
        """A folder cannot be read from and committed to at the same time."""
        for candidate in candidates:
            root = candidate.tree.root
            folders = {file.folder for file in candidate.files}
            if any((self.root / folder).is_relative_to(root) for folder in folders):
                raise RequestError(
                    f"{root} is the destination of the series of {candidate.series.collection}, "
                    "and files to adopt are in it",
                    hint="name another folder with --output",
                )

    def _check_space(self, adopter: Adopter, candidates: Sequence[Candidate]) -> None:
        """Check that there is room for the files that have to be copied."""
        if not candidates or not self.options.space_check:
            return
        same_file_system = self.root.stat().st_dev == self.output.stat().st_dev
        if self.result.mode != "copy" and same_file_system:
            return
        needed = sum(
            file.size
            for candidate in candidates
            if adopter.committed(candidate) is None
            for file in {file.uid: file for file in candidate.files}.values()
        )
        check_space(
            self.result.output,
            needed,
            "copies of the files need",
            "or choose an output folder on the same file system, where links take no space",
            self._notify,
        )

    def _count(self, candidate: Candidate, adopted: AdoptedSeries) -> None:
        result, images, series = self.result, self.result.images, candidate.series
        if adopted.receipt is None:
            images.staged += len(adopted.placed)
            result.series.staged += bool(adopted.placed)
            result.series.skipped += not adopted.placed
            result.incomplete.append(
                IncompleteSeries(
                    series=series.uid,
                    collection=series.collection,
                    reason=adopted.reason,
                    detail=adopted.detail,
                    staged=len(adopted.placed),
                    expected=series.image_count,
                )
            )
        elif adopted.already_complete is not None:
            images.already_complete += adopted.already_complete
            result.series.already_complete += 1
        else:
            images.adopted += len(adopted.placed)
            result.size += sum(file.size for file in adopted.placed)
            result.series.adopted += 1
            name = candidate.tree.root.name
            result.collections[name] = result.collections.get(name, 0) + 1
            self.emit(SeriesFinished(Outcome(series, State.COMPLETE, adopted.receipt)))
        images.unverified += adopted.unverified
        images.damaged += len(adopted.damaged)
        images.duplicate += len(adopted.duplicates)
        result.not_removed += adopted.not_removed
        result.placed = dict(Counter(result.placed) + Counter(adopted.placed.values()))
        result.damaged += adopted.damaged
        result.duplicates += adopted.duplicates[: MAX_DUPLICATES - len(result.duplicates)]

    def _write_reports(self, trees: Mapping[str, Tree]) -> None:
        """Write the report files of each collection that gained a series."""
        note = partial(self._note, always=True)
        for name, tree in trees.items():
            for text in tree.notices:
                note(text)
            if not update_reports(tree, self.registry.find(name), self.registry, self.stop, note):
                self._notify(outdated_notice(tree))

    def _note(self, text: str, *, always: bool = False) -> None:
        """Add a notice to the result."""
        self.result.notices.append(text)
        self.emit(Notice(text, always=always))

    def _notify(self, text: str) -> None:
        self.emit(Notice(text))


def _tree_roots(output: Path) -> frozenset[Path]:
    """The collections' folders in the output folder."""
    if not output.is_dir():
        return frozenset()
    return frozenset(child for child in output.iterdir() if (child / STATE_FOLDER).is_dir())
