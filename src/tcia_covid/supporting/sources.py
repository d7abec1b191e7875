"""Which files to download, and their addresses: the registry's files, then the site's list."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from tcia_covid.archives.portal import PortalApi, PortalDownload
from tcia_covid.catalog.collections import Collection, SupportingFile
from tcia_covid.core.errors import ArchiveError, NotAvailableError
from tcia_covid.core.safe_names import is_windows_name, safe_name

_WORDS = {
    "clinical": ("clinical", "demographic"),
    "annotations": ("annotation", "segmentation", "label"),
    "template": ("template", "dictionary"),
}
"""Words in the site's titles and types, by the registry's kinds."""
_MANIFEST = ".tcia"
_UNREADABLE = re.compile(r"[^A-Za-z0-9._+-]+")
_ENDING = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}\Z")
_LONGEST = 120
_SAFE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._+-]{0,118}[A-Za-z0-9_+-])?")


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A supporting file to download."""

    key: str
    """Identifies it in receipts; the same in every run."""
    title: str
    kind: str
    original: str
    """Its name as published; empty where it is not known yet."""
    url: str | None
    source: str
    """`registry` or `site`: where its address is from."""
    size: int | None = None
    sha256: str | None = None
    error: ArchiveError | None = None
    """Why it has no address."""


def registered_files(collection: Collection) -> list[SourceFile]:
    """The files in the registry, with an address or without."""
    return [_of_registry(file) for file in collection.supporting]


def _of_registry(file: SupportingFile) -> SourceFile:
    address = PurePosixPath(file.url.partition("?")[0]).name if file.url else ""
    identity = "\n".join((file.kind, file.title, file.file or ""))
    return SourceFile(
        key=f"registry-{hashlib.sha256(identity.encode()).hexdigest()[:16]}",
        title=file.title,
        kind=file.kind,
        original=file.file or address,
        url=file.url,
        source="registry",
        size=file.size,
        sha256=file.sha256,
    )


def locate_files(
    files: Sequence[SourceFile], listed: Sequence[PortalDownload], site: PortalApi
) -> Iterator[SourceFile]:
    """Find in the site's list the files that the registry has no address of, and further ones.

    `files` are all files of the registry; `site` resolves the addresses of media records.
    """
    offered: list[PortalDownload] = []
    unresolved: list[SourceFile] = []
    for entry in listed:
        try:
            resolved = site.resolve(entry)
        except NotAvailableError as error:
            if entry.media is not None:
                unresolved.append(replace(_of_site(entry), error=error))
        else:
            offered += [] if resolved.is_package else [resolved]
    matches = _by_name(files, offered)
    for file in files:
        if file.url is None:
            matches.setdefault(file.key, _by_kind(file, offered, matches))
            yield _with_address(file, matches[file.key])
    claimed = _ids(matches)
    yield from (_of_site(entry) for entry in offered if entry.id not in claimed)
    yield from unresolved


def _ids(matches: Mapping[str, PortalDownload | None]) -> set[int]:
    return {entry.id for entry in matches.values() if entry is not None}


def _by_name(
    files: Sequence[SourceFile], offered: Sequence[PortalDownload]
) -> dict[str, PortalDownload | None]:
    """The entries with the name of a file of the registry, by that file's key."""
    return {
        file.key: entry
        for file in files
        for entry in offered
        if file.original and _is_same_name(file.original, entry.file)
    }


def _is_same_name(name: str, other: str) -> bool:
    """Whether two names mean one file: WordPress replaces special characters by hyphens."""
    letters, others = (re.sub(r"[^a-z0-9]", "", text.casefold()) for text in (name, other))
    return letters == others != ""


def _by_kind(
    file: SourceFile,
    offered: Sequence[PortalDownload],
    matches: Mapping[str, PortalDownload | None],
) -> PortalDownload | None:
    """The entry of a file's kind that matches no other file.

    If there are several: the first for a file without a name, none for a file with one.
    """
    claimed = _ids(matches)
    alike = [entry for entry in offered if entry.id not in claimed and file.kind in _kinds(entry)]
    return alike[0] if len(alike) == 1 or (alike and not file.original) else None


def _kinds(download: PortalDownload) -> list[str]:
    """The registry's kinds that an entry may be of, by its name, title and types."""
    if download.file.lower().endswith(_MANIFEST):
        return ["manifest"]
    description = " ".join((download.title, *download.types)).casefold()
    return [kind for kind, words in _WORDS.items() if any(word in description for word in words)]


def _with_address(file: SourceFile, entry: PortalDownload | None) -> SourceFile:
    if entry is None:
        error = NotAvailableError(
            f"TCIA's site lists no file for '{file.title}'",
            hint="look for it on the collection's page",
        )
        return replace(file, error=error)
    return replace(file, url=entry.url, source="site", original=file.original or entry.file)


def _of_site(download: PortalDownload) -> SourceFile:
    return SourceFile(
        key=f"site-{download.id}",
        title=download.title or download.file,
        kind=next(iter(_kinds(download)), "other"),
        original=download.file,
        url=download.url,
        source="site",
    )


def file_name(file: SourceFile) -> str:
    """The name of a file on disk."""
    name = safe_file_name(file.original)
    return name if re.search(r"\.\w", name) else f"{name}.bin"


def safe_file_name(original: str) -> str:
    """A file's name without spaces and special characters; it keeps its extension.

    `Clinical Data Jan 13 2021 .xlsx` becomes `Clinical_Data_Jan_13_2021.xlsx`. It may not be
    unique: see `unique_name`.
    """
    if _SAFE.fullmatch(original):
        name = original
    else:
        plain = _UNREADABLE.sub("_", original.strip()).lstrip("._-")
        match = _ENDING.search(plain)
        ending = match[0] if match else ""
        stem = plain[: len(plain) - len(ending)].strip("._-") or "unnamed"
        name = f"{stem[: _LONGEST - len(ending)]}{ending}"
    return name if is_windows_name(name) else f"_{name}"


def unique_name(name: str, original: str, taken: set[str]) -> str:
    """Give `name`, or one that is not in `taken` in any case, for a file called `original`."""
    if name.casefold() not in taken:
        return name
    ending = "".join(PurePosixPath(name).suffixes[-2:])
    tagged = safe_name(f"{original}\0")
    return f"{tagged}{ending if _ENDING.fullmatch(ending) else ''}"
