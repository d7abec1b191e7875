"""The header that stands before each entry of a ZIP stream."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tcia_covid.zipstream.problems import quoted, refused
from tcia_covid.zipstream.source import Source

LOCAL_SIGNATURE = b"PK\x03\x04"
STORED, DEFLATED = 0, 8
IN_ZIP64 = 0xFFFFFFFF
"""Stands in a 32-bit field whose value is in the ZIP64 extra field."""

_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # encrypted, strongly so, or with a masked directory
_PATCHED = 0x0020
_DESCRIPTOR_FOLLOWS = 0x0008
_UTF8 = 0x0800
_ZIP64_EXTRA = 0x0001


@dataclass(frozen=True, slots=True)
class Record:
    """What is known of an entry once it was read; the central directory has to agree."""

    name: bytes
    offset: int
    method: int
    crc: int
    compressed: int
    size: int


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """A local file header; None where the descriptor behind the data tells instead."""

    raw_name: bytes
    offset: int
    flags: int
    method: int
    crc: int | None
    compressed: int | None
    size: int | None

    @property
    def name(self) -> str:
        """The name as text, whatever the bytes."""
        encoding = "utf-8" if self.flags & _UTF8 else "cp437"
        return self.raw_name.decode(encoding, "replace")

    @property
    def has_descriptor(self) -> bool:
        """Whether checksum and sizes stand behind the data."""
        return bool(self.flags & _DESCRIPTOR_FOLLOWS)


def with_zip64(fields: list[int], extra: bytes) -> list[int]:
    """Replace those `fields` that say so by their values in the ZIP64 part of `extra`."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == _ZIP64_EXTRA:
            values = struct.unpack_from(f"<{min(size, len(extra) - at - 4) // 8}Q", extra, at + 4)
            wide = iter(values)
            return [next(wide, f) if f == IN_ZIP64 else f for f in fields]
        at += 4 + size
    return fields


def read_local_header(source: Source) -> LocalHeader:
    """Take a local file header.

    Raises:
        ZipError: an entry of a kind that cannot be read or is not accepted.
        TruncatedZipError: the stream ends before.
    """
    offset = source.position
    fields = _LOCAL.unpack(source.exactly(_LOCAL.size))
    _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
    name = source.exactly(name_length)
    size, compressed = with_zip64([size, compressed], source.exactly(extra_length))
    if not flags & _DESCRIPTOR_FOLLOWS:
        header = LocalHeader(name, offset, flags, method, crc, compressed, size)
    else:  # a writer that knew them already must have known them right
        known = [None if v in (0, IN_ZIP64) else v for v in (compressed, size)]
        header = LocalHeader(name, offset, flags, method, crc or None, *known)
    _check_kind(header)
    return header


def _check_kind(header: LocalHeader) -> None:
    """Raise `ZipError` for an entry whose data cannot be read while it arrives."""
    why = _objection(header)
    if why:
        raise refused(f"the ZIP entry '{quoted(header.raw_name)}' {why}")


def _objection(header: LocalHeader) -> str:
    if header.flags & _ENCRYPTED:
        return "is encrypted"
    if header.flags & _PATCHED:
        return "is patch data, not a file"
    if header.method not in (STORED, DEFLATED):
        return f"uses the unknown method {header.method}"
    if header.method == STORED and header.has_descriptor:
        return "is stored and does not say where it ends"
    return ""
