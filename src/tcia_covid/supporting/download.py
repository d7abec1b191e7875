"""Downloading the supporting files of the requested collections, with or without the images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import ArchiveError, InterruptedRunError, LockedError, UsageError
from tcia_covid.core.events import Emit, Notice, discard
from tcia_covid.core.models import Failure
from tcia_covid.core.summary import Summary
from tcia_covid.http.client import Client
from tcia_covid.selection.request import Request
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.store.disk import Disk, destination_errors
from tcia_covid.store.locks import Lock
from tcia_covid.store.tree import Tree, collection_folder
from tcia_covid.supporting.install import Installer, failure_of
from tcia_covid.supporting.receipts import SupportingResult
from tcia_covid.supporting.sources import MissingAddress, SourceFile, locate_files, registered_files


def download_supporting(
    request: Request, registry: Registry, *, emit: Emit = discard, stop: CancelToken | None = None
) -> Summary:
    """Download the supporting files of the requested collections, and nothing else.

    Raises:
        RequestError: a target is not a collection of the registry, or its license forbids the use.
        DestinationError: the folder cannot be used.

    Later failures are in the summary, not raised. The caller sets the summary's time and emits
    the event that ends a run.
    """
    summary = Summary(targets=list(request.targets), output=request.output)
    summary.sources = {"nbia": 0, "idc": 0}
    add_supporting(request, collections_of(request, registry), summary, emit=emit, stop=stop)
    return summary


def add_supporting(
    request: Request,
    collections: Iterable[Collection],
    summary: Summary,
    *,
    emit: Emit = discard,
    stop: CancelToken | None = None,
) -> list[SupportingResult]:
    """Download the supporting files of some collections; add the result to a summary.

    Args:
        request: the output and the options.
        collections: whose files.
        summary: gets notices, failures, and their exit code.
        emit: receives notices.
        stop: ends it early: the summary says so.

    Raises:
        DestinationError: the folder cannot be used.
    """
    client = Client(request.options.http, stop=stop or CancelToken(), connections=2, emit=emit)
    results: list[SupportingResult] = []
    try:
        site = PortalApi(client, request.options.site_url)
        for collection in collections:
            result = _fetch(collection, request, client, site, emit)
            result.add_to(summary)
            for line in result.notices:
                emit(Notice(line))
            results.append(result)
    except InterruptedRunError as error:
        summary.error, summary.exit_code = error, error.exit_code
    finally:
        client.close()
        summary.bytes_received += client.meter.received
    return results


def collections_of(request: Request, registry: Registry) -> list[Collection]:
    """The requested collections, each once.

    Raises:
        RequestError: a target is not one, or its license forbids the use.
    """
    collections: dict[str, Collection] = {}
    for word in request.targets:
        collection = registry.find(word)
        if collection is None:
            raise unknown_collection(word, (), registry)
        collection.check_license(commercial_use=request.options.commercial_use)
        collections[collection.name] = collection
    if not collections:
        raise UsageError("no collection given", hint="'tcia-covid list' shows them")
    return list(collections.values())


def _fetch(
    collection: Collection, request: Request, client: Client, site: PortalApi, emit: Emit
) -> SupportingResult:
    options = request.options
    root = Path(request.output) / collection_folder(collection.name)
    tree = Tree(root, disk=Disk(durable=options.durable))
    tree.prepare()
    try:
        return fetch_supporting(
            collection,
            tree,
            client,
            site,
            update=options.update,
            accept_listed=options.accept_listed,
            emit=emit,
        )
    except LockedError as error:
        result = SupportingResult(collection.name)
        result.failures.append(Failure("", "locked", error.message, hint=error.hint))
        return result


def fetch_supporting(
    collection: Collection,
    tree: Tree,
    client: Client,
    site: PortalApi,
    *,
    update: bool = False,
    accept_listed: bool = False,
    emit: Emit = discard,
) -> SupportingResult:
    """Install the supporting files of a collection in its folder `supporting`.

    Intact files are not downloaded again. The site's list is read only if a file of the registry
    has neither an address nor a receipt.

    Args:
        collection: whose files.
        tree: its folder; has been prepared.
        client: for the files.
        site: TCIA's site.
        update: download everything again.
        accept_listed: also install a file that differs from the recorded one.
        emit: receives notices.

    Raises:
        LockedError: another run does the same.
        DestinationError: the disk.
        TciaCovidError: the run is to end.

    Errors about single files are in the result.
    """
    result = SupportingResult(collection.name)
    lock = tree.state / "locks" / "supporting.lock"
    with destination_errors(str(tree.root)), Lock(lock, f"supporting files of {collection.name}"):
        files = Installer(tree, client, emit, accept_listed=accept_listed)
        known = registered_files(collection)
        for file in known:
            if file.url is not None:
                files.install(file, result, update=update)
        if update or files.must_retry or _needs_list(known, files):
            _install_listed(collection, known, site, files, result, update=update)
            files.record_retry(needed=bool(result.failures))
        else:
            files.count_listed(result)
    return result


def _needs_list(known: Sequence[SourceFile], files: Installer) -> bool:
    """Whether only the site's list can say where a file is, or whether there are any."""
    if files.has_damage or not (known or files.has_receipts):
        return True
    return any(file.url is None and not files.intact_receipt(file.key) for file in known)


def _install_listed(
    collection: Collection,
    known: Sequence[SourceFile],
    site: PortalApi,
    files: Installer,
    result: SupportingResult,
    *,
    update: bool,
) -> None:
    """Install the files of the site's list."""
    try:
        listed = site.downloads(collection.slug) if collection.slug else []
    except ArchiveError as error:
        for file in known:
            if file.url is None and not files.intact_receipt(file.key):
                result.failures.append(failure_of(file, error))
        files.count_listed(result)
        return
    result.notices += [
        f"'{entry.title}' is an Aspera package, which is not downloaded with the supporting files"
        for entry in listed
        if entry.is_package and collection.is_dicom
    ]
    for file_or_error in locate_files(known, listed, site):
        if isinstance(file_or_error, MissingAddress):
            result.failures.append(failure_of(file_or_error.wanted, file_or_error.error))
        else:
            files.install(file_or_error, result, update=update)
