"""Reads and checks NIfTI-1 volumes: gzip checksum, header, size and hashes."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from tcia_covid.core.errors import ChecksumError, ForeignImageError
from tcia_covid.core.files import open_regular

_BLOCK_SIZE = 256 * 1024
_MAX_PADDING = 64 * 1024
"""Bytes that may follow the last voxel: some programs pad their files."""
_GZIP = b"\x1f\x8b"
OnBytes = Callable[[int], None]
HEADER_SIZE = 348
_NIFTI_2_HEADER_SIZE = 540
_MAX_DIMENSIONS = 7
_MIN_DATA_OFFSET = 352
"""The header and four bytes that announce extensions come first."""
_TYPES = {
    1: (1, ""),
    2: (8, "u1"),
    4: (16, "i2"),
    8: (32, "i4"),
    16: (32, "f4"),
    32: (64, ""),
    64: (64, "f8"),
    128: (24, ""),
    256: (8, "i1"),
    512: (16, "u2"),
    768: (32, "u4"),
    1024: (64, "i8"),
    1280: (64, "u8"),
    1536: (128, ""),
    1792: (128, ""),
    2048: (256, ""),
    2304: (32, ""),
}
"""By code of data type: bits per voxel, and numpy's name of types that are one real number."""


@dataclass(frozen=True, slots=True)
class Volume:
    """An intact volume on disk."""

    size: int
    """Bytes of the file, compressed."""
    digests: dict[str, str]
    """Of the file, by algorithm; always with MD5."""
    modified: int
    """Its modification time in nanoseconds."""

    @property
    def md5(self) -> str:
        """Of the file, in 32 hexadecimal digits."""
        return self.digests["md5"]


def read_volume(
    path: Path, *, algorithms: Collection[str] = (), on_bytes: OnBytes = lambda count: None
) -> Volume:
    """Read and check a whole `.nii.gz`.

    The gzip stream must be complete and match its CRC and length, and have the size that its
    NIfTI-1 header declares. `algorithms` are hashes to compute in addition to MD5, as `hashlib`
    names them. `on_bytes` gets the number of bytes read; what it raises ends the reading.

    Raises:
        ForeignImageError: it is not a gzip file or not a NIfTI-1 volume.
        ChecksumError: it is truncated or damaged.
        OSError: it cannot be read.
    """
    with _HashedFile(path, {"md5", *algorithms}, on_bytes) as file:
        try:
            with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                _read_through(stream, path.name)
        except gzip.BadGzipFile as error:
            if file.first != _GZIP:
                raise ForeignImageError(f"{path.name} is not a gzip file") from error
            raise ChecksumError(f"{path.name} is damaged: {error}") from error
        except EOFError as error:
            raise ChecksumError(f"{path.name} is truncated: its gzip stream has no end") from error
        except zlib.error as error:
            raise ChecksumError(f"{path.name} is damaged: its gzip stream is broken") from error
        status = os.fstat(file.fileno())
    if file.size != status.st_size:
        raise ChecksumError(f"{path.name} changed while it was read")
    digests = {name: digest.hexdigest() for name, digest in file.digests.items()}
    return Volume(file.size, digests, status.st_mtime_ns)


class _HashedFile(FileIO):
    """A file that is hashed while it is read from start to end."""

    def __init__(self, path: Path, algorithms: Collection[str], on_bytes: OnBytes) -> None:
        super().__init__(path, opener=open_regular)
        self.digests = {
            name: hashlib.new(name, usedforsecurity=False) for name in sorted(algorithms)
        }
        self._on_bytes = on_bytes
        self.size = 0
        self.first = b""
        """The first two bytes."""

    def read(self, size: int | None = -1, /) -> bytes:
        limited = size is not None and 0 <= size < _BLOCK_SIZE
        data = super().read(size if limited else _BLOCK_SIZE)
        for digest in self.digests.values():
            digest.update(data)
        self.first = self.first or data[:2]
        self.size += len(data)
        self._on_bytes(len(data))
        return data


def _read_through(stream: gzip.GzipFile, name: str) -> None:
    """Check that a volume has the bytes that its header declares."""
    head = stream.read(HEADER_SIZE)
    if len(head) < HEADER_SIZE:
        raise ForeignImageError(f"{name} has no NIfTI-1 header: it has {len(head)} bytes")
    header = read_header(head, name)
    size = len(head)
    while data := stream.read(_BLOCK_SIZE):
        size += len(data)
        if size > header.size + _MAX_PADDING:
            raise ForeignImageError(
                f"{name} has far more bytes than the {header.size} that its header declares"
            )
    if size < header.size:
        raise ChecksumError(
            f"{name} is truncated: it has {size} bytes, its header declares {header.size}"
        )


@dataclass(frozen=True, slots=True)
class NiftiHeader:
    """A NIfTI-1 header."""

    shape: tuple[int, ...]
    """Voxels along each axis."""
    bits: int
    """Per voxel."""
    offset: int
    """Of the first voxel, in bytes."""
    dtype: str
    """numpy's name of the voxels' type and byte order; empty if they are not one real number."""
    spacing: tuple[float, float]
    """Of voxels along the first two axes, in mm as a rule; nothing is checked."""

    @property
    def size(self) -> int:
        """Of the whole volume in bytes, uncompressed."""
        return self.offset + (math.prod(self.shape) * self.bits + 7) // 8


def read_header(head: bytes, name: str) -> NiftiHeader:
    """Read the first bytes of a volume: at least `HEADER_SIZE`, uncompressed.

    Raises:
        ForeignImageError: they are not a valid NIfTI-1 header.
    """
    # The byte order follows from the first field, the size of the header.
    sizes = {order: struct.unpack_from(f"{order}i", head)[0] for order in "<>"}
    if _NIFTI_2_HEADER_SIZE in sizes.values():
        raise ForeignImageError(f"{name} is a NIfTI-2 volume, not NIfTI-1")
    order = next((order for order, size in sizes.items() if size == HEADER_SIZE), None)
    if order is None:
        raise ForeignImageError(f"{name} has no NIfTI-1 header")
    if head[344:348] == b"ni1\0":
        raise ForeignImageError(f"{name} is a NIfTI-1 header whose voxels are in another file")
    if head[344:348] != b"n+1\0":
        raise ForeignImageError(f"{name} has no NIfTI-1 header: the mark 'n+1' is missing")
    dimensions = struct.unpack_from(f"{order}8h", head, 40)
    datatype, bits = struct.unpack_from(f"{order}2h", head, 70)
    (offset,) = struct.unpack_from(f"{order}f", head, 108)
    count = dimensions[0]
    shape = dimensions[1 : count + 1]
    if not 1 <= count <= _MAX_DIMENSIONS or min(shape) < 1:
        raise _invalid(name, f"its dimensions are {dimensions}")
    known_bits, kind = _TYPES.get(datatype, (0, ""))
    if bits != known_bits:
        raise _invalid(name, f"it has {bits} bits per voxel of type {datatype}")
    if not math.isfinite(offset) or not 0 <= offset <= 1 << 24 or offset != int(offset):
        raise _invalid(name, f"its voxels begin at byte {offset:g}")
    return NiftiHeader(
        shape=tuple(shape),
        bits=bits,
        offset=max(_MIN_DATA_OFFSET, int(offset)),
        dtype=f"{order}{kind}" if kind else "",
        spacing=struct.unpack_from(f"{order}2f", head, 80),
    )


def _invalid(name: str, reason: str) -> ForeignImageError:
    return ForeignImageError(f"the NIfTI-1 header of {name} is invalid: {reason}")
