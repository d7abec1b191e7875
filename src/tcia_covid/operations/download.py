"""Downloading: from a request to folders in which every series is complete and checked."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    DestinationError,
    FailureReason,
    InterruptedRunError,
    NoSpaceError,
    NotDicomError,
    TciaCovidError,
)
from tcia_covid.core.events import Emit, Notice, RunFinished, RunStarted, activity, discard
from tcia_covid.core.limits import affordable_jobs, processors
from tcia_covid.core.models import Failure, Outcome, Receipt, Series, State
from tcia_covid.core.summary import Summary, SummaryBuilder
from tcia_covid.core.units import count, format_size
from tcia_covid.operations.select import select
from tcia_covid.selection.request import Request, package_collection
from tcia_covid.selection.resolve import CollectionSelection, Selection
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.free_space import BytesOnDisk, check_space
from tcia_covid.store.layout import UID, Layout, collection_folder
from tcia_covid.store.reports import outdated_reports, update_reports
from tcia_covid.store.tree import Tree
from tcia_covid.store.windows import MAX_PATH, excess_length
from tcia_covid.transfer.fetcher import TransferContext
from tcia_covid.transfer.processes import ProcessScheduler, processes_for, workers_for
from tcia_covid.transfer.scheduler import Job, Scheduler, failure_of
from tcia_covid.transfer.series import changed_error
from tcia_covid.transfer.worker_processes import Worker, start_interpreter


def download_request(
    request: Request,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    start_worker: Callable[[], Worker] = start_interpreter,
) -> Summary:
    """Download what a request names; running it again resumes and repairs.

    Errors after the first series was started are in the summary, not raised. A large download asks
    `start_worker` for processes.

    Raises:
        RequestError: the request cannot be carried out.
        ArchiveError: no archive gave a list of series.
        DestinationError: the folder cannot be used.
    """
    started = time.monotonic()
    stop = stop or CancelToken()
    registry = load_registry(request.options.registry)
    packages = package_collection(request, registry)
    if request.options.supporting_only:
        from tcia_covid.supporting.download import download_supporting  # noqa: PLC0415 - as below

        summary = download_supporting(request, registry, emit=emit, stop=stop)
    elif packages is not None:
        summary = _download_packages(packages, request, registry, emit, stop)
    else:
        summary = _download_series(request, registry, emit, stop, start_worker)
    summary.seconds = round(time.monotonic() - started, 3)
    emit(RunFinished(summary))
    return summary


def _download_packages(
    collection: Collection, request: Request, registry: Registry, emit: Emit, stop: CancelToken
) -> Summary:
    """Download a collection that is not DICOM in the packages that it is published as."""
    from tcia_covid.nifti.download import download_collection  # noqa: PLC0415 - few runs have any

    if collection.license is not None:
        emit(Notice(f"{collection.name}: license {collection.license}"))
    try:
        summary = download_collection(collection, request, registry, emit=emit, stop=stop)
    except NotDicomError:
        if request.options.supporting:  # needs no ascli, which the images do
            supporting = Summary(list(request.targets), request.output)
            _add_supporting(request, [collection], supporting, emit, stop)
            for result in supporting.supporting:
                emit(Notice(result.text))
        raise
    if request.options.supporting and summary.error is None:
        _add_supporting(request, [collection], summary, emit, stop)
    return summary


def _download_series(
    request: Request,
    registry: Registry,
    emit: Emit,
    stop: CancelToken,
    start_worker: Callable[[], Worker],
) -> Summary:
    options, layout = request.options, Layout.parse(request.options.layout)
    jobs_at_once = affordable_jobs(options.jobs)
    if jobs_at_once < options.jobs:
        text = f"--jobs is {jobs_at_once} instead of {options.jobs}"
        emit(Notice(f"{text}: few open files are permitted (ulimit -n)"))
        options = replace(options, jobs=jobs_at_once)
    with contextlib.closing(open_for_options(options, stop, emit)) as archives:
        selection = _select(request, registry, archives, stop)
        for notice in selection.notices:
            emit(Notice(notice))
        context = TransferContext(
            stop,
            options.http,
            emit,
            archives.hash_archives,
            reachability=archives.reachability,
        )
        run = _Run(request, selection, layout, context)
        with activity(emit, f"looking for what {request.output} has already"):
            jobs = run.jobs()
        check_path_lengths(jobs)
        run.check_space(jobs)
        run.announce(jobs)
        left = jobs
        if (processes := processes_for(options, jobs, processors())) > 1:
            scheduler = ProcessScheduler(
                options, context, archives.meter, run.on_outcome, start_worker=start_worker
            )
            left = scheduler.run(jobs, processes)
        workers = workers_for(options.jobs)
        Scheduler(archives.order, context, workers, run.on_outcome).run(left)
        with activity(emit, "counting complete series and writing the report files"):
            if jobs and not stop.is_set():
                run.reset_count()
            error = run.write_reports(registry, run.error(jobs))
            run.count_others()
        summary = run.finish(error)
    summary.bytes_received = archives.meter.received
    if options.supporting and summary.error is None:
        collections = [group.collection for group in selection.groups if group.collection]
        _add_supporting(request, collections, summary, emit, stop)
    return summary


def _add_supporting(
    request: Request, collections: list[Collection], summary: Summary, emit: Emit, stop: CancelToken
) -> None:
    from tcia_covid.supporting.download import add_supporting  # noqa: PLC0415 - few runs want them

    add_supporting(request, collections, summary, emit=emit, stop=stop)


def _select(
    request: Request, registry: Registry, archives: Archives, stop: CancelToken
) -> Selection:
    """List the series; where that fails, at least write reports that are out of date."""
    try:
        return select(request, registry, archives, stop)
    except (ArchiveError, InterruptedRunError):
        for collection in filter(None, map(registry.find, request.targets)):
            tree = _tree(request, collection.name)
            if tree.state.is_dir():
                with contextlib.suppress(DestinationError):
                    update_reports(tree, collection, registry, stop)
        raise


def _tree(request: Request, collection: str, layout: Layout = UID) -> Tree:
    root, options = Path(request.output) / collection_folder(collection), request.options
    return Tree(root, layout, Disk(durable=options.durable), keep_formulas=options.keep_formulas)


class _Run:
    """The series of one run: what is to do in which tree, and the outcomes."""

    def __init__(
        self, request: Request, selection: Selection, layout: Layout, context: TransferContext
    ) -> None:
        self._request = request
        self._selection = selection
        self._context = context
        self._builder = SummaryBuilder(request.targets, request.output)
        self._builder.selected(selection.series)
        self._unwritable: dict[Tree, DestinationError] = {}
        """Existing trees that cannot be written, which matters only if something is missing."""
        self._groups = [(group, self._open_tree(group, layout)) for group in selection.groups]
        self._trees = {
            series.collection: tree for group, tree in self._groups for series in group.series
        }
        """By the collection as archives spell it; a group may have several spellings."""
        self._finished: set[str] = set()
        self._partial_bytes = 0
        """In staging before this run."""
        self._complete: dict[str, tuple[Series, State]] = {}
        """By SeriesInstanceUID."""
        self._uncounted: dict[str, tuple[Series, State]] = {}
        """Those that are still to be counted again."""
        self._in_other_layout = 0
        """Complete series whose names are another layout's."""

    def _open_tree(self, group: CollectionSelection, layout: Layout) -> Tree:
        tree = _tree(self._request, group.name, layout)
        tree.check_links()
        try:
            tree.prepare()
        except DestinationError as error:
            if not tree.state.is_dir():
                raise
            self._unwritable[tree] = error
        return tree

    def jobs(self) -> list[Job]:
        """Count what is complete already; return what is left to do.

        Raises:
            DestinationError: something is left to do in a tree that cannot be written.
        """
        shard = self._request.options.shard
        for group, tree in self._groups:
            if tree not in self._unwritable:
                requested = group.of_all_shards if shard else group.series
                tree.record_request(requested, group.listed, shards=shard.count if shard else 1)
        with destination_errors(self._request.output):
            jobs = [job for group, tree in self._groups for job in self._jobs_of(group, tree)]
            partial = [_partial_sizes(group, tree) for group, tree in self._groups]
            self._partial_bytes = sum(sum(sizes.values()) for sizes in partial)
        for job in jobs:
            if job.tree in self._unwritable:
                raise self._unwritable[job.tree]
        return jobs

    def _jobs_of(self, group: CollectionSelection, tree: Tree) -> list[Job]:
        update = self._request.options.update
        recorded, known_to_differ = tree.receipts.uids(), tree.changed.uids()
        settled = recorded - tree.needs_check()
        jobs = []
        for series in group.series:
            uid = series.uid
            receipt = tree.complete_receipt(uid) if uid in settled else None
            if receipt is None:
                # An update trusts no image of a series that was complete before.
                update_it = update and uid in recorded and tree.receipts.read(uid) is not None
                jobs.append(Job(series, tree, update=update_it))
            elif not (receipt.differs_from(series) or uid in known_to_differ):
                self._in_other_layout += not tree.may_be_in_layout(receipt)
                self._count(Outcome(series, State.ALREADY, receipt))
            elif update:
                jobs.append(Job(series, tree, update=True))
            else:
                failure = failure_of(series, changed_error(receipt, series))
                self._count(Outcome(series, State.FAILED, failure=failure))
        return jobs

    def check_space(self, jobs: Sequence[Job]) -> None:
        """Raise NoSpaceError unless what is still to download fits on the disk."""
        if not self._request.options.space_check:
            return
        check_space(
            self._request.output,
            _missing_bytes(jobs),
            "the download needs",
            "choose another folder with --output, or select less with --max-size or "
            "--first-patients",
            lambda text: self._context.emit(Notice(text)),
        )

    def announce(self, jobs: Sequence[Job]) -> None:
        """Emit what is to do, and the licenses."""
        self._context.emit(
            RunStarted(
                series=len(jobs),
                images=sum(job.series.image_count or 0 for job in jobs),
                size=sum(job.series.size or 0 for job in jobs),
                already_complete=self._builder.summary.already_complete,
                output=self._request.output,
                already_bytes=self._builder.summary.bytes_stored,
            )
        )
        if self._in_other_layout:
            number = count(self._in_other_layout, "series")
            text = (
                f"{number} in {self._request.output} have the names of another layout than "
                f"{self._request.options.layout}: 'relayout' with --layout renames them"
            )
            self._builder.summary.notices.append(text)
            self._context.emit(Notice(text))
        for group, _ in self._groups:
            for license_ in group.licenses:
                self._context.emit(Notice(f"{group.name}: license {license_}"))

    def on_outcome(self, outcome: Outcome) -> None:
        """Count the end of a series, and record a failure for `status`."""
        uid = outcome.series.uid
        if outcome.state is not State.REMAINING:
            self._finished.add(uid)
        self._count(outcome)
        if outcome.failure is not None:
            self._trees[outcome.series.collection].note_failure(outcome.failure)

    def _count(self, outcome: Outcome) -> None:
        self._builder.outcome(outcome, self._trees[outcome.series.collection].root)
        if outcome.receipt is not None:
            self._complete[outcome.series.uid] = (outcome.series, outcome.state)

    def reset_count(self) -> None:
        """Have complete series counted by the files there are now: others may change the folder."""
        self._builder.reset_complete()
        self._uncounted = self._complete

    def _count_again(self, tree: Tree, receipt: Receipt) -> None:
        """Count a series while the reports of its tree are written, which read each receipt."""
        series, state = self._uncounted.get(receipt.series.uid, (None, State.REMAINING))
        if series is None or self._trees[series.collection] is not tree:
            return
        if tree.has_all_files(receipt):
            del self._uncounted[series.uid]
            self._builder.outcome(Outcome(series, state, receipt), tree.root)

    def count_others(self) -> None:
        """Count the series whose receipts no report needed; report those that have lost files."""
        for series, state in self._uncounted.values():
            tree = self._trees[series.collection]
            receipt = tree.complete_receipt(series.uid)
            if receipt is not None:
                self._builder.outcome(Outcome(series, state, receipt), tree.root)
                continue
            failure = Failure(
                series.uid,
                FailureReason.MISSING,
                f"series {series.uid} was complete, and now files of it are missing",
                hint="another program changes the folder; run the same command again",
            )
            self._builder.outcome(Outcome(series, State.FAILED, failure=failure), tree.root)

    def error(self, jobs: Sequence[Job]) -> TciaCovidError | None:
        """Return what ended the run early; for a full disk with the bytes still missing."""
        reason = self._context.stop.reason
        if not isinstance(reason, NoSpaceError):
            return reason
        missing = _missing_bytes([job for job in jobs if job.series.uid not in self._finished])
        if not missing:  # sizes are not known
            return reason
        message = f"{reason.message}; {format_size(missing)} are still to download"
        return NoSpaceError(message, hint=reason.hint)

    def write_reports(
        self, registry: Registry, error: TciaCovidError | None
    ) -> TciaCovidError | None:
        """Write the report files that do not cover what is complete.

        Returns what ended the run, else the first error of a collection's reports.
        """
        if isinstance(error, DestinationError):
            return error
        stop = self._context.stop
        report_errors: list[TciaCovidError] = []
        for group, tree in self._groups:
            if tree in self._unwritable:
                continue  # the summary names reports that are out of date
            count_again = partial(self._count_again, tree)
            try:
                update_reports(
                    tree, group.collection, registry, stop, self._note_moved, count_again
                )
            except TciaCovidError as failed:
                report_errors.append(failed)
        if isinstance(error, InterruptedRunError) or not report_errors:
            return error
        return report_errors[0]

    def _note_moved(self, text: str) -> None:
        """Report a file that was moved aside."""
        self._builder.summary.notices.append(text)
        self._context.emit(Notice(text, always=True))

    def finish(self, error: TciaCovidError | None) -> Summary:
        """Return the summary, with what stays in staging and which reports are out of date."""
        summary = self._builder.summary
        summary.catalog_differences = self._selection.differences
        summary.resolved = self._selection.resolved
        for group, tree in self._groups:
            with contextlib.suppress(OSError):  # the next run reports it
                partial = _partial_sizes(group, tree)
                summary.partial_series += len(partial)
                summary.partial_bytes += sum(partial.values())
            for notice in tree.notices:
                if notice not in summary.notices:
                    self._note_moved(notice)
            with contextlib.suppress(OSError):
                names = outdated_reports(tree)
                summary.outdated_reports += [f"{tree.root.name}/{name}" for name in names]
        summary.received_images = summary.partial_bytes > self._partial_bytes
        return self._builder.finish(self._selection.failures, self._selection.notices, error)


def _partial_sizes(group: CollectionSelection, tree: Tree) -> dict[str, int]:
    """Bytes in staging of each selected series that has images there."""
    begun = tree.series_in_staging() & {series.uid for series in group.series}
    return {uid: sum(tree.staged_sizes(uid)) for uid in begun}


def check_path_lengths(jobs: Sequence[Job]) -> None:
    """Check that other programs can open all images, before the first is downloaded.

    Raises:
        DestinationError: a path would be too long for Windows without long paths.
    """
    if not any(job.tree.disk.has_short_paths for job in jobs):
        return
    longest = max((path for job in jobs for path in job.tree.longest_paths(job.series)), key=len)
    if (excess := excess_length(longest)) > 0:
        raise DestinationError(
            f"files would have paths of up to {len(longest)} characters, such as {longest}, and "
            f"programs on this system open no longer ones than {MAX_PATH}",
            hint=f"use an --output folder whose path is at least {excess} characters shorter, or "
            "enable Windows' long paths",
        )


def _missing_bytes(jobs: Sequence[Job]) -> int:
    partial = {tree: BytesOnDisk(tree) for tree in {job.tree for job in jobs}}
    return sum(partial[job.tree].missing_bytes(job.series) for job in jobs)
