"""The records of a ZIP stream: local headers, central directory, end records."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tcia_covid.formats.zipstream.source import Source, damaged_error, quoted_bytes, refused_error

LOCAL_SIGNATURE = b"PK\x03\x04"
STORED, DEFLATED = 0, 8
IN_ZIP64 = 0xFFFFFFFF
"""In a 32-bit field: the value is in the ZIP64 extra field."""
_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # encrypted, strongly so, or with a masked directory
_PATCHED = 0x0020
_DESCRIPTOR_FOLLOWS = 0x0008
_UTF8 = 0x0800
_ZIP64_EXTRA = 0x0001
END_SIGNATURE = b"PK\x05\x06"
_DIRECTORY_SIGNATURE = b"PK\x01\x02"
_ZIP64_END_SIGNATURE = b"PK\x06\x06"
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_DIRECTORY = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_ZIP64_END = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_MAX_ZIP64_END = 64 * 1024
_MAX_PADDING = 64 * 1024
_IN_ZIP64_16 = 0xFFFF
_FILE_TYPE, _SYMLINK = 0xF000, 0xA000


@dataclass(frozen=True, slots=True)
class EntryRecord:
    """An entry that was read, with which the central directory must agree."""

    name: bytes
    offset: int
    method: int
    crc: int
    compressed: int
    size: int


@dataclass(frozen=True, slots=True)
class LocalHeader:
    """A local file header; None for values that are in the descriptor after the data."""

    raw_name: bytes
    offset: int
    flags: int
    method: int
    crc: int | None
    compressed: int | None
    size: int | None

    @property
    def name(self) -> str:
        """The name as text."""
        encoding = "utf-8" if self.flags & _UTF8 else "cp437"
        return self.raw_name.decode(encoding, "replace")

    @property
    def has_descriptor(self) -> bool:
        """Whether checksum and sizes follow the data."""
        return bool(self.flags & _DESCRIPTOR_FOLLOWS)


def with_zip64(fields: list[int], extra: bytes) -> list[int]:
    """Replace the `fields` whose values are in the ZIP64 part of `extra`."""
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
        ZipError: the entry is not accepted.
        TruncatedZipError: the stream ends before.
    """
    offset = source.position
    fields = _LOCAL.unpack(source.exactly(_LOCAL.size))
    _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
    name = source.exactly(name_length)
    size, compressed = with_zip64([size, compressed], source.exactly(extra_length))
    if not flags & _DESCRIPTOR_FOLLOWS:
        header = LocalHeader(name, offset, flags, method, crc, compressed, size)
    else:  # values that are given nevertheless must be right
        known = [None if v in (0, IN_ZIP64) else v for v in (compressed, size)]
        header = LocalHeader(name, offset, flags, method, crc or None, *known)
    if objection := _objection(header):
        raise refused_error(f"the ZIP entry '{quoted_bytes(name)}' {objection}")
    return header


def _objection(header: LocalHeader) -> str:
    """Tell why the data of an entry cannot be read while it arrives; empty if it can."""
    if header.flags & _ENCRYPTED:
        return "is encrypted"
    if header.flags & _PATCHED:
        return "is patch data, not a file"
    if header.method not in (STORED, DEFLATED):
        return f"uses the unknown method {header.method}"
    if header.method == STORED and header.has_descriptor:
        return "is stored without its size"
    return ""


@dataclass(frozen=True, slots=True)
class _Directory:
    """The central directory, which the end records describe again."""

    start: int
    size: int
    count: int


def check_end(source: Source, records: dict[int, EntryRecord]) -> None:
    """Read from the last entry to the end of the stream; `records` are the entries by offset.

    Raises:
        ZipError: central directory or end records contradict the entries, or something follows.
        TruncatedZipError: the stream ends before its end record is complete.
    """
    directory = _check_directory(source, dict(records))
    zip64 = source.peek(4) == _ZIP64_END_SIGNATURE
    if zip64:
        _check_zip64_end(source, directory)
    _check_end_record(source, directory, zip64=zip64)
    _check_nothing_follows(source)


def _check_directory(source: Source, unlisted: dict[int, EntryRecord]) -> _Directory:
    """Read the central directory, which must list each entry once, and nothing else."""
    start, count = source.position, 0
    while source.peek(4) == _DIRECTORY_SIGNATURE:
        listed = _read_listed(source)
        if unlisted.pop(listed.offset, None) != listed:
            name = quoted_bytes(listed.name)
            raise damaged_error(f"the ZIP's directory lists '{name}' differently than it arrived")
        count += 1
    _check_all_listed(source.peek(4), unlisted)
    return _Directory(start, source.position - start, count)


def _check_all_listed(signature: bytes, unlisted: dict[int, EntryRecord]) -> None:
    """Check that the directory listed all entries, once `signature` follows it."""
    if len(signature) < len(END_SIGNATURE):
        return  # truncated: the next read raises
    if signature not in (END_SIGNATURE, _ZIP64_END_SIGNATURE):
        raise damaged_error("the ZIP has something that is neither an entry nor its end")
    for record in unlisted.values():
        raise damaged_error(
            f"the ZIP's directory does not list '{quoted_bytes(record.name)}', which arrived"
        )


def _read_listed(source: Source) -> EntryRecord:
    """Take one record of the central directory."""
    fields = _DIRECTORY.unpack(source.exactly(_DIRECTORY.size))
    method, crc, compressed, size = fields[4], *fields[7:10]
    name_length, extra_length, comment_length = fields[10:13]
    attributes, offset = fields[15:17]
    name = source.exactly(name_length)
    extra = source.exactly(extra_length)
    source.exactly(comment_length)
    if attributes >> 16 & _FILE_TYPE == _SYMLINK:
        raise refused_error(f"the ZIP entry '{quoted_bytes(name)}' is a symbolic link")
    size, compressed, offset = with_zip64([size, compressed, offset], extra)
    return EntryRecord(name, offset, method, crc, compressed, size)


def _check_zip64_end(source: Source, directory: _Directory) -> None:
    """Take the ZIP64 end record and its locator."""
    position = source.position
    fields = _ZIP64_END.unpack(source.exactly(_ZIP64_END.size))
    more = fields[1] + 12 - _ZIP64_END.size  # the record's size does not count its first 12 bytes
    if not 0 <= more <= _MAX_ZIP64_END:
        raise damaged_error("the ZIP's ZIP64 end record has an impossible size")
    source.exactly(more)
    count, size, start = directory.count, directory.size, directory.start
    if fields[4:] != (0, 0, count, count, size, start):
        raise damaged_error("the ZIP's ZIP64 end record contradicts its directory")
    locator = _LOCATOR.unpack(source.exactly(_LOCATOR.size))
    if locator != (_LOCATOR_SIGNATURE, 0, position, 1):
        raise damaged_error("the ZIP's ZIP64 locator does not point to its end record")


def _check_end_record(source: Source, directory: _Directory, *, zip64: bool) -> None:
    """Take the end record and its comment; fields may refer to a ZIP64 record."""
    signature, *fields, comment_length = _END.unpack(source.exactly(_END.size))
    if signature != END_SIGNATURE:
        raise damaged_error("the ZIP has no end record after its directory")
    expected = (0, 0, directory.count, directory.count, directory.size, directory.start)
    in_zip64 = (_IN_ZIP64_16,) * 4 + (IN_ZIP64,) * 2
    for field, value, elsewhere in zip(fields, expected, in_zip64, strict=True):
        if field != value and not (zip64 and field == elsewhere):
            raise damaged_error("the ZIP's end record contradicts its directory")
    source.exactly(comment_length)


def _check_nothing_follows(source: Source) -> None:
    """Read to the end of the stream: only a little NUL padding may follow."""
    length = 0
    while data := source.peek(1) and source.feed():
        length += len(data)
        if bytes(data).strip(b"\0") or length > _MAX_PADDING:
            raise damaged_error("the ZIP is followed by something that does not belong to it")
