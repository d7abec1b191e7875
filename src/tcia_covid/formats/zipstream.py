"""A forward-only ZIP reader: entries are checked against the ZIP's own directory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import NamedTuple

from tcia_covid.core.errors import TruncatedZipError, ZipError
from tcia_covid.core.redaction import excerpt
from tcia_covid.formats.inflate import DEFAULT, Engine

MAX_ENTRIES = 100_000
_NAME_BYTES = 16 * 1024 * 1024
"""Limit for the names of all entries, which are kept to check the directory."""
_OVERHEAD = 64 * 1024 * 1024
"""Room for headers and directory, in addition to data that may double when "compressed"."""
CHUNK = 252 * 1024
"""Bytes to inflate at once at most, about one feed of an image. Half as much is 5 % slower, because
threads wait for each other more often."""
_FEED = 128 * 1024
"""Bytes to inflate at once."""
_READ = 512 * 1024
"""Bytes to request at once: so many may arrive while the previous ones are inflated."""
_LOCAL_SIGNATURE = b"PK\x03\x04"
_STORED, _DEFLATED = 0, 8
_IN_ZIP64 = 0xFFFFFFFF
"""In a 32-bit field: the value is in the ZIP64 extra field."""
_LOCAL = struct.Struct("<4s5H3I2H")
_ENCRYPTED = 0x0001 | 0x0040 | 0x2000  # encrypted, strongly so, or with a masked directory
_PATCHED = 0x0020
_DESCRIPTOR_FOLLOWS = 0x0008
_UTF8 = 0x0800
_ZIP64_EXTRA = 0x0001
_END_SIGNATURE = b"PK\x05\x06"
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
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_MAX_DESCRIPTOR = 24


class _State(Enum):
    READING = auto()
    COMPLETE = auto()
    BROKEN = auto()


class Entry:
    """One file of a ZIP stream, read while it arrives.

    Attributes:
        name: as the archive spells it; not trusted, and never a file name on disk.
    """

    def __init__(
        self, source: _Source, header: _LocalHeader, engine: Engine, *, limit: int, limit_of: str
    ) -> None:
        self.name = header.name
        self._source = source
        self._header = header
        self._engine = engine
        self._limit = limit
        self._limit_of = limit_of
        self._inflater = engine.new_inflater()
        self._start = self._end = source.position
        self._size = 0
        self._crc = 0
        self._state = _State.READING

    @property
    def is_directory(self) -> bool:
        """Whether it is a folder."""
        return self._header.raw_name.endswith(b"/")

    def chunks(self) -> Iterator[bytes]:
        """Yield the data in chunks of 1 byte to 252 KiB; ends only if checksum and sizes match."""
        return iter(self._next_chunk, b"")

    def read(self, limit: int) -> bytes:
        """Read the data of a small file at once; raises as `chunks`, and beyond `limit`."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise _refused(f"{self._label} is larger than {limit} bytes")
        return bytes(data)

    def finish(self) -> _EntryRecord:
        """Read and check the rest; raises as `chunks`."""
        for _ in self.chunks():
            pass
        header = self._header
        compressed = self._end - self._start
        return _EntryRecord(
            header.raw_name, header.offset, header.method, self._crc, compressed, self._size
        )

    def _next_chunk(self) -> bytes:
        """Return the next chunk, or nothing after the entry was read and checked."""
        if self._state is _State.COMPLETE:
            return b""
        if self._state is _State.BROKEN:
            raise _damaged(f"{self._label} cannot be read after an error")
        self._state = _State.BROKEN  # unless what follows succeeds
        chunk = self._stored() if self._header.method == _STORED else self._inflated()
        if not chunk:
            self._check()
            self._state = _State.COMPLETE
            return b""
        self._size += len(chunk)
        if self._size > self._limit:
            raise _refused(
                f"{self._label} is larger than {self._limit} bytes, which is {self._limit_of}"
            )
        self._crc = self._engine.crc32(chunk, self._crc)
        self._state = _State.READING
        return chunk

    def _stored(self) -> bytes:
        left = (self._header.size or 0) - self._size
        return bytes(self._source.feed(min(left, CHUNK))) if left else b""

    def _inflated(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            fed = self._source.feed() if inflater.needs_input else b""
            try:
                chunk = inflater.decompress(fed, CHUNK)
            except self._engine.error as error:
                raise _damaged(f"{self._label} cannot be inflated") from error
            if inflater.eof:
                self._source.give_back(inflater.unused_data)
            if chunk:
                return chunk
            if not (inflater.needs_input or inflater.eof):
                raise _damaged(f"{self._label} cannot be inflated to its end")
        return b""

    def _check(self) -> None:
        """Compare the counted sizes and checksum with those of the header and descriptor."""
        self._end = self._source.position
        header, compressed = self._header, self._end - self._start
        declared = (header.crc, header.compressed, header.size)
        counted = (self._crc, compressed, self._size)
        equal = all(d is None or d == c for d, c in zip(declared, counted, strict=True))
        if not equal or (header.has_descriptor and not self._take_descriptor(compressed)):
            raise _damaged(f"{self._label} contradicts its own checksum or size")
        if self.is_directory and self._size:
            raise _refused(f"{self._label} is a folder with data of its own")

    def _take_descriptor(self, compressed: int) -> bool:
        """Take the data descriptor, if it is one of the four forms of what was counted.

        The signature is optional, and nothing shows whether its sizes have 32 or 64 bits (Java
        writes 64 beyond 4 GiB, without a ZIP64 extra field). A complete ZIP continues with more
        bytes than the longest form, so these always arrive.
        """
        descriptor = self._source.peek(_MAX_DESCRIPTOR)
        wide = struct.pack("<IQQ", self._crc, compressed, self._size)
        forms = [_DESCRIPTOR_SIGNATURE + wide, wide]
        if compressed <= _IN_ZIP64 and self._size <= _IN_ZIP64:
            narrow = struct.pack("<III", self._crc, compressed, self._size)
            forms += [_DESCRIPTOR_SIGNATURE + narrow, narrow]
        for form in forms:
            if descriptor.startswith(form):
                self._source.exactly(len(form))
                return True
        if len(descriptor) < _MAX_DESCRIPTOR:
            self._source.exactly(_MAX_DESCRIPTOR)  # truncated rather than wrong: raises
        return False

    @property
    def _label(self) -> str:
        return f"the ZIP entry '{excerpt(self._header.raw_name)}'"


def read_zip(
    read: Callable[[int], bytes],
    *,
    max_entry_size: int,
    max_total_size: int,
    max_entries: int = MAX_ENTRIES,
    engine: Engine = DEFAULT,
) -> Iterator[Entry]:
    """Yield the files of a ZIP while it arrives, without storing it.

    Ends only after the central directory and the end record were read, agree with the entries, and
    nothing follows: only then did the ZIP arrive as it was sent. It may still be incomplete, if the
    server closed it early. The rest of an entry is read and checked before the next one. Folders
    are skipped. Needs about 1 MiB of memory, and one record per entry.

    Args:
        read: returns up to so many bytes, and none at the end of the stream.
        max_entry_size: limit for the inflated bytes of an entry.
        max_total_size: the same for all entries together.
        max_entries: limit for entries, including folders.
        engine: inflates the data.

    Raises (and so does `Entry.chunks`):
        TruncatedZipError: the stream ends before its end record is complete.
        ZipError: it is not a ZIP, damaged, not accepted, or too large.
    """
    source = _Source(read, limit=2 * max_total_size + _OVERHEAD)
    signature = source.peek(4)
    # A ZIP without entries begins with its end record.
    if not any(s.startswith(signature) for s in (_LOCAL_SIGNATURE, _END_SIGNATURE)):
        head = excerpt(source.peek(1024))
        raise _damaged(f"the response is not a ZIP; it begins with '{head}'")
    records: dict[int, _EntryRecord] = {}
    names: set[bytes] = set()
    size_left, name_bytes_left = max_total_size, _NAME_BYTES
    while source.peek(4) == _LOCAL_SIGNATURE:
        if len(records) == max_entries:
            raise _refused(f"the ZIP has more entries than the limit of {max_entries}")
        limit, limit_of = max_entry_size, "the limit for a single file"
        if size_left < limit:
            limit, limit_of = size_left, "the rest of the limit for all files"
        header = _read_local_header(source)
        entry = Entry(source, header, engine, limit=limit, limit_of=limit_of)
        if not entry.is_directory:
            yield entry
        record = entry.finish()
        size_left -= record.size
        name_bytes_left -= len(record.name)
        if name_bytes_left < 0:
            raise _refused("the names of the ZIP's entries are too long")
        if record.name in names:
            raise _damaged("the ZIP has two entries of the same name")
        names.add(record.name)
        records[record.offset] = record
    _check_end(source, records)


class _EntryRecord(NamedTuple):
    """An entry that was read, with which the central directory must agree."""

    name: bytes
    offset: int
    method: int
    crc: int
    compressed: int
    size: int


class _LocalHeader(NamedTuple):
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


def _with_zip64(fields: list[int], extra: bytes) -> list[int]:
    """Replace the `fields` whose values are in the ZIP64 part of `extra`."""
    at = 0
    while at + 4 <= len(extra):
        tag, size = struct.unpack_from("<HH", extra, at)
        if tag == _ZIP64_EXTRA:
            values = struct.unpack_from(f"<{min(size, len(extra) - at - 4) // 8}Q", extra, at + 4)
            wide = iter(values)
            return [next(wide, f) if f == _IN_ZIP64 else f for f in fields]
        at += 4 + size
    return fields


def _read_local_header(source: _Source) -> _LocalHeader:
    """Take a local file header; raises `ZipError` where the entry is not accepted."""
    offset = source.position
    fields = _LOCAL.unpack(source.exactly(_LOCAL.size))
    _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = fields
    name = source.exactly(name_length)
    size, compressed = _with_zip64([size, compressed], source.exactly(extra_length))
    if not flags & _DESCRIPTOR_FOLLOWS:
        header = _LocalHeader(name, offset, flags, method, crc, compressed, size)
    else:  # values that are given nevertheless must be right
        known = [None if v in (0, _IN_ZIP64) else v for v in (compressed, size)]
        header = _LocalHeader(name, offset, flags, method, crc or None, *known)
    for is_refused, reason in (
        (flags & _ENCRYPTED, "is encrypted"),
        (flags & _PATCHED, "is patch data, not a file"),
        (method not in (_STORED, _DEFLATED), f"uses the unknown method {method}"),
        (method == _STORED and header.has_descriptor, "is stored without its size"),
    ):
        if is_refused:
            raise _refused(f"the ZIP entry '{excerpt(name)}' {reason}")
    return header


class _Directory(NamedTuple):
    """The central directory, which the end records describe again."""

    start: int
    size: int
    entries: int


def _check_end(source: _Source, records: dict[int, _EntryRecord]) -> None:
    """Read from the last entry to the end of the stream; `records` are the entries by offset."""
    directory = _check_directory(source, dict(records))
    zip64 = source.peek(4) == _ZIP64_END_SIGNATURE
    if zip64:
        _check_zip64_end(source, directory)
    _check_end_record(source, directory, zip64=zip64)
    padding = 0
    while data := source.peek(1) and source.feed():
        padding += len(data)
        if bytes(data).strip(b"\0") or padding > _MAX_PADDING:
            raise _damaged("the ZIP is followed by something that does not belong to it")


def _check_directory(source: _Source, unlisted: dict[int, _EntryRecord]) -> _Directory:
    """Read the central directory, which must list each entry once, and nothing else."""
    start, count = source.position, 0
    while source.peek(4) == _DIRECTORY_SIGNATURE:
        listed = _read_listed(source)
        if unlisted.pop(listed.offset, None) != listed:
            name = excerpt(listed.name)
            raise _damaged(f"the ZIP's directory lists '{name}' differently than it arrived")
        count += 1
    signature = source.peek(4)
    if len(signature) == len(_END_SIGNATURE):  # else truncated: the next read raises
        if signature not in (_END_SIGNATURE, _ZIP64_END_SIGNATURE):
            raise _damaged("the ZIP has something that is neither an entry nor its end")
        for record in unlisted.values():
            name = excerpt(record.name)
            raise _damaged(f"the ZIP's directory does not list '{name}', which arrived")
    return _Directory(start, source.position - start, count)


def _read_listed(source: _Source) -> _EntryRecord:
    """Take one record of the central directory."""
    fields = _DIRECTORY.unpack(source.exactly(_DIRECTORY.size))
    method, crc, compressed, size = fields[4], *fields[7:10]
    name_length, extra_length, comment_length = fields[10:13]
    attributes, offset = fields[15:17]
    name = source.exactly(name_length)
    extra = source.exactly(extra_length)
    source.exactly(comment_length)
    if attributes >> 16 & _FILE_TYPE == _SYMLINK:
        raise _refused(f"the ZIP entry '{excerpt(name)}' is a symbolic link")
    size, compressed, offset = _with_zip64([size, compressed, offset], extra)
    return _EntryRecord(name, offset, method, crc, compressed, size)


def _check_zip64_end(source: _Source, directory: _Directory) -> None:
    """Take the ZIP64 end record and its locator."""
    position = source.position
    fields = _ZIP64_END.unpack(source.exactly(_ZIP64_END.size))
    more = fields[1] + 12 - _ZIP64_END.size  # the record's size does not count its first 12 bytes
    if not 0 <= more <= _MAX_ZIP64_END:
        raise _damaged("the ZIP's ZIP64 end record has an impossible size")
    source.exactly(more)
    start, size, count = directory
    if fields[4:] != (0, 0, count, count, size, start):
        raise _damaged("the ZIP's ZIP64 end record contradicts its directory")
    locator = _LOCATOR.unpack(source.exactly(_LOCATOR.size))
    if locator != (_LOCATOR_SIGNATURE, 0, position, 1):
        raise _damaged("the ZIP's ZIP64 locator does not point to its end record")


def _check_end_record(source: _Source, directory: _Directory, *, zip64: bool) -> None:
    """Take the end record and its comment; fields may refer to a ZIP64 record."""
    signature, *fields, comment_length = _END.unpack(source.exactly(_END.size))
    if signature != _END_SIGNATURE:
        raise _damaged("the ZIP has no end record after its directory")
    expected = (0, 0, directory.entries, directory.entries, directory.size, directory.start)
    in_zip64 = (_IN_ZIP64_16,) * 4 + (_IN_ZIP64,) * 2
    for field, value, elsewhere in zip(fields, expected, in_zip64, strict=True):
        if field != value and not (zip64 and field == elsewhere):
            raise _damaged("the ZIP's end record contradicts its directory")
    source.exactly(comment_length)


class _Source:
    """A reader of a stream that cannot be rewound."""

    def __init__(self, read: Callable[[int], bytes], *, limit: int) -> None:
        self._read = read
        self._limit = limit
        self._buffer = b""
        self._at = 0
        self._received = 0
        self.position = 0
        """Bytes taken so far."""

    def peek(self, size: int) -> bytes:
        """Return the next `size` bytes without taking them; fewer only at the end of the stream."""
        while len(self._buffer) - self._at < size:
            more = self._receive()
            if not more:
                break
            self._buffer = self._buffer[self._at :] + more
            self._at = 0
        return self._buffer[self._at : self._at + size]

    def exactly(self, size: int) -> bytes:
        """Take the next `size` bytes; raises `TruncatedZipError` where there are fewer."""
        pieces = [self._take(size)]
        missing = size - len(pieces[0])
        while missing:
            piece = self.feed(missing)
            pieces.append(piece)
            missing -= len(piece)
        return b"".join(pieces)

    def feed(self, limit: int = _FEED) -> memoryview:
        """Take what is buffered or arrives next, at least one byte; raises as `exactly`."""
        if self._at == len(self._buffer):
            self._buffer, self._at = self._receive(), 0
            if not self._buffer:
                raise _truncated(self.position)
        return self._take(limit)

    def give_back(self, unused: bytes) -> None:
        """Put back the unused end of what was taken, which is usually still in the buffer."""
        self.position -= len(unused)
        if len(unused) <= self._at:
            self._at -= len(unused)
            return
        # An inflater may still have bytes of an earlier feed when its stream ends.
        self._buffer = unused + self._buffer[self._at :]
        self._at = 0

    def _take(self, limit: int) -> memoryview:
        piece = memoryview(self._buffer)[self._at : self._at + limit]
        self._at += len(piece)
        self.position += len(piece)
        return piece

    def _receive(self) -> bytes:
        more = self._read(_READ)
        self._received += len(more)
        if self._received > self._limit:
            raise _refused(f"the ZIP stream is longer than the limit of {self._limit} bytes")
        return more


def _damaged(message: str) -> ZipError:
    """The error for an inconsistent stream, which another attempt may fix."""
    return ZipError(message, hint="the series is requested again", retryable=True)


def _refused(message: str) -> ZipError:
    """The error for a stream that is not accepted; another attempt would give the same."""
    return ZipError(message, hint="the archive sent a ZIP that this program does not accept")


def _truncated(position: int) -> TruncatedZipError:
    message = f"the ZIP stream was truncated after {position} bytes, before its end record"
    return TruncatedZipError(
        message if position else "the response is empty, not a ZIP",
        hint="the series is requested again",
        retryable=True,
    )
