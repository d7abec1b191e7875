"""Downloading one supporting file; a later run resumes what an earlier one left."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import closing
from itertools import chain
from pathlib import Path

from tcia_covid.core.errors import ArchiveError, BadResponseError, NotAvailableError, StatusError
from tcia_covid.core.files import Chunk
from tcia_covid.core.redaction import excerpt, redact
from tcia_covid.formats.signatures import is_web_page
from tcia_covid.http.client import Client
from tcia_covid.http.ranged import RangedGet, ResumeError
from tcia_covid.http.response import Response
from tcia_covid.store.disk import UNUSABLE_JSON, destination_errors, file_size, read_json
from tcia_covid.store.tree import Tree

_MAX_SIZE = 8 * 1024**3
"""Bytes; a longer file is not received to its end."""
_BAD_RESPONSE_RETRIES = 2
"""Retries where something else than the file came."""
HEAD_SIZE = 512
"""Bytes of a file's start that are checked before any of it is written."""
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_SIGNATURES = {
    **dict.fromkeys((".xlsx", ".docx", ".pptx", ".zip"), _ZIP),
    **dict.fromkeys((".xls", ".doc"), (b"\xd0\xcf\x11\xe0",)),
    ".pdf": (b"%PDF",),
    ".gz": (b"\x1f\x8b",),
}
_TEXT_FORMATS = (".csv", ".tsv", ".txt", ".tcia", ".json", ".xml")


class ResumableDownload:
    """Downloads a file into a folder for partial files; its name's extension tells its format."""

    def __init__(self, client: Client, url: str, name: str, tree: Tree, folder: Path) -> None:
        self._client = client
        self._url = url
        self._name = name
        self._tree = tree
        self.part = folder / f"{name}.part"
        """The partial file."""
        self._state = folder / f"{name}.state"
        # A hash, because an address may be signed.
        self._url_hash = hashlib.sha256(url.encode()).hexdigest()

    def run(self) -> Path:
        """Download the file; returns the path of `part`, which is complete then.

        Raises:
            NotAvailableError: the server does not provide it.
            ArchiveError: it could not be downloaded.
            DestinationError: the disk.
        """
        policy = self._client.retry_policy(self._name)
        while True:
            size = file_size(self.part)
            try:
                with destination_errors(str(self.part)):
                    self._tree.disk.make_folder(self.part.parent)
                    self._receive()
                return self.part
            except ArchiveError as error:
                if isinstance(error, ResumeError) or not file_size(self.part):
                    self.discard()
                if file_size(self.part) > size:
                    policy.progressed()
                limit = _BAD_RESPONSE_RETRIES if isinstance(error, BadResponseError) else None
                if isinstance(error, StatusError) and error.is_denial:
                    raise NotAvailableError(
                        f"the server does not provide {redact(self._url)} (HTTP {error.status})",
                        hint="the file may have moved: look at the collection's page",
                    ) from error
                policy.failed(error, limit=limit)

    def discard(self) -> None:
        """Remove what was received."""
        self._tree.disk.remove(self.part)
        self._tree.disk.remove(self._state)

    def _receive(self) -> None:
        """Send one request and append its body to `part`."""
        validator = self._validator()
        get = RangedGet(
            self._client,
            self._url,
            redact(self._url),
            offset=file_size(self.part) if validator else 0,
            headers={"If-Range": validator} if validator else {},
            can_restart=True,
            on_response=lambda response: self._start(get, response),
        )
        with closing(self._checked(get)) as chunks:
            # Not opened before: the response may make the file start again.
            head = next(chunks)
            with self._tree.disk.open_existing(self.part, "ab") as file:
                for data in chain([head], chunks):
                    self._tree.disk.write(file, data)

    def _start(self, get: RangedGet, response: Response) -> None:
        """Discard what is here where the response starts from the first byte."""
        if get.offset:
            return
        self.discard()
        etag = response.headers.get("ETag", "").strip()
        is_strong = etag.startswith('"')
        validator = etag if is_strong else response.headers.get("Last-Modified", "").strip()
        if validator:
            state = json.dumps({"url": self._url_hash, "validator": validator})
            self._tree.write_file(self._state, state.encode())

    def _checked(self, get: RangedGet) -> Generator[Chunk, None, None]:
        """The pieces of the file; its start only after its format was checked."""
        pieces = get.read_rest()
        head = b""
        while len(head) < HEAD_SIZE and (data := next(pieces, b"")):
            head += data
        if get.offset == len(head):
            check_format(head, self._name, redact(self._url))
        yield head
        for data in pieces:
            if get.offset > _MAX_SIZE:
                raise BadResponseError(f"{redact(self._url)} sends more than {_MAX_SIZE} bytes")
            yield data

    def _validator(self) -> str:
        """The ETag or date of the version that `part` belongs to; empty if it cannot be resumed."""
        if not file_size(self.part):
            return ""
        try:
            state = read_json(self._state)
            return str(state["validator"]) if state["url"] == self._url_hash else ""
        except UNUSABLE_JSON:
            return ""


def check_format(head: bytes, name: str, where: str) -> None:
    """Check the first `HEAD_SIZE` bytes of a file before any of it is written.

    `where` is its address, without secrets.

    Raises:
        BadResponseError: it is an error page, or its format does not fit its name (retryable).
    """
    extension = f".{name.lower().rpartition('.')[2]}"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    signatures = _SIGNATURES.get(extension)
    is_utf16 = head.startswith((b"\xff\xfe", b"\xfe\xff"))
    what = ""
    if not head:
        what = "nothing"
    elif is_web_page(head) and extension not in (".html", ".htm"):
        what = "a web page"
    elif signatures is not None and not head.startswith(signatures):
        what = f"something that is not a {extension} file"
    elif extension in _TEXT_FORMATS and b"\0" in head and not is_utf16:
        what = "something that is not text"
    elif extension == ".json" and start[:1] not in (b"{", b"[", b'"', b""):
        what = "something that is not JSON"
    if what:
        text = excerpt(head[:HEAD_SIZE])
        raise BadResponseError(
            f"{where} sent {what}{f' ({text})' if text else ''}",
            hint="the file may have moved: look at the collection's page",
            retryable=True,
        )
