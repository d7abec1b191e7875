"""A forward-only ZIP reader: entries are checked against the ZIP's own directory."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import Enum, auto

from tcia_covid.formats.inflate import DEFAULT, Engine
from tcia_covid.formats.zipstream.records import (
    END_SIGNATURE,
    IN_ZIP64,
    LOCAL_SIGNATURE,
    STORED,
    EntryRecord,
    LocalHeader,
    check_end,
    read_local_header,
)
from tcia_covid.formats.zipstream.source import (
    Source,
    damaged_error,
    not_a_zip_error,
    quoted_bytes,
    refused_error,
)

MAX_ENTRIES = 100_000
_NAME_BYTES = 16 * 1024 * 1024
"""Limit for the names of all entries, which are kept to check the directory."""
_OVERHEAD = 64 * 1024 * 1024
"""Room for headers and directory, in addition to data that may double when "compressed"."""
CHUNK = 252 * 1024
"""Bytes to inflate at once at most, about one feed of an image. Half as much is 5 % slower, because
threads wait for each other more often."""
_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_MAX_DESCRIPTOR = 24


class Entry:
    """One file of a ZIP stream, read while it arrives.

    Attributes:
        name: as the archive spells it; not trusted, and never a file name on disk.
    """

    def __init__(
        self, source: Source, header: LocalHeader, engine: Engine, *, limit: int, limit_of: str
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
        """Yield the data in chunks of 1 byte to 252 KiB; ends only if checksum and sizes match.

        Raises (while iterated):
            ZipError: the data is damaged or larger than allowed.
            TruncatedZipError: the stream ends before the entry does.
        """
        return iter(self._next_chunk, b"")

    def read(self, limit: int) -> bytes:
        """Read the data of a small file at once; raises as `chunks`, and beyond `limit`."""
        data = bytearray()
        for chunk in self.chunks():
            data += chunk
            if len(data) > limit:
                raise refused_error(f"the ZIP entry '{self._quoted}' is larger than {limit} bytes")
        return bytes(data)

    def finish(self) -> EntryRecord:
        """Read and check the rest; raises as `chunks`."""
        for _ in self.chunks():
            pass
        header = self._header
        compressed = self._end - self._start
        return EntryRecord(
            header.raw_name, header.offset, header.method, self._crc, compressed, self._size
        )

    def _next_chunk(self) -> bytes:
        """Return the next chunk, or nothing after the entry was read and checked."""
        if self._state is _State.COMPLETE:
            return b""
        if self._state is _State.BROKEN:
            raise damaged_error(f"the ZIP entry '{self._quoted}' cannot be read after an error")
        self._state = _State.BROKEN  # unless what follows succeeds
        chunk = self._stored() if self._header.method == STORED else self._inflated()
        if chunk:
            self._count(chunk)
            self._state = _State.READING
        else:
            self._check()
            self._state = _State.COMPLETE
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
                raise damaged_error(f"the ZIP entry '{self._quoted}' cannot be inflated") from error
            if inflater.eof:
                self._source.give_back(inflater.unused_data)
            if chunk:
                return chunk
            if not (inflater.needs_input or inflater.eof):
                raise damaged_error(f"the ZIP entry '{self._quoted}' cannot be inflated to its end")
        return b""

    def _count(self, chunk: bytes) -> None:
        self._size += len(chunk)
        if self._size > self._limit:
            raise refused_error(
                f"the ZIP entry '{self._quoted}' is larger than {self._limit} bytes, "
                f"which is {self._limit_of}"
            )
        self._crc = self._engine.crc32(chunk, self._crc)

    def _check(self) -> None:
        """Compare the counted sizes and checksum with those of the header and descriptor."""
        self._end = self._source.position
        header, compressed = self._header, self._end - self._start
        declared = (header.crc, header.compressed, header.size)
        counted = (self._crc, compressed, self._size)
        equal = all(d is None or d == c for d, c in zip(declared, counted, strict=True))
        if not equal or (header.has_descriptor and not self._take_descriptor(compressed)):
            raise damaged_error(
                f"the ZIP entry '{self._quoted}' contradicts its own checksum or size"
            )
        if self.is_directory and self._size:
            raise refused_error(f"the ZIP entry '{self._quoted}' is a folder with data of its own")

    def _take_descriptor(self, compressed: int) -> bool:
        """Take the data descriptor, if it is one of the four forms of what was counted.

        The signature is optional, and nothing tells whether its sizes have 32 or 64 bits (Java
        writes 64 beyond 4 GiB, without a ZIP64 extra field). A complete ZIP continues with more
        bytes than the longest form, so looking that far ahead never waits in vain.
        """
        ahead = self._source.peek(_MAX_DESCRIPTOR)
        wide = struct.pack("<IQQ", self._crc, compressed, self._size)
        forms = [_DESCRIPTOR_SIGNATURE + wide, wide]
        if compressed <= IN_ZIP64 and self._size <= IN_ZIP64:
            narrow = struct.pack("<III", self._crc, compressed, self._size)
            forms += [_DESCRIPTOR_SIGNATURE + narrow, narrow]
        for form in forms:
            if ahead.startswith(form):
                self._source.exactly(len(form))
                return True
        if len(ahead) < _MAX_DESCRIPTOR:
            self._source.exactly(_MAX_DESCRIPTOR)  # truncated rather than wrong: raises
        return False

    @property
    def _quoted(self) -> str:
        return quoted_bytes(self._header.raw_name)


class ZipStream(Iterator[Entry]):
    """The files of a ZIP that is read while it arrives, without storing it.

    Iteration ends only after the central directory and the end record were read, agree with the
    entries, and nothing follows: only then did the ZIP arrive as it was sent. It may still be
    incomplete, if the server closed it early. The rest of an entry is read and checked before the
    next one. Folders are skipped. Needs about 1 MiB of memory, and one record per entry.

    Args:
        read: returns up to so many bytes, and none at the end of the stream.
        max_entry_size: limit for the inflated bytes of an entry.
        max_total_size: limit for the inflated bytes of all entries.
        max_entries: limit for entries, including folders.
        engine: inflates the data.

    Raises (while iterated, and by `Entry.chunks`):
        TruncatedZipError: the stream ends before its end record is complete.
        ZipError: it is not a ZIP, damaged, not accepted, or too large.
    """

    def __init__(
        self,
        read: Callable[[int], bytes],
        *,
        max_entry_size: int,
        max_total_size: int,
        max_entries: int = MAX_ENTRIES,
        engine: Engine = DEFAULT,
    ) -> None:
        self._source = Source(read, limit=2 * max_total_size + _OVERHEAD)
        self._engine = engine
        self._max_entry_size = max_entry_size
        self._left = max_total_size
        self._max_entries = max_entries
        self._name_bytes_left = _NAME_BYTES
        self._names: set[bytes] = set()
        self._records: dict[int, EntryRecord] = {}
        self._entry: Entry | None = None
        self._complete = False

    def __iter__(self) -> ZipStream:
        return self

    def __next__(self) -> Entry:
        if self._complete:
            raise StopIteration
        while self._next_is_entry():
            self._entry = self._open()
            if not self._entry.is_directory:
                return self._entry
        check_end(self._source, self._records)
        self._complete = True
        raise StopIteration

    def _next_is_entry(self) -> bool:
        """Finish the current entry, and tell whether another one follows."""
        if self._entry is not None:
            self._keep(self._entry.finish())
            self._entry = None
        signature = self._source.peek(4)
        if not self._source.position and not _may_begin_zip(signature):
            raise not_a_zip_error(self._source.peek(1024))
        return signature == LOCAL_SIGNATURE

    def _open(self) -> Entry:
        if len(self._records) == self._max_entries:
            raise refused_error(f"the ZIP has more entries than the limit of {self._max_entries}")
        header = read_local_header(self._source)
        limit, limit_of = self._max_entry_size, "the limit for a single file"
        if self._left < limit:
            limit, limit_of = self._left, "the rest of the limit for all files"
        return Entry(self._source, header, self._engine, limit=limit, limit_of=limit_of)

    def _keep(self, record: EntryRecord) -> None:
        """Record an entry that was read, for the limits and the check of the directory."""
        self._left -= record.size
        self._name_bytes_left -= len(record.name)
        if self._name_bytes_left < 0:
            raise refused_error("the names of the ZIP's entries are too long")
        if record.name in self._names:
            raise damaged_error("the ZIP has two entries of the same name")
        self._names.add(record.name)
        self._records[record.offset] = record


def _may_begin_zip(signature: bytes) -> bool:
    """Whether a ZIP may begin like this; one without entries begins with its end record."""
    return any(s.startswith(signature) for s in (LOCAL_SIGNATURE, END_SIGNATURE))


class _State(Enum):
    READING = auto()
    COMPLETE = auto()
    BROKEN = auto()
