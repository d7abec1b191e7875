"""Collections with their citations and files, and finding one by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from urllib.parse import parse_qs, unquote_plus, urlsplit

from tcia_covid.catalog.licenses import License

DICOM = "DICOM"
NIFTI = "NIfTI"
FORMATS = (DICOM, NIFTI)
SUPPORTING_KINDS = ("clinical", "annotations", "manifest", "template")
_MIN_SIMILARITY = 0.75
_MIN_PART = 3
"""Characters of the shortest part of a name that is compared with others."""
DOI = re.compile(r"10\.\d{4,9}/[^\s{}\"<>\\]+")
"""A bare DOI of characters that citation formats support."""
_DOI_PREFIX = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
_PUNCTUATION = re.compile(r"[^\w/\\]|_")
"""Except of paths: `./ar` is a file."""
_TCIA_HOST = re.compile(r"(?:[\w-]+\.)*cancerimagingarchive\.net", re.IGNORECASE)


class Publication(NamedTuple):
    """A data set or an article to cite; converts to its text."""

    text: str
    """The citation as published."""
    authors: tuple[str, ...] = ()
    """`Family, Given`; a group has no comma."""
    more_authors: bool = False
    """Whether there are more authors."""
    year: int | None = None
    title: str | None = None
    container: str | None = None
    """The journal; None for a data set."""
    volume: str | None = None
    issue: str | None = None
    pages: str | None = None
    """`first-last`, or the number of the article."""
    publisher: str | None = None
    version: str | None = None
    doi: str | None = None
    """Bare: `10.7937/…`."""
    pmc: str | None = None
    """Of the article in PubMed Central."""

    def __str__(self) -> str:
        return self.text


class SupportingFile(NamedTuple):
    """A file of a collection that is not an image."""

    title: str
    kind: str
    """One of `SUPPORTING_KINDS`."""
    file: str | None = None
    """Its name as published, with its spaces."""
    url: str | None = None
    """None if the address is not known: the collection's page has a link."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    contains: str | None = None
    """The name of the file in a ZIP."""
    basket: str | None = None
    """TCIA's identifier of a manifest: its Data Retriever names the folder after it."""


class IdcLocation(NamedTuple):
    """The location of a collection in NCI Imaging Data Commons."""

    collection_id: str
    bucket: str
    """The public bucket on AWS."""
    gcs_bucket: str | None = None
    """The public bucket with the same content on Google Cloud Storage."""


class AsperaLocation(NamedTuple):
    """The Aspera packages of a collection, to which its page has links."""

    packages: int | None = None
    file_pattern: str | None = None
    """Of the names of files in them."""


class Collection(NamedTuple):
    """One collection of TCIA. None, or empty, means unknown."""

    name: str
    """Exactly as TCIA spells it."""
    format: str
    """One of `FORMATS`."""
    title: str
    """The name if the title is unknown."""
    about: str | None = None
    """A description of at most 30 characters."""
    aliases: tuple[str, ...] = ()
    doi: str | None = None
    """Of the data set, bare: `10.7937/…`."""
    slug: str | None = None
    """The last part of the address of its page, which TCIA's portal uses."""
    page: str | None = None
    wiki_pages: tuple[int, ...] = ()
    """The `pageId`s of its pages in TCIA's older wiki."""
    license: License | None = None
    access: str | None = None
    cancer_type: str | None = None
    location: str | None = None
    """The part of the body."""
    species: str | None = None
    modalities: tuple[str, ...] = ()
    patients: int | None = None
    studies: int | None = None
    series: int | None = None
    images: int | None = None
    volumes: int | None = None
    """NIfTI files."""
    size: int | None = None
    """Bytes of all images, uncompressed."""
    version: str | None = None
    updated: str | None = None
    """`yyyy-mm-dd`."""
    citation: Publication | None = None
    """Of the data set."""
    publications: tuple[Publication, ...] = ()
    supporting: tuple[SupportingFile, ...] = ()
    pitfalls: tuple[str, ...] = ()
    """What users must know about the data, in plain sentences."""
    nbia: str | None = None
    """Its name in NBIA; None if NBIA does not have it."""
    idc: IdcLocation | None = None
    aspera: AsperaLocation | None = None

    @property
    def is_dicom(self) -> bool:
        """Whether its images are DICOM series."""
        return self.format == DICOM

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of this collection: name, aliases, slug, DOI, pages."""
        known = (self.name, *self.aliases, self.slug, self.doi, self.page)
        wiki = tuple(f"pageid={page}" for page in self.wiki_pages)
        return tuple(name for name in known if name) + wiki


class Resource(NamedTuple):
    """A page about the subject of the collections."""

    title: str
    url: str

    def __str__(self) -> str:
        return f"{self.title}: {self.url}"


@dataclass(frozen=True)
class Registry:
    """Collections in the order of their files, TCIA's own citation, and further resources."""

    collections: tuple[Collection, ...] = ()
    tcia: Publication | None = None
    resources: tuple[Resource, ...] = ()

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.collections)

    def __len__(self) -> int:
        return len(self.collections)

    def find(self, name: str) -> Collection | None:
        """Find a collection by name or alias (see `fold_name`), slug, DOI or page; or None."""
        names = (fold_name(name), *sorted(names_in_address(name)))
        return next((self._by_name[name] for name in names if name in self._by_name), None)

    @cached_property
    def _by_name(self) -> Mapping[str, Collection]:
        """Every collection by each of its folded names."""
        return {
            fold_name(name): collection
            for collection in reversed(self.collections)
            for name in collection.names
        }

    def listed_as(self, name: str) -> Collection | None:
        """Find the collection that archives list as `name`, or None."""
        named = (collection for collection in self.collections if collection.nbia == name)
        return self.find(name) or next(named, None)

    def near(self, name: str) -> list[str]:
        """Give at most three collections with a name like `name`, the most similar first."""
        scores = {collection.name: _similarity(name, collection) for collection in self.collections}
        similar = [known for known, score in scores.items() if score > _MIN_SIMILARITY]
        return sorted(similar, key=lambda known: -scores[known])[:3]


def _similarity(name: str, collection: Collection) -> float:
    """Of `name` and the most similar name of a collection, from 0 to 1."""
    wanted = fold_name(name)
    words = [fold_name(word) for word in (collection.name, *collection.aliases)]
    if len(wanted) >= _MIN_PART and any(wanted in word for word in words):
        return 1.0
    return max(difflib.SequenceMatcher(None, wanted, word).ratio() for word in words)


def bare_doi(text: str) -> str:
    """Remove `doi:` or `https://doi.org/` from a DOI."""
    return _DOI_PREFIX.sub("", text.strip(), count=1)


def fold_name(name: str) -> str:
    """Normalize a name: case, spaces and punctuation do not matter (`covid19ar`)."""
    return _PUNCTUATION.sub("", bare_doi(name).rstrip("/").casefold())


def names_in_address(text: str) -> set[str]:
    """Give the folded names in the address of a page in TCIA's site or wiki, if `text` is one."""
    try:
        address = urlsplit(text.strip())
    except ValueError:
        return set()
    if not _TCIA_HOST.fullmatch(address.hostname or ""):
        return set()
    last = fold_name(unquote_plus(address.path.rstrip("/").rpartition("/")[2]))
    pages = parse_qs(address.query).get("pageId", [])
    return {last, *(fold_name(f"pageid={page}") for page in pages)} - {""}
