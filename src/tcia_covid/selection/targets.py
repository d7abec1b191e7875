"""What a TARGET word means: a collection, a manifest, or one series."""

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
from tcia_covid.selection.manifests import read_manifest

_MANIFESTS = (".tcia", ".csv", ".tsv", ".txt")
_SHARED = re.compile(r"[?&]saved-cart=([^&#]*)")


@dataclass(frozen=True, slots=True)
class Targets:
    """The parsed targets of a command, each kind apart, doubles merged."""

    collections: tuple[Collection, ...] = ()
    """Known to the registry, and DICOM."""
    others: tuple[str, ...] = ()
    """Words that may be exact names of collections outside the registry."""
    uids: tuple[str, ...] = ()
    """SeriesInstanceUIDs, from manifests and from the command line."""
    notices: tuple[str, ...] = field(default=())


def parse_targets(words: Sequence[str], registry: Registry) -> Targets:
    """Tell what each word means.

    Raises:
        UsageError: there is no word.
        NotDicomError: a collection that no archive of this program has as DICOM.
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
    """Give the collection back if its images are DICOM series.

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
        hint=f"'{command}' alone, without filters, receives them; its page: {page}"
        if command
        else f"its page leads to the files: {page}",
        commands=[command] if command else (),
    )


def unknown_collection(
    name: str, known: Iterable[str], registry: Registry
) -> UnknownCollectionError:
    """Give the error for a word that names nothing, with the names it may have been meant for."""
    suggestion = suggest(registry.near(name)) or did_you_mean(name, known)
    return UnknownCollectionError(
        f"no collection, manifest or series is called {name!r}",
        hint=f"{suggestion} 'tcia-covid list' shows the known collections".lstrip(),
    )


def _is_manifest(word: str) -> bool:
    return word == "-" or word.lower().endswith(_MANIFESTS) or os.path.isfile(word)  # noqa: PTH113 - pathlib's raises for names that cannot be


def _manifest_uids(word: str, notices: list[str]) -> tuple[str, ...]:
    manifest = read_manifest("-" if word == "-" else Path(word))
    if manifest.duplicates:
        notices.append(f"{word}: {manifest.duplicates} repeated series were merged")
    return manifest.uids


class CartArchive(Protocol):
    """The part of an archive that knows shared carts."""

    def shared_cart(self, name: str) -> Sequence[str]:
        """The SeriesInstanceUIDs of a cart; nothing for one that is not known."""
        ...


def cart_uids(archive: CartArchive, name: str) -> tuple[str, ...]:
    """The series in a shared cart, sorted.

    NBIA answers alike for a cart that is empty and for one that it does not know.

    Args:
        archive: whom to ask.
        name: of the cart, or the address of NBIA's page that has it.

    Raises:
        UsageError: the name is blank.
        RequestError: there is no such cart, or nothing public is in it.
        ArchiveError: the archive gave no usable answer.
    """
    name = _named(name)
    if not name:
        raise UsageError("the name of a shared cart is blank")
    uids = sorted({uid for uid in archive.shared_cart(name) if is_uid(uid)})
    if not uids:
        raise RequestError(
            f"no shared cart is called {name!r}, or nothing public is in it",
            hint="check the name, or have the cart's owner export a "
            ".tcia manifest: that can be given as a target",
        )
    return tuple(uids)


def _named(given: str) -> str:
    """The name of a cart in what somebody pasted: the name alone, or the page's address."""
    found = _SHARED.search(given)
    return (unquote(found[1]) if found else given).strip()
