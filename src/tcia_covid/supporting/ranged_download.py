"""Receiving one file over HTTP, and going on inside it where the line breaks."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tcia_covid.core.errors import (
    ArchiveError,
    BadResponseError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
)
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response
from tcia_covid.http.retry import RetryPolicy
from tcia_covid.store.disk import destination_errors
from tcia_covid.store.tree import Tree

LARGEST = 8 * 1024**3
"""Bytes; a file that is longer is not received to its end."""
_PARTIAL, _BEYOND = 206, 416
_GONE = frozenset({401, 403, 404, 410})
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_MOST_PAGES = 2
"""Web pages in place of the file before it is given up."""
ENOUGH = 512
"""Bytes that are looked at."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BEGINNINGS = {
    **dict.fromkeys((".xlsx", ".docx", ".pptx", ".zip"), _ZIP),
    **dict.fromkeys((".xls", ".doc"), (b"\xd0\xcf\x11\xe0",)),
    ".pdf": (b"%PDF",),
    ".gz": (b"\x1f\x8b",),
}
_TEXTS = (".csv", ".tsv", ".txt", ".tcia", ".json", ".xml")
_PAGE_BEGINNINGS = (b"<!doctype html", b"<html", b"<head", b"<script", b"<body")


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of a half-received file."""

    url: str
    """A hash of the address: that may be signed."""
    validator: str
    """What the server calls this version of the file: a strong ETag, or its date."""


class ResumableDownload:
    """Receives a file into a folder for half-received ones; goes on with what is there.

    Args:
        client: speaks HTTP.
        url: the file's address.
        name: the file's name: tells what kind it should be.
        tree: the seam to the file system.
        folder: for half-received files.
        on_retry: hears why an attempt failed, and how long it is until the next one.
    """

    def __init__(
        self,
        client: Client,
        url: str,
        name: str,
        tree: Tree,
        folder: Path,
        on_retry: Callable[[str, float], None] = lambda reason, wait: None,
    ) -> None:
        self._client = client
        self._url = url
        self._name = name
        self._tree = tree
        self._on_retry = on_retry
        self.part = folder / f"{name}.part"
        """Where the file is while it arrives."""
        self._note = folder / f"{name}.state"
        self._identity = hashlib.sha256(url.encode()).hexdigest()

    def run(self) -> Path:
        """Receive the file; gives where it is, whole.

        Raises:
            NotAvailableError: the server does not have it, or does not give it.
            ArchiveError: it did not arrive.
            DestinationError: the disk.
        """
        patience = RetryPolicy(self._client.settings, self._client.stop, self._on_retry)
        while True:
            before = self._size()
            try:
                with destination_errors(str(self.part)):
                    self._tree.disk.make_folder(self.part.parent)
                    self._receive()
                return self.part
            except ArchiveError as error:
                if not self._size():
                    self.discard()
                if self._size() > before:
                    patience.progressed()
                few = _MOST_PAGES if isinstance(error, BadResponseError) else None
                patience.failed(self._meaning(error), limit=few)

    def discard(self) -> None:
        """Throw away what was received."""
        self._tree.disk.remove(self.part)
        self._tree.disk.remove(self._note)

    def _receive(self) -> None:
        known = self._known()
        headers = {}
        if known is not None:
            headers = {"Range": f"bytes={self._size()}-", "If-Range": known.validator}
        with self._client.stream("GET", self._url, headers=headers) as answer:
            expected = self._begin(answer)
            with FileIO(self.part, "ab") as file:
                for data in self._checked(answer):
                    self._tree.disk.write(file, data)
        size = self._size()
        if expected is not None and size != expected:
            raise ConnectionLostError(
                f"{redact(self._url)} ended after {size} of {expected} bytes", retryable=True
            )

    def _begin(self, answer: Response) -> int | None:
        """Settle where the answer belongs in the file; gives the bytes that it will have."""
        if answer.status == _PARTIAL:
            given = _RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
            if given is None or int(given[1]) != self._size():
                self.discard()
                raise BadResponseError(
                    f"{answer.url} sent another range than was asked for", retryable=True
                )
            return int(given[2]) if given[2] != "*" else None
        self.discard()
        self._remember(answer)
        length = answer.headers.get("Content-Length", "")
        return int(length) if length.isascii() and length.isdigit() else None

    def _checked(self, answer: Response) -> Iterator[bytes]:
        """The pieces of the answer; those of its beginning only once it is of the right kind."""
        head = b""
        seen = size = self._size()
        for data in answer.chunks():
            size += len(data)
            if size > LARGEST:
                raise BadResponseError(f"{answer.url} sends more than {LARGEST} bytes")
            if seen:
                yield data
                continue
            head += data
            if len(head) >= ENOUGH:
                check_content(head, self._name, answer.url)
                yield head
                seen = len(head)
        if not seen:
            check_content(head, self._name, answer.url)
            yield head

    def _meaning(self, error: ArchiveError) -> ArchiveError:
        """What an error means for the file."""
        where = redact(self._url)
        if isinstance(error, StatusError) and error.status == _BEYOND:
            self.discard()
            return BadResponseError(f"{where} is shorter than what is here of it", retryable=True)
        if isinstance(error, StatusError) and error.status in _GONE:
            return NotAvailableError(
                f"the server does not give {where} (HTTP {error.status})",
                hint="the file may have moved: look at the collection's page",
            )
        return error

    def _size(self) -> int:
        try:
            return self.part.stat().st_size
        except OSError:
            return 0

    def _known(self) -> _Known | None:
        """What is here of the file, if it can be gone on with."""
        if not self._size():
            return None
        with contextlib.suppress(OSError, ValueError, TypeError):
            known = _Known(**json.loads(self._note.read_bytes()))
            if known.url == self._identity and known.validator:
                return known
        return None

    def _remember(self, answer: Response) -> None:
        """Note what the server calls this version, where it says that it can go on inside."""
        etag = answer.headers.get("ETag", "").strip()
        strong = etag if etag.startswith('"') else ""
        validator = strong or answer.headers.get("Last-Modified", "").strip()
        if validator:
            note = json.dumps({"url": self._identity, "validator": validator})
            self._tree.write_file(self._note, note.encode())


def check_content(head: bytes, name: str, where: str) -> None:
    """Look at the first bytes of a file before any of it is kept.

    Args:
        head: its first bytes, `ENOUGH` of them or all.
        name: the file's name.
        where: its address, without secrets.

    Raises:
        BadAnswerError: it is an error page, or of another kind than its name says (retryable).
    """
    ending = f".{name.lower().rpartition('.')[2]}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGE_BEGINNINGS) and ending not in (".html", ".htm"):
        raise _other(where, "a web page", head)
    beginnings = _BEGINNINGS.get(ending)
    if beginnings is not None and not head.startswith(beginnings):
        raise _other(where, f"something that is no {ending} file", head)
    if ending in _TEXTS and b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _other(where, "something that is no text", head)
    if ending == ".json" and start[:1] not in (b"{", b"[", b'"', b""):
        raise _other(where, "something that is no JSON", head)
    if not head:
        raise _other(where, "nothing", head)


def _other(where: str, what: str, head: bytes) -> BadResponseError:
    said = excerpt(head[:ENOUGH])
    return BadResponseError(
        f"{where} answered with {what}{f' ({said})' if said else ''}",
        hint="the file may have moved: look at the collection's page",
        retryable=True,
    )
