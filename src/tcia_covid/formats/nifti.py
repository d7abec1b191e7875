"""Reading a volume to its end: gzip's own check, the header's promise, the file's hashes."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BufferedIOBase, FileIO
from pathlib import Path

from tcia_covid.core.errors import ChecksumError, ForeignImageError

_PIECE = 256 * 1024
_SLACK = 64 * 1024
"""Bytes behind the last voxel that are let pass: some programs pad their files."""
_GZIP = b"\x1f\x8b"
OnBytes = Callable[[int], None]
HEADER_SIZE = 348
_NIFTI_2 = 540
_MOST_DIMENSIONS = 7
_DATA_AT_LEAST = 352
"""Where the data begin at the earliest: behind the header and the four bytes of extension."""
_BITS = {
    1: 1,
    2: 8,
    256: 8,
    4: 16,
    512: 16,
    8: 32,
    768: 32,
    16: 32,
    2304: 32,
    128: 24,
    32: 64,
    64: 64,
    1024: 64,
    1280: 64,
    1536: 128,
    1792: 128,
    2048: 256,
}
"""Bits a voxel, by the code of the data type."""


@dataclass(frozen=True, slots=True)
class Volume:
    """A sound volume on disk."""

    path: Path
    size: int
    """Bytes of the file, compressed."""
    digests: dict[str, str]
    """Of the file, by algorithm; MD5 is always there."""
    header: NiftiHeader
    modified: int
    """When it was last changed, in nanoseconds as the file system counts them."""

    @property
    def md5(self) -> str:
        """32 hex digits, of the file's bytes."""
        return self.digests["md5"]

    @property
    def is_unchanged(self) -> bool:
        """Whether the file has the size and the time that it had when it was read.

        Raises:
            OSError: it is gone.
        """
        status = self.path.stat()
        return (status.st_size, status.st_mtime_ns) == (self.size, self.modified)


def read_volume(
    path: Path, *, algorithms: Collection[str] = (), on_bytes: OnBytes = lambda count: None
) -> Volume:
    """Read a `.nii.gz` to its end, in pieces; only what is sound is returned.

    The gzip stream has to be whole, with the CRC and the length that it ends in, and to hold
    what its NIfTI-1 header promises.

    Args:
        path: the file.
        algorithms: hashes to compute beside MD5, as `hashlib` names them.
        on_bytes: hears of bytes of the file that were read; what it raises ends the reading.

    Raises:
        ForeignImageError: it is no gzip file, or no NIfTI-1 volume.
        ChecksumError: it is cut or damaged.
        OSError: it cannot be read.
    """
    with FileIO(path) as file:
        hashed = _Hashed(file, {"md5", *algorithms}, on_bytes)
        try:
            with gzip.GzipFile(fileobj=hashed, mode="rb") as stream:
                header = _read_through(stream, path.name)
        except gzip.BadGzipFile as error:
            raise _bad_gzip(path.name, str(error), hashed) from error
        except EOFError as error:
            raise ChecksumError(f"{path.name} is cut: its gzip stream has no end") from error
        except zlib.error as error:
            raise ChecksumError(f"{path.name} is damaged: its gzip stream is broken") from error
        status = os.fstat(file.fileno())
    if hashed.size != status.st_size:
        raise ChecksumError(f"{path.name} changed while it was read")
    return Volume(path, hashed.size, hashed.hexdigests(), header, status.st_mtime_ns)


class _Hashed(BufferedIOBase):
    """A file that is hashed while it is read, once, front to back."""

    def __init__(self, file: FileIO, algorithms: Collection[str], on_bytes: OnBytes) -> None:
        self._file = file
        self._digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in sorted(algorithms)
        }
        self._on_bytes = on_bytes
        self.size = 0
        self.first = b""
        """The first bytes."""

    def readable(self) -> bool:
        """It is."""
        return True

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes."""
        data = self._file.read(min(size, _PIECE) if size is not None and size >= 0 else _PIECE)
        for digest in self._digests.values():
            digest.update(data)
        self.first = self.first or data[:2]
        self.size += len(data)
        self._on_bytes(len(data))
        return data

    def hexdigests(self) -> dict[str, str]:
        """The hashes of what was read."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}


def _read_through(stream: gzip.GzipFile, name: str) -> NiftiHeader:
    head = stream.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE:
        raise ForeignImageError(f"{name} has no NIfTI-1 header: it holds {len(head)} bytes")
    header = read_header(head, name)
    size = len(head)
    while data := stream.read(_PIECE):
        size += len(data)
        if size > header.size + _SLACK:
            raise ForeignImageError(
                f"{name} holds far more than the {header.size} bytes that its header promises"
            )
    if size < header.size:
        raise ChecksumError(
            f"{name} is cut: it holds {size} of the {header.size} bytes that its header promises"
        )
    return header


def _bad_gzip(name: str, why: str, hashed: _Hashed) -> ForeignImageError | ChecksumError:
    """Tell what is no gzip file at all from one that is damaged."""
    if hashed.first != _GZIP:
        return ForeignImageError(f"{name} is no gzip file")
    return ChecksumError(f"{name} is damaged: {why}")


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """What a NIfTI-1 header says of a volume."""

    shape: tuple[int, ...]
    """Voxels along each axis."""
    datatype: int
    """The code of the voxels' type."""
    bits: int
    """A voxel's."""
    offset: int
    """Where the voxels begin, in bytes."""

    @property
    def size(self) -> int:
        """Bytes of the whole volume, uncompressed."""
        return self.offset + (math.prod(self.shape) * self.bits + 7) // 8


def read_header(head: bytes, what: str) -> NiftiHeader:
    """Read the first bytes of a volume.

    Args:
        head: at least `HEADER_SIZE` bytes, uncompressed.
        what: the file, for the sentence.

    Raises:
        ForeignImageError: they are no header of a NIfTI-1 volume, or one that makes no sense.
    """
    order = _byte_order(head, what)
    _check_magic(head[344:348], what)
    dimensions = struct.unpack_from(f"{order}8h", head, 40)
    datatype, bits = struct.unpack_from(f"{order}2h", head, 70)
    (offset,) = struct.unpack_from(f"{order}f", head, 108)
    count = dimensions[0]
    shape = dimensions[1 : count + 1]
    if not 1 <= count <= _MOST_DIMENSIONS or min(shape) < 1:
        raise _senseless(what, f"it gives the dimensions as {dimensions}")
    if _BITS.get(datatype) != bits:
        raise _senseless(what, f"it gives {bits} bits for a voxel of type {datatype}")
    if not math.isfinite(offset) or not 0 <= offset <= 1 << 24 or offset != int(offset):
        raise _senseless(what, f"it has the voxels begin at byte {offset:g}")
    return NiftiHeader(tuple(shape), datatype, bits, max(_DATA_AT_LEAST, int(offset)))


def _byte_order(head: bytes, what: str) -> str:
    """Tell the order of bytes by the first field, the header's own size."""
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", head)
        if size == HEADER_SIZE:
            return order
        if size == _NIFTI_2:
            raise ForeignImageError(f"{what} is a NIfTI-2 volume, not a NIfTI-1 one")
    raise ForeignImageError(f"{what} has no NIfTI-1 header")


def _check_magic(magic: bytes, what: str) -> None:
    if magic == b"ni1\0":
        raise ForeignImageError(f"{what} is a NIfTI-1 header whose voxels are in another file")
    if magic != b"n+1\0":
        raise ForeignImageError(f"{what} has no NIfTI-1 header: it lacks the mark 'n+1'")


def _senseless(what: str, why: str) -> ForeignImageError:
    return ForeignImageError(f"the NIfTI-1 header of {what} makes no sense: {why}")
