"""Collections, their licenses, citations and files, and how a user's word finds one of them."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote_plus, urlsplit

from tcia_covid.core.errors import LicenseRefusedError

DICOM = "DICOM"
NIFTI = "NIfTI"
FORMATS = (DICOM, NIFTI)
SUPPORTING_KINDS = ("clinical", "annotations", "manifest", "template")
_LIKELY = 0.75
_TELLING = 3
"""Characters from which on a part of a name says something."""
DOI = re.compile(r"10\.\d{4,9}/[^\s{}\"<>\\]+")
"""A bare DOI, of characters that citation formats can carry."""
_DOI_PREFIX = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_TCIA_HOST = re.compile(r"(?:[\w-]+\.)*cancerimagingarchive\.net", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class License:
    """The terms under which a collection is published."""

    name: str
    """As the archives spell it, `CC BY 4.0`."""
    commercial_use: bool
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Publication:
    """Something to cite: a data set or an article. Printed, it is its text."""

    text: str
    """The citation as its publisher words it."""
    authors: tuple[str, ...] = ()
    """`Family, Given`; a group of people has no comma."""
    more_authors: bool = False
    """Whether the list of authors goes on where `authors` ends."""
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
    """The article's identifier in PubMed Central."""

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class SupportingFile:
    """A file that belongs to a collection and is not one of its images."""

    title: str
    kind: str
    """One of `SUPPORTING_KINDS`."""
    file: str | None = None
    """Its name as published, blanks included."""
    url: str | None = None
    """None where its address is not known: the collection's page leads to it."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    contains: str | None = None
    """The name of the file that a ZIP wraps."""
    basket: str | None = None
    """TCIA's identifier of a manifest: its Retriever names the download's folder after it."""


@dataclass(frozen=True, slots=True)
class IdcLocation:
    """Where NCI Imaging Data Commons mirrors a collection."""

    collection_id: str
    bucket: str
    """The public bucket on AWS."""
    gcs_bucket: str | None = None
    """The public bucket with the same content on Google Cloud Storage."""


@dataclass(frozen=True, slots=True)
class AsperaLocation:
    """What is known of the Aspera packages that hold a collection; its page links to them."""

    packages: int | None = None
    file_pattern: str | None = None
    """How the files in them are called."""


@dataclass(frozen=True, slots=True)
class Collection:
    """One collection of TCIA. None, or empty, means that a fact is not known."""

    name: str
    """Exactly as TCIA spells it."""
    format: str
    """One of `FORMATS`."""
    title: str
    """The name again where no title is known."""
    aliases: tuple[str, ...] = ()
    doi: str | None = None
    """Of the data set, bare: `10.7937/…`."""
    slug: str | None = None
    """The last part of its page's address, which TCIA's site API asks for."""
    page: str | None = None
    wiki_pages: tuple[int, ...] = ()
    """The `pageId`s it had on TCIA's older wiki."""
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
    """What a user must know before trusting numbers drawn from it: plain sentences."""
    nbia: str | None = None
    """Its name in NBIA; None where NBIA does not have it."""
    idc: IdcLocation | None = None
    aspera: AsperaLocation | None = None

    @property
    def is_dicom(self) -> bool:
        """Whether its images are DICOM series, which is what the archives list."""
        return self.format == DICOM

    @property
    def names(self) -> tuple[str, ...]:
        """Every word that means this collection and no other: name, aliases, slug, DOI, page."""
        known = (self.name, *self.aliases, self.slug, self.doi, self.page)
        wiki = tuple(f"pageid={page}" for page in self.wiki_pages)
        return tuple(name for name in known if name) + wiki

    def check_license(self, *, commercial_use: bool) -> None:
        """Refuse a use that the license forbids.

        Raises:
            LicenseRefusedError: the use is commercial, and the license does not allow that.
        """
        if commercial_use and self.license is not None and not self.license.commercial_use:
            raise commercial_use_forbidden(self.name, self.license.name)


@dataclass(frozen=True, slots=True)
class Registry:
    """Collections in the order of their files, and TCIA's own citation."""

    collections: tuple[Collection, ...] = ()
    tcia: Publication | None = None

    def __iter__(self) -> Iterator[Collection]:
        return iter(self.collections)

    def __len__(self) -> int:
        return len(self.collections)

    def find(self, name: str) -> Collection | None:
        """The collection that `name` means, or None.

        `name` may be a name or alias (case, blanks, hyphens and underscores do not matter), a
        slug, a DOI (bare, as `doi:…` or as a link) or the address of the collection's page.
        """
        wanted = {fold_name(name), *names_in_address(name)}
        for collection in self.collections:
            if wanted & {fold_name(known) for known in collection.names}:
                return collection
        return None

    def listed_as(self, name: str) -> Collection | None:
        """The collection that archives list as `name`, or None."""
        named = (collection for collection in self.collections if collection.nbia == name)
        return self.find(name) or next(named, None)

    def near(self, name: str) -> list[str]:
        """Names of at most three collections that `name` may be meant for, likeliest first."""
        scores = {collection.name: _likeness(name, collection) for collection in self.collections}
        likely = sorted(scores, key=lambda known: -scores[known])
        return [known for known in likely if scores[known] > _LIKELY][:3]


def _likeness(name: str, collection: Collection) -> float:
    """From 0 to 1: how well `name` fits the collection's best fitting word."""
    wanted = fold_name(name)
    words = [fold_name(word) for word in (collection.name, *collection.aliases)]
    if len(wanted) >= _TELLING and any(wanted in word for word in words):
        return 1.0
    return max(difflib.SequenceMatcher(None, wanted, word).ratio() for word in words)


def commercial_use_forbidden(collection: str, license_name: str) -> LicenseRefusedError:
    """Give the error for a collection whose license forbids commercial use."""
    return LicenseRefusedError(
        f"the license of {collection} ({license_name}) forbids commercial use",
        hint="leave the collection out, or omit --commercial-use if the use is not commercial",
    )


def bare_doi(text: str) -> str:
    """`text` without the `doi:` or `https://doi.org/` that a DOI is often written with."""
    return _DOI_PREFIX.sub("", text.strip(), count=1)


def fold_name(name: str) -> str:
    """The one spelling that all spellings of a name share."""
    bare = bare_doi(name).rstrip("/").casefold()
    return _BETWEEN_WORDS.sub("-", bare)


def names_in_address(text: str) -> set[str]:
    """Folded names that the address of a page on TCIA's site or wiki carries, if `text` is one."""
    try:
        address = urlsplit(text.strip())
    except ValueError:
        return set()
    if not _TCIA_HOST.fullmatch(address.hostname or ""):
        return set()
    last = fold_name(unquote_plus(address.path.rstrip("/").rpartition("/")[2]))
    pages = parse_qs(address.query).get("pageId", [])
    return {last, *(f"pageid={page}" for page in pages)} - {""}
