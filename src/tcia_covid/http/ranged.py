"""A GET that resumes where an earlier request for the same file broke off."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus

from tcia_covid.core.errors import BadResponseError, ConnectionLostError, StatusError
from tcia_covid.core.files import Chunk
from tcia_covid.http.client import Client
from tcia_covid.http.response import Response

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_WHOLE = (HTTPStatus.OK, HTTPStatus.NON_AUTHORITATIVE_INFORMATION)
_CHANGED = (HTTPStatus.PRECONDITION_FAILED, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)


class ResumeError(BadResponseError):
    """What was received so far cannot be continued: start again from the first byte."""


@dataclass(slots=True)
class RangedGet:
    """Reads a file from `offset` on, with one request per call of `read_rest`.

    Attributes:
        name: the file, for messages.
        offset: bytes of the file that were received; counted on.
        size: bytes of the file; None until a response has it.
        headers: conditions under which the server may resume, such as `If-Match`.
        can_restart: whether a response that starts from the first byte is of use after others.
        refuse: is given each response first, and raises the error that it is instead of a file.
        on_response: is given each response before its body is read; `offset` is 0 where it
            starts from the first byte.
    """

    client: Client
    url: str
    name: str
    offset: int = 0
    size: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    can_restart: bool = False
    refuse: Callable[[Response], None] = lambda response: None
    on_response: Callable[[Response], None] = lambda response: None

    def read_rest(self) -> Iterator[Chunk]:
        """Read the file to its end; a chunk is valid until the next one is taken.

        Raises:
            ResumeError: the file changed, or the server sent something else than requested.
            ConnectionLostError: it ended too early.
            ArchiveError: as `Client.stream`.
        """
        headers = dict(self.headers)
        if self.offset:
            headers["Range"] = f"bytes={self.offset}-"
        try:
            with self.client.stream("GET", self.url, headers=headers) as response:
                self.refuse(response)
                self._check(response)
                self.on_response(response)
                for chunk in response.views():
                    self.offset += len(chunk)
                    if self.size is not None and self.offset > self.size:
                        raise self.unexpected(f"more than {self.size} bytes")
                    yield chunk
        except StatusError as error:
            if error.status in _CHANGED:
                raise self.unexpected(f"HTTP {error.status}: the file changed") from error
            raise
        if self.size is not None and self.offset < self.size:
            raise ConnectionLostError(
                f"the response of {response.url} ended after {self.offset} of {self.size} bytes",
                retryable=True,
            )

    def unexpected(self, what: str) -> ResumeError:
        """The error for a response that does not fit what was received or listed before."""
        return ResumeError(
            f"{self.name}: the server sent {what}",
            hint="the download starts again from the first byte",
            retryable=True,
        )

    def _check(self, response: Response) -> None:
        """Check that `response` carries what was requested, before any of it is used."""
        total = response.headers.get("Content-Length", "")
        if self.offset and response.status == HTTPStatus.PARTIAL_CONTENT:
            parts = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
            if parts is None or int(parts[1]) != self.offset:
                raise self.unexpected(f"a range that does not start at byte {self.offset}")
            total = parts[2]
        elif response.status not in _WHOLE:
            raise self.unexpected(f"HTTP {response.status} instead of the file")
        elif self.offset and not self.can_restart:
            raise self.unexpected(f"the whole file instead of its bytes from {self.offset} on")
        else:
            self.offset = 0
        if total.isascii() and total.isdigit():
            if self.size is None:
                self.size = int(total)
            elif int(total) != self.size:
                raise self.unexpected(f"{total} bytes instead of {self.size}")
