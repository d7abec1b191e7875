"""One entry of a ZIP stream: its inflated data and the data descriptor behind it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import Enum, auto

from tcia_covid.inflate import Engine
from tcia_covid.zipstream.header import IN_ZIP64, STORED, LocalHeader, Record
from tcia_covid.zipstream.problems import damaged, quoted, refused
from tcia_covid.zipstream.source import Source

PIECE = 252 * 1024
"""The most that is inflated at once, however well the data is compressed: about what a feed of an
image is. Half as much is slower by a twentieth, for the threads wait for each other more often."""

_DESCRIPTOR_SIGNATURE = b"PK\x07\x08"
_LONGEST_DESCRIPTOR = 24


class _State(Enum):
    READING = auto()
    COMPLETE = auto()
    BROKEN = auto()


class Entry:
    """One file of a ZIP stream, read while it arrives.

    Attributes:
        name: as the archive spells it: never trusted, never a file name on disk.
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
        """Whether it is a folder, which has no data."""
        return self._header.raw_name.endswith(b"/")

    def chunks(self) -> Iterator[bytes]:
        """The data, in pieces of 1 byte to 252 KiB; ends only if checksum and sizes hold.

        Raises (while iterated):
            ZipError: the data is damaged or larger than allowed.
            TruncatedZipError: the stream ends before the entry does.
        """
        return iter(self._next_piece, b"")

    def read(self, limit: int) -> bytes:
        """The data of a small file at once; raises as `chunks`, and if it is beyond `limit`."""
        data = bytearray()
        for piece in self.chunks():
            data += piece
            if len(data) > limit:
                raise refused(f"the ZIP entry '{self._quoted}' is larger than {limit} bytes")
        return bytes(data)

    def finish(self) -> Record:
        """Skip what was not read, and check it nevertheless; raises as `chunks`."""
        for _ in self.chunks():
            pass
        header = self._header
        compressed = self._end - self._start
        return Record(
            header.raw_name, header.offset, header.method, self._crc, compressed, self._size
        )

    def _next_piece(self) -> bytes:
        """The next piece, or nothing once the entry was read and proved."""
        if self._state is _State.COMPLETE:
            return b""
        if self._state is _State.BROKEN:
            raise damaged(f"the ZIP entry '{self._quoted}' broke off and cannot be read on")
        self._state = _State.BROKEN  # unless what follows succeeds
        piece = self._stored() if self._header.method == STORED else self._inflated()
        if piece:
            self._count(piece)
            self._state = _State.READING
        else:
            self._prove()
            self._state = _State.COMPLETE
        return piece

    def _stored(self) -> bytes:
        left = (self._header.size or 0) - self._size
        return bytes(self._source.feed(min(left, PIECE))) if left else b""

    def _inflated(self) -> bytes:
        inflater = self._inflater
        while not inflater.eof:
            fed = self._source.feed() if inflater.needs_input else b""
            try:
                piece = inflater.decompress(fed, PIECE)
            except self._engine.error as error:
                raise damaged(f"the ZIP entry '{self._quoted}' cannot be inflated") from error
            if inflater.eof:
                self._source.give_back(inflater.unused_data)
            if piece:
                return piece
            if not (inflater.needs_input or inflater.eof):
                raise damaged(f"the ZIP entry '{self._quoted}' cannot be inflated to its end")
        return b""

    def _count(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._limit:
            raise refused(
                f"the ZIP entry '{self._quoted}' is larger than {self._limit} bytes, "
                f"which is {self._limit_of}"
            )
        self._crc = self._engine.crc32(piece, self._crc)

    def _prove(self) -> None:
        """Compare what was counted with what the entry says of itself."""
        self._end = self._source.position
        header, compressed = self._header, self._end - self._start
        declared = (header.crc, header.compressed, header.size)
        counted = (self._crc, compressed, self._size)
        right = all(d is None or d == c for d, c in zip(declared, counted, strict=True))
        if not right or (header.has_descriptor and not self._take_descriptor(compressed)):
            raise damaged(f"the ZIP entry '{self._quoted}' contradicts its own checksum or size")
        if self.is_directory and self._size:
            raise refused(f"the ZIP entry '{self._quoted}' is a folder with data of its own")

    def _take_descriptor(self, compressed: int) -> bool:
        """Take the data descriptor, if it is one of the four spellings of what was counted.

        The signature is optional, and nothing says whether its sizes have 32 or 64 bits (Java
        writes 64 beyond 4 GiB, without a ZIP64 extra field). More than the longest of the four
        follows in any complete ZIP, so looking that far ahead waits for nothing.
        """
        ahead = self._source.peek(_LONGEST_DESCRIPTOR)
        wide = struct.pack("<IQQ", self._crc, compressed, self._size)
        spellings = [_DESCRIPTOR_SIGNATURE + wide, wide]
        if compressed <= IN_ZIP64 and self._size <= IN_ZIP64:
            narrow = struct.pack("<III", self._crc, compressed, self._size)
            spellings += [_DESCRIPTOR_SIGNATURE + narrow, narrow]
        for spelling in spellings:
            if ahead.startswith(spelling):
                self._source.exactly(len(spelling))
                return True
        if len(ahead) < _LONGEST_DESCRIPTOR:
            self._source.exactly(_LONGEST_DESCRIPTOR)  # cut rather than wrong: raises
        return False

    @property
    def _quoted(self) -> str:
        return quoted(self._header.raw_name)
