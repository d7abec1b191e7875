"""The site's records of downloads as values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from tcia_covid.archives.site.addresses import is_package, taken
from tcia_covid.archives.site.fields import Record, decimal, labels, record_id, text

_UNITS = {"b": 1, "bytes": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_ADDRESS_KEYS = ("source_url", "url")


@dataclass(frozen=True, slots=True)
class SiteDownload:
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
    licence: str = ""
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


def read_download(record: Record, base: str) -> SiteDownload | None:
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
    return SiteDownload(
        id=number,
        title=text(record.get("download_title")) or text(record.get("title")),
        url=taken(address, base) or _address_in(held, base),
        media=record_id(held),
        types=_types(record),
        size=_size(record),
        licence=text(record.get("data_license") or record.get("license")),
        updated=text(record.get("date_updated")),
    )


def read_media(record: Record, base: str) -> str | None:
    """The address that a media record tells; None if it is none to follow."""
    return taken(text(record.get("source_url")), base)


def _address_in(held: object, base: str) -> str | None:
    """An address that stands in place of a media record, or in one that is nested."""
    if isinstance(held, str) and not held.isdigit():
        return taken(text(held), base)
    if isinstance(held, dict):
        found = next((held[key] for key in _ADDRESS_KEYS if held.get(key)), None)
        return taken(text(found), base)
    return None


def _types(record: Record) -> tuple[str, ...]:
    keys = ("download_type", "data_type", "file_type")
    return tuple(one for key in keys for one in labels(record.get(key)))


def _size(record: Record) -> int | None:
    number = decimal(record.get("download_size"))
    unit = re.sub(r"[^a-z]", "", text(record.get("download_size_unit")).casefold())
    return round(number * _UNITS[unit]) if number is not None and unit in _UNITS else None
