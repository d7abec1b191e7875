"""Images as NBIA sends them: those of a series in a ZIP, or a single one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

from tcia_covid.archives.base import Sink
from tcia_covid.core.errors import BadResponseError, ZipError
from tcia_covid.core.limits import processors
from tcia_covid.core.models import Series
from tcia_covid.core.redaction import excerpt, scrub
from tcia_covid.formats.dicom import PREAMBLE_SIZE, is_dicom
from tcia_covid.formats.hashes import MD5_LIST_NAME, parse_md5_list
from tcia_covid.formats.zipstream import read_zip
from tcia_covid.http.response import Response

NAME = "nbia"
"""The archive's name in receipts."""
_LICENSE = "LICENSE"
_MD5_LIST_LIMIT = 16 * 1024 * 1024
_SIZE_MARGIN = 16 * 1024 * 1024
_UNKNOWN_SIZE_LIMIT = 64 * 1024**3
_WAITING_FOR_DISK = 1
Read = Callable[[int], bytes]


def unpack_series(response: Response, series: Series, sink: Sink, slots: UnpackSlots) -> int:
    """Store the images of a ZIP; returns how many it had."""
    try:
        with slots.around(response.read) as read:
            return _unpack(read, series, sink)
    except ZipError as error:
        # Always retryable: the images can be requested one by one.
        raise type(error)(f"{response.url}: {scrub(error.message)}", retryable=True) from error


def _unpack(read: Read, series: Series, sink: Sink) -> int:
    limit = _size_limit(series)
    uids: dict[str, str] = {}
    received = 0
    for entry in read_zip(read, max_entry_size=limit, max_total_size=limit):
        if entry.name == _LICENSE:
            continue
        if entry.name == MD5_LIST_NAME:
            for name, md5 in parse_md5_list(entry.read(_MD5_LIST_LIMIT)).items():
                if md5 and name in uids:
                    sink.note_md5(uids[name], md5)
            continue
        received += 1
        try:
            uids[entry.name] = sink.receive(entry.chunks(), source=NAME).uid
        except BadResponseError:
            # A cut file: the series is incomplete, and the image is requested by its UID.
            continue
    return received


def read_single_image(response: Response, series: Series) -> Iterator[bytes]:
    """The bytes of a response that is one image.

    Raises:
        BadResponseError: a page or another text came instead (retryable), or far too much.
    """
    chunks = _limited(response, series)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= PREAMBLE_SIZE:
            break
    # A DICOM file has at least one of the two.
    if not is_dicom(head) and b"\0" not in head[:PREAMBLE_SIZE]:
        raise BadResponseError(
            f"{response.url} sent no image: {excerpt(head) or 'the response is empty'}",
            hint="the archive may be down or behind a login page; try again later",
            retryable=True,
        )
    yield head
    yield from chunks


def _limited(response: Response, series: Series) -> Iterator[bytes]:
    limit = _size_limit(series)
    for chunk in response.chunks():
        if response.received > limit:
            raise BadResponseError(
                f"{response.url} sent more than {limit} bytes for one image of series {series.uid}"
            )
        yield chunk


def _size_limit(series: Series) -> int:
    """The maximum size of the series once inflated: the recorded size, and a margin."""
    if series.size is None:
        return _UNKNOWN_SIZE_LIMIT
    return series.size + series.size // 4 + _SIZE_MARGIN


class UnpackSlots:
    """Lets `count` threads at a time process what they received, while others receive.

    More threads than processors would only wait for the interpreter's lock, with two switches for
    each piece that one reads, inflates, hashes or writes. There is one more slot than
    processors, because a thread may wait for the disk.
    """

    def __init__(self, count: int | None = None) -> None:
        self.free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count or processors() + _WAITING_FOR_DISK):
            self.free.put(None)

    @contextmanager
    def around(self, read: Read) -> Iterator[Read]:
        """Take a slot for the block; the function that this gives releases it while it reads."""

        def read_without_slot(size: int) -> bytes:
            self.free.put(None)
            try:
                return read(size)
            finally:
                self.free.get()

        self.free.get()
        try:
            yield read_without_slot
        finally:
            self.free.put(None)
