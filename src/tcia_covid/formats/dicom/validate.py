"""Validates a whole DICOM file: is it complete, and does its pixel data match its header?"""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.formats.dicom.elements import UndecidedError, is_truncated
from tcia_covid.formats.dicom.header import DEFLATED, header_of_file, open_dataset, quiet_pydicom
from tcia_covid.formats.inflate import ZLIB

_NATIVE = {None, "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", DEFLATED, "1.2.840.10008.1.2.2"}
_PIXEL_KEYWORDS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
_MAX_INFLATED = 1024 * 1024 * 1024
_BLOCK_SIZE = 1024 * 1024
_ITEM, _SEQUENCE_END = (0xFFFE, 0xE000), (0xFFFE, 0xE0DD)


def validate_file(path: Path) -> None:
    """Check the identity, sequences and pixel data of a DICOM file.

    Native pixel data must be as long as rows, columns, samples, bits and frames require, or longer
    (some scanners pad); encapsulated pixel data must consist of whole fragments. Pixels are not
    decoded. Needs memory for about twice the file.

    Raises:
        ForeignImageError: it is not a DICOM file, has no UID, is truncated or inconsistent.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()
    header_of_file(path, data)
    problem = _truncation(data) or _pydicom_problem(data)
    if problem:
        raise ForeignImageError(f"the file {problem}", hint="download the series again")


def _truncation(data: bytes) -> str:
    """Describe a truncated file; empty if it is complete, or the walker cannot tell."""
    try:
        dataset = open_dataset(data)
        if dataset.syntax == DEFLATED:
            return _deflate_problem(data[dataset.offset :])
        truncated = is_truncated(dataset.data, dataset.start, dataset.read)
        return "is truncated: its last element is not complete" if truncated else ""
    except UndecidedError:
        return ""


def _deflate_problem(data: bytes) -> str:
    """Check a deflated dataset, and its size, because pydicom inflates it all at once."""
    inflater, size, rest = ZLIB.new_inflater(), 0, data
    block = b""
    while not inflater.eof and (rest or block or not inflater.needs_input):
        try:
            block = inflater.decompress(rest, _BLOCK_SIZE)
        except ZLIB.error:
            return "has a damaged deflated dataset"
        size += len(block)
        if size > _MAX_INFLATED:
            return f"inflates to more than {_MAX_INFLATED} bytes"
        rest = b""
    return "" if inflater.eof else "is truncated: its deflated dataset has no end"


def _pydicom_problem(data: bytes) -> str:
    """Read the file with pydicom; any exception means that it cannot be read."""
    import pydicom  # noqa: PLC0415 - takes 0.6 s

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            _read_sequences(dataset)
            return _pixel_problem(dataset)
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything there
            return f"cannot be read as DICOM ({type(error).__name__})"


def _read_sequences(dataset: Any) -> None:
    """Make pydicom parse every sequence, which it does only on access.

    Other values are ignored: in the archives, many are not quite what their VR requires.
    """
    for tag in list(dataset.keys()):
        vr = dataset.get_item(tag).VR or _vr_in_dictionary(tag)
        if vr == "SQ":
            for item in dataset[tag].value:
                _read_sequences(item)


def _vr_in_dictionary(tag: Any) -> str:
    """Look up the VR of an element of implicit VR."""
    from pydicom.datadict import dictionary_has_tag, dictionary_VR  # noqa: PLC0415

    return dictionary_VR(tag) if dictionary_has_tag(tag) else ""


def _pixel_problem(dataset: Any) -> str:
    """Compare the pixel data with the header."""
    keyword = next((k for k in _PIXEL_KEYWORDS if k in dataset), None)
    if keyword is None:
        image = "Rows" in dataset and "PixelDataProviderURL" not in dataset
        return "has rows and columns, but no pixel data" if image else ""
    element = dataset[keyword]
    if element.is_undefined_length:
        return _fragment_problem(element.value)
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
        samples = 2  # two pixels share their color
    return (pixels * samples * int(dataset.BitsAllocated) + 7) // 8


def _fragment_problem(value: bytes) -> str:
    """Check the fragments of encapsulated pixel data (PS3.5 section A.4)."""
    at, count = 0, 0
    while at + 8 <= len(value):
        *tag, length = struct.unpack_from("<HHI", value, at)
        if tuple(tag) == _SEQUENCE_END:
            break
        if tuple(tag) != _ITEM:
            return "has encapsulated pixel data that does not consist of fragments"
        at, count = at + 8 + length, count + 1
    if at > len(value):
        return "has a truncated fragment of pixel data"
    return "" if count > 1 else "has no fragment of pixel data"  # the first is the offset table
