"""What a request names: from the catalog where that does, else from archives."""

from __future__ import annotations

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.events import Emit
from tcia_covid.selection.listing import ArchiveSource, CatalogSource, SeriesSource
from tcia_covid.selection.request import Request
from tcia_covid.selection.resolve import Selection, resolve
from tcia_covid.selection.targets import cart_uids


def select(
    request: Request,
    registry: Registry,
    archives: Archives,
    stop: CancelToken,
    *,
    offline: bool = False,
) -> Selection:
    """List what a request names.

    Args:
        request: the targets and filters.
        registry: the known collections.
        archives: asked for lists.
        stop: ends the waiting.
        offline: prefer the catalog to asking.
    """
    options = request.options
    online = ArchiveSource(
        archives.nbia,
        registry,
        accept_listed=options.accept_listed,
        quick=archives.quick if options.source == "auto" else None,
    )
    lists: SeriesSource = online
    if options.source == "idc":
        lists = CatalogSource(None)
    elif offline:
        lists = CatalogSource(online)
    shared = [uid for name in request.carts for uid in cart_uids(archives.nbia, name)]
    selected = resolve(
        (*request.targets, *shared),
        registry,
        lists,
        filters=request.filters,
        shard=options.shard,
        commercial_use=options.commercial_use,
    )
    stop.check()
    return selected


def select_offline(
    request: Request, registry: Registry, stop: CancelToken, emit: Emit
) -> Selection:
    """List what a request names, from the catalog before any archive.

    Raises:
        RequestError: the request cannot be carried out as asked.
        ArchiveError: a list was needed and could not be had.
    """
    archives = open_for_options(request.options, stop, emit)
    try:
        return select(request, registry, archives, stop, offline=True)
    finally:
        archives.close()
