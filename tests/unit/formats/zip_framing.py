"""ZIPs framed as different writers frame them, right or wrong on purpose."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tcia_covid.formats.inflate import DEFAULT, Engine
from tcia_covid.formats.zipstream import read_zip

ROOMY = 1 << 30


@dataclass(frozen=True)
class Member:
    """One entry; what is None is filled in truthfully."""

    name: bytes = b"00000001.dcm"
    data: bytes = b"an image's bytes " * 9
    method: int = 8
    flags: int = 0x0808
    descriptor: str | None = "signed 32"
    """`signed 32`, `plain 32`, `signed 64`, `plain 64`; None: sizes in the local header."""
    crc: int | None = None
    size: int | None = None
    compressed: int | None = None
    stream: bytes | None = None
    """The data as it is in the ZIP."""
    local_fields: tuple[int, int, int] | None = None
    """CRC, compressed size and size in the local header."""
    local_extra: bytes = b""
    listed_name: bytes | None = None
    listed_size: int | None = None
    listed_crc: int | None = None
    listed_offset: int | None = None
    attributes: int = 0
    listed: bool = True
    zip64: bool = False
    """Whether the central directory refers to its extra field."""

    @property
    def body(self) -> bytes:
        if self.stream is not None:
            return self.stream
        return deflate(self.data) if self.method == 8 else self.data

    @property
    def facts(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        compressed = len(self.body) if self.compressed is None else self.compressed
        return crc, compressed, len(self.data) if self.size is None else self.size


def deflate(data: bytes) -> bytes:
    engine = zlib.compressobj(6, zlib.DEFLATED, -15)
    return engine.compress(data) + engine.flush()


def frame(
    members: Sequence[Member],
    *,
    zip64_end: bool = False,
    count: int | None = None,
    shift: int = 0,
    comment: bytes = b"",
    tail: bytes = b"",
    backwards: bool = False,
) -> bytes:
    """A complete ZIP; `count` and `shift` falsify its end record."""
    out, listed = bytearray(), []
    for member in members:
        listed.append(_listing(member, len(out)))
        out += _local(member)
    directory = b"".join(listed[::-1] if backwards else listed)
    number = sum(m.listed for m in members) if count is None else count
    start = len(out) + shift
    out += directory
    if zip64_end:
        record = (b"PK\x06\x06", 44, 45, 45, 0, 0, number, number, len(directory), start)
        out += struct.pack("<4sQ2H2I4Q", *record)
        out += struct.pack("<4sIQI", b"PK\x06\x07", 0, len(out) - 56, 1)
        number, size, start = 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF
    else:
        size = len(directory)
    end = (b"PK\x05\x06", 0, 0, number, number, size, start, len(comment))
    return bytes(out) + struct.pack("<4s4H2IH", *end) + comment + tail


def _local(member: Member) -> bytes:
    crc, compressed, size = member.facts
    fields = member.local_fields or ((0, 0, 0) if member.descriptor else member.facts)
    flags = member.flags if member.descriptor else member.flags & ~8
    head = (b"PK\x03\x04", 20, flags, member.method, 0, 0, *fields)
    lengths = (len(member.name), len(member.local_extra))
    out = struct.pack("<4s5H3I2H", *head, *lengths) + member.name + member.local_extra
    out += member.body
    if member.descriptor:
        kind, width = member.descriptor.split()
        out += b"PK\x07\x08" if kind == "signed" else b""
        out += struct.pack("<III" if width == "32" else "<IQQ", crc, compressed, size)
    return out


def _listing(member: Member, offset: int) -> bytes:
    if not member.listed:
        return b""
    crc, compressed, size = member.facts
    name = member.name if member.listed_name is None else member.listed_name
    size = size if member.listed_size is None else member.listed_size
    crc = crc if member.listed_crc is None else member.listed_crc
    offset = offset if member.listed_offset is None else member.listed_offset
    extra = b""
    if member.zip64:
        extra = struct.pack("<HH3Q", 1, 24, size, compressed, offset)
        size = compressed = offset = 0xFFFFFFFF
    flags = member.flags if member.descriptor else member.flags & ~8
    head = (b"PK\x01\x02", 20, 20, flags, member.method, 0, 0, crc, compressed, size)
    rest = (len(name), len(extra), 0, 0, 0, member.attributes, offset)
    return struct.pack("<4s6H3I5H2I", *head, *rest) + name + extra


def feeder(data: bytes, sizes: Sequence[int] = ()) -> Callable[[int], bytes]:
    """A `read` that returns pieces of these sizes, repeatedly, or as much as requested."""
    state = {"at": 0, "turn": 0}

    def read(size: int) -> bytes:
        if sizes:
            size = min(size, sizes[state["turn"] % len(sizes)])
            state["turn"] += 1
        piece = data[state["at"] : state["at"] + size]
        state["at"] += len(piece)
        return piece

    return read


def unzip(
    data: bytes,
    *,
    sizes: Sequence[int] = (),
    engine: Engine = DEFAULT,
    max_entry_size: int = ROOMY,
    max_total_size: int = ROOMY,
    max_entries: int = 1000,
) -> list[tuple[str, bytes]]:
    """Read a whole ZIP."""
    stream = read_zip(
        feeder(data, sizes),
        max_entry_size=max_entry_size,
        max_total_size=max_total_size,
        max_entries=max_entries,
        engine=engine,
    )
    return [(entry.name, b"".join(entry.chunks())) for entry in stream]
