"""Reading one object, and going on inside it where the line breaks."""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tcia_covid.archives.idc.listing import image_version
from tcia_covid.errors import (
    ArchiveError,
    BadAnswerError,
    ConnectionLostError,
    NotAvailableError,
    StatusError,
    UnreachableError,
)
from tcia_covid.http import Answer, Client, Patience
from tcia_covid.model import RemoteImage

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_OK, _PARTIAL = 200, 206
_CHANGED = frozenset({412, 416})
GONE = 404
_DENIED = {
    403: "access is denied",
    GONE: "it is not there",
}


@dataclass(slots=True)
class ObjectReader:
    """The bytes of one object, from however many requests they take.

    Args:
        client: speaks HTTP.
        url: the object's.
        image: the object as listed: what it must still be.
        limit: a smaller retry budget for some errors.
        worth_it: whether a break is still worth waiting for.
        vain_starts: attempts at the first byte after the first one.
    """

    client: Client
    url: str
    image: RemoteImage
    limit: Callable[[ArchiveError], int | None] = lambda error: None
    worth_it: Callable[[], bool] = lambda: True
    vain_starts: int = 3
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
        patience = Patience(self.client.settings, self.client.stop)
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
        with self.client.open("GET", self.url, headers=self._headers()) as answer:
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

    def _check(self, answer: Answer) -> None:
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

    def _check_range(self, answer: Answer) -> None:
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
        limits = [self.limit(error), None if self.offset else self.vain_starts]
        return min((limit for limit in limits if limit is not None), default=None)

    def _changed(self, what: str) -> BadAnswerError:
        return BadAnswerError(
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
            raise BadAnswerError(f"{what} changed since it was listed", retryable=True) from error
        if error.status not in _DENIED:
            raise
        raise NotAvailableError(
            f"IDC does not give {what}: {_DENIED[error.status]}",
            hint="with '--source auto' it is fetched from NBIA instead",
        ) from error
