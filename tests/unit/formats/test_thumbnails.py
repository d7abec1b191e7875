"""Thumbnails show what an image is meant to show, and refuse what is hostile."""

from __future__ import annotations

import gzip
import io
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pydicom.data
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit

from tcia_covid.formats.thumbnails import SIZE, UndecodableError, render_thumbnail
from tests.fakes.pixel_images import gradient, picture

FILES = Path(pydicom.data.__file__).parent / "test_files"


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    return tmp_path / "a.dcm"


def shown(file: Path, content: bytes) -> Image.Image:
    file.write_bytes(content)
    return Image.open(io.BytesIO(render_thumbnail(file)))


def row(image: Image.Image) -> list[int]:
    """Gray values from left to right, in the middle: eleven of them."""
    gray = np.asarray(image.convert("L"))
    line = gray[gray.shape[0] // 2]
    return [int(line[round(part * (len(line) - 1) / 10)]) for part in range(11)]


def test_an_image_is_shown_through_its_window(file: Path) -> None:
    image = shown(file, picture(gradient(), WindowCenter=500, WindowWidth=200))
    values = row(image)
    assert image.size == (SIZE, SIZE)
    assert values[:4] == pytest.approx([0] * 4, abs=4)
    assert values[5] == pytest.approx(128, abs=8)
    assert values[7:] == pytest.approx([255] * 4, abs=4)


def test_the_window_is_in_rescaled_values_and_the_first_of_several(file: Path) -> None:
    content = picture(
        gradient(),
        WindowCenter=[0, 300],
        WindowWidth=[200, 50],
        RescaleSlope=2,
        RescaleIntercept=-1000,
    )
    assert row(shown(file, content))[4:7] == pytest.approx([0, 128, 255], abs=8)


@pytest.mark.parametrize(
    "window", [{}, {"WindowCenter": 9000, "WindowWidth": 10}, {"WindowCenter": 1, "WindowWidth": 0}]
)
def test_without_a_usable_window_the_full_range_is_shown(
    window: dict[str, object], file: Path
) -> None:
    values = row(shown(file, picture(gradient(), **window)))
    assert (values[0], values[-1]) == pytest.approx((0, 255), abs=8)
    assert values == sorted(values)


def test_padding_does_not_count_for_the_range(file: Path) -> None:
    pixels = gradient(high=100)
    pixels[:, :20] = 60000
    values = row(shown(file, picture(pixels, PixelPaddingValue=60000)))
    assert values[-1] - values[4] > 100


def test_monochrome1_is_inverted(file: Path) -> None:
    window = {"WindowCenter": 500, "WindowWidth": 1000}
    values = row(
        shown(file, picture(gradient(), PhotometricInterpretation="MONOCHROME1", **window))
    )
    assert (values[0], values[-1]) == pytest.approx((255, 0), abs=8)


def test_the_middle_frame_is_shown(file: Path) -> None:
    frames = np.zeros((5, 32, 32), "uint8")
    frames[2] = gradient(32, 32, 0, 255).astype("uint8")
    content = picture(frames[0], NumberOfFrames=5, PixelData=frames.tobytes())
    assert row(shown(file, content))[-1] > 200


def test_color_stays_color(file: Path) -> None:
    pixels = np.zeros((16, 16, 3), "uint8")
    pixels[:, :, 0] = 200
    content = picture(
        pixels, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0
    )
    red, green, blue = shown(file, content).convert("RGB").getpixel((80, 80))
    assert red > 180
    assert max(green, blue) < 30


def test_pixels_that_are_not_square_are_stretched(file: Path) -> None:
    assert shown(file, picture(gradient(32, 64), PixelSpacing=[2.0, 1.0])).size == (SIZE, SIZE)
    assert shown(file, picture(gradient(64, 32))).size == (SIZE // 2, SIZE)
    assert shown(file, picture(gradient(4, 4), PixelSpacing=[1e9, 1e-9])).size[1] == SIZE


@pytest.mark.parametrize(
    "name",
    [
        "693_J2KI.dcm",
        "JPGExtended.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "examples_palette.dcm",
        "examples_ybr_color.dcm",
        "image_dfl.dcm",
        "rtdose.dcm",
    ],
)
def test_every_encoding_is_decoded(name: str) -> None:
    image = Image.open(io.BytesIO(render_thumbnail(FILES / name)))
    assert max(image.size) == SIZE
    assert np.asarray(image).std() > 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test-SR.dcm", "it has no pixels"),
        ("MR_truncated.dcm", "cannot be decoded"),
        ("JPEG-lossy.dcm", "cannot be decoded"),
    ],
)
def test_what_cannot_be_decoded_has_its_reason(name: str, reason: str) -> None:
    with pytest.raises(UndecodableError, match=reason):
        render_thumbnail(FILES / name)


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\0" * 128 + b"DICM" + b"\x02" * 99])
def test_garbage_is_refused(content: bytes, file: Path) -> None:
    file.write_bytes(content)
    with pytest.raises(UndecodableError):
        render_thumbnail(file)


def test_a_huge_image_is_refused_before_it_is_decoded(file: Path) -> None:
    file.write_bytes(picture(gradient(), Rows=65535, Columns=65535))
    with pytest.raises(UndecodableError, match="65535 x 65535 pixels needs"):
        render_thumbnail(file)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGBaseline8Bit])
def test_a_compressed_frame_that_is_larger_than_the_header_says_is_refused(
    syntax: str, file: Path
) -> None:
    if syntax == JPEG2000Lossless:
        sizes = struct.pack(">HHIIIIIIII", 47, 0, 60000, 60000, 0, 0, 60000, 60000, 0, 0)
        frame = b"\xff\x4f\xff\x51" + sizes + bytes(100)
    else:
        frame = b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x0b\x08\xea\x60\xea\x60" + bytes(100)
    content = picture(gradient(), syntax, PixelData=encapsulate([frame]))
    file.write_bytes(content)
    with pytest.raises(UndecodableError, match="60000 x 60000 pixels needs"):
        render_thumbnail(file)


def test_a_deflated_bomb_is_refused(file: Path) -> None:
    content = (FILES / "image_dfl.dcm").read_bytes()
    start = content.index(b"1.2.840.10008.1.2.1.99")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        head = content[: _dataset_start(content, start)]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(260)) + packer.flush()
    file.write_bytes(head + bomb)
    with pytest.raises(UndecodableError, match="inflates to more than"):
        render_thumbnail(file)


def _dataset_start(content: bytes, at: int) -> int:
    """Where the deflated dataset begins: behind the file meta information."""
    (length,) = struct.unpack_from("<I", content, 140)
    assert at < 144 + length
    return 144 + length


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(
        st.tuples(st.integers(132, 1200), st.binary(min_size=1, max_size=4)), max_size=6
    )
)
def test_a_damaged_file_gives_a_picture_or_a_reason(
    places: list[tuple[int, bytes]], file: Path
) -> None:
    content = bytearray(picture(gradient(16, 16), WindowCenter=500, WindowWidth=200))
    for at, damage in places:
        content[at : at + len(damage)] = damage
    file.write_bytes(content)
    with suppress(UndecodableError):
        assert render_thumbnail(file).startswith(b"\xff\xd8")


def test_the_middle_slice_of_a_nifti_volume_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "volume.nii.gz"
    voxels = np.zeros((5, 20, 40), "<i2")  # slices, rows, columns
    voxels[2] = gradient(20, 40).astype("<i2")
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, 40, 20, 5, 1, 1, 1, 1)
    struct.pack_into("<2h", head, 70, 4, 16)
    struct.pack_into("<4f", head, 76, 1, 0.7, 1.4, 5)
    struct.pack_into("<f", head, 108, 352)
    head[344:348] = b"n+1\0"
    file.write_bytes(gzip.compress(bytes(head) + voxels.tobytes()))
    image = Image.open(io.BytesIO(render_thumbnail(file)))
    assert image.size == (SIZE, SIZE)
    values = row(image)
    assert (values[0], values[-1]) == pytest.approx((0, 255), abs=8)
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(UndecodableError):
        render_thumbnail(file)
