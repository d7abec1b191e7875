"""The API of TCIA's web site, a WordPress: the downloads on a collection's page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

from tcia_covid.core.errors import BadResponseError, NotAvailableError, StatusError, UsageError
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response
from tcia_covid.http.settings import is_safe_address

DEFAULT_PORTAL_URL = "https://cancerimagingarchive.net"
_COLLECTION_FIELDS = (
    "id,slug,collection_short_title,collection_doi,collection_downloads,date_updated,version_number"
)
_IDS_PER_REQUEST = 100
_MAX_PAGES = 50
_RESPONSE_LIMIT = 16 * 1024 * 1024
"""Bytes; a page of a hundred entries has less than one million."""
_UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_URL_KEYS = ("source_url", "url")
T = TypeVar("T")
Record = Mapping[str, Any]
_TEXT_KEYS = ("rendered", "label", "title", "name", "post_title", "raw")
_ID_KEYS = ("id", "ID")
_MAX_TEXT = 20_000
"""Characters of a text that are read."""


class PortalApi:
    """The site's lists of downloads; `base_url` is its address, without the API's path."""

    def __init__(self, client: Client, base_url: str = DEFAULT_PORTAL_URL) -> None:
        self._client = client
        self._base = check_base_url(base_url)

    def downloads(self, slug: str) -> list[PortalDownload]:
        """The downloads on the page of the collection `slug`, in the page's order.

        Raises:
            NotAvailableError: the site has no such collection.
            ArchiveError: no usable response.
        """
        listed = list(items(self._collection(slug).get("collection_downloads")))
        ids = [number for number in map(record_id, listed) if number is not None]
        nested = [item for item in listed if isinstance(item, dict)]
        read = (read_download(record, self._base) for record in (*nested, *self._entries(ids)))
        by_id = {download.id: download for download in read if download is not None}
        return [by_id[number] for number in dict.fromkeys(ids) if number in by_id]

    def resolve(self, download: PortalDownload) -> PortalDownload:
        """Return `download` with its URL, from its media record where needed.

        Raises:
            NotAvailableError: it has no usable URL.
            ArchiveError: no usable response.
        """
        if download.url is None and download.media is not None:
            url = f"{self._base}/api/wp/v2/media/{download.media}"
            with _denied_as_unavailable(f"media record {download.media}"):
                media = self._client.fetch(url, lambda response: _read_json(response, dict))
            download = replace(download, url=_media_url(media, self._base))
        if download.url is None:
            raise NotAvailableError(
                f"TCIA's site has no usable address for '{download.title}'",
                hint="the collection's page may lead to it",
            )
        return download

    def _collection(self, slug: str) -> Record:
        params = {"slug": slug, "_fields": _COLLECTION_FIELDS}
        for record in self._list("/api/v1/collections/", params, f"collection {slug}"):
            if text(record.get("slug")) == slug:
                return record
        raise NotAvailableError(
            f"TCIA's site lists no collection '{slug}'",
            hint="look for its page at www.cancerimagingarchive.net, or try again later",
        )

    def _entries(self, ids: Sequence[int]) -> list[Record]:
        records: list[Record] = []
        for start in range(0, len(ids), _IDS_PER_REQUEST):
            part = ids[start : start + _IDS_PER_REQUEST]
            params = {"include": ",".join(map(str, part)), "per_page": str(_IDS_PER_REQUEST)}
            records += self._list("/api/v1/downloads/", params, "the list of downloads")
        return records

    def _list(self, path: str, params: dict[str, str], what: str) -> list[Record]:
        """Every record of a list, page by page."""
        url, query = f"{self._base}{path}", dict(params)
        records: list[Record] = []
        for _ in range(_MAX_PAGES):
            with _denied_as_unavailable(what):
                page, next_link = self._client.fetch(url, _read_page, params=query)
            records += page
            # Only the query of the link is used: the host and the path stay the same.
            next_query = dict(parse_qsl(urlsplit(next_link).query))
            if not next_query:
                return records
            if next_query == query:
                break
            query = next_query
        raise BadResponseError(f"the list at {url} does not end")


def _read_page(response: Response) -> tuple[list[Record], str]:
    """The records of a page, and the link to the next page; empty on the last one."""
    records: list[Record] = [item for item in _read_json(response, list) if isinstance(item, dict)]
    return records, response.links.get("next", {}).get("url", "")


def _read_json(response: Response, kind: type[T]) -> T:
    """Read a response that must be a JSON value of this type.

    Raises:
        BadResponseError: it is not (retryable).
    """
    body = response.read_all(_RESPONSE_LIMIT)
    try:
        content = json.loads(body)
        if isinstance(content, kind):
            return content
        what = f"something that is not a {'list' if kind is list else 'record'}"
    except (ValueError, RecursionError):
        what = f"something that is not JSON ({excerpt(body) or 'nothing'})"
    raise BadResponseError(
        f"{response.url} sent {what}", hint="check --site-url, or try again later", retryable=True
    )


@contextmanager
def _denied_as_unavailable(what: str) -> Iterator[None]:
    """Turn a status that denies `what` into a `NotAvailableError`."""
    try:
        yield
    except StatusError as error:
        if not error.is_denial:
            raise
        raise NotAvailableError(
            f"TCIA's site does not provide {what}: {error.message}",
            hint="check --site-url; the collection's page may lead to the files",
        ) from error


@dataclass(frozen=True, slots=True)
class PortalDownload:
    """One entry of the download table on a collection's page."""

    id: int
    title: str
    url: str | None = None
    """None where only the media record has it, or where it is not usable."""
    media: int | None = None
    """The media record that has the file's URL."""
    types: tuple[str, ...] = ()
    """The site's names for the type of content and of file: `Clinical Data`, `XLSX`, …"""
    size: int | None = None
    """Bytes, as rounded on the page."""

    @property
    def is_package(self) -> bool:
        """Whether it is an Aspera Faspex package."""
        parts = urlsplit(self.url or "")
        return "faspex" in f"{parts.hostname}{parts.path}".casefold()

    @property
    def file(self) -> str:
        """The file's name in its URL; empty for a package."""
        if self.url is None or self.is_package:
            return ""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def read_download(record: Record, base: str) -> PortalDownload | None:
    """Read an entry of the site whose address is `base`; None if it has no number."""
    number = record_id(record)
    if number is None:
        return None
    media = record.get("download_file")
    url = text(record.get("download_url"))
    size = decimal(record.get("download_size"))
    unit = re.sub(r"[^a-z]", "", text(record.get("download_size_unit")).casefold())
    kinds = [record.get(key) for key in ("download_type", "data_type", "file_type")]
    return PortalDownload(
        id=number,
        title=text(record.get("download_title")) or text(record.get("title")),
        url=safe_url(url, base) or _media_url(media, base),
        media=record_id(media),
        types=tuple(label for kind in kinds for label in labels(kind)),
        size=round(size * _UNITS[unit]) if size is not None and unit in _UNITS else None,
    )


def _media_url(media: object, base: str) -> str | None:
    """The URL in a nested media record, or in place of one."""
    if isinstance(media, dict):
        media = next((media[key] for key in _URL_KEYS if media.get(key)), None)
    elif not isinstance(media, str) or media.isdigit():
        return None
    return safe_url(text(media), base)


class _TextParser(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def text(value: object) -> str:
    """The text of a field without HTML, on one line; empty where there is none."""
    if isinstance(value, Mapping):
        return text(next((value[key] for key in _TEXT_KEYS if value.get(key)), None))
    if isinstance(value, list):
        return "; ".join(filter(None, map(text, value[:100])))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    parser = _TextParser()
    parser.feed(str(value)[:_MAX_TEXT])
    parser.close()
    # JSON can escape surrogates, which files cannot represent.
    whole = "".join(parser.pieces).encode("utf-8", "replace").decode()
    return " ".join(whole.split())


def labels(value: object) -> tuple[str, ...]:
    """The texts of a field that may have several, without duplicates."""
    values = value[:100] if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(filter(None, map(text, values))))


def record_id(value: object) -> int | None:
    """The ID of a record, given as a number, as text, or in an object; None without one."""
    if isinstance(value, Mapping):
        return record_id(next((value[key] for key in _ID_KEYS if key in value), None))
    if isinstance(value, str):
        value = int(value) if value.isascii() and value.isdigit() and len(value) < 16 else None  # noqa: PLR2004
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if value > 0 else None


def items(value: object) -> Iterator[object]:
    """The members of a list, however written: a list, an object of objects, `1,2`, one item."""
    if isinstance(value, str) and "," in value:
        yield from value.split(",")
    elif isinstance(value, list):
        yield from value
    elif isinstance(value, Mapping) and record_id(value) is None:
        yield from value.values()
    elif value:
        yield value


def decimal(value: object) -> float | None:
    """A number, perhaps with spaces or thousands separators; None where there is none."""
    try:
        number = float(text(value).replace(",", "").replace(" ", ""))
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None  # noqa: PLR2004


def check_base_url(url: str) -> str:
    """Return the site's base URL without a slash at its end, or raise `UsageError`."""
    if not is_safe_address(url, allow_http=True):
        raise UsageError(
            f"{redact(url)} cannot be the site's address",
            hint="give an https address, such as https://cancerimagingarchive.net",
        )
    return url.rstrip("/")


def safe_url(url: str, base: str) -> str | None:
    """Make a URL of the site absolute; None if it must not be followed.

    http URLs of WordPress are changed to https. Plain http is followed only on this machine, and
    only where the site itself uses it.
    """
    if not url or any(character < " " for character in url):
        return None
    try:
        absolute = urljoin(f"{base}/", url.strip())
        allow_http = urlsplit(base).scheme == "http"
        if not is_safe_address(absolute, allow_http=allow_http):
            absolute = re.sub(r"\Ahttp://", "https://", absolute, flags=re.IGNORECASE)
        return _quoted(absolute) if is_safe_address(absolute, allow_http=allow_http) else None
    except ValueError:
        return None


def _quoted(url: str) -> str:
    """Percent-encode spaces and other characters that are not allowed in a URL."""
    parts = urlsplit(url)
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
