"""Selecting series: from the catalog where it has them, else from archives."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from tcia_covid.archives.factory import Archives, open_for_options
from tcia_covid.catalog.collections import Registry
from tcia_covid.catalog.registry import load_registry
from tcia_covid.core.cancellation import CancelToken
from tcia_covid.core.errors import FailureReason
from tcia_covid.core.events import Emit, discard
from tcia_covid.core.models import Failure, Series
from tcia_covid.selection.listing import ArchiveSource, CatalogSource, SeriesSource
from tcia_covid.selection.lookup import ArchiveLookup
from tcia_covid.selection.request import Options, Request
from tcia_covid.selection.resolve import Selection, resolve
from tcia_covid.selection.targets import Target, cart_uids, manifest_target, parse_targets
from tcia_covid.store.layout import collection_folder
from tcia_covid.store.tree import Tree


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
    nbia = None if options.source == "idc" else archives.nbia
    online = ArchiveSource(
        archives.nbia,
        accept_listed=options.accept_listed,
        quick=archives.quick if options.source == "auto" else None,
    )
    source: SeriesSource = online
    if offline or nbia is None:
        source = CatalogSource(online if nbia else None)
    lookup = ArchiveLookup(
        nbia,
        registry,
        find_folder=archives.idc.find_folder,
        has_idc=options.source != "nbia",
        offline=offline,
    )
    others = request.manifests or request.carts
    words = request.targets if request.targets or others else request.filters.identifiers
    targets: list[Target] = []
    if words or not others:
        targets += parse_targets(words, registry, archives.manifests, pinned=options.frozen)
    targets += (manifest_target(manifest, registry) for manifest in request.manifests)
    for name in request.carts:
        uids = dict.fromkeys(cart_uids(archives.nbia.shared_cart, name), 0)
        targets.append(Target(name, "shared cart", uids=uids))
    selection = resolve(
        targets,
        registry,
        source,
        lookup,
        filters=request.filters,
        shard=options.shard,
        commercial_use=options.commercial_use,
        frozen=options.frozen,
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
    with closing(open_for_options(request.options, stop, emit)) as archives:
        return select(request, registry, archives, stop, offline=True)


def add_hashes(selection: Selection, output: str) -> Selection:
    """Add the hash of each series that is complete in a folder; the others become failures.

    A series of which the folder has another version than the one listed is listed as it is there.
    Only receipts are read.
    """
    groups, failures = [], list(selection.failures)
    for group in selection.groups:
        tree = Tree(Path(output) / collection_folder(group.name))
        unsettled = tree.needs_check()
        found: list[Series] = []
        for series in group.series:
            receipt = None if series.uid in unsettled else tree.complete_receipt(series.uid)
            if receipt is not None:
                version = receipt.series if receipt.differs_from(series) else series
                found.append(replace(version, md5=receipt.md5))
                continue
            failures.append(
                Failure(
                    series=series.uid,
                    reason=FailureReason.MISSING,
                    detail=f"series {series.uid} of {group.name} is not complete in {output}",
                    hint="download it first, or select only what is complete",
                )
            )
        groups.append(replace(group, series=found))
    return replace(selection, groups=groups, failures=failures)


def other_collections(
    options: Options, *, emit: Emit = discard, stop: CancelToken | None = None
) -> list[str]:
    """Ask NBIA for the names of its public collections that the registry does not have, sorted.

    Raises:
        ArchiveError: NBIA gave no list.
    """
    registry = load_registry(options.registry)
    with closing(open_for_options(options, stop or CancelToken(), emit)) as archives:
        names = archives.nbia.collections()
    return [name for name in names if registry.listed_as(name) is None]
