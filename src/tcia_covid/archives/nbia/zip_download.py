"""What NBIA sends of a series: images in a ZIP, or one alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from queue import SimpleQueue

from tcia_covid.archives.base import Sink
from tcia_covid.core.errors import BadResponseError, ZipError
from tcia_covid.core.models import Series
from tcia_covid.core.redaction import excerpt, scrub
from tcia_covid.formats.hashes import MD5_LIST_NAME, parse_md5_list
from tcia_covid.formats.zipstream.reader import ZipStream
from tcia_covid.http.response import Response

NAME = "nbia"
"""What receipts call the archive."""
_LICENSE = "LICENSE"
_LONGEST_LIST = 16 * 1024 * 1024
_MARGIN = 16 * 1024 * 1024
_SIGNED = 132
"""Bytes of a DICOM file up to the end of its `DICM`."""
Read = Callable[[int], bytes]
_AT_THE_DISK = 3


def unpack_series(answer: Response, series: Series, sink: Sink, turns: UnpackSlots) -> int:
    """Pour a ZIP into `sink`, by turns with others; give the number of images that it had."""
    try:
        with turns.between_reads(answer.read) as read:
            return _pour(read, series, sink)
    except ZipError as error:
        # Even a hostile ZIP leaves a way: the images one by one.
        error.retryable = True
        error.args = (f"{answer.url}: {scrub(error.message)}",)
        raise


def _pour(read: Callable[[int], bytes], series: Series, sink: Sink) -> int:
    bound = _bound(series)
    uids: dict[str, str] = {}
    received = 0
    for entry in ZipStream(read, max_entry_size=bound, max_total_size=bound):
        if entry.name == _LICENSE:
            continue
        if entry.name == MD5_LIST_NAME:
            _note_hashes(entry.read(_LONGEST_LIST), uids, sink)
            continue
        received += 1
        try:
            uids[entry.name] = sink.receive(entry.chunks(), source=NAME).uid
        except BadResponseError:
            # A stub: the series is found incomplete, and the image is asked for by its UID.
            continue
    return received


def read_single_image(answer: Response, series: Series) -> Iterator[bytes]:
    """The bytes of the one image that `answer` is.

    Raises:
        BadAnswerError: a page or another text came in its place (retryable), or far too much.
    """
    chunks = _bounded(answer, series)
    head = b""
    for chunk in chunks:
        head += chunk
        if len(head) >= _SIGNED:
            break
    # No DICOM file lacks both signs.
    if head[128:_SIGNED] != b"DICM" and b"\0" not in head[:_SIGNED]:
        raise BadResponseError(
            f"{answer.url} answered with no image: {excerpt(head) or 'the answer is empty'}",
            hint="the archive may be down or behind a login page; try again later",
            retryable=True,
        )
    yield head
    yield from chunks


def _note_hashes(listing: bytes, uids: Mapping[str, str], sink: Sink) -> None:
    for name, md5 in parse_md5_list(listing).items():
        if md5 and name in uids:
            sink.note_md5(uids[name], md5)


def _bounded(answer: Response, series: Series) -> Iterator[bytes]:
    bound = _bound(series)
    for chunk in answer.chunks():
        if answer.received > bound:
            raise BadResponseError(
                f"{answer.url} sent more than {bound} bytes for one image of series {series.uid}"
            )
        yield chunk


def _bound(series: Series) -> int:
    """The most bytes that the whole series may inflate to: what is on record and a margin."""
    if series.size is None:
        return 64 * 1024**3
    return series.size + series.size // 4 + _MARGIN


class UnpackSlots:
    """Lets `count` threads at a time work on what they received, while others receive.

    More than there are processors would but wait for the interpreter's lock, at two changes of the
    running thread for each piece that one reads, inflates, hashes or writes. Some more there are,
    for a turn may wait for the disk.
    """

    def __init__(self, count: int | None = None) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(count or (os.cpu_count() or 1) + _AT_THE_DISK):
            self._free.put(None)

    @contextmanager
    def between_reads(self, read: Read) -> Iterator[Read]:
        """Wait for a turn and have it, but while the function that this gives reads."""

        def reading(size: int) -> bytes:
            self._free.put(None)
            try:
                return read(size)
            finally:
                self._free.get()

        self._free.get()
        try:
            yield reading
        finally:
            self._free.put(None)
