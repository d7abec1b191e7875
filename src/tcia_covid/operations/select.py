"""Selecting series: from the catalog where it has them, else from archives."""

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
    """List the series of a request; `offline` prefers the catalog to the archives."""
    options = request.options
    online = ArchiveSource(
        archives.nbia,
        registry,
        accept_listed=options.accept_listed,
        quick=archives.quick if options.source == "auto" else None,
    )
    source: SeriesSource = online
    if options.source == "idc":
        source = CatalogSource(None)
    elif offline:
        source = CatalogSource(online)
    cart_series = [uid for name in request.carts for uid in cart_uids(archives.nbia, name)]
    selection = resolve(
        (*request.targets, *cart_series),
        registry,
        source,
        filters=request.filters,
        shard=options.shard,
        commercial_use=options.commercial_use,
    )
    stop.check()
    return selection


def select_offline(
    request: Request, registry: Registry, stop: CancelToken, emit: Emit
) -> Selection:
    """List the series of a request, from the catalog where it has them.

    Raises:
        RequestError: the request cannot be carried out.
        ArchiveError: an archive's list was needed, and none gave it.
    """
    archives = open_for_options(request.options, stop, emit)
    try:
        return select(request, registry, archives, stop, offline=True)
    finally:
        archives.close()
