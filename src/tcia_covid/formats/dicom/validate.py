"""A slow look at a whole DICOM file: is it all there, and does its pixel data fit its header?"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.formats.dicom.elements import UndecidedError, is_cut
from tcia_covid.formats.dicom.header import DEFLATED, header_of_file, open_dataset, quiet_pydicom
from tcia_covid.formats.inflate import ZLIB

_NATIVE = {None, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", DEFLATED, "1.2.840.10008.1.2.2"}
_PIXEL_KEYWORDS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
_MOST_INFLATED = 1024 * 1024 * 1024
_PIECE = 1024 * 1024
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def validate_file(path: Path) -> None:
    """Read a DICOM file whole: its identity, its sequences, its pixel data's length.

    Native pixel data has to be as long as rows, columns, samples, bits and frames say, or longer
    (some scanners pad); encapsulated pixel data has to consist of whole fragments. Pixels are
    not decoded. Needs memory for about twice the file.

    Raises:
        ForeignImageError: it is no DICOM file, lacks a UID, is cut, or contradicts itself.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    header_of_file(path, data)
    problem = _what_is_missing(data) or _what_pydicom_finds(data)
    if problem:
        raise ForeignImageError(f"the file {problem}", hint="download the series again")


def _what_is_missing(data: bytes) -> str:
    """Whether the file ends where an element does; nothing where the walker cannot tell."""
    try:
        dataset = open_dataset(data)
        if dataset.syntax == DEFLATED:
            return _what_deflate_misses(data[dataset.offset :])
        cut = is_cut(dataset.data, dataset.start, dataset.read)
        return "is cut: its last element is not complete" if cut else ""
    except UndecidedError:
        return ""


def _what_deflate_misses(data: bytes) -> str:
    """Whether a deflated dataset is whole, and harmless: pydicom inflates it all at once."""
    inflater, size, fed = ZLIB.new_inflater(), 0, data
    piece = b""
    while not inflater.eof and (fed or piece or not inflater.needs_input):
        try:
            piece = inflater.decompress(fed, _PIECE)
        except ZLIB.error:
            return "has a damaged deflated dataset"
        size += len(piece)
        if size > _MOST_INFLATED:
            return f"inflates to more than {_MOST_INFLATED} bytes"
        fed = b""
    return "" if inflater.eof else "is cut: its deflated dataset has no end"


def _what_pydicom_finds(data: bytes) -> str:
    """Read the file with pydicom; every exception there means that it cannot be read."""
    import pydicom  # noqa: PLC0415 - takes 0.6 s

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            _read_sequences(dataset)
            return _what_pixels_lack(dataset)
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything there
            return f"cannot be read as DICOM ({type(error).__name__})"


def _read_sequences(dataset: Any) -> None:
    """Have pydicom parse every sequence, which it puts off until somebody looks.

    Other values are left alone: archives have many that are not quite what their VR asks for.
    """
    for tag in list(dataset.keys()):
        vr = dataset.get_item(tag).VR or _vr_in_dictionary(tag)
        if vr == "SQ":
            for item in dataset[tag].value:
                _read_sequences(item)


def _vr_in_dictionary(tag: Any) -> str:
    """The VR of an element that does not say, as those of implicit VR do not."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR  # noqa: PLC0415

    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _what_pixels_lack(dataset: Any) -> str:
    """Compare the pixel data with what the header says of it."""
    keyword = next((k for k in _PIXEL_KEYWORDS if k in dataset), None)
    if keyword is None:
        image = "Rows" in dataset and "PixelDataProviderURL" not in dataset
        return "has rows and columns, but no pixel data" if image else ""
    element = dataset[keyword]
    if element.is_undefined_length:
        return _what_fragments_lack(element.value)
    if dataset.file_meta.get("TransferSyntaxUID") not in _NATIVE:
        return ""
    expected = _native_length(dataset)
    if len(element.value) < expected:
        return f"has {len(element.value)} bytes of pixel data where its header says {expected}"
    return ""


def _native_length(dataset: Any) -> int:
    """Bytes of native pixel data, without padding (PS3.5 section 8.1.1)."""
    samples = int(dataset.get("SamplesPerPixel", 1))
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their colour
    return (pixels * samples * int(dataset.BitsAllocated) + 7) // 8


def _what_fragments_lack(value: bytes) -> str:
    """Walk over the fragments of encapsulated pixel data (PS3.5 section A.4)."""
    at, count = 0, 0
    while at + 8 <= len(value):
        *tag, length = struct.unpack_from("<HHI", value, at)
        if tuple(tag) == _SEQUENCE_END:
            break
        if tuple(tag) != _ITEM:
            return "has encapsulated pixel data that does not consist of fragments"
        at, count = at + 8 + length, count + 1
    if at > len(value):
        return "has a cut fragment of pixel data"
    return "" if count > 1 else "has no fragment of pixel data"  # the first is the offset table
