"""The public functions: plain values in, results out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.api.options import (
    Bytes,
    Choices,
    ConnectionChoices,
    FilterChoices,
    Paths,
    StorageChoices,
    Targets,
    Words,
    against_from,
    build_options,
    check_choices,
    check_value,
    folder_from,
    given,
    output_from,
    registry_from,
    request_from,
)
from tcia_covid.archives.factory import check_addresses, open_for_options
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import NotAvailableError
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Series
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.core.summary import Summary
from tcia_covid.nifti.adopt import VolumeAdoption, adopt_volumes
from tcia_covid.operations import select
from tcia_covid.operations.adopt import AdoptResult, adopt_folder
from tcia_covid.operations.doctor import QUICK, DoctorResult, examine
from tcia_covid.operations.download import download_request
from tcia_covid.operations.plan import Plan, plan_request
from tcia_covid.operations.relayout import RelayoutResult, relayout_directory
from tcia_covid.operations.report import ReportResult, check_extra, collect_report, find_place
from tcia_covid.operations.select import select_offline
from tcia_covid.operations.status import StatusResult, read_status
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tcia_covid.operations.verify_against import check_for_targets
from tcia_covid.output.notebook import shown_checks, shown_events
from tcia_covid.selection.request import Source
from tcia_covid.selection.shards import Shard
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.store.placement import Mode

if TYPE_CHECKING:
    from tcia_covid.archives.base import Archive


def download(
    targets: Targets,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    progress: bool | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    shared_cart: Words | None = None,
    source: Source | None = None,
    layout: str | None = None,
    frozen: bool | None = None,
    update: bool | None = None,
    accept_listed: bool | None = None,
    commercial_use: bool | None = None,
    supporting: bool | None = None,
    supporting_only: bool | None = None,
    keep_formulas: bool | None = None,
    no_fsync: bool | None = None,
    no_space_check: bool | None = None,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    shard: str | Shard | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> Summary:
    """Download `targets` into the folder `output`. Running it again resumes and repairs.

    Series that fail raise nothing: they are in the summary's `failures`.

    Args:
        targets: what the command line takes (names, UIDs, files, addresses), or series, dicts and
            DataFrames of series as `iter_series` and `series --format csv` give them, or several.
        output: the folder that holds the collections' folders.
        progress: show a bar (tqdm); by default in IPython and notebooks only.
        emit: receives events (`tcia_covid.Event`), from any thread.
        stop: set it from another thread to end the run early.
        choices: filters and options, see `tcia_covid.Choices`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: no archive could be reached.
        DestinationError: the folder cannot be used.
        InterruptedRunError: `stop` was set; complete series are kept.
    """
    choices = given(locals(), Choices)
    request = request_from(targets, output, **choices)
    with cancellable(stop) as token, shown_events(progress, emit) as emit_all:
        summary = download_request(request, emit=emit_all, stop=token)
    if summary.error is not None:
        raise summary.error
    return summary


def plan(
    targets: Targets,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    shared_cart: Words | None = None,
    source: Source | None = None,
    layout: str | None = None,
    frozen: bool | None = None,
    update: bool | None = None,
    accept_listed: bool | None = None,
    commercial_use: bool | None = None,
    supporting: bool | None = None,
    supporting_only: bool | None = None,
    keep_formulas: bool | None = None,
    no_fsync: bool | None = None,
    no_space_check: bool | None = None,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    shard: str | Shard | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> Plan:
    """Return what `download` would do. Series of the catalog need no network.

    The arguments are those of `download`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: an archive's list is needed, and no archive could be reached.
    """
    choices = given(locals(), Choices)
    with cancellable(stop) as token:
        return plan_request(request_from(targets, output, **choices), emit=emit, stop=token)


def iter_series(
    targets: Targets,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    shared_cart: Words | None = None,
    source: Source | None = None,
    layout: str | None = None,
    frozen: bool | None = None,
    update: bool | None = None,
    accept_listed: bool | None = None,
    commercial_use: bool | None = None,
    supporting: bool | None = None,
    supporting_only: bool | None = None,
    keep_formulas: bool | None = None,
    no_fsync: bool | None = None,
    no_space_check: bool | None = None,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    shard: str | Shard | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> Iterator[Series]:
    """Yield the series of a selection, by collection, patient, study and number.

    Series of the catalog need no network. The arguments are those of `download`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: an archive's list is needed, and no archive could be reached.
        NotAvailableError: no archive lists some of the requested series.
    """
    choices = given(locals(), Choices)
    request = request_from(targets, DEFAULT_OUTPUT, **choices)
    with cancellable(stop) as token:
        collections = load_registry(request.options.registry)
        selected = select_offline(request, collections, token, emit)
    if selected.failures:
        first, others = selected.failures[0], len(selected.failures) - 1
        more = f" (and {others} more like it)" if others else ""
        raise NotAvailableError(first.detail + more, hint=first.hint)
    yield from selected.series


def other_collections(
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> list[str]:
    """Ask NBIA for the names of its public collections that the registry does not have, sorted.

    Each is a target of `download`. The arguments are those of `verify`.

    Raises:
        ArchiveError: NBIA gave no list.
    """
    choices = given(locals(), ConnectionChoices)
    options = build_options(check_choices(choices, ConnectionChoices))
    with cancellable(stop) as token:
        return select.other_collections(options, emit=emit, stop=token)


def status(
    directory: str | Path = DEFAULT_OUTPUT, *, registry: Paths | None = None
) -> StatusResult:
    """Return what is complete, in progress and failed in a folder, without a network.

    Args:
        directory: an output folder, or one collection's folder in it.
        registry: registry files, added to the shipped one.

    Raises:
        RequestError: the folder is not one of this program's.
        RegistryError: a registry file is invalid.
    """
    return read_status(folder_from(directory), registry_from(registry))


def verify(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    deep: bool = False,
    online: bool = False,
    strict: bool = False,
    against: Targets | None = None,
    progress: bool | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    patient: Words | None = None,
    study: Words | None = None,
    series: Words | None = None,
    modality: Words | None = None,
    body_part: Words | None = None,
    description: Words | None = None,
    where: Words | None = None,
    first_patients: int | None = None,
    max_series: int | None = None,
    max_size: Bytes | None = None,
    shard: str | Shard | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> VerifyResult:
    """Re-check every file of a download against its recorded MD5.

    With `against`, also compare the folder with what targets name, from the catalog and files.

    Args:
        directory: an output folder, or one collection's folder in it.
        deep: also read each file as DICOM.
        online: also compare with NBIA's hash of each series.
        strict: unexpected files give exit code 1.
        against: targets as for `download`: what the folder must have, and nothing else. A lock file
            also names the version of each series.
        progress: show a bar (tqdm); by default in IPython and notebooks only.
        emit: receives events, from any thread.
        stop: set it from another thread to end the check early.
        on_progress: receives numbers of checked bytes and images.
        choices: filters for `against`, options of the connection for `online`, and `jobs`.

    Raises:
        RequestError: the folder is not one of this program's, or only an archive knows what a
            target names.
        InterruptedRunError: `stop` was set.
    """
    choices = given(locals(), FilterChoices)
    folder = folder_from(directory)
    checked = check_choices(choices, FilterChoices)
    options = build_options(checked)
    check_addresses(options.nbia_url, options.idc_url)
    request = against_from(against, folder, checked)
    with cancellable(stop) as token, ExitStack() as stack:
        emit_all = stack.enter_context(shown_checks(progress, emit, on_progress, "verify"))
        archive: Archive | None = None
        if online:
            archives = open_for_options(options, token, emit_all)
            stack.callback(archives.close)
            archive = archives.nbia
        return verify_directory(
            folder,
            deep=deep,
            strict=strict,
            archive=archive,
            against=check_for_targets(request) if request else None,
            jobs=choices.get("jobs"),
            emit=emit_all,
            stop=token,
        )


def adopt(
    directory: str | Path,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    collection: str | None = None,
    mode: Mode = "link",
    progress: bool | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    source: Source | None = None,
    layout: str | None = None,
    keep_formulas: bool | None = None,
    no_fsync: bool | None = None,
    no_space_check: bool | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> AdoptResult | VolumeAdoption:
    """Import the image files of a folder that the archive's hashes confirm.

    Args:
        directory: what another program, or this one elsewhere, downloaded.
        output: the folder that holds the collections' folders.
        collection: import only its series; needed for the NIfTI collection, whose result is a
            `VolumeAdoption`.
        mode: `link` makes hard links, else reflinks, else copies; `copy` makes reflinks, else
            copies; `move` removes files from `directory` once their series is complete.
        progress: show a bar (tqdm); by default in IPython and notebooks only.
        emit: receives events, from any thread.
        stop: set it from another thread to end the run early; complete series are kept.
        on_progress: receives numbers of bytes and images that were read.
        choices: options, see `tcia_covid.Choices`.

    Raises:
        RequestError: not a folder, without images, or one of this program's own folders.
        ArchiveError: the collection could not be listed.
        DestinationError: the output cannot be used.
        InterruptedRunError: `stop` was set.
    """
    choices = given(locals(), StorageChoices)
    check_value("mode", mode, Mode | None)
    options = build_options(check_choices(choices, StorageChoices))
    folder = folder_from(directory)
    target = Path(output_from(output))
    collections = load_registry(options.registry)
    known = collections.find(collection) if collection is not None else None
    if collection is not None and known is None:
        error = unknown_collection(collection, collections)
        error.hint = f"{error.hint}; without one, series of any public collection are imported"
        raise error
    with (
        cancellable(stop) as token,
        shown_checks(progress, emit, on_progress, "adopt") as emit_all,
    ):
        if known is not None and not known.is_dicom:
            return adopt_volumes(
                *(folder, target, known, collections),
                mode=mode,
                durable=options.durable,
                jobs=jobs,
                emit=emit,
                stop=token,
            )
        return adopt_folder(
            *(folder, target),
            collection=known,
            mode=mode,
            options=options,
            emit=emit_all,
            stop=token,
        )


def relayout(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    layout: str,
    dry_run: bool = False,
    registry: Paths | None = None,
    progress: bool | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
) -> RelayoutResult:
    """Rename the folders and files of complete series; nothing is downloaded.

    Running it again resumes where a run was stopped. Files of other programs stay where they are.

    Args:
        directory: an output folder, or one collection's folder in it.
        layout: as for `download`.
        dry_run: return what would be done.
        registry: registry files, added to the shipped one.
        progress: show a bar (tqdm); by default in IPython and notebooks only.
        emit: receives events.
        stop: set it from another thread to end the run early.
        on_progress: receives numbers of bytes and images of each series.

    Raises:
        RequestError: the folder is not one of this program's, or the layout is invalid.
        DestinationError: the folder cannot be written.
        InterruptedRunError: `stop` was set; the same call resumes.
    """
    folder, collections = folder_from(directory), registry_from(registry)
    with (
        cancellable(stop) as token,
        shown_checks(progress, emit, on_progress, "relayout") as emit_all,
    ):
        return relayout_directory(
            folder,
            check_value("layout", layout, str),
            dry_run=dry_run,
            registry=collections,
            emit=emit_all,
            stop=token,
        )


def report(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    to: str | Path | None = None,
    jobs: int | None = None,
    registry: Paths | None = None,
    progress: bool | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
) -> ReportResult:
    """Write an HTML page about a download: completeness, plots, thumbnails, geometry checks.

    Needs the extra `report`. Thumbnails are kept for the next report; no image is changed.

    Args:
        directory: an output folder, or one collection's folder in it.
        to: where the page is written: one file if it ends in `.html`, else a folder. By default
            `report.html` in `directory`, or the folder `report` for more than 1,000 series.
        jobs: processes that decode images.
        registry: registry files, added to the shipped one.
        progress: show a bar (tqdm); by default in IPython and notebooks only.
        emit: receives events.
        stop: set it from another thread to end the work early; the next report resumes.
        on_progress: receives numbers of bytes and images of the series that are done.

    Raises:
        RequestError: the folder is not one of this program's, a package is missing, or a file of
            yours is where the page would be written.
        DestinationError: the page cannot be written.
        InterruptedRunError: `stop` was set.
    """
    started = time.monotonic()
    check_extra()
    from tcia_covid.output.html_report.page import write_report  # noqa: PLC0415 - needs the extra

    folder = folder_from(directory)
    collections = registry_from(registry)
    target = None if to is None else folder_from(to, "to")
    page = find_place(folder, target)
    with (
        cancellable(stop) as token,
        shown_checks(progress, emit, on_progress, "report") as emit_all,
        collect_report(folder, collections, jobs, emit_all, token) as collected,
    ):
        write_report(collected, page)
    return ReportResult(page.file, collected, round(time.monotonic() - started, 3))


def doctor(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    source: Source = "auto",
    emit: Emit = discard,
    stop: CancelToken | None = None,
    jobs: int | None = None,
    processes: int | None = None,
    retries: int | None = None,
    retry_wait: float | None = None,
    connect_timeout: float | None = None,
    first_byte_timeout: float | None = None,
    stall_timeout: float | None = None,
    outage_timeout: float | None = None,
    max_rate: Bytes | None = None,
    min_rate: Bytes | None = None,
    registry: Paths | None = None,
    nbia_url: str | None = None,
    idc_url: str | None = None,
    site_url: str | None = None,
) -> DoctorResult:
    """Check what downloads rely on: this machine, the network and the archives.

    Facts that are not true raise nothing: they are in the result's `facts`. By default a connection
    may take 5 s, the first byte of a response 60 s, and a request is sent twice at most.

    Args:
        directory: the output folder; it need not exist. What is written to it is removed.
        source: the archives to check.
        emit: receives notices, from any thread.
        stop: set it from another thread to end early.
        choices: options of the connection.

    Raises:
        RequestError: an option is invalid.
        InterruptedRunError: `stop` was set.
    """
    checked = check_choices(given(locals(), ConnectionChoices), ConnectionChoices)
    folder = folder_from(directory)
    check_value("source", source, Source | None)
    options = build_options({**QUICK, **checked, "source": source})
    check_addresses(options.nbia_url, options.idc_url)
    with cancellable(stop) as token:
        return examine(options, folder, emit=emit, stop=token)


@contextmanager
def cancellable(stop: CancelToken | None) -> Iterator[CancelToken]:
    """Yield the caller's token or a new one; Ctrl-C sets it, which ends the workers."""
    stop = stop or CancelToken()
    try:
        yield stop
    except KeyboardInterrupt:
        stop.set()
        raise
