"""What a TARGET word means: a collection, a manifest, or one series."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tcia_covid.errors import NotDicomError, UnknownCollectionError, UsageError
from tcia_covid.names import is_uid
from tcia_covid.registry import Collection, Registry

_MANIFESTS = (".tcia", ".csv", ".tsv", ".txt")


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
    import difflib  # noqa: PLC0415 - only a wrong name needs it

    near = registry.near(name) or difflib.get_close_matches(name, sorted(known), 3, 0.6)
    hint = "'tcia-covid list' shows the known collections"
    if near:
        *others, last = [repr(one) for one in near]
        meant = f"{', '.join(others)} or {last}" if others else last
        hint = f"did you mean {meant}? {hint}"
    return UnknownCollectionError(
        f"no collection, manifest or series is called {name!r}", hint=hint
    )


def _is_manifest(word: str) -> bool:
    return word == "-" or word.lower().endswith(_MANIFESTS) or os.path.isfile(word)  # noqa: PTH113 - pathlib's raises for names that cannot be


def _manifest_uids(word: str, notices: list[str]) -> tuple[str, ...]:
    from tcia_covid.selection.manifests import read_manifest  # noqa: PLC0415

    manifest = read_manifest("-" if word == "-" else Path(word))
    if manifest.duplicates:
        notices.append(f"{word}: {manifest.duplicates} repeated series were merged")
    return manifest.uids
