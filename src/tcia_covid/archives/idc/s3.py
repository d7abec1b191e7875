"""Reading one object, and going on inside it where the line breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from xml.etree import ElementTree as ET

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
    UnreachableError,
)
from tcia_covid.core.models import RemoteImage
from tcia_covid.core.redaction import excerpt
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response
from tcia_covid.http.retry import RetryPolicy

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_OK, _PARTIAL = 200, 206
_CHANGED = frozenset({412, 416})
GONE = 404
_DENIED = {
    403: "access is denied",
    GONE: "it is not there",
}
_PAGE_LIMIT = 4 * 1024 * 1024
"""Bytes; a full page of 1,000 keys has about 0.4 MB."""
_PAGES = 1000
"""The biggest series has three."""
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class ObjectReader:
    """The bytes of one object, from however many requests they take.

    Args:
        client: speaks HTTP.
        url: the object's.
        image: the object as listed: what it must still be.
        limit: a smaller retry budget for some errors.
        worth_it: whether a break is still worth waiting for.
        start_retries: attempts at the first byte after the first one.
    """

    client: Client
    url: str
    image: RemoteImage
    limit: Callable[[ArchiveError], int | None] = lambda error: None
    worth_it: Callable[[], bool] = lambda: True
    start_retries: int = 3
    offset: int = field(default=0, init=False)
    """Bytes given so far."""
    _size: int | None = field(default=None, init=False)

    def chunks(self) -> Generator[bytes, None, None]:
        """Read the object from its start to its end.

        Raises:
            BadAnswerError: the object is not, or no longer, the one that was listed, or cannot
                be gone on with (retryable: from its start, once it was listed again).
            ArchiveError: the budget of attempts that brought nothing is spent.
        """
        self._size = self.image.size
        patience = RetryPolicy(self.client.settings, self.client.stop)
        while True:
            try:
                for chunk in self._rest():
                    patience.progressed()
                    yield chunk
                return
            except (ConnectionLostError, UnreachableError, StatusError) as error:
                if not self.worth_it():
                    raise
                patience.failed(error, limit=self._limit(error))

    def _rest(self) -> Iterator[bytes]:
        """Read on from `offset` with one request."""
        with self.client.stream("GET", self.url, headers=self._headers()) as answer:
            self._check(answer)
            for chunk in answer.chunks():
                self.offset += len(chunk)
                if self._size is not None and self.offset > self._size:
                    raise self._changed(f"more than the {self._size} bytes listed")
                yield chunk
        if self._size is not None and self.offset < self._size:
            raise ConnectionLostError(
                f"the answer of {answer.url} ended after {self.offset} of {self._size} bytes",
                retryable=True,
            )

    def _headers(self) -> dict[str, str]:
        headers = {}
        if self.image.version is not None:
            headers["If-Match"] = f'"{self.image.version}"'
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        return headers

    def _check(self, answer: Response) -> None:
        """Make sure that `answer` carries what was asked for, before a byte of it is used."""
        version = image_version(answer.headers.get("ETag", ""))
        if version and self.image.version and version != self.image.version:
            raise self._changed("another ETag")
        if self.offset:
            self._check_range(answer)
        elif answer.status != _OK:
            raise self._changed(f"HTTP {answer.status}")
        else:
            self._check_size(answer.headers.get("Content-Length", ""))

    def _check_range(self, answer: Response) -> None:
        if answer.status != _PARTIAL:
            raise self._changed(f"HTTP {answer.status} where it was to go on at {self.offset}")
        given = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
        if given is None or int(given[1]) != self.offset:
            raise self._changed(f"another range than that from {self.offset}")
        self._check_size(given[2])

    def _check_size(self, said: str) -> None:
        if not (said.isascii() and said.isdigit()):
            return
        if self._size is None:
            self._size = int(said)
        if int(said) != self._size:
            raise self._changed(f"{said} bytes instead of {self._size}")

    def _limit(self, error: ArchiveError) -> int | None:
        limits = [self.limit(error), None if self.offset else self.start_retries]
        return min((limit for limit in limits if limit is not None), default=None)

    def _changed(self, what: str) -> BadResponseError:
        return BadResponseError(
            f"object {self.image.key} is not what was listed: the archive sends {what}",
            hint="it is listed again, and fetched from its start",
            retryable=True,
        )


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Tell what an HTTP error means for `what`: an object, or the folder of a series.

    Raises:
        NotAvailableError: it is not there, or access is denied.
        BadAnswerError: it changed since it was listed (retryable).
        StatusError: any other status.
    """
    try:
        yield
    except StatusError as error:
        if error.status in _CHANGED:
            raise BadResponseError(f"{what} changed since it was listed", retryable=True) from error
        if error.status not in _DENIED:
            raise
        raise NotAvailableError(
            f"IDC does not give {what}: {_DENIED[error.status]}",
            hint="with '--source auto' it is fetched from NBIA instead",
        ) from error


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
        page = client.fetch(
            url, lambda answer: read_page(answer, folder), params=params, limit=limit
        )
        images += page.images
        if page.token is None:
            return images
        if page.token in tokens:
            break
        tokens.add(page.token)
        params["continuation-token"] = page.token
    raise BadResponseError(f"the list of {folder} has no end: its pages repeat", retryable=True)


def read_page(answer: Response, folder: str) -> Page:
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
        raise BadResponseError(
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
