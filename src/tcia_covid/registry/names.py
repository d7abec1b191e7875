"""What users type for a collection, brought to one spelling: names, DOIs and addresses."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, unquote_plus, urlsplit

DOI = re.compile(r"10\.\d{4,9}/[^\s{}\"<>\\]+")
"""A bare DOI, of characters that citation formats can carry."""

_DOI_PREFIX = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:\s*)", re.IGNORECASE)
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_TCIA_HOST = re.compile(r"(?:[\w-]+\.)*cancerimagingarchive\.net", re.IGNORECASE)


def bare_doi(text: str) -> str:
    """`text` without the `doi:` or `https://doi.org/` that a DOI is often written with."""
    return _DOI_PREFIX.sub("", text.strip(), count=1)


def fold(name: str) -> str:
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
    last = fold(unquote_plus(address.path.rstrip("/").rpartition("/")[2]))
    pages = parse_qs(address.query).get("pageId", [])
    return {last, *(f"pageid={page}" for page in pages)} - {""}
