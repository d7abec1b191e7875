"""DICOM files made element by element, for the reader's tests."""

from __future__ import annotations

import struct

EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"
DEFLATED = "1.2.840.10008.1.2.1.99"
JPEG = "1.2.840.10008.1.2.4.50"
UNDEFINED = 0xFFFFFFFF

_LONG = (b"OB", b"OW", b"SQ", b"UN", b"UT")


def element(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element, explicit VR little endian."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr)
    return head + struct.pack("<2xI" if vr in _LONG else "<H", length) + value


def implicit(tag: int, value: bytes, length: int | None = None) -> bytes:
    """An element, implicit VR little endian; also items and delimiters."""
    value += b"\0" * (len(value) % 2)
    length = len(value) if length is None else length
    return struct.pack("<HHI", tag >> 16, tag & 0xFFFF, length) + value


def meta(syntax: str = EXPLICIT) -> bytes:
    """Preamble and file meta information."""
    body = element(0x00020001, b"OB", b"\0\1") + element(0x00020010, b"UI", syntax.encode())
    return bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<I", len(body))) + body


def item(content: bytes, *, defined: bool = False) -> bytes:
    """A sequence's item."""
    if defined:
        return implicit(0xFFFEE000, content)
    return implicit(0xFFFEE000, content, UNDEFINED) + implicit(0xFFFEE00D, b"")


def sequence(*items: bytes) -> bytes:
    """What a sequence of undefined length consists of."""
    return b"".join(items) + implicit(0xFFFEE0DD, b"")


def identity(
    between: bytes = b"", *, patient: bytes = b"P1", series: bytes = b"1.2.4", rest: bytes = b""
) -> bytes:
    """A small dataset; `between` comes before the patient."""
    return (
        element(0x00080018, b"UI", b"1.2.5")
        + element(0x00080060, b"CS", b"CT")
        + between
        + element(0x00100020, b"LO", patient)
        + element(0x0020000D, b"UI", b"1.2.3")
        + element(0x0020000E, b"UI", series)
        + rest
    )


def native(
    *, rows: int = 4, columns: int = 6, pixels: bytes = bytes(48), extra: bytes = b""
) -> bytes:
    """Native pixel data, 4 x 6 of 16 bits, and its description, to follow `identity`."""
    return (
        element(0x00280002, b"US", struct.pack("<H", 1))
        + element(0x00280004, b"CS", b"MONOCHROME2")
        + extra
        + element(0x00280010, b"US", struct.pack("<H", 4))
        + element(0x00280011, b"US", struct.pack("<H", 6))
        + element(0x00280100, b"US", struct.pack("<H", 16))
        + (element(0x7FE00010, b"OW", pixels) if pixels else b"")
    )
