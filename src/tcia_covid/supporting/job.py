"""The supporting files of everything that a request names, with the images or without them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tcia_covid.archives.site import SiteApi
from tcia_covid.errors import (
    HeldError,
    InterruptedRunError,
    LicenceRefusedError,
    UsageError,
)
from tcia_covid.events import Emit, Notice, discard
from tcia_covid.http import Client
from tcia_covid.model import Failure
from tcia_covid.registry import Collection, Registry
from tcia_covid.request import Request
from tcia_covid.selection.targets import unknown_collection
from tcia_covid.stop import Stop
from tcia_covid.store import Disk, Tree
from tcia_covid.store.tree import collection_folder
from tcia_covid.summary import Summary
from tcia_covid.supporting.fetching import fetch_supporting
from tcia_covid.supporting.result import SupportingResult


def download_supporting(
    request: Request, registry: Registry, *, emit: Emit = discard, stop: Stop | None = None
) -> Summary:
    """Fetch the supporting files of the collections that a request names, and nothing else.

    Raises:
        RequestError: a target is no collection of the registry, or its licence forbids the use.
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
    stop: Stop | None = None,
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
    client = Client(request.options.http, stop=stop or Stop(), connections=2, emit=emit)
    results: list[SupportingResult] = []
    try:
        site = SiteApi(client, request.options.site_url)
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
        RequestError: a target is none, or its licence forbids the use.
    """
    found: dict[str, Collection] = {}
    for word in request.targets:
        collection = registry.find(word)
        if collection is None:
            raise unknown_collection(word, (), registry)
        licence = collection.licence
        if request.options.commercial_use and licence is not None and not licence.commercial_use:
            raise LicenceRefusedError(
                f"the licence of {collection.name} ({licence.name}) forbids commercial use"
            )
        found[collection.name] = collection
    if not found:
        raise UsageError("no collection given", hint="'tcia-covid list' shows them")
    return list(found.values())


def _fetch(
    collection: Collection, request: Request, client: Client, site: SiteApi, emit: Emit
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
    except HeldError as error:
        held = SupportingResult(collection.name)
        held.failures.append(Failure("", "held", error.message, hint=error.hint))
        return held
