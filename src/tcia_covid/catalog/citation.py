"""Citations of a collection, and the license text that is stored with its data."""

from __future__ import annotations

import json
import re
import textwrap
import unicodedata
from collections.abc import Iterator
from enum import Enum
from itertools import chain, count
from typing import Literal, NamedTuple

from tcia_covid.catalog.collections import Collection, Publication, Registry
from tcia_covid.core.errors import UsageError

Style = Literal["text", "bibtex", "csl-json"]
STYLES: tuple[Style, ...] = ("text", "bibtex", "csl-json")
USAGE_POLICY = "https://www.cancerimagingarchive.net/data-usage-policies-and-restrictions/"
_POLICY = (
    "TCIA data usage policy, which every user of these data agrees to: do not try to identify or "
    f"contact the people they come from, and acknowledge the data set.\n{USAGE_POLICY}"
)
_WIDTH = 88
_DOI_URL = "https://doi.org/"
_TEX = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "{": r"\textbraceleft{}",
        "}": r"\textbraceright{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        **{sign: f"\\{sign}" for sign in "&%$#_"},
    }
)
# Braces are written as commands: BibTeX counts even escaped ones to find the end of a field.


class Role(Enum):
    """Why a reference is cited; the value is its heading."""

    DATA = "Data citation"
    PUBLICATION = "Publication"
    ARCHIVE = "The Cancer Imaging Archive"


class Reference(NamedTuple):
    """A publication, why it is cited, and its citation key."""

    publication: Publication
    role: Role
    key: str


def format_citation(collection: Collection, registry: Registry, style: str = "text") -> str:
    """Format the citations of `collection` in one of `STYLES`, with a final newline.

    The data come first, then publications about them, then TCIA's own article.

    Raises:
        UsageError: `style` is unknown.
    """
    items = list(references(collection, registry))
    if style == "text":
        return "\n\n".join(f"{item.role.value}:\n{_sentence(item)}" for item in items) + "\n"
    if style == "bibtex":
        return "\n\n".join(_bibtex(item) for item in items) + "\n"
    if style == "csl-json":
        return json.dumps([_csl(item) for item in items], indent=2, ensure_ascii=False) + "\n"
    raise UsageError(
        f"there is no citation style '{style}'", hint=f"the styles are {', '.join(STYLES)}"
    )


def references(collection: Collection, registry: Registry) -> Iterator[Reference]:
    """Yield what to cite for `collection`, with unique keys."""
    taken: set[str] = set()
    for publication, role in _publications(collection, registry):
        name = re.sub(r"[\s_-]+", "-", collection.name.casefold())
        stem = name if role is Role.DATA else _author_year(publication)
        stem = re.sub(r"[^a-z0-9.-]", "", stem) or "data"
        numbered = (f"{stem}-{number}" for number in count(2))
        key = next(key for key in chain([stem], numbered) if key not in taken)
        taken.add(key)
        yield Reference(publication, role, key)


def license_text(collection: Collection) -> str:
    """Write the LICENSE.txt of `collection`."""
    title = "" if collection.title == collection.name else f"\n{collection.title}"
    citing = "Cite the data as the collection's page asks."
    if data := _data_citation(collection):
        citing = f"Cite the data as:\n{_sentence(Reference(data, Role.DATA, ''))}"
    terms = "License: not on record. The collection's page states the terms of use."
    if license := collection.license:
        link = f"\n{license.url}" if license.url else ""
        terms = f"License: {license.name}{link}\n{license.permission}"
    paragraphs = [f"{collection.name}{title}", terms, citing, _POLICY]
    if collection.page:
        paragraphs.append(f"The collection's page:\n{collection.page}")
    # Addresses stay whole.
    wrapper = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    return (
        "\n\n".join(
            "\n".join(map(wrapper.fill, paragraph.splitlines())) for paragraph in paragraphs
        )
        + "\n"
    )


def _publications(collection: Collection, registry: Registry) -> Iterator[tuple[Publication, Role]]:
    data = _data_citation(collection)
    if data:
        yield data, Role.DATA
    for publication in collection.publications:
        yield publication, Role.PUBLICATION
    if registry.tcia:
        yield registry.tcia, Role.ARCHIVE


def _data_citation(collection: Collection) -> Publication | None:
    """The data citation, or title and DOI if the registry has no more."""
    if collection.citation or not collection.doi:
        return collection.citation
    text = f"{collection.title} [Data set]"
    return Publication(text=text, title=collection.title, doi=collection.doi)


def _author_year(publication: Publication) -> str:
    """Make a key such as `tsai2021`."""
    family = publication.authors[0].partition(",")[0] if publication.authors else "reference"
    plain = unicodedata.normalize("NFKD", family).encode("ascii", "ignore").decode()
    letters = re.sub(r"[^a-z0-9]", "", plain.lower()) or "reference"
    return f"{letters}{publication.year or ''}"


def _sentence(item: Reference) -> str:
    """The citation as published, with a link if its DOI is missing."""
    publication = item.publication
    if not publication.doi or publication.doi.casefold() in publication.text.casefold():
        return publication.text
    return f"{publication.text.rstrip('.')}. {_DOI_URL}{publication.doi}"


def _bibtex(item: Reference) -> str:
    publication = item.publication
    plain = {
        "title": publication.title,
        "journal": publication.container,
        "year": publication.year,
        "volume": publication.volume,
        "number": publication.issue,
        "pages": re.sub("[-\u2013]+", "--", publication.pages or ""),
        "howpublished": publication.publisher,
        "note": _note(item),
    }
    fields = {name: _tex(str(value)) for name, value in plain.items() if value}
    if "title" in fields:
        # Inner braces keep the case of CT and COVID in every style.
        fields["title"] = f"{{{fields['title']}}}"
    # BibTeX packages print these two unchanged: escaping would break the links.
    doi = publication.doi or ""
    links = {"doi": doi, "url": f"{_DOI_URL}{doi}" if doi else ""}
    fields = {"author": _bibtex_authors(publication), **fields, **links}
    kind = "article" if publication.container is not None else "misc"
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
    return "\n".join([f"@{kind}{{{item.key},", *lines, "}"])


def _bibtex_authors(publication: Publication) -> str:
    names = [
        _tex(author) if "," in author else f"{{{_tex(author)}}}" for author in publication.authors
    ]
    return " and ".join(names + ["others"] * (publication.more_authors and bool(names)))


def _note(item: Reference) -> str:
    """The note: that it is a data set, or the whole citation if there is only text."""
    publication = item.publication
    if publication.title is None:
        return publication.text
    if item.role is not Role.DATA:
        return ""
    return f"Data set, version {publication.version}" if publication.version else "Data set"


def _tex(text: str) -> str:
    """Escape everything that TeX takes for a command, on one line."""
    return " ".join(text.split()).translate(_TEX)


def _csl(item: Reference) -> dict[str, object]:
    """One item of CSL-JSON."""
    publication = item.publication
    doi = publication.doi
    article_or_document = "article-journal" if publication.container else "document"
    fields: dict[str, object | None] = {
        "id": item.key,
        "type": "dataset" if item.role is Role.DATA else article_or_document,
        "title": publication.title or publication.text,
        "author": _csl_authors(publication),
        "issued": {"date-parts": [[publication.year]]} if publication.year else None,
        "container-title": publication.container,
        "volume": publication.volume,
        "issue": publication.issue,
        "page": publication.pages,
        "publisher": publication.publisher,
        "version": publication.version,
        "PMCID": publication.pmc,
        "DOI": doi,
        "URL": f"{_DOI_URL}{doi}" if doi else None,
    }
    return {name: value for name, value in fields.items() if value}


def _csl_authors(publication: Publication) -> list[dict[str, str]]:
    """CSL cannot mark a list as incomplete: converters write and read `others`."""
    names = []
    for author in publication.authors:
        family, comma, given = (part.strip() for part in author.partition(","))
        names.append({"family": family, "given": given} if comma else {"literal": author})
    return [*names, {"literal": "others"}] if publication.more_authors and names else names
