"""What shells offer for a value: collections, modalities, files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from tcia_covid.catalog.collections import Registry

Items = list[CompletionItem]


def collections(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Offer each collection once: its name, or an alias where that has spaces or does not fit."""
    items = []
    for collection in _registry(ctx):
        names = [name for name in (collection.name, *collection.aliases) if " " not in name]
        items += _items(dict.fromkeys(names, collection.about), incomplete)[:1]
    return items


def targets(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Offer collections and manifest files; bash offers files where no collection fits."""
    return [CompletionItem(incomplete, type="file"), *collections(ctx, param, incomplete)]


def modalities(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Offer the modalities of the known collections; commas separate several."""
    before, comma, last = incomplete.rpartition(",")
    known = sorted({name for collection in _registry(ctx) for name in collection.modalities})
    taken = {name.upper() for name in before.split(",")}
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in known
        if name.startswith(last.upper()) and name not in taken
    ]


def words(known: Iterable[str], incomplete: str) -> Items:
    """Offer the words that begin with `incomplete`."""
    return _items(dict.fromkeys(known), incomplete)


def _registry(ctx: click.Context) -> Registry:
    from tcia_covid.catalog.registry import load_registry  # noqa: PLC0415 - only shells need it

    return load_registry(ctx.params.get("registry") or ())


def _items(names: dict[str, str | None], incomplete: str) -> Items:
    start = incomplete.casefold()
    return [
        CompletionItem(name, help=about)
        for name, about in names.items()
        if name.casefold().startswith(start)
    ]
