"""Listing a folder of a bucket: pages of XML, read as what a stranger sent."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from tcia_covid.errors import ArchiveError, BadAnswerError
from tcia_covid.http import Answer, Client
from tcia_covid.model import RemoteImage
from tcia_covid.redact import excerpt

_PAGE_LIMIT = 4 * 1024 * 1024
"""Bytes; a full page of 1,000 keys has about 0.4 MB."""
_PAGES = 1000
"""The biggest series has three."""
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to a listing; `token` asks for the next page, None ends the list."""

    images: tuple[RemoteImage, ...]
    token: str | None


def list_folder(
    client: Client, url: str, folder: str, limit: Callable[[ArchiveError], int | None]
) -> list[RemoteImage]:
    """List the objects in a folder; every page is asked for again where it is unusable.

    Args:
        client: speaks HTTP.
        url: the bucket's.
        folder: the keys' common beginning, with its slash.
        limit: a smaller retry budget for some errors.

    Raises:
        ArchiveError: no usable answer; `StatusError` where the bucket is not there or closed.
        BadAnswerError: the pages run in a circle, or without end.
    """
    images: list[RemoteImage] = []
    tokens: set[str] = set()
    params = {"list-type": "2", "prefix": folder}
    for _ in range(_PAGES):
        page = client.ask(url, lambda answer: read_page(answer, folder), params=params, limit=limit)
        images += page.images
        if page.token is None:
            return images
        if page.token in tokens:
            break
        tokens.add(page.token)
        params["continuation-token"] = page.token
    raise BadAnswerError(f"the list of {folder} has no end: its pages repeat", retryable=True)


def read_page(answer: Answer, folder: str) -> Page:
    """Read one page of a listing.

    Raises:
        BadAnswerError: it is no S3 listing of `folder` (retryable).
    """
    body = answer.read_all(_PAGE_LIMIT)
    try:
        root = _parse(body)
        images = tuple(
            _image(item, folder) for item in root.findall("{*}Contents") if not _is_marker(item)
        )
        token = _text(root, "NextContinuationToken") if _truncated(root) else None
    except ValueError as error:
        raise BadAnswerError(
            f"{answer.url} answered with something that is not the list asked for "
            f"({error}): {excerpt(body)}",
            hint="something on the way may change answers: a proxy, a login page",
            retryable=True,
        ) from error
    return Page(images, token)


def image_version(etag: str) -> str | None:
    """Give an ETag without its quotes; None where it is weak, and so holds nothing fast."""
    etag = etag.strip()
    return None if etag.startswith("W/") else etag.strip('"') or None


def _parse(body: bytes) -> ET.Element:
    text = body.decode("utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # Without a document type there are no entities to expand, and no file or URL to read.
        raise ValueError("a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - bounded in size, and see above
    except ET.ParseError as error:
        raise ValueError("no XML") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise ValueError("no listing")
    return root


def _image(item: ET.Element, folder: str) -> RemoteImage:
    key, size = _text(item, "Key"), _text(item, "Size")
    if not key.startswith(folder):
        raise ValueError("an object of another folder")
    if not (size.isascii() and size.isdigit()):
        raise ValueError("an object without a size")
    version = image_version(item.findtext("{*}ETag") or "")
    # An upload in parts has an ETag of another shape, which is no hash of the content.
    md5 = version.lower() if version and _MD5.fullmatch(version.lower()) else None
    return RemoteImage(key=key, size=int(size), md5=md5, version=version)


def _is_marker(item: ET.Element) -> bool:
    """Whether an entry stands for the folder itself, as some tools make them."""
    return _text(item, "Key").endswith("/")


def _truncated(root: ET.Element) -> bool:
    return (root.findtext("{*}IsTruncated") or "").strip().lower() == "true"


def _text(parent: ET.Element, name: str) -> str:
    text = (parent.findtext(f"{{*}}{name}") or "").strip()
    if not text:
        raise ValueError(f"no {name}")
    return text
