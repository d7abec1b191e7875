"""Targets: what the words of a command line and the entries of manifests name."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import unquote

from tcia_covid.catalog import series_catalog
from tcia_covid.catalog.collections import Collection, Registry, names_in_address
from tcia_covid.core.errors import (
    NotDicomError,
    RequestError,
    UnknownCollectionError,
    UsageError,
    did_you_mean,
    suggest,
)
from tcia_covid.core.safe_names import is_uid, uid_problem
from tcia_covid.core.units import count
from tcia_covid.selection.manifests.model import Fetch, Kind, Manifest, Pins, bucket_address

MANIFEST_SUFFIXES = (
    *(".tcia", ".s5cmd", ".csv", ".tsv", ".txt", ".xlsx", ".json", ".jsonl", ".jsonld"),
    *(".zip", ".gz"),
)
"""Endings of words that count as manifests."""
_SAVED_CART = re.compile(r"[?&]saved-cart=([^&#]*)")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_LIKE_A_UID = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+\.")
_BUCKET_ADDRESS = re.compile(r"(?:s3|gs)://", re.IGNORECASE)
_KNOWN = "'tcia-covid list' shows the known collections"
_WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
TARGET_COLUMNS: dict[Kind, tuple[str, ...]] = {
    "series": ("SeriesInstanceUID",),
    "study": ("StudyInstanceUID",),
    "patient": ("PatientID",),
    "crdc_series_uuid": ("crdc_series_uuid",),
    "address": ("crdc_series_uuid",),
    "word": series_catalog.IDENTIFIERS,
}
"""What an identifier of a kind may be in the catalog."""


@dataclass(slots=True)
class Target:
    """One target, resolved as far as possible with the registry, the catalog and files."""

    word: str
    kind: str = ""
    """What it is, as in `ResolvedTarget`; empty if only an archive knows it."""
    collections: list[Collection] = field(default_factory=list)
    """DICOM collections of the registry."""
    uids: dict[str, int] = field(default_factory=dict)
    """SeriesInstanceUIDs, in the order given; those of a manifest with their lines, else 0."""
    unlisted: dict[Kind, Mapping[str, int]] = field(default_factory=dict)
    """What the catalog does not have, with its line in the manifest (0 on the command line)."""
    manifest: str = ""
    """The manifest's name, if it is one."""
    notices: list[str] = field(default_factory=list)
    pins: Pins = field(default_factory=lambda: Pins({}))
    """The version of each series, of a manifest that is read as a lock file."""

    @property
    def unknown(self) -> list[Unknown]:
        """What to ask an archive."""
        return [
            Unknown(kind, value, self.manifest, line)
            for kind, values in self.unlisted.items()
            for value, line in values.items()
        ]


class Unknown(NamedTuple):
    """An identifier or a name that the catalog does not have."""

    kind: Kind
    value: str
    manifest: str = ""
    """The manifest that names it; empty on the command line."""
    line: int = 0

    @property
    def place(self) -> str:
        """The manifest and line, to begin a message with."""
        return f"{self.manifest}, line {self.line}: " if self.manifest else ""


def split_targets(words: Iterable[str]) -> tuple[str, ...]:
    """Split words at commas, except names of files and addresses: `A,B` is two targets."""
    return tuple(
        part.strip()
        for word in words
        for part in ([word] if "://" in word or os.path.lexists(word) else word.split(","))
        if part.strip() or not word.strip(", ")
    )


def parse_targets(
    words: Sequence[str],
    registry: Registry,
    fetch: Fetch | None = None,
    *,
    pinned: bool = False,
) -> list[Target]:
    """Find out what targets name, without a request to an archive.

    A word is looked up as a collection and in the catalog, then as a file. Without `fetch`, the
    addresses of manifests are refused. With `pinned`, manifests are read as lock files.

    Raises:
        UsageError: there is no target, or a word that cannot be one.
        NotDicomError: a collection is not available as DICOM.
        UnknownCollectionError: a word is nearly the name of a known collection.
        ManifestError: a manifest cannot be read.
    """
    if not words:
        raise UsageError(
            "no target given",
            hint="name a collection ('tcia-covid list' shows them), a manifest, a series, a study "
            "or a patient",
        )
    return [_parse(word, registry, fetch, pinned=pinned) for word in dict.fromkeys(words)]


def _parse(word: str, registry: Registry, fetch: Fetch | None, *, pinned: bool) -> Target:
    target = Target(word)
    address = bucket_address(word)
    if _find(target, "word", address, registry):
        return target
    if address == word and _is_manifest(word):
        from tcia_covid.selection.manifests.read import read_manifest  # noqa: PLC0415 - few are

        return manifest_target(read_manifest(word, fetch=fetch, pinned=pinned), registry, word)
    _refuse(word, registry)
    target.unlisted[_unknown_kind(address)] = {address: 0}
    return target


def _find(target: Target, kind: Kind, value: str, registry: Registry) -> bool:
    """Find a value in the registry or catalog; add what it names to the target."""
    collection = registry.find(value) if kind == "word" and not is_uid(value) else None
    if collection is not None:
        target.kind = target.kind or "collection"
        target.collections.append(dicom_only(collection))
        return True
    identifier = uuid_in_address(value) if _BUCKET_ADDRESS.match(value) else value.strip()
    match = series_catalog.lookup(identifier, TARGET_COLUMNS[kind]) if identifier else None
    if match is not None:
        target.kind = target.kind or match.column
        target.uids.update((series.uid, 0) for series in match.series)
    return match is not None


def manifest_target(manifest: Manifest, registry: Registry, word: str = "") -> Target:
    """Find out what a manifest names; `word` is the target, if it has another name."""
    target = Target(word or manifest.name, manifest.format, manifest=manifest.name)
    target.notices += manifest.notices
    target.pins = manifest.pins
    if manifest.duplicates:
        times = count(manifest.duplicates, "time")
        target.notices.append(f"{target.word} repeats earlier entries {times}; each counts once")
    for kind, named in manifest.identifiers.items():
        if kind == "series":
            # A copy takes 40 bytes a series; only other kinds add to it.
            target.uids = named if len(manifest.identifiers) == 1 else named.copy()
            continue
        listed = {value for value in named if _find(target, kind, value, registry)}
        if len(listed) < len(named):
            rest = (item for item in named.items() if item[0] not in listed)
            target.unlisted[kind] = dict(rest) if listed else named
    return target


def _unknown_kind(word: str) -> Kind:
    if _BUCKET_ADDRESS.match(word):
        return "address"
    return "crdc_series_uuid" if _UUID.fullmatch(word) else "word"


def _is_manifest(word: str) -> bool:
    if _WEB_ADDRESS.match(word):
        return not (names_in_address(word) or _SAVED_CART.search(word)) or _has_suffix(word)
    if "://" in word:
        return False
    return word == "-" or _has_suffix(word) or os.path.isfile(word)  # noqa: PTH113 - Path.is_file raises for invalid names


def _has_suffix(word: str) -> bool:
    return word.lower().endswith(MANIFEST_SUFFIXES)


def _manifest_in(folder: str) -> str:
    """The path of the first manifest in a folder, by the suffix of its name; empty if none."""
    with contextlib.suppress(OSError):
        for name in sorted(os.listdir(folder)):  # noqa: PTH208 - only names are needed
            if _has_suffix(name) and not name.startswith("."):
                return os.path.join(folder, name)  # noqa: PTH118 - as the user wrote it
    return ""


def _refuse(word: str, registry: Registry) -> None:
    """Refuse a word that cannot be a target, with a suggestion."""
    if not word.strip():
        raise UsageError("a target is empty", hint="'tcia-covid list' shows the known collections")
    if cart := _SAVED_CART.search(word):
        raise UsageError(
            f"{word} is the address of a shared cart, which is no target",
            hint=f"did you mean --shared-cart {unquote(cart[1])!r}?",
        )
    if os.path.isdir(word):  # noqa: PTH112 - False for invalid names
        manifest = _manifest_in(word)
        other = f", or a manifest in it, such as {manifest}" if manifest else ""
        raise UsageError(
            f"{word} is a folder, which is no target", hint=f"did you mean -o {word}{other}?"
        )
    if _BUCKET_ADDRESS.match(word) and uuid_in_address(word) is None:
        raise UsageError(
            f"{word} names no series: a series of IDC has a folder named by its crdc_series_uuid",
            hint="write s3://BUCKET/UUID/",
        )
    if _LIKE_A_UID.match(word) and (problem := uid_problem(word)):
        raise UsageError(f"{word} is not a UID: {problem}", hint="copy the whole UID, and only it")
    if registry.near(word):
        raise unknown_target(word, (), registry)


def uuid_in_address(address: str) -> str | None:
    """Return the crdc_series_uuid in the address of a folder or object of IDC."""
    _, _, path = address.partition("://")
    return next((part for part in path.split("/")[1:] if _UUID.fullmatch(part)), None)


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


def unknown_target(name: str, known: Iterable[str], registry: Registry) -> UnknownCollectionError:
    """Give the error for a name that may have been anything, with similar names of collections."""
    message = f"there is no collection, series, study, patient or manifest {name!r}"
    suggestion = suggest(registry.near(name)) or did_you_mean(name, known)
    return UnknownCollectionError(message, hint=f"{suggestion} {_KNOWN}".lstrip())


def unknown_collection(name: str, registry: Registry) -> UnknownCollectionError:
    """Give the error for a collection that is not in the registry, with similar names."""
    message = f"{name!r} is not a known collection"
    hint = f"{suggest(registry.near(name))} {_KNOWN}".lstrip()
    return UnknownCollectionError(message, hint=hint)


def cart_uids(list_cart: Callable[[str], Sequence[str]], name: str) -> tuple[str, ...]:
    """List the series in a shared cart, sorted.

    NBIA gives the same response for an empty and an unknown cart: `list_cart` gives no series then.
    `name` may be the address of the cart's page at NBIA.

    Raises:
        UsageError: the name is empty.
        RequestError: there is no such cart, or nothing public is in it.
        ArchiveError: the archive gave no usable response.
    """
    in_address = _SAVED_CART.search(name)
    name = (unquote(in_address[1]) if in_address else name).strip()
    if not name:
        raise UsageError("the name of a shared cart is empty")
    uids = sorted({uid for uid in list_cart(name) if is_uid(uid)})
    if not uids:
        raise RequestError(
            f"there is no shared cart {name!r}, or nothing public is in it",
            hint="check the name, or ask the cart's owner for a .tcia manifest, which is a target",
        )
    return tuple(uids)
