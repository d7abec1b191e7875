"""Asking TCIA's site, a WordPress, what a collection's page offers for download."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from requests.utils import parse_header_links

from tcia_covid.archives.site.addresses import checked_base
from tcia_covid.archives.site.fields import Record, items, record_id, text
from tcia_covid.archives.site.records import SiteDownload, read_download, read_media
from tcia_covid.errors import BadAnswerError, NotAvailableError, StatusError
from tcia_covid.http import Answer, Client
from tcia_covid.redact import excerpt

DEFAULT_URL = "https://cancerimagingarchive.net"

_COLLECTION_FIELDS = (
    "id,slug,collection_short_title,collection_doi,collection_downloads,date_updated,version_number"
)
_IDS_A_REQUEST = 100
_PAGES = 50
_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer; a page of a hundred entries has well under one million."""
_DENIED = frozenset({401, 403, 404, 410})


@dataclass(frozen=True, slots=True)
class _Page:
    records: list[Record]
    next: str
    """The address of the next page, as the site writes it; empty on the last."""


class SiteApi:
    """The site's lists of downloads.

    Args:
        client: speaks HTTP with it.
        base_url: the site's address, without the API's path.

    Raises:
        UsageError: `base_url` is no address that may be asked.
    """

    def __init__(self, client: Client, base_url: str = DEFAULT_URL) -> None:
        self._client = client
        self._base = checked_base(base_url)

    def downloads(self, slug: str) -> list[SiteDownload]:
        """What the page of the collection `slug` offers, in the page's order.

        Raises:
            NotAvailableError: the site has no such collection.
            ArchiveError: no usable answer.
        """
        listed = list(items(self._collection(slug).get("collection_downloads")))
        ids = [number for number in map(record_id, listed) if number is not None]
        nested = [one for one in listed if isinstance(one, dict)]
        known = {one.id: one for one in self._read([*nested, *self._entries(ids)])}
        return [known[number] for number in dict.fromkeys(ids) if number in known]

    def resolve(self, download: SiteDownload) -> SiteDownload:
        """Give `download` with its address, asking for the media record where that has it.

        Raises:
            NotAvailableError: it has no address that may be followed.
            ArchiveError: no usable answer.
        """
        if download.url is None and download.media is not None:
            download = replace(download, url=self._media(download.media))
        if download.url is None:
            raise NotAvailableError(
                f"TCIA's site names no address to follow for '{download.title}'",
                hint="the collection's page may lead to it",
            )
        return download

    def _collection(self, slug: str) -> Record:
        params = {"slug": slug, "_fields": _COLLECTION_FIELDS}
        with _refusals(f"collection {slug}"):
            found = self._list("/api/v1/collections/", params)
        for record in found:
            if text(record.get("slug")) == slug:
                return record
        raise NotAvailableError(
            f"TCIA's site lists no collection '{slug}'",
            hint="look for its page at www.cancerimagingarchive.net, or try again later",
        )

    def _entries(self, ids: Sequence[int]) -> list[Record]:
        found = []
        for start in range(0, len(ids), _IDS_A_REQUEST):
            part = ids[start : start + _IDS_A_REQUEST]
            params = {"include": ",".join(map(str, part)), "per_page": str(_IDS_A_REQUEST)}
            with _refusals("the list of downloads"):
                found += self._list("/api/v1/downloads/", params)
        return found

    def _media(self, number: int) -> str | None:
        with _refusals(f"media record {number}"):
            record = self._client.ask(f"{self._base}/api/wp/v2/media/{number}", _read_object)
        return read_media(record, self._base)

    def _list(self, path: str, params: dict[str, str]) -> list[Record]:
        """Every record of a list, page by page."""
        url, query = f"{self._base}{path}", dict(params)
        records: list[Record] = []
        for _ in range(_PAGES):
            page = self._client.ask(url, _read_page, params=query)
            records += page.records
            # Of the link to the next page the query alone is used: the place stays the same.
            following = dict(parse_qsl(urlsplit(page.next).query))
            if not following:
                return records
            if following == query:
                break
            query = following
        raise BadAnswerError(f"the list at {url} does not end")

    def _read(self, records: Sequence[Record]) -> list[SiteDownload]:
        read = (read_download(record, self._base) for record in records)
        return [one for one in read if one is not None]


def _read_page(answer: Answer) -> _Page:
    content = _parse(answer)
    if not isinstance(content, list):
        raise _bad(answer, "no list")
    return _Page([one for one in content if isinstance(one, dict)], _next_link(answer))


def _read_object(answer: Answer) -> Record:
    content = _parse(answer)
    if not isinstance(content, dict):
        raise _bad(answer, "no record")
    return content


def _next_link(answer: Answer) -> str:
    links = parse_header_links(answer.headers.get("Link", "")[:10_000])
    return next((str(one.get("url", "")) for one in links if one.get("rel") == "next"), "")


def _parse(answer: Answer) -> Any:
    body = answer.read_all(_ANSWER)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(answer, f"something that is no JSON ({excerpt(body) or 'nothing'})") from error


def _bad(answer: Answer, what: str) -> BadAnswerError:
    return BadAnswerError(
        f"{answer.url} answered with {what}",
        hint="check --site-url, or try again later",
        retryable=True,
    )


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Tell what an HTTP error means for `what`.

    Raises:
        NotAvailableError: the site does not have it, or does not give it.
    """
    try:
        yield
    except StatusError as error:
        if error.status not in _DENIED:
            raise
        raise NotAvailableError(
            f"TCIA's site does not give {what}: {error.message}",
            hint="check --site-url; the collection's page may lead to the files",
        ) from error
