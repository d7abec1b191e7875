"""The NIfTI-1 header: what the first bytes of a volume promise of the rest.

The fields and data types are those of `nifti1.h` (https://nifti.nimh.nih.gov/nifti-1).
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from tcia_covid.errors import ForeignImageError

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
