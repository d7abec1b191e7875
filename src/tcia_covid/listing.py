"""What a request names: from the catalogue where that does, else from archives."""

from __future__ import annotations

from tcia_covid.events import Emit
from tcia_covid.opening import Keepers, OnDemand
from tcia_covid.registry import Registry
from tcia_covid.request import Request
from tcia_covid.selection.carts import cart_uids
from tcia_covid.selection.lists import ArchiveLists, CatalogueLists, Lists
from tcia_covid.selection.resolve import Selected, resolve
from tcia_covid.stop import Stop


def select(
    request: Request, registry: Registry, archives: Keepers, stop: Stop, *, offline: bool = False
) -> Selected:
    """List what a request names.

    Args:
        request: the targets and filters.
        registry: the known collections.
        archives: asked for lists.
        stop: ends the waiting.
        offline: prefer the catalogue to asking.
    """
    options = request.options
    online = ArchiveLists(
        archives.nbia,
        registry,
        accept_listed=options.accept_listed,
        hasty=archives.hasty if options.source == "auto" else None,
    )
    lists: Lists = online
    if options.source == "idc":
        lists = CatalogueLists(None)
    elif offline:
        lists = CatalogueLists(online)
    shared = [uid for name in request.carts for uid in cart_uids(archives.nbia, name)]
    selected = resolve(
        (*request.targets, *shared),
        registry,
        lists,
        filters=request.filters,
        share=options.share,
        commercial_use=options.commercial_use,
    )
    stop.check()
    return selected


def select_offline(request: Request, registry: Registry, stop: Stop, emit: Emit) -> Selected:
    """List what a request names, from the catalogue before any archive.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
    """
    archives = OnDemand(request.options, stop, emit)
    try:
        return select(request, registry, archives, stop, offline=True)
    finally:
        archives.close()
