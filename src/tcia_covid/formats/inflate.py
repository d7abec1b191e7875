"""Inflates deflated data: with ISA-L if it is installed, otherwise with zlib."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple, Protocol


class Inflater(Protocol):
    """A decompressor of one raw deflate stream, shaped like those of `bz2` and `lzma`."""

    @property
    def needs_input(self) -> bool:
        """Whether it needs input; otherwise `decompress(b"")` continues."""

    @property
    def unused_data(self) -> bytes:
        """Input after the end of the stream."""

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""

    def decompress(self, data: bytes | memoryview, max_length: int, /) -> bytes:
        """Inflate `data` to at most `max_length` bytes; more may follow without more input."""


class Engine(NamedTuple):
    """An implementation of inflate and CRC-32."""

    name: str
    """What `--version -v` shows."""
    new_inflater: Callable[[], Inflater]
    crc32: Callable[[bytes, int], int]
    error: type[Exception]
    """What an inflater raises on damaged data."""


class _ZlibInflater:
    """`zlib.decompressobj`, which keeps the input that it could not take yet."""

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
    """Find the ISA-L engine, about 1.5 times as fast as zlib; None if it is not installed."""
    try:
        isal: Any = import_module("isal")
        igzip: Any = import_module("isal.igzip_lib")
        isal_zlib: Any = import_module("isal.isal_zlib")
    except ImportError:
        return None

    # isal_zlib's own decompressor copies its output each time its buffer doubles.
    new_inflater = partial(igzip.IgzipDecompressor, flag=igzip.DECOMP_DEFLATE)
    return Engine(f"isal {isal.__version__}", new_inflater, isal_zlib.crc32, igzip.error)


DEFAULT = find_isal() or ZLIB
