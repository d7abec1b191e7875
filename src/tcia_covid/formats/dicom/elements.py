"""Walks over DICOM data elements in memory without interpreting them."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

UNDEFINED = 0xFFFFFFFF
"""The length of a value that ends with a delimiter."""
ElementReader = Callable[[bytes, int], tuple[int, int, int]]
"""Reads an element at an offset: its tag, the length and the offset of its value."""
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD


def _vrs(names: str) -> frozenset[int]:
    """VRs as numbers, which are quicker to look up than their two letters."""
    return frozenset(int.from_bytes(name.encode(), "little") for name in names.split())


# PS3.5 section 7.1.2: VRs with a length of 2 bytes, and with 2 reserved and 4 length bytes
_SHORT = _vrs("AE AS AT CS DA DS DT FD FL IS LO LT PN SH SL SS ST TM UI UL US")
_LONG = _vrs("OB OD OF OL OV OW SQ SV UC UN UR UT UV")
_UN = int.from_bytes(b"UN", "little")
_explicit = struct.Struct("<HHHH").unpack_from
_implicit = struct.Struct("<HHI").unpack_from
_length = struct.Struct("<I").unpack_from


class UndecidedError(Exception):
    """The walker cannot read this; pydicom may."""


def explicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an element of explicit VR little endian."""
    group, element, vr, length = _explicit(data, at)
    if vr in _SHORT:
        return group << 16 | element, length, at + 8
    if vr in _LONG:
        (length,) = _length(data, at + 8)
        if length == UNDEFINED and vr == _UN:
            raise UndecidedError  # its items are implicit VR in any case
        return group << 16 | element, length, at + 12
    if group == 0xFFFE:  # noqa: PLR2004 - items and delimiters have no VR
        return implicit_element(data, at)
    raise UndecidedError


def implicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an element of implicit VR little endian."""
    group, element, length = _implicit(data, at)
    return group << 16 | element, length, at + 8


def collect(
    data: bytes, at: int, read: ElementReader, wanted: Collection[int], last: int
) -> dict[int, bytes]:
    """Collect the values of `wanted` tags, up to the tag `last`.

    Raises:
        UndecidedError: `data` ends before, is not in order, or has another encoding.
    """
    values: dict[int, bytes] = {}
    previous = -1
    try:
        while previous < last:
            tag, length, value = read(data, at)
            if tag <= previous:
                raise UndecidedError
            if tag > last:
                break
            previous = tag
            at = _end_of_items(data, value, read) if length == UNDEFINED else value + length
            if tag in wanted:
                values[tag] = data[value:at]
    except struct.error as error:
        raise UndecidedError from error
    if at > len(data):
        raise UndecidedError
    return values


def is_truncated(data: bytes, at: int, read: ElementReader) -> bool:
    """Whether the last element from `at` on is not complete in `data`.

    Raises:
        UndecidedError: they have another encoding.
    """
    try:
        while at + 8 <= len(data):
            _, length, at = read(data, at)
            at = _end_of_items(data, at, read) if length == UNDEFINED else at + length
    except struct.error:
        return True
    return at > len(data) or bool(data[at:].strip(b"\0"))


def _end_of_items(data: bytes, at: int, read: ElementReader) -> int:
    """Find the end of a sequence, or of fragments, of undefined length.

    Sequences and items alternate, so a counter replaces a stack: it is odd among the items of a
    sequence and even among the elements of an item.
    """
    depth = 1
    while depth:
        tag, length, at = read(data, at)
        among_items = depth % 2
        if tag == (_SEQUENCE_END if among_items else _ITEM_END):
            depth -= 1
        elif (tag == _ITEM) != bool(among_items) or tag in (_ITEM_END, _SEQUENCE_END):
            raise UndecidedError
        elif length == UNDEFINED:
            depth += 1
        else:
            at += length
    return at
