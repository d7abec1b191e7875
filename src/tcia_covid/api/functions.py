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
    Targets,
    Words,
    accepts,
    against_from,
    build_options,
    check_choices,
    check_value,
    paths_from,
    request_from,
)
from tcia_covid.archives.factory import check_addresses, open_for_options
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import NotAvailableError, RequestError
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Series
from tcia_covid.core.safe_names import DEFAULT_OUTPUT
from tcia_covid.core.summary import Summary
from tcia_covid.operations import select
from tcia_covid.operations.doctor import QUICK, DoctorResult, examine
from tcia_covid.operations.download import download_request
from tcia_covid.operations.files import LocalSeries, select_local
from tcia_covid.operations.plan import Plan, plan_request
from tcia_covid.operations.report import ReportCollector, ReportResult, check_extra, find_place
from tcia_covid.operations.select import select_offline
from tcia_covid.operations.status import StatusResult, read_status
from tcia_covid.operations.verify import VerifyResult, verify_directory
from tcia_covid.operations.verify_against import check_for_targets
from tcia_covid.selection.request import Source

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from tcia_covid.archives.base import Archive


@accepts(Choices)
def download(
    targets: Targets,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Summary:
    """Download `targets` into the folder `output`. Running it again resumes and repairs.

    Series that fail raise nothing: they are in the summary's `failures`.

    Args:
        targets: what the command line takes (names, UIDs, files, addresses), or series, dicts and
            DataFrames of series as `iter_series` and `series --format csv` give them, or several.
        output: the folder that holds the collections' folders.
        emit: receives progress events, from any thread.
        stop: set it from another thread to end the run early.
        choices: filters and options, see `tcia_covid.Choices`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: no archive could be reached.
        DestinationError: the folder cannot be used.
        InterruptedRunError: `stop` was set; complete series are kept.
    """
    with cancellable(stop) as token:
        summary = download_request(request_from(targets, output, **choices), emit=emit, stop=token)
    if summary.error is not None:
        raise summary.error
    return summary


@accepts(Choices)
def plan(
    targets: Targets,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Plan:
    """Return what `download` would do. Series of the catalog need no network.

    The arguments are those of `download`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: an archive's list is needed, and no archive could be reached.
    """
    with cancellable(stop) as token:
        return plan_request(request_from(targets, output, **choices), emit=emit, stop=token)


@accepts(Choices)
def iter_series(
    targets: Targets,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Iterator[Series]:
    """Yield the series of a selection, by collection, patient, study and number.

    Series of the catalog need no network. The arguments are those of `download`.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: an archive's list is needed, and no archive could be reached.
        NotAvailableError: no archive lists some of the requested series.
    """
    request = request_from(targets, DEFAULT_OUTPUT, **choices)
    with cancellable(stop) as token:
        registry = load_registry(request.options.registry)
        selected = select_offline(request, registry, token, emit)
    if selected.failures:
        first, others = selected.failures[0], len(selected.failures) - 1
        more = f" (and {others} more like it)" if others else ""
        raise NotAvailableError(first.detail + more, hint=first.hint)
    yield from selected.series


@accepts(ConnectionChoices)
def other_collections(
    *, emit: Emit = discard, stop: CancelToken | None = None, **choices: Unpack[ConnectionChoices]
) -> list[str]:
    """Ask NBIA for the names of its public collections that the registry does not have, sorted.

    Each is a target of `download`. The arguments are those of `verify`.

    Raises:
        ArchiveError: NBIA gave no list.
    """
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
    files = () if registry is None else paths_from("registry", registry)
    return read_status(Path(check_value("directory", directory, str | Path)), load_registry(files))


def local_series(
    directory: str | Path = DEFAULT_OUTPUT,
    targets: Targets = (),
    *,
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
    registry: Paths | None = None,
) -> list[LocalSeries]:
    """Return the complete series in a folder, with their files in slice order.

    Needs no network, and opens no image.

    Args:
        directory: an output folder, or one collection's folder in it.
        targets: what to select, as for `download`; by default every series.
        patient: filters; this one and the others have the meaning that `Choices` explains.
        registry: registry files, added to the shipped one.

    Raises:
        RequestError: the folder is not one of this program's, the filters exclude everything, or
            no complete series of a target is in it.
    """
    filters = {name: value for name, value in locals().items() if name not in _LOCAL}
    request = request_from(targets, **filters)
    selection = select_local(
        Path(check_value("directory", directory, str | Path)),
        load_registry(request.options.registry),
        request.targets,
        request.manifests,
        request.filters,
    )
    if selection.missing:
        first, others = selection.missing[0], len(selection.missing) - 1
        more = f" (and {others} more targets like it)" if others else ""
        raise RequestError(
            f"no complete series of {first} is in {directory}{more}",
            hint="download it, or name only what is there; without a target, all is listed",
        )
    return selection.series


_LOCAL = {"directory", "targets"}


@accepts(FilterChoices)
def verify(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    deep: bool = False,
    online: bool = False,
    strict: bool = False,
    against: Targets | None = None,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    **choices: Unpack[FilterChoices],
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
        emit: receives notices, from any thread.
        stop: set it from another thread to end the check early.
        on_progress: receives numbers of checked bytes and images.
        choices: filters for `against`, options of the connection for `online`, and `jobs`.

    Raises:
        RequestError: the folder is not one of this program's, or only an archive knows what a
            target names.
        InterruptedRunError: `stop` was set.
    """
    folder = Path(check_value("directory", directory, str | Path))
    checked = check_choices(choices, FilterChoices)
    options = build_options(checked)
    check_addresses(options.nbia_url, options.idc_url)
    request = against_from(against, folder, checked)
    with cancellable(stop) as token, ExitStack() as stack:
        archive: Archive | None = None
        if online:
            archives = open_for_options(options, token, emit)
            stack.callback(archives.close)
            archive = archives.nbia
        return verify_directory(
            folder,
            deep=deep,
            strict=strict,
            archive=archive,
            against=check_for_targets(request) if request else None,
            jobs=choices.get("jobs"),
            emit=emit,
            stop=token,
            on_progress=on_progress,
        )


def report(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    to: str | Path | None = None,
    jobs: int | None = None,
    registry: Paths | None = None,
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
        emit: receives notices.
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

    folder = Path(check_value("directory", directory, str | Path))
    files = () if registry is None else paths_from("registry", registry)
    target = None if to is None else Path(check_value("to", to, str | Path))
    page = find_place(folder, target)
    with (
        cancellable(stop) as token,
        ReportCollector(folder, load_registry(files), jobs, emit, token, on_progress) as collector,
    ):
        collected = collector.collect()
        write_report(collected, page)
    return ReportResult(page.file, collected, round(time.monotonic() - started, 3))


@accepts(ConnectionChoices)
def doctor(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    source: Source = "auto",
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[ConnectionChoices],
) -> DoctorResult:
    """Try out what downloads rely on: this machine, the network and the archives.

    Facts that do not hold raise nothing: they are in the result's `facts`. By default a connection
    may take 5 s, the first byte of a response 60 s, and a request is sent twice at most.

    Args:
        directory: the output folder; it need not exist. What is written to it is removed.
        source: the archives to try.
        emit: receives notices, from any thread.
        stop: set it from another thread to end early.
        choices: options of the connection.

    Raises:
        RequestError: an option is invalid.
        InterruptedRunError: `stop` was set.
    """
    folder = Path(check_value("directory", directory, str | Path))
    check_value("source", source, Source | None)
    given = check_choices(choices, ConnectionChoices)
    options = build_options({**QUICK, **given, "source": source})
    check_addresses(options.nbia_url, options.idc_url)
    with cancellable(stop) as token:
        return examine(options, folder, emit=emit, stop=token)


@contextmanager
def cancellable(stop: CancelToken | None) -> Iterator[CancelToken]:
    """Give the caller's token or a new one; set it, for the workers, at Ctrl-C."""
    stop = stop or CancelToken()
    try:
        yield stop
    except KeyboardInterrupt:
        stop.set()
        raise
