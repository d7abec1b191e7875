"""Thumbnails of images: one frame, decoded, windowed and reduced to a small JPEG.

Imports the packages of the extra `report`.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pydicom
from PIL import Image
from pydicom.encaps import get_frame
from pydicom.pixels.processing import apply_color_lut, apply_modality_lut, apply_voi
from pydicom.pixels.utils import pixel_array

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.files import open_regular
from tcia_covid.core.units import format_size
from tcia_covid.formats.dicom import inflate_through
from tcia_covid.formats.nifti import HEADER_SIZE, read_header

SIZE = 160
"""Pixels of the longer side."""
MAX_FRAME = 256 * 1024 * 1024
"""Bytes of a decoded frame; the largest radiographs have 50 MB."""
_MAX_VOLUME = 8 * 1024 * 1024 * 1024
"""Bytes of an uncompressed NIfTI volume, half of which is decompressed to find its middle."""
_BLOCK_SIZE = 1024 * 1024
_META = 4096
"""Bytes at the beginning of a file that have its transfer syntax."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
_OVERSAMPLING = 4
"""Pixels per pixel of the thumbnail, in each direction, that are windowed."""
_QUALITY = 80
_GRAY_LIMITS = (0.5, 99.5)
"""Percentiles shown as black and white where an image has no usable window."""
_STRETCH = 8
"""A pixel is at most so many times as high as wide, or as wide as high."""
_MAX_JPEG_HEADER = 256 * 1024
_CODESTREAM = b"\xff\x4f\xff\x51"
"""Start of codestream and of its size, ISO 15444-1 section A.5.1."""
_START_OF_FRAME = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers (ISO 10918-1 table B.1), and that of JPEG-LS (ISO 14495-1)."""
Array = Any
"""A numpy array; where types are checked, numpy may not be installed."""


class UndecodableError(ForeignImageError):
    """The pixels of an image cannot be shown; the message has the reason."""


def render_thumbnail(path: Path) -> bytes:
    """Render the middle frame of a DICOM file, or the middle slice of a NIfTI volume, as JPEG.

    Its longer side has `SIZE` pixels. Grayscale images are shown through their own window, if they
    have one; MONOCHROME1 is inverted, and pixels that are not square are stretched. A frame that
    would need more than `MAX_FRAME` bytes is refused before it is decoded.

    Raises:
        UndecodableError: the image has no pixels, is too large, or cannot be decoded.
        OSError: the file cannot be read.
    """
    with open(path, "rb", opener=open_regular) as file, _decoding_errors():
        is_volume = path.name.endswith(".nii.gz")
        picture, aspect = _read_volume(file, path.name) if is_volume else _read_dicom(file)
        return _to_jpeg(picture, aspect)


@contextmanager
def _decoding_errors() -> Iterator[None]:
    """Convert what pydicom, numpy and the decoders raise, and silence their warnings."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the files are as the archive has them
            yield
    except (UndecodableError, OSError):
        raise
    except MemoryError as error:
        raise UndecodableError("decoding its pixels needs more memory than there is") from error
    except Exception as error:  # a hostile file may raise anything there
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise UndecodableError(f"its pixels cannot be decoded: {reason}") from error


def _read_dicom(file: BinaryIO) -> tuple[Image.Image, float]:
    """Decode the middle frame; give it with the height of a pixel relative to its width."""
    dataset = _open_dataset(file)
    if "Rows" not in dataset or "Columns" not in dataset:
        raise UndecodableError("it has no pixels")
    frames = int(dataset.get("NumberOfFrames") or 1)
    frame = frames // 2
    _check_size(dataset, int(dataset.Rows), int(dataset.Columns))
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        file.seek(12, os.SEEK_CUR)  # tag, VR and length of the pixel data
        rows, columns = _encoded_size(get_frame(file, frame, number_of_frames=frames))
        _check_size(dataset, rows, columns)
    file.seek(0)
    is_deflated = dataset.file_meta.TransferSyntaxUID == _DEFLATED
    source = dataset if is_deflated else file
    pixels = pixel_array(source, index=frame)
    return _picture(pixels, dataset), _aspect(dataset)


def _open_dataset(file: BinaryIO) -> Any:
    """Read a file up to its pixel data; a deflated one whole, if it is not too large."""
    head = file.read(_META)
    file.seek(0)
    if _DEFLATED.encode() not in head:
        return pydicom.dcmread(file, stop_before_pixels=True)
    problem, _ = inflate_through(file.read(MAX_FRAME), MAX_FRAME)
    if problem:
        raise UndecodableError(f"it {problem}")
    file.seek(0)
    return pydicom.dcmread(file)


def _check_size(dataset: Any, rows: int, columns: int) -> None:
    """Refuse a frame that is too large to decode."""
    samples = int(dataset.get("SamplesPerPixel") or 1)
    bits = int(dataset.get("BitsAllocated") or 8)
    size = rows * columns * samples * max(bits, 8) // 8
    if size > MAX_FRAME:
        raise UndecodableError(
            f"a frame of {rows} x {columns} pixels needs {format_size(size)}: "
            f"more than {format_size(MAX_FRAME)}"
        )


def _encoded_size(frame: bytes) -> tuple[int, int]:
    """Rows and columns in the header of a compressed frame, which decoders allocate memory for.

    0 and 0 where the compression has no such header (RLE).
    """
    start = frame.find(_CODESTREAM, 0, _MAX_JPEG_HEADER)
    if start >= 0:
        width, height, left, top = struct.unpack_from(">IIII", frame, start + 8)
        return height - top, width - left
    if not frame.startswith(b"\xff\xd8"):
        return 0, 0
    at = 2
    while at + 9 <= len(frame):
        marker, length = frame[at + 1], int.from_bytes(frame[at + 2 : at + 4], "big")
        if marker in _START_OF_FRAME:
            rows, columns = struct.unpack_from(">HH", frame, at + 5)
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length  # noqa: PLR2004 - a fill byte
    return 0, 0


def _picture(pixels: Array, dataset: Any) -> Image.Image:
    """Convert the pixels of a frame to 8 bits, as they are meant to be seen."""
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    pixels = _reduce(pixels)
    bits = int(dataset.get("BitsStored") or 8)
    if photometric == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, dataset)
        bits = 8 * pixels.dtype.itemsize
    if pixels.ndim == 3:  # noqa: PLR2004 - rows, columns, samples
        pixels = pixels >> max(0, bits - 8)
        return Image.fromarray(pixels[:, :, :3].astype("uint8"))
    picture = _window(pixels, dataset)
    return picture.point(lambda gray: 255 - gray) if photometric == "MONOCHROME1" else picture


def _reduce(pixels: Array) -> Array:
    """Leave out rows and columns of a large image, so that windowing it is fast."""
    step = max(1, max(pixels.shape[:2]) // (_OVERSAMPLING * SIZE))
    return pixels[::step, ::step]


def _window(pixels: Array, dataset: Any = None) -> Image.Image:
    """Map grayscale values to 0 to 255: by the image's window, or by percentiles."""
    values, inside = pixels, pixels
    if dataset is not None:
        values = inside = apply_modality_lut(pixels, dataset)
        if picture := _by_window(values, dataset) or _by_table(values, dataset):
            return picture
        padding = dataset.get("PixelPaddingValue")
        if padding is not None and not (pixels == padding).all():
            inside = values[pixels != padding]
    low, high = np.percentile(inside.astype("float64"), _GRAY_LIMITS)
    return _scale(values, low, high) or Image.new("L", values.shape[::-1])


def _by_window(values: Array, dataset: Any) -> Image.Image | None:
    """Show values through the first window (PS3.3 C.11.2.1.2); None without a usable one."""
    center, width = (_first(dataset.get(name)) for name in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 1:
        return None
    if dataset.get("VOILUTFunction", "LINEAR") == "LINEAR":
        center, width = center - 0.5, width - 1
    return _scale(values, center - width / 2, center + width / 2)


def _by_table(values: Array, dataset: Any) -> Image.Image | None:
    """Show values through the image's first VOI lookup table; None without a usable one."""
    if not dataset.get("VOILUTSequence"):
        return None
    try:
        shown = apply_voi(values, dataset, index=0)
        bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
    except (ValueError, TypeError, AttributeError, IndexError, NotImplementedError):
        return None  # the table is invalid
    return _scale(shown, 0, 2**bits - 1)


def _first(value: Any) -> float | None:
    """The first of one or several numbers."""
    try:
        return float(value if isinstance(value, (str, float, int)) else value[0])
    except (TypeError, ValueError, IndexError):
        return None


def _scale(values: Array, low: float, high: float) -> Image.Image | None:
    """Scale linearly to 8 bits; None if nearly all values become the same."""
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        return None
    gray = np.clip((np.nan_to_num(values.astype("float64")) - low) * (255 / (high - low)), 0, 255)
    picture = Image.fromarray(gray.astype("uint8"))
    darkest, brightest = np.percentile(gray, _GRAY_LIMITS)
    return picture if brightest - darkest >= 1 else None


def _aspect(dataset: Any) -> float:
    """The height of a pixel relative to its width."""
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio"):
        value = dataset.get(keyword)
        if value and len(value) == 2 and all(float(part) > 0 for part in value):  # noqa: PLR2004
            return float(value[0]) / float(value[1])
    return 1.0


def _read_volume(file: BinaryIO, name: str) -> tuple[Image.Image, float]:
    """The middle axial slice of a NIfTI volume, with the patient's front at the top."""
    with gzip.GzipFile(fileobj=file, mode="rb") as stream:
        header = read_header(stream.read(HEADER_SIZE), name)
        columns, rows, slices = (*header.shape, 1, 1)[:3]
        size = rows * columns * header.bits // 8
        if size > MAX_FRAME or header.size > _MAX_VOLUME:
            raise UndecodableError(f"a volume of {format_size(header.size)} is too large")
        if not header.dtype:
            raise UndecodableError("voxels that are not one real number are not shown")
        missing = header.offset + size * (slices // 2) - HEADER_SIZE
        while missing > 0 and (block := stream.read(min(missing, _BLOCK_SIZE))):
            missing -= len(block)
        data = stream.read(size)
    pixels = np.frombuffer(data, header.dtype).reshape(rows, columns)
    width, height = header.spacing
    is_valid = width > 0 and height > 0
    return _window(_reduce(np.flipud(pixels))), height / width if is_valid else 1.0


def _to_jpeg(picture: Image.Image, aspect: float) -> bytes:
    width, height = picture.size
    height = max(1, round(height * min(max(aspect, 1 / _STRETCH), _STRETCH)))
    scale = SIZE / max(width, height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    reduced = picture.resize(size, Image.Resampling.LANCZOS)
    output = io.BytesIO()
    reduced.save(output, "JPEG", quality=_QUALITY, optimize=True)
    return output.getvalue()
