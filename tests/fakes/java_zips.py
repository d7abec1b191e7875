"""Writes ZIPs as NBIA does: with java.util.zip, in one pass, sizes after the data."""

from __future__ import annotations

import random
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

from tests.fakes.corpus import DemoCollection, DemoImage, DemoSeries
from tests.fakes.nbia_replies import Entry, image_entry, license_entry, md5_entry

FLAGS = 0x0808
"""Bit 3: sizes follow the data. Bit 11: names are UTF-8."""
DEFLATED = 8
VERSION = 20
VERSION_ZIP64 = 45
MANY = 0xFFFF
LARGE = 0xFFFFFFFF
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Written:
    name: bytes
    stamp: int
    crc: int
    packed: int
    size: int
    offset: int


def write_zip(entries: Iterable[Entry], *, level: int = 6) -> Iterator[bytes]:
    """The bytes of a ZIP of `entries`, as they become known.

    Each local header leaves CRC and sizes at zero, a data descriptor follows each entry; ZIP64
    records appear beyond 65,535 entries or 4 GiB, as java.util.zip's ZipOutputStream does it.
    """
    written: list[_Written] = []
    offset = 0
    for entry in entries:
        sums = _Sums(offset)
        for piece in _local(entry, level, sums):
            offset += len(piece)
            yield piece
        written.append(sums.written())
    yield from _directory(written, offset)


class _Sums:
    """What the directory needs to know of the entry being written."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.name = b""
        self.stamp = 0
        self.crc = 0
        self.packed = 0
        self.size = 0

    def written(self) -> _Written:
        return _Written(self.name, self.stamp, self.crc, self.packed, self.size, self.offset)


def _local(entry: Entry, level: int, sums: _Sums) -> Iterator[bytes]:
    sums.name = entry.name if isinstance(entry.name, bytes) else entry.name.encode()
    sums.stamp = _dos_time()
    yield (
        struct.pack(
            "<4sHHHIIIIHH",
            b"PK\x03\x04",
            VERSION,
            FLAGS,
            DEFLATED,
            sums.stamp,
            0,
            0,
            0,
            len(sums.name),
            0,
        )
        + sums.name
    )
    for packed in _deflated(entry.chunks, level, sums):
        sums.packed += len(packed)
        yield packed
    yield struct.pack("<4sIII", b"PK\x07\x08", sums.crc, sums.packed & LARGE, sums.size & LARGE)


def _deflated(chunks: Iterable[bytes], level: int, sums: _Sums) -> Iterator[bytes]:
    compressor = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS)
    for chunk in chunks:
        sums.crc = zlib.crc32(chunk, sums.crc)
        sums.size += len(chunk)
        if packed := compressor.compress(chunk):
            yield packed
    yield compressor.flush()


def _directory(written: list[_Written], start: int) -> Iterator[bytes]:
    size = 0
    for item in written:
        record = _central(item)
        size += len(record)
        yield record
    count = len(written)
    if count >= MANY or start + size >= LARGE:
        yield _zip64_end(count, size, start)
    shown, place = min(count, MANY), min(start, LARGE)
    yield struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, shown, shown, size, place, 0)


def _central(item: _Written) -> bytes:
    extra = b""
    if item.offset >= LARGE:
        extra = struct.pack("<HHQ", 1, 8, item.offset)
    version = VERSION_ZIP64 if extra else VERSION
    fixed = struct.pack(
        "<4sHHHHIIIIHHHHHII",
        b"PK\x01\x02",
        version,
        version,
        FLAGS,
        DEFLATED,
        item.stamp,
        item.crc,
        item.packed,
        item.size,
        len(item.name),
        len(extra),
        0,
        0,
        0,
        0,
        min(item.offset, LARGE),
    )
    return fixed + item.name + extra


def _zip64_end(count: int, size: int, start: int) -> bytes:
    version = VERSION_ZIP64
    record = struct.pack(
        "<4sQHHIIQQQQ", b"PK\x06\x06", 44, version, version, 0, 0, count, count, size, start
    )
    return record + struct.pack("<4sIQI", b"PK\x06\x07", 0, start + size, 1)


def _dos_time() -> int:
    now = time.localtime()
    date = (now.tm_year - 1980) << 9 | now.tm_mon << 5 | now.tm_mday
    return date << 16 | now.tm_hour << 11 | now.tm_min << 5 | now.tm_sec // 2


@dataclass(frozen=True, slots=True)
class BundleOptions:
    """How the ZIPs of NBIA's calls differ."""

    license: bool
    """Whether LICENSE comes first."""
    new_names: bool
    """`1-001.dcm` by InstanceNumber instead of `00000001.dcm` in the database's order."""
    md5: bool
    """Whether md5hashes.csv comes last."""
    nulls_as_text: bool = False
    """Whether a NULL digest is written as the word null, and the table keeps the entries' order."""


def zip_entries(
    series: DemoSeries,
    collection: DemoCollection,
    options: BundleOptions,
    order: random.Random | None,
) -> Iterator[Entry]:
    """The entries of the ZIP of `series`, in the order in which NBIA writes them."""
    if options.license:
        yield license_entry(collection)
    names = new_names(series.images) if options.new_names else _plain_names(series.images, order)
    sent: list[tuple[str, DemoImage]] = []
    for name, image in names:
        if image.md5 is None and options.md5 and not options.new_names:
            return  # the server's loop ends with a NullPointerException, which it swallows
        yield image_entry(name, image)
        sent.append((name, image))
    if options.md5:
        rows = sent if options.nulls_as_text else shuffled(sent, order)
        yield md5_entry(rows)


def shuffled(items: Iterable[T], order: random.Random | None) -> list[T]:
    """`items` in a random order, or unchanged without `order`."""
    result = list(items)
    if order is not None:
        order.shuffle(result)
    return result


def _plain_names(
    images: Sequence[DemoImage], order: random.Random | None
) -> Iterator[tuple[str, DemoImage]]:
    for number, image in enumerate(shuffled(images, order), start=1):
        yield f"{number:08d}.dcm", image


def new_names(images: Sequence[DemoImage]) -> list[tuple[str, DemoImage]]:
    """Names `A-III.dcm`: A counts changes of AcquisitionNumber along the InstanceNumbers."""
    ordered = sorted(images, key=lambda image: image.number or 0)
    places: list[tuple[int, int]] = []
    previous: int | None = None
    for image in ordered:
        acquisition = image.acquisition or 0
        block, place = places[-1] if places else (0, 0)
        changed = not places or acquisition != previous
        places.append((block + 1, 1) if changed else (block, place + 1))
        previous = acquisition
    wide_block = len(str(places[-1][0])) if places else 1
    wide = len(str(_changes([image.number for image in ordered])))
    return [
        (f"{block:0{wide_block}d}-{place:0{wide}d}.dcm", image)
        for (block, place), image in zip(places, ordered, strict=True)
    ]


def _changes(numbers: Sequence[int | None]) -> int:
    """How often the value changes along the sequence, its start included."""
    return 1 + sum(before != after for before, after in pairwise(numbers))
