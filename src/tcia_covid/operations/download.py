"""The main job: from a request to a tree in which every series is complete and checked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    DestinationError,
    InterruptedRunError,
    NoSpaceError,
    NotDicomError,
    TciaCovidError,
)
from tcia_covid.core.events import Emit, Notice, RunFinished, RunStarted, discard
from tcia_covid.core.models import Failure, Outcome, Series, State
from tcia_covid.core.safe_names import STATE_FOLDER
from tcia_covid.core.summary import Summary, SummaryBuilder
from tcia_covid.core.units import format_size
from tcia_covid.nifti.download import download_collection
from tcia_covid.operations.select import select
from tcia_covid.selection.request import Request, package_collection
from tcia_covid.selection.resolve import CollectionSelection, Selection
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.free_space import PartialSeries, check_space
from tcia_covid.store.layout import Layout
from tcia_covid.store.reports.state import outdated_reports
from tcia_covid.store.reports.write import write_owed_reports
from tcia_covid.store.tree import Tree, collection_folder
from tcia_covid.supporting.download import add_supporting, download_supporting
from tcia_covid.transfer.contention import Job
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.scheduler import Scheduler, failure_of
from tcia_covid.transfer.series import changed_error


def download_request(
    request: Request, *, emit: Emit = discard, stop: CancelToken | None = None
) -> Summary:
    """Carry out a request; running it again resumes, mends, and is free when nothing is left.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: no list could be had.
        DestinationError: the folder cannot be used.

    What goes wrong after the first series was begun is in the summary, not raised.
    """
    started = time.monotonic()
    stop = stop or CancelToken()
    registry = load_registry(request.options.registry)
    packages = package_collection(request, registry)
    if request.options.supporting_only:
        summary = download_supporting(request, registry, emit=emit, stop=stop)
    elif packages is not None:
        summary = _download_packages(packages, request, registry, emit, stop)
    else:
        summary = _download_series(request, registry, emit, stop)
    summary.seconds = round(time.monotonic() - started, 3)
    emit(RunFinished(summary))
    return summary


def _download_packages(
    collection: Collection, request: Request, registry: Registry, emit: Emit, stop: CancelToken
) -> Summary:
    """Bring a collection that is no DICOM, in the packages that it is published as."""
    try:
        summary = download_collection(collection, request, registry, emit=emit, stop=stop)
    except NotDicomError:  # the files beside the images need no ascli
        if request.options.supporting:
            beside = Summary(list(request.targets), request.output)
            _add_supporting(request, [collection], beside, emit, stop)
            for found in beside.supporting:
                emit(Notice(found.text))
        raise
    if request.options.supporting and summary.error is None:
        _add_supporting(request, [collection], summary, emit, stop)
    return summary


def _add_supporting(
    request: Request,
    collections: Iterable[Collection],
    summary: Summary,
    emit: Emit,
    stop: CancelToken,
) -> None:
    """Fetch the files beside the images, where they are asked for."""
    add_supporting(request, collections, summary, emit=emit, stop=stop)


def _download_series(
    request: Request, registry: Registry, emit: Emit, stop: CancelToken
) -> Summary:
    options = request.options
    layout = Layout.parse(options.layout)
    archives = open_for_options(options, stop, emit)
    try:
        selected = _select(request, registry, archives, stop)
        for notice in selected.notices:
            emit(Notice(notice))
        run = _Run(
            request,
            registry,
            archives,
            TransferContext(stop, options.http, emit, archives.hash_archives),
        )
        summary = run.carry_out(selected, layout)
        summary.catalog_differences = selected.differences
    finally:
        archives.close()
    summary.bytes_received = archives.meter.received
    if options.supporting and summary.error is None:
        known = [group.collection for group in selected.groups if group.collection]
        _add_supporting(request, known, summary, emit, stop)
    return summary


def _select(
    request: Request, registry: Registry, archives: Archives, stop: CancelToken
) -> Selection:
    """List what is asked for; where that fails, at least reports that are owed are written."""
    try:
        return select(request, registry, archives, stop)
    except (ArchiveError, InterruptedRunError):
        for collection in filter(None, map(registry.find, request.targets)):
            root = Path(request.output) / collection_folder(collection.name)
            if (root / STATE_FOLDER).is_dir():
                tree = Tree(root, disk=Disk(durable=request.options.durable))
                with contextlib.suppress(DestinationError):
                    write_owed_reports(tree, collection, registry, stop)
        raise


class _Run:
    def __init__(
        self, request: Request, registry: Registry, archives: Archives, context: TransferContext
    ) -> None:
        self._request = request
        self._registry = registry
        self._archives = archives
        self._context = context
        self._tally = SummaryBuilder(request.targets, request.output)
        self._done: set[str] = set()
        self._trees: dict[str, Tree] = {}
        self._complete: list[tuple[Series, State]] = []

    def carry_out(self, selected: Selection, layout: Layout) -> Summary:
        self._tally.selected(selected.series)
        pairs = [(group, self._tree(group, layout)) for group in selected.groups]
        self._note_selected(pairs)
        with destination_errors(self._request.output):
            jobs = [job for group, tree in pairs for job in self._outstanding(group, tree)]
        self._check_space(jobs)
        self._announce(jobs)
        workers = _workers(self._request.options.jobs)
        Scheduler(self._archives.order, self._context, workers, self._on_outcome).run(jobs)
        if jobs and not self._context.stop.is_set():
            self._recount()
        ended = self._report(pairs, self._ended(jobs))
        self._count_kept(pairs)
        for notice in [notice for _, tree in pairs for notice in tree.notices]:
            self._tell(notice)
        self._note_outdated(pairs)
        return self._tally.finish(selected.failures, selected.notices, ended)

    def _recount(self) -> None:
        """Count the complete series by what is in place now: others may change the folder, too."""
        self._tally.forget_complete()
        for series, state in self._complete:
            receipt = self._trees[series.uid].committed(series.uid)
            if receipt is not None:
                self._tally.outcome(Outcome(series, state, receipt))
                continue
            failure = Failure(
                series.uid,
                "missing",
                f"series {series.uid} was complete, and now files of it are missing",
                hint="another program changes the folder; run the same command again",
            )
            self._tally.outcome(Outcome(series, State.FAILED, failure=failure))

    def _tell(self, text: str) -> None:
        """Tell of a file that was moved aside."""
        self._tally.summary.notices.append(text)
        self._context.emit(Notice(text, always=True))

    def _count_kept(self, pairs: Sequence[tuple[CollectionSelection, Tree]]) -> None:
        """Count what stays in staging for the next run."""
        summary = self._tally.summary
        for group, tree in pairs:
            with contextlib.suppress(OSError):  # the reports, or the next run, tell of that
                begun = tree.under_way() & {series.uid for series in group.series}
                summary.partial_series += len(begun)
                summary.partial_bytes += tree.kept(begun)

    def _note_outdated(self, pairs: Sequence[tuple[CollectionSelection, Tree]]) -> None:
        """Name the report files that do not cover what is complete."""
        for _, tree in pairs:
            with contextlib.suppress(OSError):
                names = outdated_reports(tree)
                self._tally.summary.outdated_reports += [f"{tree.root.name}/{n}" for n in names]

    def _tree(self, group: CollectionSelection, layout: Layout) -> Tree:
        disk = Disk(durable=self._request.options.durable)
        root = Path(self._request.output) / collection_folder(group.name)
        tree = Tree(root, layout, disk)
        tree.prepare()
        self._trees.update(dict.fromkeys((one.uid for one in group.series), tree))
        return tree

    def _note_selected(self, pairs: Sequence[tuple[CollectionSelection, Tree]]) -> None:
        """Leave a note of what was asked for, so that `status` can say what was not begun."""
        if self._request.options.share is not None:
            return  # one of many runs: none knows the whole
        for group, tree in pairs:
            tree.note_asked(len(group.series))

    def _outstanding(self, group: CollectionSelection, tree: Tree) -> list[Job]:
        """Count what stands already; give what is still to do."""
        update = self._request.options.update
        unsettled, known_to_differ = tree.unsettled(), tree.changed.uids()
        jobs = []
        for series in group.series:
            receipt = None if series.uid in unsettled else tree.committed(series.uid)
            if receipt is None:
                jobs.append(Job(series, tree, update=update and _was_complete(tree, series)))
            elif not (receipt.differs_from(series) or series.uid in known_to_differ):
                self._count(Outcome(series, State.ALREADY, receipt))
            elif update:
                jobs.append(Job(series, tree, update=True))
            else:
                failure = failure_of(series, changed_error(receipt, series))
                self._tally.outcome(Outcome(series, State.FAILED, failure=failure))
        return jobs

    def _check_space(self, jobs: Sequence[Job]) -> None:
        check_space(
            self._request.output,
            _lacking(jobs),
            "the download needs",
            "choose another folder with --output, or take less with --max-size or --first-patients",
        )

    def _announce(self, jobs: Sequence[Job]) -> None:
        self._context.emit(
            RunStarted(
                series=len(jobs),
                images=sum(job.series.image_count or 0 for job in jobs),
                size=sum(job.series.size or 0 for job in jobs),
                already_complete=self._tally.summary.already_complete,
                output=self._request.output,
            )
        )

    def _on_outcome(self, outcome: Outcome) -> None:
        uid = outcome.series.uid
        if uid in self._done:
            return
        if outcome.state is not State.REMAINING:
            self._done.add(uid)
        self._count(outcome)
        if outcome.failure is not None:
            self._note(uid, outcome.failure)

    def _count(self, outcome: Outcome) -> None:
        self._tally.outcome(outcome)
        if outcome.receipt is not None:
            self._complete.append((outcome.series, outcome.state))

    def _note(self, uid: str, failure: Failure) -> None:
        try:
            self._trees[uid].failures.write(uid, [asdict(failure)])
        except OSError:
            return  # the summary has it; the note is for `status` alone

    def _ended(self, jobs: Sequence[Job]) -> TciaCovidError | None:
        stop = self._context.stop
        if not stop.is_set():
            return None
        if not isinstance(stop.reason, NoSpaceError):
            return stop.reason
        left = _lacking([job for job in jobs if job.series.uid not in self._done])
        if not left:  # no size is on record
            return stop.reason
        message = f"{stop.reason.message}; {format_size(left)} are still to come"
        return NoSpaceError(message, hint=stop.reason.hint)

    def _report(
        self, pairs: Sequence[tuple[CollectionSelection, Tree]], ended: TciaCovidError | None
    ) -> TciaCovidError | None:
        """Write the report files of the collections, so that they cover what is complete.

        Gives what ended the run, or the first collection whose files could not be written.
        """
        if isinstance(ended, DestinationError):
            return ended
        failed = []
        for group, tree in pairs:
            try:
                write_owed_reports(
                    tree, group.collection, self._registry, self._context.stop, self._tell
                )
            except TciaCovidError as error:
                failed.append(error)
        return failed[0] if failed and not isinstance(ended, InterruptedRunError) else ended


def _workers(jobs: int) -> int:
    """Threads that work on series, so that some are forced to the disk while others are fetched.

    The archives' pace bounds the requests: for NBIA, to `jobs`. More threads would but wait for
    each other.
    """
    return jobs + (jobs + 1) // 3


def _lacking(jobs: Sequence[Job]) -> int:
    """Bytes that are still to come."""
    begun = {tree: PartialSeries(tree) for tree in {job.tree for job in jobs}}
    return sum(begun[job.tree].lacking(job.series) for job in jobs)


def _was_complete(tree: Tree, series: Series) -> bool:
    """Whether a series stood once: an update takes nothing of it on trust."""
    return tree.receipts.read(series.uid) is not None
