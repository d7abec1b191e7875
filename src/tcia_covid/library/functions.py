"""The main jobs as plain functions over plain values, which never print, exit or log."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tcia_covid.download import download as carry_out
from tcia_covid.errors import NotAvailableError
from tcia_covid.events import Emit, discard
from tcia_covid.library.choices import Choices, Unpack, options_of, request_of
from tcia_covid.library.plain import Paths, path_of, paths_of
from tcia_covid.listing import open_for, select_offline
from tcia_covid.model import DEFAULT_OUTPUT, Series, Summary
from tcia_covid.plan import Plan
from tcia_covid.plan import plan as make_plan
from tcia_covid.registry import load_registry
from tcia_covid.status import StatusResult
from tcia_covid.status import status as look
from tcia_covid.stop import Stop
from tcia_covid.verify import VerifyResult
from tcia_covid.verify import verify as check


def download(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
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
    stop = stop or Stop()
    with _interruptible(stop):
        summary = carry_out(request_of(targets, output, **choices), emit=emit, stop=stop)
    if summary.error is not None:
        raise summary.error
    return summary


def plan(
    targets: Paths,
    output: str | Path = DEFAULT_OUTPUT,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
    **choices: Unpack[Choices],
) -> Plan:
    """Say what `download` would do, without doing anything.

    Needs no network for what the shipped catalogue holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
    """
    stop = stop or Stop()
    with _interruptible(stop):
        return make_plan(request_of(targets, output, **choices), emit=emit, stop=stop)


def iter_series(
    targets: Paths,
    *,
    emit: Emit = discard,
    stop: Stop | None = None,
    **choices: Unpack[Choices],
) -> Iterator[Series]:
    """Give the series that a selection names, by collection, patient, study and number.

    Needs no network for what the shipped catalogue holds.

    Raises:
        RequestError: it cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
        NotAvailableError: no archive lists some of the series that were asked for.
    """
    request = request_of(targets, DEFAULT_OUTPUT, **choices)
    stop = stop or Stop()
    with _interruptible(stop):
        registry = load_registry(request.options.registry)
        selected = select_offline(request, registry, stop, emit)
    if selected.failures:
        first, others = selected.failures[0], len(selected.failures) - 1
        more = f" (and {others} more like it)" if others else ""
        raise NotAvailableError(first.detail + more, hint=first.hint)
    yield from selected.series


def verify(
    directory: str | Path = DEFAULT_OUTPUT,
    *,
    deep: bool = False,
    online: bool = False,
    emit: Emit = discard,
    stop: Stop | None = None,
    on_progress: Callable[[int, int], None] = lambda size, images: None,
    **choices: Unpack[Choices],
) -> VerifyResult:
    """Hash every file of a download again and compare it with its receipt.

    Args:
        directory: an output folder, or one collection's folder in it.
        deep: also read each file as DICOM.
        online: compare with NBIA's own hash of each series, too.
        emit: hears of what is worth a line.
        stop: set it from another thread to end the check early.
        on_progress: hears of bytes and images as they are checked.
        choices: options of the connection, for `online`.

    Raises:
        RequestError: the folder is not one of this program's.
        InterruptedRunError: `stop` was set.
    """
    stop = stop or Stop()
    folder = path_of("directory", directory)
    options = options_of(**choices)
    archives = open_for(options, stop, emit)
    try:
        with _interruptible(stop):
            return check(
                folder,
                deep=deep,
                archive=archives.nbia if online else None,
                jobs=choices.get("jobs"),
                emit=emit,
                stop=stop,
                on_progress=on_progress,
            )
    finally:
        archives.close()


def status(
    directory: str | Path = DEFAULT_OUTPUT, *, registry: Paths | None = None
) -> StatusResult:
    """Say what is complete, under way and failed in a folder, without a network.

    Raises:
        RequestError: the folder is not one of this program's.
        RegistryError: a registry file is broken.
    """
    return look(path_of("directory", directory), load_registry(paths_of("registry", registry)))


@contextmanager
def _interruptible(stop: Stop) -> Iterator[None]:
    """Let the workers end, too, when Ctrl-C ends the caller."""
    try:
        yield
    except KeyboardInterrupt:
        stop.set()
        raise
