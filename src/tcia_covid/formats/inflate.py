"""The one seam through which deflated data is inflated: ISA-L where installed, else zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol


class Inflater(Protocol):
    """A decompressor of one raw deflate stream, shaped like those of `bz2` and `lzma`."""

    @property
    def needs_input(self) -> bool:
        """Whether it takes input; else `decompress(b"")` goes on.

        Where all input is taken, output may be due nevertheless.
        """
        ...

    @property
    def unused_data(self) -> bytes:
        """Input that lies behind the end of the stream."""
        ...

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""
        ...

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Inflate `data` to at most `max_length` bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Engine:
    """An implementation of inflate and CRC-32.

    Attributes:
        name: what `--version -v` shows.
        new_inflater: makes a decompressor of one raw deflate stream.
        crc32: as `zlib.crc32`.
        error: what a decompressor raises on damaged data.
    """

    name: str
    new_inflater: Callable[[], Inflater]
    crc32: Callable[[bytes, int], int]
    error: type[Exception]


class _ZlibInflater:
    """`zlib.decompressobj`, which hands back what it could not yet take."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(-zlib.MAX_WBITS)

    @property
    def needs_input(self) -> bool:
        return not (self._inner.unconsumed_tail or self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def eof(self) -> bool:
        return self._inner.eof

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail or data, max_length)


ZLIB = Engine(f"zlib {zlib.ZLIB_RUNTIME_VERSION}", _ZlibInflater, zlib.crc32, zlib.error)


def find_isal() -> Engine | None:
    """The ISA-L engine, about half as fast again as zlib; None where it is not installed."""
    try:
        isal: Any = import_module("isal")
        igzip: Any = import_module("isal.igzip_lib")
        isal_zlib: Any = import_module("isal.isal_zlib")
    except ImportError:
        return None

    def new_isal_inflater() -> Inflater:
        # Not isal_zlib's, which gathers its output in steps that double, and copies it at each.
        inflater: Inflater = igzip.IgzipDecompressor(flag=igzip.DECOMP_DEFLATE)
        return inflater

    name = f"isal {isal.__version__}"
    return Engine(name, new_isal_inflater, isal_zlib.crc32, igzip.error)


DEFAULT = find_isal() or ZLIB
ENGINE = DEFAULT.name


def new_inflater() -> Inflater:
    """A decompressor of one raw deflate stream, of the fastest engine that is installed."""
    return DEFAULT.new_inflater()
