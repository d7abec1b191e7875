"""What `tcia_covid.download` is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tcia_covid.api.arguments import Paths, path_from, paths_from
from tcia_covid.api.options import Choices, Unpack, options_from, request_from
from tcia_covid.archives.factory import check_addresses, open_for_options
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import NotAvailableError
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Series
from tcia_covid.core.settings import DEFAULT_OUTPUT
from tcia_covid.core.summary import Summary
from tcia_covid.operations.download import download_request
from tcia_covid.operations.plan import Plan, plan_request
from tcia_covid.operations.select import select_offline
from tcia_covid.operations.status import StatusResult, read_status
from tcia_covid.operations.verify.result import VerifyResult
from tcia_covid.operations.verify.verify import verify_directory
from tcia_covid.selection.request import Options

if TYPE_CHECKING:
    from tcia_covid.archives.base import Archive


def download(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Summary:
    """Download what `targets` name into the folder `output`; running it again resumes and mends.

    Series that could not be completed are in the summary's `failures`; they raise nothing.

    Args:
        targets: a collection, manifest or SeriesInstanceUID, or several.
        output: the folder that holds the collections' folders.
        emit: hears of progress, from any thread.
        stop: set it from another thread to end the run early.
        choices: filters and options by keyword: the keys of `tcia_covid.Choices`.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: no archive could be reached.
        DestinationError: the folder cannot be used.
        InterruptedRunError: `stop` was set; what is complete is kept.
    """
    stop = stop or CancelToken()
    with cancel_on_interrupt(stop):
        summary = download_request(request_from(targets, output, **choices), emit=emit, stop=stop)
    if summary.error is not None:
        raise summary.error
    return summary


def plan(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Plan:
    """Say what `download` would do, without doing anything.

    Needs no network for what the shipped catalog holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
    """
    stop = stop or CancelToken()
    with cancel_on_interrupt(stop):
        return plan_request(request_from(targets, output, **choices), emit=emit, stop=stop)


def iter_series(
    targets: Paths,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    **choices: Unpack[Choices],
) -> Iterator[Series]:
    """Give the series that a selection names, by collection, patient, study and number.

    Needs no network for what the shipped catalog holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
        NotAvailableError: no archive lists some of the series that were asked for.
    """
    request = request_from(targets, DEFAULT_OUTPUT, **choices)
    stop = stop or CancelToken()
    with cancel_on_interrupt(stop):
        registry = load_registry(request.options.registry)
        selected = select_offline(request, registry, stop, emit)
    if selected.failures:
        first, others = selected.failures[0], len(selected.failures) - 1
        more = f" (and {others} more like it)" if others else ""
        raise NotAvailableError(first.detail + more, hint=first.hint)
    yield from selected.series


def status(
    directory: str | Path = DEFAULT_OUTPUT, *, registry: Paths | None = None
) -> StatusResult:
    """Say what is complete, under way and failed in a folder, without a network.

    Raises:
        RequestError: the folder is not one of this program's.
        RegistryError: a registry file is broken.
    """
    return read_status(
        path_from("directory", directory), load_registry(paths_from("registry", registry))
    )


def verify(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    deep: bool = False,
    online: bool = False,
    strict: bool = False,
    emit: Emit = discard,
    stop: CancelToken | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    **choices: Unpack[Choices],
) -> VerifyResult:
    """Re-check every file of a download against its recorded MD5.

    Args:
        directory: an output folder, or one collection's folder in it.
        deep: also read each file as DICOM.
        strict: unexpected files give exit code 1.
        online: compare with NBIA's own hash of each series, too.
        emit: hears of what is worth a line.
        stop: set it from another thread to end the check early.
        on_progress: hears of bytes and images as they are checked.
        choices: options of the connection, for `online`.

    Raises:
        RequestError: the folder is not one of this program's.
        InterruptedRunError: `stop` was set.
    """
    stop = stop or CancelToken()
    folder = path_from("directory", directory)
    options = options_from(**choices)
    check_addresses(options.nbia_url, options.idc_url)
    with _nbia(options, stop, emit, online=online) as archive, cancel_on_interrupt(stop):
        return verify_directory(
            folder,
            deep=deep,
            strict=strict,
            archive=archive,
            jobs=choices.get("jobs"),
            emit=emit,
            stop=stop,
            on_progress=on_progress,
        )


@contextmanager
def _nbia(
    options: Options, stop: CancelToken, emit: Emit, *, online: bool
) -> Iterator[Archive | None]:
    """Open NBIA, where it is to be asked."""
    if not online:
        yield None
        return
    archives = open_for_options(options, stop, emit)
    try:
        yield archives.nbia
    finally:
        archives.close()


@contextmanager
def cancel_on_interrupt(stop: CancelToken) -> Iterator[None]:
    """Let the workers end, too, when Ctrl-C ends the caller."""
    try:
        yield
    except KeyboardInterrupt:
        stop.set()
        raise
