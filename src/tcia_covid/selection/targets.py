"""Targets: collections, manifests and series."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote

from tcia_covid.catalog.collections import Collection, Registry
from tcia_covid.core.errors import (
    NotDicomError,
    RequestError,
    UnknownCollectionError,
    UsageError,
    did_you_mean,
    suggest,
)
from tcia_covid.core.safe_names import is_uid
from tcia_covid.selection.manifests.read import read_manifest

_MANIFESTS = (".tcia", ".csv", ".tsv", ".txt")
_SAVED_CART = re.compile(r"[?&]saved-cart=([^&#]*)")


@dataclass(frozen=True, slots=True)
class Targets:
    """The parsed targets of a command, by kind, without duplicates."""

    collections: tuple[Collection, ...] = ()
    """DICOM collections of the registry."""
    others: tuple[str, ...] = ()
    """Words that may be exact names of other collections."""
    uids: tuple[str, ...] = ()
    """SeriesInstanceUIDs, from manifests and from the command line."""
    notices: tuple[str, ...] = field(default=())


def parse_targets(words: Sequence[str], registry: Registry) -> Targets:
    """Parse the targets of a command.

    Raises:
        UsageError: there is no target.
        NotDicomError: a collection is not available as DICOM.
        ManifestError: a manifest cannot be read.
    """
    if not words:
        raise UsageError(
            "no target given",
            hint="name a collection ('tcia-covid list' shows them), a manifest or a series",
        )
    collections: dict[str, Collection] = {}
    others: dict[str, None] = {}
    uids: dict[str, None] = {}
    notices: list[str] = []
    for word in words:
        known = registry.find(word)
        if known is not None:
            collections[known.name] = dicom_only(known)
        elif is_uid(word):
            uids[word] = None
        elif _is_manifest(word):
            uids.update(dict.fromkeys(_manifest_uids(word, notices)))
        else:
            others[word] = None
    return Targets(tuple(collections.values()), tuple(others), tuple(uids), tuple(notices))


def dicom_only(collection: Collection) -> Collection:
    """Return the collection if its images are DICOM series.

    Raises:
        NotDicomError: they are not.
    """
    if collection.is_dicom:
        return collection
    page = collection.page or "www.cancerimagingarchive.net"
    command = f'tcia-covid download "{collection.name}"' if collection.aspera else ""
    raise NotDicomError(
        f"{collection.name} is published as {collection.format} files, not as DICOM series: "
        "neither NBIA nor IDC has it",
        hint=f"'{command}' alone, without filters, downloads them; its page: {page}"
        if command
        else f"its page has links to the files: {page}",
        commands=[command] if command else (),
    )


def unknown_collection(
    name: str, known: Iterable[str], registry: Registry
) -> UnknownCollectionError:
    """Give the error for an unknown name, with similar names."""
    suggestion = suggest(registry.near(name)) or did_you_mean(name, known)
    return UnknownCollectionError(
        f"there is no collection, manifest or series {name!r}",
        hint=f"{suggestion} 'tcia-covid list' shows the known collections".lstrip(),
    )


def _is_manifest(word: str) -> bool:
    return word == "-" or word.lower().endswith(_MANIFESTS) or os.path.isfile(word)  # noqa: PTH113 - Path.is_file raises for invalid names


def _manifest_uids(word: str, notices: list[str]) -> tuple[str, ...]:
    manifest = read_manifest("-" if word == "-" else Path(word))
    if manifest.duplicates:
        notices.append(f"{word}: {manifest.duplicates} repeated series were merged")
    return manifest.series


class CartArchive(Protocol):
    """The part of an archive that lists shared carts."""

    def shared_cart(self, name: str) -> Sequence[str]:
        """Get the SeriesInstanceUIDs of a cart; none if it is unknown."""
        ...


def cart_uids(archive: CartArchive, name: str) -> tuple[str, ...]:
    """List the series in a shared cart, sorted.

    NBIA gives the same response for an empty and an unknown cart.

    Args:
        archive: where to ask.
        name: of the cart, or the address of its page at NBIA.

    Raises:
        UsageError: the name is blank.
        RequestError: there is no such cart, or nothing public is in it.
        ArchiveError: the archive gave no usable response.
    """
    in_address = _SAVED_CART.search(name)
    name = (unquote(in_address[1]) if in_address else name).strip()
    if not name:
        raise UsageError("the name of a shared cart is blank")
    uids = sorted({uid for uid in archive.shared_cart(name) if is_uid(uid)})
    if not uids:
        raise RequestError(
            f"there is no shared cart {name!r}, or nothing public is in it",
            hint="check the name, or ask the cart's owner for a .tcia manifest, which is a target",
        )
    return tuple(uids)
