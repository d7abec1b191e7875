"""DICOM files: the identity in their header, and whether they are complete."""

from __future__ import annotations

import io
import re
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.files import open_regular
from tcia_covid.core.models import ImageAttributes
from tcia_covid.core.safe_names import is_uid
from tcia_covid.formats.inflate import ZLIB

HEAD_SIZE = 64 * 1024
"""Bytes at the beginning of a file that contain nearly every header."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_IMPLICIT = "1.2.840.10008.1.2"
# explicit big endian; deflated JPIP; GE's private implicit VR with big endian pixels
_OTHER = {"1.2.840.10008.1.2.2", "1.2.840.10008.1.2.4.95", "1.2.840.113619.5.2"}
_TRANSFER_SYNTAX = 0x00020010
_SOP, _MODALITY, _PATIENT = 0x00080018, 0x00080060, 0x00100020
_STUDY, _SERIES = 0x0020000D, 0x0020000E
_SOP_CLASS, _ACQUISITION, _NUMBER = 0x00080016, 0x00200012, 0x00200013
_STUDY_ID = 0x00200010
_POSITION, _ORIENTATION = 0x00200032, 0x00200037
_IDENTITY = (_SOP, _STUDY, _SERIES, _PATIENT, _MODALITY)
_ATTRIBUTES = (_SOP_CLASS, _NUMBER, _ACQUISITION, _POSITION, _ORIENTATION, _STUDY_ID)
_WANTED = frozenset((*_IDENTITY, *_ATTRIBUTES))
_DECIMAL = r" *[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)? *"
_is_short_text = re.compile(r"[ -~]{1,16}").fullmatch
_is_number = re.compile(r"[+-]?\d{1,11}").fullmatch
_is_position = re.compile(rf"{_DECIMAL}(?:\\{_DECIMAL}){{2}}").fullmatch
_is_orientation = re.compile(rf"{_DECIMAL}(?:\\{_DECIMAL}){{5}}").fullmatch
PREAMBLE_SIZE = 132
"""Bytes before the first element: 128 arbitrary ones, and `DICM`."""
_MAX_HEADER = 16 * 1024 * 1024
_MAX_FOR_PYDICOM = 1024 * 1024
_PADDING = " \0"
_NATIVE = {None, _IMPLICIT, "1.2.840.10008.1.2.1", _DEFLATED, "1.2.840.10008.1.2.2"}
_PIXEL_KEYWORDS = {"PixelData", "FloatPixelData", "DoubleFloatPixelData"}
_MAX_PARSED = 128 * 1024 * 1024
"""Bytes of a deflated dataset; pydicom would hold a larger one in memory several times."""
_BLOCK_SIZE = 1024 * 1024
SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "Computed Radiography Image Storage",
    "1.2.840.10008.5.1.4.1.1.1.1": "Digital X-Ray Image Storage - For Presentation",
    "1.2.840.10008.5.1.4.1.1.2": "CT Image Storage",
    "1.2.840.10008.5.1.4.1.1.4": "MR Image Storage",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture Image Storage",
    "1.2.840.10008.5.1.4.1.1.20": "Nuclear Medicine Image Storage",
    "1.2.840.10008.5.1.4.1.1.88.67": "X-Ray Radiation Dose SR Storage",
    "1.2.840.10008.5.1.4.1.1.128": "Positron Emission Tomography Image Storage",
}
"""Those of the known collections, so that writing reports does not import pydicom."""
_UNDEFINED = 0xFFFFFFFF
"""The length of a value that ends with a delimiter."""
_ElementReader = Callable[[bytes, int], tuple[int, int, int]]
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
_quiet = threading.Lock()


class _UndecidedError(Exception):
    """The walker cannot read this file; pydicom may."""


class Header(NamedTuple):
    """The identity of one image; `patient` and `modality` may be empty."""

    sop: str
    """SOPInstanceUID."""
    study: str
    series: str
    patient: str
    modality: str
    attributes: ImageAttributes


class _Dataset(NamedTuple):
    """The elements of a DICOM file after its file meta information."""

    syntax: str
    read: _ElementReader
    data: bytes
    """The bytes of the file, or the first 16 MiB of an inflated dataset."""
    start: int
    """The offset of the elements in `data`."""
    offset: int
    """The offset of the elements in the file."""


def read_header(head: bytes) -> Header | None:
    """Read the identity of an image from the first bytes of its file, in some 40 microseconds.

    None if `head` is too short, or the file is unusual or not DICOM: then `header_of_file` decides.
    """
    try:
        dataset = _open_dataset(head)
        values = _identity(dataset)
        sop, study, series, patient, modality = (_text(values.get(tag, b"")) for tag in _IDENTITY)
    except _UndecidedError:
        return None
    if not (is_uid(sop) and is_uid(study) and is_uid(series)):
        return None
    texts = (values.get(tag, b"").decode("ascii", "replace").strip(_PADDING) for tag in _ATTRIBUTES)
    return Header(sop, study, series, patient, modality, _attributes(dataset.syntax, *texts))


def _attributes(
    transfer_syntax: str,
    sop_class: str,
    number: str,
    acquisition: str,
    position: str,
    orientation: str,
    study_id: str,
) -> ImageAttributes:
    """Keep valid values; the images of a series share most of them, so these are interned."""
    return ImageAttributes(
        sys.intern(sop_class) if is_uid(sop_class) else "",
        number if _is_number(number) else "",
        sys.intern(acquisition) if _is_number(acquisition) else "",
        position if _is_position(position) else "",
        sys.intern(orientation) if _is_orientation(orientation) else "",
        sys.intern(transfer_syntax),
        sys.intern(study_id) if _is_short_text(study_id) else "",
    )


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` is a DICOM file."""
    return head[128:PREAMBLE_SIZE] == b"DICM"


def _open_dataset(data: bytes) -> _Dataset:
    """Find the dataset of a DICOM file, or of its beginning."""
    if not is_dicom(data):
        raise _UndecidedError
    at, syntax = PREAMBLE_SIZE, b""
    try:
        while data.startswith(b"\x02\0", at):
            tag, length, value = _explicit_element(data, at)
            at = value + length
            if tag == _TRANSFER_SYNTAX:
                syntax = data[value:at]
    except struct.error as error:
        raise _UndecidedError from error
    name = _text(syntax)
    if not is_uid(name) or name in _OTHER:
        raise _UndecidedError
    if name != _DEFLATED:
        read = _implicit_element if name == _IMPLICIT else _explicit_element
        return _Dataset(name, read, data, at, at)
    try:
        inflated = ZLIB.new_inflater().decompress(data[at:], _MAX_HEADER)
    except ZLIB.error as error:
        raise _UndecidedError from error
    return _Dataset(name, _explicit_element, inflated, 0, at)


def header_of_file(path: str | Path, head: bytes | None = None) -> Header:
    """Read the identity of an image file, from its first bytes `head` if they suffice.

    Raises:
        ForeignImageError: it is not a DICOM file, or one of the three UIDs is missing.
        OSError: the file cannot be read.
    """
    header = read_header(head) if head else None
    if header is None:
        with open(path, "rb", opener=open_regular) as file:
            start = file.read(_MAX_HEADER)
        header = read_header(start) or _header_by_pydicom(start)
    return header


def sop_class_name(uid: str) -> str:
    """The name of a SOP class, as DICOM (PS3.6 table A-1) has it; empty if it has none."""
    if uid in SOP_CLASSES or not is_uid(uid):  # anyone may have changed a receipt
        return SOP_CLASSES.get(uid, "")
    with _quiet_pydicom() as pydicom:
        name = str(pydicom.uid.UID(uid).name)
    return "" if name == uid else name


@contextmanager
def _quiet_pydicom() -> Iterator[Any]:
    """Give pydicom, whose warnings are suppressed: the files are as the archive has them."""
    import pydicom  # noqa: PLC0415 - takes 0.6 s, and is hardly ever needed

    # The filters belong to the process, so two threads must not change them at once.
    with _quiet, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield pydicom


def _text(value: bytes) -> str:
    """Decode a single ASCII value without its padding."""
    if not value.isascii() or b"\\" in value or b"\x1b" in value:
        raise _UndecidedError  # another character set, or several values
    return value.decode("ascii").strip(_PADDING)


def _header_by_pydicom(start: bytes) -> Header:
    """Read what the walker cannot: big endian, mislabeled syntaxes, other character sets."""
    texts = texts_by_pydicom(start, _WANTED)
    sop, study, series, patient, modality = (texts.get(tag, "") for tag in _IDENTITY)
    for keyword, uid in zip(("SOP", "Study", "Series"), (sop, study, series), strict=True):
        if not is_uid(uid):
            raise ForeignImageError(f"the file's header has no valid {keyword}InstanceUID")
    attributes = (texts.get(tag, "") for tag in _ATTRIBUTES)
    return Header(
        sop, study, series, patient, modality, _attributes(texts[_TRANSFER_SYNTAX], *attributes)
    )


def texts_by_pydicom(start: bytes, tags: Set[int]) -> dict[int, str]:
    """Read elements with pydicom, from the first bytes of a file: those of `tags` that are valid.

    The transfer syntax is the value of 0x00020010.

    Raises:
        ForeignImageError: it is not a DICOM file, or cannot be read.
    """
    if not is_dicom(start):
        raise ForeignImageError("the file is not a DICOM file" if start else "the file is empty")
    if _DEFLATED.encode() in start:  # pydicom would inflate the whole of it, however large
        raise ForeignImageError("the file's deflated header cannot be read")
    with _quiet_pydicom() as pydicom:
        try:
            dataset = pydicom.dcmread(
                io.BytesIO(start[:_MAX_FOR_PYDICOM]),
                stop_before_pixels=True,
                specific_tags=list(tags),
            )
            texts = {_TRANSFER_SYNTAX: _plain(dataset.file_meta.get("TransferSyntaxUID"))}
        except Exception as error:  # a hostile header may raise anything there
            raise ForeignImageError("the file's header cannot be read as DICOM") from error
        for tag in tags:
            with suppress(Exception):  # any value that is not valid
                if tag in dataset:
                    texts[tag] = _plain(dataset[tag].value)
    return texts


def _plain(value: Any) -> str:
    """Convert a value of pydicom to text; several values are joined."""
    if value is None:
        return ""
    values = [value] if isinstance(value, (str, int, float)) else value
    return "\\".join(map(str, values)).strip(_PADDING)


def validate_file(path: Path, *, max_inflated: int = 1024 * 1024 * 1024) -> None:
    """Check the identity, sequences and pixel data of a DICOM file.

    Native pixel data must be as long as rows, columns, samples, bits and frames require, or longer
    (some scanners pad); encapsulated pixel data must consist of whole fragments. Pixels are not
    decoded. Needs memory for about twice the file. A deflated file that is large when inflated is
    only inflated to its end, piece by piece; `max_inflated` is the limit in bytes.

    Raises:
        ForeignImageError: it is not a DICOM file, has no UID, is truncated or inconsistent.
        OSError: the file cannot be read.
    """
    with FileIO(path, opener=open_regular) as file:
        data = file.readall()
    header_of_file(path, data)
    problem, inflated = inflate_through(data, max_inflated)
    if is_truncated(data):
        problem = "is truncated: its last element is not complete"
    if not problem and inflated <= _MAX_PARSED:
        problem = _pydicom_problem(data)
    if problem:
        raise ForeignImageError(f"the file {problem}", hint="download the series again")


def is_truncated(data: bytes) -> bool:
    """Whether a file ends in the middle of a data element; False if the walker cannot decide."""
    try:
        dataset = _open_dataset(data)
        return dataset.syntax != _DEFLATED and _ends_early(dataset)
    except _UndecidedError:
        return False


def inflate_through(data: bytes, max_size: int) -> tuple[str, int]:
    """Inflate the deflated dataset of a file piece by piece; what is wrong with it, and its size.

    A file that is not deflated has the size 0. More than `max_size` bytes are not inflated.
    """
    try:
        dataset = _open_dataset(data)
    except _UndecidedError:
        return "", 0
    if dataset.syntax != _DEFLATED:
        return "", 0
    inflater, size, rest = ZLIB.new_inflater(), 0, data[dataset.offset :]
    block = b""
    while not inflater.eof and (rest or block or not inflater.needs_input):
        try:
            block = inflater.decompress(rest, _BLOCK_SIZE)
        except ZLIB.error:
            return "has a damaged deflated dataset", size
        size += len(block)
        if size > max_size:
            return f"inflates to more than {max_size} bytes", size
        rest = b""
    return "" if inflater.eof else "is truncated: its deflated dataset has no end", size


def _pydicom_problem(data: bytes) -> str:
    """Read the file with pydicom; any exception means that it cannot be read."""
    with _quiet_pydicom() as pydicom:
        try:
            dataset = pydicom.dcmread(io.BytesIO(data))
            _read_sequences(dataset, pydicom.datadict)
            return _pixel_problem(dataset)
        except Exception as error:  # noqa: BLE001 - a damaged file may raise anything there
            return f"cannot be read as DICOM ({type(error).__name__})"


def _read_sequences(dataset: Any, dictionary: Any) -> None:
    """Make pydicom parse every sequence, which it does only on access.

    Other values are ignored: in the archives, many are not quite what their VR requires.
    """
    for tag in list(dataset.keys()):
        known = dictionary.dictionary_VR(tag) if dictionary.dictionary_has_tag(tag) else ""
        if (dataset.get_item(tag).VR or known) == "SQ":
            for item in dataset[tag].value:
                _read_sequences(item, dictionary)


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
    # PS3.5 section 8.1.1, without padding
    samples = int(dataset.get("SamplesPerPixel", 1))
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        samples = 2  # two pixels share their color
    pixels = int(dataset.Rows) * int(dataset.Columns) * int(dataset.get("NumberOfFrames") or 1)
    expected = (pixels * samples * int(dataset.BitsAllocated) + 7) // 8
    if len(element.value) < expected:
        return f"has {len(element.value)} bytes of pixel data where its header says {expected}"
    return ""


def _fragment_problem(value: bytes) -> str:
    """Check the fragments of encapsulated pixel data (PS3.5 section A.4)."""
    at, count = 0, 0
    while at + 8 <= len(value):
        tag, length, at = _implicit_element(value, at)
        if tag == _SEQUENCE_END:
            break
        if tag != _ITEM:
            return "has encapsulated pixel data that does not consist of fragments"
        at, count = at + length, count + 1
    if at > len(value):
        return "has a truncated fragment of pixel data"
    return "" if count > 1 else "has no fragment of pixel data"  # the first is the offset table


def _explicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an element of explicit VR little endian."""
    group, element, vr, length = _explicit(data, at)
    if vr in _SHORT:
        return group << 16 | element, length, at + 8
    if vr in _LONG:
        (length,) = _length(data, at + 8)
        if length == _UNDEFINED and vr == _UN:
            raise _UndecidedError  # its items are implicit VR in any case
        return group << 16 | element, length, at + 12
    if group == 0xFFFE:  # noqa: PLR2004 - items and delimiters have no VR
        return _implicit_element(data, at)
    raise _UndecidedError


def _implicit_element(data: bytes, at: int) -> tuple[int, int, int]:
    """Read an element of implicit VR little endian."""
    group, element, length = _implicit(data, at)
    return group << 16 | element, length, at + 8


def read_values(head: bytes, tags: Set[int], *, is_whole: bool = False) -> dict[int, bytes] | None:
    """Read elements of a dataset from the first bytes of its file.

    Args:
        head: the first bytes; they must contain the elements up to the last of `tags`.
        tags: group and element, such as 0x00200013; elements in sequences are not read.
        is_whole: whether `head` is the whole file, which may end before the last of `tags`.

    Returns:
        The values of those that exist; the transfer syntax is the value of 0x00020010. None if
        `head` is too short, or the file is unusual or not DICOM.
    """
    try:
        dataset = _open_dataset(head)
    except _UndecidedError:
        return None
    values, reached, at = _values(dataset, tags)
    if reached < max(tags) and not (is_whole and at == len(dataset.data)):
        return None
    return {_TRANSFER_SYNTAX: dataset.syntax.encode(), **values}


def _identity(dataset: _Dataset) -> dict[int, bytes]:
    """Collect the values of `_WANTED`; from the SeriesInstanceUID on, as far as they are valid."""
    values, reached, _ = _values(dataset, _WANTED)
    if reached < _SERIES:
        raise _UndecidedError
    return values


def _values(dataset: _Dataset, tags: Set[int]) -> tuple[dict[int, bytes], int, int]:
    """Collect the values of `tags`, as far as the dataset is valid.

    Returns:
        The values, the last tag before which nothing is missing, and the offset behind it.
    """
    data, at, read, size = dataset.data, dataset.start, dataset.read, len(dataset.data)
    values: dict[int, bytes] = {}
    previous, last = -1, max(tags)
    try:
        while previous < last:
            tag, length, value = read(data, at)
            if tag > last:
                return values, last, at
            end = _end_of_items(data, value, read) if length == _UNDEFINED else value + length
            if tag <= previous or end > size:
                break
            previous, at = tag, end
            if tag in tags:
                values[tag] = data[value:end]
    except (struct.error, _UndecidedError):
        pass
    return values, previous, at


def _ends_early(dataset: _Dataset) -> bool:
    """Whether the last element of a dataset is not complete."""
    data, at, read = dataset.data, dataset.start, dataset.read
    try:
        while at + 8 <= len(data):
            _, length, at = read(data, at)
            at = _end_of_items(data, at, read) if length == _UNDEFINED else at + length
    except struct.error:
        return True
    return at > len(data) or bool(data[at:].strip(b"\0"))


def _end_of_items(data: bytes, at: int, read: _ElementReader) -> int:
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
            raise _UndecidedError
        elif length == _UNDEFINED:
            depth += 1
        else:
            at += length
    return at
