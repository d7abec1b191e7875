"""What a registry file may say: from values with lines to collections."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import urlsplit

from tcia_covid.catalog.collections import (
    DICOM,
    DOI,
    FORMATS,
    SUPPORTING_KINDS,
    AsperaLocation,
    Collection,
    IdcLocation,
    License,
    Publication,
    SupportingFile,
    bare_doi,
)
from tcia_covid.catalog.yaml_nodes import Item, Table

_FILE_KEYS = ("tcia", "collections")
_COLLECTION_KEYS = (
    *("aliases", "title", "doi", "slug", "page", "wiki_pages", "format", "license", "access"),
    *("cancer_type", "location", "species", "modalities", "patients", "studies", "series"),
    *("images", "volumes", "bytes", "version", "updated", "citation", "publications"),
    *("supporting", "pitfalls", "nbia", "idc", "aspera"),
)
_LICENSE_KEYS = ("name", "url", "commercial_use")
_PUBLICATION_KEYS = (
    *("text", "authors", "more_authors", "year", "title", "container", "volume", "issue"),
    *("pages", "publisher", "version", "doi", "pmc"),
)
_SUPPORTING_KEYS = ("title", "kind", "file", "url", "bytes", "sha256", "contains", "basket")
_IDC_KEYS = ("collection_id", "bucket", "gcs_bucket")
_ASPERA_KEYS = ("packages", "file_pattern")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Entry:
    """A collection and where it was read, for complaints about entries that do not agree."""

    collection: Collection
    file: str
    line: int
    lines: dict[str, int]
    """The line of each of the collection's `names`."""

    def line_of(self, name: str) -> int:
        """The line in which `name` stands."""
        return self.lines.get(name, self.line)


@dataclass(frozen=True, slots=True)
class Contents:
    """What one registry file says."""

    entries: list[Entry]
    tcia: Publication | None


def read_file(document: Item) -> Contents:
    """Everything in a registry file.

    Raises:
        RegistryError: a key is unknown or missing, or a value is not what it must be.
    """
    table = document.table(_FILE_KEYS)
    tcia = table.get("tcia")
    entries = [_entry(name, facts) for name, facts in table.need("collections").pairs()]
    return Contents(entries, _publication(tcia) if tcia else None)


def _entry(name: Item, facts: Item) -> Entry:
    table = facts.table(_COLLECTION_KEYS, what=name.text())
    lines = {alias.text(): alias.line for alias in table.entries("aliases")}
    for key in ("slug", "doi", "page"):
        value = table.get(key)
        if value:
            lines.setdefault(value.text(), value.line)
    lines |= {f"pageid={page.count()}": page.line for page in table.entries("wiki_pages")}
    return Entry(_collection(name.text(), table), name.file, name.line, lines)


def _collection(name: str, table: Table) -> Collection:
    form = _one_of(table.need("format"), FORMATS)
    license, citation = table.get("license"), table.get("citation")
    idc, aspera = table.get("idc"), table.get("aspera")
    return Collection(
        name=name,
        format=form,
        title=table.text("title") or name,
        aliases=table.texts("aliases"),
        doi=_doi(table),
        slug=table.text("slug"),
        page=_url(table, "page"),
        wiki_pages=tuple(page.count() for page in table.entries("wiki_pages")),
        license=_license(license) if license else None,
        access=table.text("access"),
        cancer_type=table.text("cancer_type"),
        location=table.text("location"),
        species=table.text("species"),
        modalities=table.texts("modalities"),
        patients=table.count("patients"),
        studies=table.count("studies"),
        series=table.count("series"),
        images=table.count("images"),
        volumes=table.count("volumes"),
        size=table.count("bytes"),
        version=table.scalar("version"),
        updated=_date(table.get("updated")),
        citation=_publication(citation) if citation else None,
        publications=tuple(_publication(item) for item in table.entries("publications")),
        supporting=tuple(_supporting(item) for item in table.entries("supporting")),
        pitfalls=table.texts("pitfalls"),
        nbia=_nbia(name, form, table),
        idc=_idc(idc) if idc else None,
        aspera=_aspera(aspera) if aspera else None,
    )


def _nbia(name: str, form: str, table: Table) -> str | None:
    if "nbia" in table.values:
        return table.text("nbia")
    return name if form == DICOM else None


def _license(item: Item) -> License:
    table = item.table(_LICENSE_KEYS)
    return License(
        name=table.need("name").text(),
        commercial_use=table.need("commercial_use").flag(),
        url=_url(table, "url"),
    )


def _publication(item: Item) -> Publication:
    if not item.is_table:
        return Publication(text=item.text())
    table = item.table(_PUBLICATION_KEYS)
    more = table.get("more_authors")
    return Publication(
        text=table.need("text").text(),
        authors=table.texts("authors"),
        more_authors=more.flag() if more else False,
        year=table.count("year"),
        title=table.text("title"),
        container=table.text("container"),
        volume=table.scalar("volume"),
        issue=table.scalar("issue"),
        pages=table.scalar("pages"),
        publisher=table.text("publisher"),
        version=table.scalar("version"),
        doi=_doi(table),
        pmc=table.text("pmc"),
    )


def _supporting(item: Item) -> SupportingFile:
    table = item.table(_SUPPORTING_KEYS)
    return SupportingFile(
        title=table.need("title").text(),
        kind=_one_of(table.need("kind"), SUPPORTING_KINDS),
        file=table.text("file"),
        url=_url(table, "url"),
        size=table.count("bytes"),
        sha256=_sha256(table.get("sha256")),
        contains=table.text("contains"),
        basket=table.text("basket"),
    )


def _idc(item: Item) -> IdcLocation:
    table = item.table(_IDC_KEYS)
    return IdcLocation(
        collection_id=table.need("collection_id").text(),
        bucket=table.need("bucket").text(),
        gcs_bucket=table.text("gcs_bucket"),
    )


def _aspera(item: Item) -> AsperaLocation:
    table = item.table(_ASPERA_KEYS)
    return AsperaLocation(table.count("packages"), table.text("file_pattern"))


def _one_of(item: Item, allowed: tuple[str, ...]) -> str:
    for word in allowed:
        if item.text().casefold() == word.casefold():
            return word
    raise item.error(f"must be one of {', '.join(allowed)}, not '{item.text()}'")


def _doi(table: Table) -> str | None:
    item = table.get("doi")
    if item is None:
        return None
    if not DOI.fullmatch(item.scalar()):
        bare = bare_doi(item.scalar())
        hint = (
            f"write it as {bare}" if DOI.fullmatch(bare) else "a DOI looks like 10.7937/abcd-1234"
        )
        raise item.error(f"is no bare DOI: '{item.scalar()}'", hint=hint)
    return item.scalar()


def _url(table: Table, key: str) -> str | None:
    item = table.get(key)
    if item is None:
        return None
    try:
        address = urlsplit(item.text())
    except ValueError as error:
        raise item.error(f"is no address: '{item.text()}'") from error
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise item.error(f"is no http or https address: '{item.text()}'")
    return item.text()


def _date(item: Item | None) -> str | None:
    if item is None:
        return None
    try:
        return date.fromisoformat(item.scalar()).isoformat()
    except ValueError as error:
        raise item.error(f"is no date as yyyy-mm-dd: '{item.scalar()}'") from error


def _sha256(item: Item | None) -> str | None:
    if item is None:
        return None
    if not _SHA256.fullmatch(item.scalar().lower()):
        raise item.error("is no SHA-256: that has 64 hexadecimal digits")
    return item.scalar().lower()
