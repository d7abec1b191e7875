"""Reads the identity of an image: with a fast walker, or with pydicom if that fails."""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.safe_names import is_uid
from tcia_covid.formats.dicom.elements import (
    ElementReader,
    UndecidedError,
    collect,
    explicit_element,
    implicit_element,
)
from tcia_covid.formats.inflate import ZLIB

DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
# explicit big endian; deflated JPIP; GE's private implicit VR with big endian pixels
_OTHER = {"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.95", "1.2.840.113619.5.2"}
_TRANSFER_SYNTAX = 0x00020010
_SOP, _MODALITY, _PATIENT = 0x00080018, 0x00080060, 0x00100020
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_WANTED = frozenset((_SOP, _MODALITY, _PATIENT, _STUDY, _SERIES))
_KEYWORDS = ["SOPInstanceUID", "Modality", "PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
_META = 132
"""Where the elements begin, after 128 arbitrary bytes and `DICM`."""
_MAX_HEADER = 16 * 1024 * 1024
_MAX_FOR_PYDICOM = 1024 * 1024
_META_GROUP = b"\x02\0"
_PADDING = " \0"
_quiet = threading.Lock()


@dataclass(frozen=True, slots=True)
class Dataset:
    """The elements of a DICOM file after its file meta information."""

    syntax: str
    """TransferSyntaxUID."""
    read: ElementReader
    """Reads one element."""
    data: bytes
    """The bytes of the file, or the first 16 MiB of an inflated dataset."""
    start: int
    """Where in `data` they begin."""
    offset: int
    """Where in the file they begin."""


def read_header(head: bytes) -> Header | None:
    """Read the identity of an image from the first bytes of its file, in some 30 microseconds.

    None if `head` is too short, or the file is unusual or not DICOM: then `header_of_file` decides.
    """
    try:
        dataset = open_dataset(head)
        raw = collect(dataset.data, dataset.start, dataset.read, _WANTED, _SERIES)
        values = {tag: _text(value) for tag, value in raw.items()}
    except UndecidedError:
        return None
    sop, study, series = (values.get(tag, "") for tag in (_SOP, _STUDY, _SERIES))
    if not (is_uid(sop) and is_uid(study) and is_uid(series)):
        return None
    return Header(
        sop, study, series, values.get(_PATIENT, ""), values.get(_MODALITY, ""), dataset.syntax
    )


def open_dataset(data: bytes) -> Dataset:
    """Find the dataset of a DICOM file, or of its beginning.

    Raises:
        UndecidedError: it is not a DICOM file, or not little endian.
    """
    if data[128:_META] != b"DICM":
        raise UndecidedError
    syntax, at = _transfer_syntax(data)
    if not is_uid(syntax) or syntax in _OTHER:
        raise UndecidedError
    if syntax == DEFLATED:
        return Dataset(syntax, explicit_element, _inflated(data[at:]), 0, at)
    read = implicit_element if syntax == _IMPLICIT else explicit_element
    return Dataset(syntax, read, data, at, at)


def header_of_file(path: str | Path, head: bytes | None = None) -> Header:
    """Read the identity of an image file, from its first bytes `head` if they suffice.

    Raises:
        ForeignImageError: it is not a DICOM file, or one of the three UIDs is missing.
        OSError: the file cannot be read.
    """
    header = read_header(head) if head else None
    if header is None:
        with open(path, "rb") as file:  # noqa: PTH123 - the path may be a string
            start = file.read(_MAX_HEADER)
        header = read_header(start) or _header_by_pydicom(start)
    return header


@contextmanager
def quiet_pydicom() -> Iterator[None]:
    """Suppress pydicom's warnings: the files are as the archive has them.

    The filters belong to the process, so a lock keeps two threads from changing them at once; it is
    rare, and pydicom holds the GIL anyway.
    """
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _transfer_syntax(data: bytes) -> tuple[str, int]:
    """Read the transfer syntax, and the offset of the dataset."""
    at, syntax = _META, b""
    try:
        while data.startswith(_META_GROUP, at):
            tag, length, value = explicit_element(data, at)
            at = value + length
            if tag == _TRANSFER_SYNTAX:
                syntax = data[value:at]
    except struct.error as error:
        raise UndecidedError from error
    return _text(syntax), at


def _text(value: bytes) -> str:
    """Decode a single ASCII value without its padding."""
    if not value.isascii() or b"\\" in value or b"\x1b" in value:
        raise UndecidedError  # another character set, or several values
    return value.decode("ascii").strip(_PADDING)


def _inflated(data: bytes) -> bytes:
    """Inflate the beginning of a deflated dataset."""
    try:
        return ZLIB.new_inflater().decompress(data, _MAX_HEADER)
    except ZLIB.error as error:
        raise UndecidedError from error


def _header_by_pydicom(start: bytes) -> Header:
    """Read what the walker cannot: big endian, mislabeled syntaxes, other character sets."""
    if start[128:_META] != b"DICM":
        raise ForeignImageError("the file is not a DICOM file" if start else "the file is empty")
    if DEFLATED.encode() in start:  # pydicom would inflate the whole of it, however large
        raise ForeignImageError("the file's deflated header cannot be read")
    import pydicom  # noqa: PLC0415 - takes 0.6 s, and is hardly ever needed

    with quiet_pydicom():
        try:
            dataset = pydicom.dcmread(
                io.BytesIO(start[:_MAX_FOR_PYDICOM]),
                stop_before_pixels=True,
                specific_tags=list(_KEYWORDS),
            )
            values = [_plain(dataset.get(keyword)) for keyword in _KEYWORDS]
            syntax = _plain(dataset.file_meta.get("TransferSyntaxUID"))
        except Exception as error:  # a hostile header may raise anything there
            raise ForeignImageError("the file's header cannot be read as DICOM") from error
    sop, modality, patient, study, series = values
    for keyword, uid in zip(("SOP", "Study", "Series"), (sop, study, series), strict=True):
        if not is_uid(uid):
            raise ForeignImageError(f"the file's header has no valid {keyword}InstanceUID")
    return Header(sop, study, series, patient, modality, syntax)


def _plain(value: Any) -> str:
    """Convert a value of pydicom to text; several values are joined."""
    if value is None:
        return ""
    return (value if isinstance(value, str) else "\\".join(map(str, value))).strip(_PADDING)


@dataclass(frozen=True, slots=True)
class Header:
    """The identity of one image; the three UIDs are valid."""

    sop: str
    """SOPInstanceUID."""
    study: str
    """StudyInstanceUID."""
    series: str
    """SeriesInstanceUID."""
    patient: str
    """PatientID; may be empty."""
    modality: str
    """May be empty."""
    transfer_syntax: str
    """TransferSyntaxUID."""
