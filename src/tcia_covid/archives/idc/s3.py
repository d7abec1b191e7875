"""Reading and listing the objects of an S3 bucket."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from xml.etree import ElementTree as ET

from tcia_covid.core.errors import (
    BadResponseError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
    UnreachableError,
)
from tcia_covid.core.files import Chunk
from tcia_covid.core.models import RemoteImage
from tcia_covid.core.redaction import excerpt
from tcia_covid.http.client import Client
from tcia_covid.http.ranged import RangedGet
from tcia_covid.http.response import Response, parse_s3_error
from tcia_covid.http.retry import RetryPolicy

_DENIED: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "access is denied",
    HTTPStatus.NOT_FOUND: "it does not exist",
}
_STATUSES: dict[str, int] = {
    "AccessDenied": HTTPStatus.FORBIDDEN,
    "NoSuchBucket": HTTPStatus.NOT_FOUND,
    "NoSuchKey": HTTPStatus.NOT_FOUND,
    "ServiceUnavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "SlowDown": HTTPStatus.SERVICE_UNAVAILABLE,
}
_ERROR_SIZE = 4096
"""Bytes of a response that are searched for an error."""
_PAGE_LIMIT = 4 * 1024 * 1024
"""Bytes; a full page of 1,000 keys has about 0.4 MB."""
_MAX_PAGES = 1000
"""The biggest series has three."""
_MD5_SIZE = 16
_MD5 = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True, eq=False)
class ObjectReader:
    """Reads one object, resuming after an interruption.

    Attributes:
        image: the object as listed: what it must still be.
        is_needed: whether an interruption is still worth a retry.
        offset: bytes of the object that were received before.
        retries: of an interruption; None for as many as the client's settings say.
        md5: the hash that Google's response has, also of an object that was uploaded in parts.
    """

    client: Client
    url: str
    image: RemoteImage
    is_needed: Callable[[], bool] = lambda: True
    offset: int = 0
    retries: int | None = None
    md5: str | None = None

    def chunks(self) -> Generator[Chunk, None, None]:
        """Read the object from `offset` to its end; a chunk is valid until the next one is taken.

        Retries interruptions only: without a first byte it is the caller's turn.

        Raises:
            ResumeError: the object is not the one that was listed, or the server cannot resume
                (retryable, after it was listed again).
            ArchiveError: no retry is left.
        """
        version = self.image.version

        def check_version(response: Response) -> None:
            if version and parse_etag(response.headers.get("ETag", "")) not in (None, version):
                raise get.unexpected("another ETag than the listed one")
            self.md5 = parse_goog_hash(response.headers.get("x-goog-hash", "")) or self.md5

        get = RangedGet(
            self.client,
            self.url,
            f"object {self.image.key}",
            offset=self.offset,
            size=self.image.size,
            headers={} if version is None else {"If-Match": f'"{version}"'},
            refuse=self._refuse_error,
            on_response=check_version,
        )
        policy = RetryPolicy(self.client.settings, self.client.stop)
        while not self.offset or self.offset != self.image.size:
            try:
                for chunk in get.read_rest():
                    policy.progressed()
                    yield chunk
                return
            except (ConnectionLostError, UnreachableError, StatusError) as error:
                is_paused = (error.retry_after or 0.0) > self.client.max_pause
                if get.offset <= self.offset or is_paused or not self.is_needed():
                    raise
                policy.failed(error, limit=self.retries)

    def _refuse_error(self, response: Response) -> None:
        """Raise the error that a server sent with a status of 200.

        Only a response that cannot be the object is read: its length is another one or, where a
        length is not known, its type.
        """
        length, size = response.headers.get("Content-Length", ""), self.image.size
        is_xml = "xml" in response.headers.get("Content-Type", "").lower()
        is_other = length != str(size) if length and size is not None else is_xml
        if response.status == HTTPStatus.OK and is_other:
            _raise_s3_error(response, response.read(_ERROR_SIZE))


def _raise_s3_error(response: Response, body: bytes) -> None:
    """Raise the error that `body` describes, if any, with the status that S3 documents for it."""
    error = parse_s3_error(body)
    if error is None:
        return
    status = _STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
    raise StatusError(
        f"{response.url} returned an error with HTTP {response.status}: {error}",
        status=status,
        hint="try again later",
        retryable=status >= HTTPStatus.INTERNAL_SERVER_ERROR,
        push_back=status == HTTPStatus.SERVICE_UNAVAILABLE,
    )


@contextmanager
def denied_as_unavailable(what: str) -> Iterator[None]:
    """Turn a status that denies `what`, an object or a folder, into a `NotAvailableError`."""
    try:
        yield
    except StatusError as error:
        if error.status not in _DENIED:
            raise
        raise NotAvailableError(
            f"IDC does not provide {what}: {_DENIED[error.status]}",
            hint="with '--source auto' it is downloaded from NBIA instead",
        ) from error


def list_folder(
    client: Client, url: str, folder: str, max_pages: int = _MAX_PAGES
) -> list[RemoteImage]:
    """List the objects whose keys begin with `folder`, which ends in a slash; without retries.

    Raises:
        StatusError: there is no such bucket, or it is not public.
        ArchiveError: no usable response, or pages without an end.
    """
    images: list[RemoteImage] = []
    tokens: set[str] = set()
    params = {"list-type": "2", "prefix": folder}
    for _ in range(max_pages):
        with client.stream("GET", url, params=params) as response:
            page, token = _read_page(response, folder)
        images += page
        if token is None:
            return images
        if token in tokens:
            break
        tokens.add(token)
        params["continuation-token"] = token
    raise BadResponseError(f"the list of {folder} has no end: its pages repeat", retryable=True)


def _read_page(response: Response, folder: str) -> tuple[list[RemoteImage], str | None]:
    """Read one page of a listing, and the token of the next page; None on the last one."""
    body = response.read_all(_PAGE_LIMIT)
    _raise_s3_error(response, body)
    try:
        root = _parse(body)
        entries = [_texts(entry) for entry in root.findall("{*}Contents")]
        # Some tools make an entry for the folder itself.
        images = [_image(each, folder) for each in entries if not _text(each, "Key").endswith("/")]
        page = _texts(root)
        is_truncated = page.get("IsTruncated", "").lower() == "true"
        token = _text(page, "NextContinuationToken") if is_truncated else None
    except ValueError as error:
        raise BadResponseError(
            f"{response.url} sent something else than the requested list ({error}): "
            f"{excerpt(body)}",
            hint="a proxy or a login page may change responses",
            retryable=True,
        ) from error
    return images, token


def parse_etag(etag: str) -> str | None:
    """Return an ETag without its quotes; None where it is weak and so identifies no bytes."""
    etag = etag.strip()
    return None if etag.startswith("W/") else etag.strip('"') or None


def parse_goog_hash(header: str) -> str | None:
    """Return the MD5 of an `x-goog-hash` header (`crc32c=n03x6A==,md5=Ojk9c3dhfxgoKVVHYwFbHQ==`).

    None where it has none: Google stores no MD5 of objects that were composed of others.
    """
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name.lower() == "md5":
            with suppress(ValueError):
                digest = base64.b64decode(value, validate=True)
                return digest.hex() if len(digest) == _MD5_SIZE else None
    return None


def _parse(body: bytes) -> ET.Element:
    text = body.decode("utf-8")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        # Without a document type there are no entities to expand, and no file or URL to read.
        raise ValueError("a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - bounded in size, and see above
    except ET.ParseError as error:
        raise ValueError("not XML") from error
    if root.tag.rpartition("}")[2] != "ListBucketResult":
        raise ValueError("not a listing")
    return root


def _texts(parent: ET.Element) -> dict[str, str]:
    """The texts of elements by their names without namespaces; of several, the first."""
    return {
        child.tag.rpartition("}")[2]: (child.text or "").strip() for child in reversed(list(parent))
    }


def _image(entry: dict[str, str], folder: str) -> RemoteImage:
    key, size = _text(entry, "Key"), _text(entry, "Size")
    if not key.startswith(folder):
        raise ValueError("an object of another folder")
    if not (size.isascii() and size.isdigit()):
        raise ValueError("an object without a size")
    version = parse_etag(entry.get("ETag", ""))
    # The ETag of a multipart upload has another form, and is not a hash of the content.
    md5 = version.lower() if version and _MD5.fullmatch(version.lower()) else None
    return RemoteImage(key=key, size=int(size), md5=md5, version=version)


def _text(texts: dict[str, str], name: str) -> str:
    text = texts.get(name, "")
    if not text:
        raise ValueError(f"no {name}")
    return text
