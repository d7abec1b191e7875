"""The supporting files of everything that a request names, with the images or without them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from tcia_covid.archives.portal import PortalApi
from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import (
    ArchiveError,
    InterruptedRunError,
    LockedError,
    UsageError,
)
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
    """Fetch the supporting files of the collections that a request names, and nothing else.

    Raises:
        RequestError: a target is no collection of the registry, or its license forbids the use.
        DestinationError: the folder cannot be used.

    What goes wrong after that is in the summary, not raised. The summary's time is the caller's
    affair, and so is the event that ends a run.
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
    """Fetch the supporting files of some collections; tell it in the summary of a run.

    Args:
        request: the output and the options.
        collections: whose files.
        summary: gains notices, failures, and the exit code that these deserve.
        emit: hears of what is worth a line.
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
    """The collections that a request names, each once.

    Raises:
        RequestError: a target is none, or its license forbids the use.
    """
    found: dict[str, Collection] = {}
    for word in request.targets:
        collection = registry.find(word)
        if collection is None:
            raise unknown_collection(word, (), registry)
        collection.check_license(commercial_use=request.options.commercial_use)
        found[collection.name] = collection
    if not found:
        raise UsageError("no collection given", hint="'tcia-covid list' shows them")
    return list(found.values())


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
        held = SupportingResult(collection.name)
        held.failures.append(Failure("", "locked", error.message, hint=error.hint))
        return held


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
    """Have the supporting files of a collection stand in its folder `supporting`.

    What stands as its receipt says is not asked for. The site is asked only where a file that
    the registry knows has no address and no receipt.

    Args:
        collection: whose files.
        tree: its folder; has been prepared.
        client: for the files.
        site: TCIA's site.
        update: ask for everything anew.
        accept_listed: take a file that is not what is on record, too.
        emit: hears of what is worth a line.

    Raises:
        HeldError: another run is at it.
        DestinationError: the disk.
        TciaCovidError: the run is to end.

    Errors about single files are in the result.
    """
    result = SupportingResult(collection.name)
    lock = tree.state / "locks" / "supporting.lock"
    with destination_errors(str(tree.root)), Lock(lock, f"supporting files of {collection.name}"):
        files = Installer(tree, client, emit, accept_listed=accept_listed)
        known = registered_files(collection)
        for one in known:
            if one.url is not None:
                files.bring(one, result, update=update)
        if update or files.is_owed or _is_lacking(known, files):
            _bring_listed(collection, known, site, files, result, update=update)
            files.note_owed(owed=bool(result.failures))
        else:
            files.keep_listed(result)
    return result


def _is_lacking(known: Sequence[SourceFile], files: Installer) -> bool:
    """Whether only the site can tell where a file is, or whether there are any."""
    if files.is_harmed or not (known or files.has_any):
        return True
    return any(one.url is None and not files.stands(one.key) for one in known)


def _bring_listed(
    collection: Collection,
    known: Sequence[SourceFile],
    site: PortalApi,
    files: Installer,
    result: SupportingResult,
    *,
    update: bool,
) -> None:
    """Bring what only the site knows where it is."""
    try:
        listed = site.downloads(collection.slug) if collection.slug else []
    except ArchiveError as error:
        for one in known:
            if one.url is None and not files.stands(one.key):
                result.failures.append(failure_of(one, error))
        files.keep_listed(result)
        return
    result.notices += [
        f"'{one.title}' is an Aspera package, which is not fetched with the supporting files"
        for one in listed
        if one.is_package and collection.is_dicom
    ]
    for found in locate_files(known, listed, site):
        if isinstance(found, MissingAddress):
            result.failures.append(failure_of(found.wanted, found.error))
        else:
            files.bring(found, result, update=update)
