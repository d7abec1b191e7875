"""TCIA's web site, a WordPress: what a collection's page offers for download."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urljoin, urlsplit, urlunsplit

from tcia_covid.core.errors import BadResponseError, NotAvailableError, StatusError, UsageError
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response

DEFAULT_PORTAL_URL = "https://cancerimagingarchive.net"
_COLLECTION_FIELDS = (
    "id,slug,collection_short_title,collection_doi,collection_downloads,date_updated,version_number"
)
_IDS_A_REQUEST = 100
_PAGES = 50
_ANSWER = 16 * 1024 * 1024
"""Bytes of an answer; a page of a hundred entries has well under one million."""
_DENIED = frozenset({401, 403, 404, 410})
_UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_ADDRESS_KEYS = ("source_url", "url")
Record = Mapping[str, Any]
_TEXT_KEYS = ("rendered", "label", "title", "name", "post_title", "raw")
_ID_KEYS = ("id", "ID")
_LONGEST = 20_000
"""Characters of a text that are looked at."""
_PACKAGES = "faspex"


@dataclass(frozen=True, slots=True)
class _Page:
    records: list[Record]
    next: str
    """The address of the next page, as the site writes it; empty on the last."""


class PortalApi:
    """The site's lists of downloads.

    Args:
        client: speaks HTTP with it.
        base_url: the site's address, without the API's path.

    Raises:
        UsageError: `base_url` is no address that may be asked.
    """

    def __init__(self, client: Client, base_url: str = DEFAULT_PORTAL_URL) -> None:
        self._client = client
        self._base = check_base_url(base_url)

    def downloads(self, slug: str) -> list[PortalDownload]:
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

    def resolve(self, download: PortalDownload) -> PortalDownload:
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
            record = self._client.fetch(f"{self._base}/api/wp/v2/media/{number}", _read_object)
        return read_media(record, self._base)

    def _list(self, path: str, params: dict[str, str]) -> list[Record]:
        """Every record of a list, page by page."""
        url, query = f"{self._base}{path}", dict(params)
        records: list[Record] = []
        for _ in range(_PAGES):
            page = self._client.fetch(url, _read_page, params=query)
            records += page.records
            # Of the link to the next page the query alone is used: the place stays the same.
            following = dict(parse_qsl(urlsplit(page.next).query))
            if not following:
                return records
            if following == query:
                break
            query = following
        raise BadResponseError(f"the list at {url} does not end")

    def _read(self, records: Sequence[Record]) -> list[PortalDownload]:
        read = (read_download(record, self._base) for record in records)
        return [one for one in read if one is not None]


def _read_page(answer: Response) -> _Page:
    content = _parse(answer)
    if not isinstance(content, list):
        raise _bad(answer, "no list")
    return _Page([one for one in content if isinstance(one, dict)], _next_link(answer))


def _read_object(answer: Response) -> Record:
    content = _parse(answer)
    if not isinstance(content, dict):
        raise _bad(answer, "no record")
    return content


def _next_link(answer: Response) -> str:
    from requests.utils import parse_header_links  # noqa: PLC0415 - requests takes 0.2 s

    links = parse_header_links(answer.headers.get("Link", "")[:10_000])
    return next((str(one.get("url", "")) for one in links if one.get("rel") == "next"), "")


def _parse(answer: Response) -> Any:
    body = answer.read_all(_ANSWER)
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _bad(answer, f"something that is no JSON ({excerpt(body) or 'nothing'})") from error


def _bad(answer: Response, what: str) -> BadResponseError:
    return BadResponseError(
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


@dataclass(frozen=True, slots=True)
class PortalDownload:
    """One entry of the download table on a collection's page."""

    id: int
    title: str
    url: str | None = None
    """None where only the media record tells, or where there is none to follow."""
    media: int | None = None
    """The media record that knows the file's address."""
    types: tuple[str, ...] = ()
    """What the site calls its kind of content and of file: `Clinical Data`, `XLSX`, …"""
    size: int | None = None
    """Bytes, as rounded on the page."""
    license: str = ""
    updated: str = ""

    @property
    def is_package(self) -> bool:
        """Whether it is an Aspera Faspex package."""
        return self.url is not None and is_package(self.url)

    @property
    def file(self) -> str:
        """The file's name as its address has it; empty for a package."""
        if self.url is None or self.is_package:
            return ""
        return unquote(urlsplit(self.url).path.rpartition("/")[2])


def read_download(record: Record, base: str) -> PortalDownload | None:
    """Read an entry; None if it has no number.

    Args:
        record: as the site gives it.
        base: the site's address.
    """
    number = record_id(record)
    if number is None:
        return None
    held = record.get("download_file")
    address = text(record.get("download_url"))
    return PortalDownload(
        id=number,
        title=text(record.get("download_title")) or text(record.get("title")),
        url=safe_url(address, base) or _address_in(held, base),
        media=record_id(held),
        types=_types(record),
        size=_size(record),
        license=text(record.get("data_license") or record.get("license")),
        updated=text(record.get("date_updated")),
    )


def read_media(record: Record, base: str) -> str | None:
    """The address that a media record tells; None if it is none to follow."""
    return safe_url(text(record.get("source_url")), base)


def _address_in(held: object, base: str) -> str | None:
    """An address that stands in place of a media record, or in one that is nested."""
    if isinstance(held, str) and not held.isdigit():
        return safe_url(text(held), base)
    if isinstance(held, dict):
        found = next((held[key] for key in _ADDRESS_KEYS if held.get(key)), None)
        return safe_url(text(found), base)
    return None


def _types(record: Record) -> tuple[str, ...]:
    keys = ("download_type", "data_type", "file_type")
    return tuple(one for key in keys for one in labels(record.get(key)))


def _size(record: Record) -> int | None:
    number = decimal(record.get("download_size"))
    unit = re.sub(r"[^a-z]", "", text(record.get("download_size_unit")).casefold())
    return round(number * _UNITS[unit]) if number is not None and unit in _UNITS else None


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)


def text(value: object) -> str:
    """Plain words on one line; empty where there are none."""
    if isinstance(value, Mapping):
        return text(next((value[key] for key in _TEXT_KEYS if value.get(key)), None))
    if isinstance(value, list):
        return "; ".join(filter(None, map(text, value[:100])))
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    words = _Words()
    words.feed(str(value)[:_LONGEST])
    words.close()
    # JSON can escape half a character, which no file takes.
    whole = "".join(words.pieces).encode("utf-8", "replace").decode()
    return " ".join(whole.split())


def labels(value: object) -> tuple[str, ...]:
    """The words of a field that may have several, without doubles."""
    items = value if isinstance(value, list) else [value]
    return tuple(dict.fromkeys(filter(None, map(text, items[:100]))))


def record_id(value: object) -> int | None:
    """The number of a record, given plainly, as text, or inside an object; None without one."""
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
    """A number, perhaps with blanks or thousands' commas in it; None where there is none."""
    try:
        number = float(text(value).replace(",", "").replace(" ", ""))
    except ValueError:
        return None
    return number if 0 <= number < 1e15 else None  # noqa: PLR2004


def check_base_url(url: str) -> str:
    """Give the site's base address without a slash at its end.

    Raises:
        UsageError: it is no address that a site could have.
    """
    if not _is_safe(url, plain=True):
        raise UsageError(
            f"{redact(url)} cannot be the site's address",
            hint="give an https address, such as https://cancerimagingarchive.net",
        )
    return url.rstrip("/")


def safe_url(address: str, base: str) -> str | None:
    """Give an address that the site names, made absolute; None if it is none to follow.

    What WordPress writes as http is asked by https. Plain http is followed on this machine alone,
    and only where the site itself is asked so.
    """
    if not address or any(one < " " for one in address):
        return None
    try:
        whole = urljoin(f"{base}/", address.strip())
        plain = urlsplit(base).scheme == "http"
        secured = re.sub(r"\Ahttp://", "https://", whole, flags=re.IGNORECASE)
        whole = whole if _is_safe(whole, plain=plain) else secured
        return _quoted(whole) if _is_safe(whole, plain=plain) else None
    except ValueError:
        return None


def is_package(address: str) -> bool:
    """Whether an address leads to an Aspera Faspex package rather than to a file."""
    parts = urlsplit(address)
    return _PACKAGES in f"{parts.hostname}{parts.path}".casefold()


def _is_safe(address: str, *, plain: bool) -> bool:
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    if not usable or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (
        plain and parts.scheme == "http" and _is_loopback(parts.hostname or "")
    )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _quoted(address: str) -> str:
    """Blanks and other characters that no address has, as their codes."""
    parts = urlsplit(address)
    path = quote(parts.path, safe="/%:@!$&'()*+,;=~-._")
    query = quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))
