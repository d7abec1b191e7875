"""Which files to fetch, and where each is: the registry's, then what the site lists."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tcia_covid.archives.site import SiteApi, SiteDownload
from tcia_covid.errors import ArchiveError, NotAvailableError
from tcia_covid.registry import Collection, SupportingFile
from tcia_covid.supporting.naming import safe_file_name, same_file

_WORDS = {
    "clinical": ("clinical", "demographic"),
    "annotations": ("annotation", "segmentation", "label"),
    "template": ("template", "dictionary"),
}
"""What the site's titles and types have in them, by the registry's kinds."""
_MANIFEST = ".tcia"


@dataclass(frozen=True, slots=True)
class Wanted:
    """A supporting file, as far as it is known."""

    key: str
    """What receipts know it by; the same in every run."""
    title: str
    kind: str
    original: str
    """Its name as published; empty where it is not known yet."""
    url: str | None
    source: str
    """`registry` or `site`: who knows its address."""
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that has no address."""

    wanted: Wanted
    error: ArchiveError


def registered(collection: Collection) -> list[Wanted]:
    """The files that the registry knows, with an address or without."""
    return [_registered(one) for one in collection.supporting]


def _registered(file: SupportingFile) -> Wanted:
    address = PurePosixPath(file.url.partition("?")[0]).name if file.url else ""
    told = "\n".join((file.kind, file.title, file.file or ""))
    return Wanted(
        key=f"registry-{hashlib.sha256(told.encode()).hexdigest()[:16]}",
        title=file.title,
        kind=file.kind,
        original=file.file or address,
        url=file.url,
        source="registry",
        size=file.size,
        sha256=file.sha256,
    )


def located(
    files: Sequence[Wanted], listed: Sequence[SiteDownload], site: SiteApi
) -> Iterator[Wanted | Refused]:
    """Find in the site's list what the registry has no address of, and what it does not know.

    Args:
        files: all that the registry knows.
        listed: what the collection's page offers.
        site: asked for the addresses of media records.
    """
    resolved = list(_resolved(listed, site))
    offered = [one for one in resolved if isinstance(one, SiteDownload) and not one.is_package]
    found = _by_name(files, offered)
    for file in files:
        if file.url is None:
            found.setdefault(file.key, _by_kind(file, offered, found))
            yield _with_address(file, found[file.key])
    claimed = {one.id for one in found.values() if one is not None}
    yield from (_of_site(one) for one in offered if one.id not in claimed)
    yield from (one for one in resolved if isinstance(one, Refused))


def _resolved(listed: Iterable[SiteDownload], site: SiteApi) -> Iterator[SiteDownload | Refused]:
    for one in listed:
        try:
            yield site.resolve(one)
        except NotAvailableError as error:
            if one.media is not None:
                yield Refused(_of_site(one), error)


def _by_name(
    files: Sequence[Wanted], offered: Sequence[SiteDownload]
) -> dict[str, SiteDownload | None]:
    """The entries that are called as files of the registry are, by these files' keys."""
    return {
        file.key: one
        for file in files
        for one in offered
        if file.original and same_file(file.original, one.file)
    }


def _by_kind(
    file: Wanted, offered: Sequence[SiteDownload], found: Mapping[str, SiteDownload | None]
) -> SiteDownload | None:
    """The entry of a file's kind that no other file is found in.

    Of several it is the first for a file without a name, and none for one that has one.
    """
    claimed = {one.id for one in found.values() if one is not None}
    alike = [one for one in offered if one.id not in claimed and _is_of_kind(one, file.kind)]
    return alike[0] if len(alike) == 1 or (alike and not file.original) else None


def _is_of_kind(download: SiteDownload, kind: str) -> bool:
    is_manifest = download.file.lower().endswith(_MANIFEST)
    if kind == "manifest" or is_manifest:
        return kind == "manifest" and is_manifest
    told = " ".join((download.title, *download.types)).casefold()
    return any(word in told for word in _WORDS.get(kind, ()))


def _with_address(file: Wanted, found: SiteDownload | None) -> Wanted | Refused:
    if found is None:
        error = NotAvailableError(
            f"TCIA's site lists no file for '{file.title}'",
            hint="the collection's page may lead to it",
        )
        return Refused(file, error)
    return replace(file, url=found.url, source="site", original=file.original or found.file)


def _of_site(download: SiteDownload) -> Wanted:
    told = " ".join((download.title, *download.types)).casefold()
    kinds = (kind for kind, words in _WORDS.items() if any(word in told for word in words))
    manifest = download.file.lower().endswith(_MANIFEST)
    return Wanted(
        key=f"site-{download.id}",
        title=download.title or download.file,
        kind="manifest" if manifest else next(kinds, "other"),
        original=download.file,
        url=download.url,
        source="site",
    )


def file_name(wanted: Wanted) -> str:
    """What a file is called on disk."""
    name = str(safe_file_name(wanted.original))
    return name if re.search(r"\.\w", name) else f"{name}.bin"
