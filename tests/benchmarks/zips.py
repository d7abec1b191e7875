"""ZIPs as NBIA frames them, of images whose pixels were deflated beforehand."""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.benchmarks.pixel_data import Plane

_FLAGS = 0x0808
_DEFLATED = 8
_VERSION = 20
_CHUNK = 8192
_LICENSE = b"License Information. The collection is distributed under CC BY 4.0.\n"


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a ZIP."""

    name: bytes
    size: int
    crc: int
    packed: bytes
    md5: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the deflated data of an image lies in its ZIP."""

    offset: int
    packed: int
    size: int


def image_member(number: int, header: bytes, plane: Plane) -> Member:
    """An image as NBIA names it: the header deflated now, the pixels long ago."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(header) + packer.flush(zlib.Z_FULL_FLUSH) + plane.packed
    md5 = hashlib.md5(header)
    md5.update(plane.plain)
    crc = zlib.crc32(plane.plain, zlib.crc32(header))
    size = len(header) + len(plane.plain)
    return Member(b"%08d.dcm" % number, size, crc, packed, md5.hexdigest())


def write_zip(images: Iterator[Member], places: list[Place]) -> Iterator[bytes]:
    """The ZIP of a series, image by image; notes in `places` where each lies."""
    directory: list[bytes] = []
    hashes = ["Filename,MD5Hash\n"]
    offset = 0
    for member in _members(images, hashes):
        head = _local_header(member)
        if member.md5:
            places.append(Place(offset + len(head), len(member.packed), member.size))
        directory.append(_record(member, offset))
        sizes = (member.crc, len(member.packed), member.size)
        piece = head + member.packed + struct.pack("<4sIII", b"PK\x07\x08", *sizes)
        offset += len(piece)
        yield piece
    records = b"".join(directory)
    count = len(directory)
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, len(records), offset, 0)
    yield records + end


def _members(images: Iterator[Member], hashes: list[str]) -> Iterator[Member]:
    """License, images, hashes: the order in which NBIA sends them."""
    yield _text_member(b"LICENSE", _LICENSE)
    for member in images:
        hashes.append(f"{member.name.decode()},{member.md5}\n")
        yield member
    yield _text_member(b"md5hashes.csv", "".join(hashes).encode())


def _text_member(name: bytes, text: bytes) -> Member:
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = packer.compress(text) + packer.flush()
    return Member(name, len(text), zlib.crc32(text), packed)


def _local_header(member: Member) -> bytes:
    """As java.util.zip writes it: sizes and checksum come behind the data."""
    fields = (b"PK\x03\x04", _VERSION, _FLAGS, _DEFLATED, 0, 0, 0, 0, len(member.name), 0)
    return struct.pack("<4sHHHIIIIHH", *fields) + member.name


def _record(member: Member, offset: int) -> bytes:
    fixed = struct.pack(
        "<4sHHHHIIIIHHHHHII",
        *(b"PK\x01\x02", _VERSION, _VERSION, _FLAGS, _DEFLATED, 0),
        *(member.crc, len(member.packed), member.size, len(member.name)),
        *(0, 0, 0, 0, 0, offset),
    )
    return fixed + member.name


def in_chunks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """An HTTP body in chunks of 8 KiB, as Tomcat sends what it does not know the length of."""
    rest = b""
    for piece in pieces:
        rest += piece
        whole = len(rest) // _CHUNK * _CHUNK
        if whole:
            chunks = (rest[at : at + _CHUNK] for at in range(0, whole, _CHUNK))
            yield b"".join(b"%x\r\n%b\r\n" % (_CHUNK, chunk) for chunk in chunks)
            rest = rest[whole:]
    yield (b"%x\r\n%b\r\n" % (len(rest), rest) if rest else b"") + b"0\r\n\r\n"


def without_chunks(body: bytes) -> bytes:
    """The bytes that a body in chunks carries."""
    pieces: list[bytes] = []
    at = 0
    while True:
        line = body.index(b"\r\n", at)
        size = int(body[at:line], 16)
        if size == 0:
            return b"".join(pieces)
        pieces.append(body[line + 2 : line + 2 + size])
        at = line + 2 + size + 2
