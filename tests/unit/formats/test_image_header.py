"""The elements that order images, read from files of real scanners and from unusual ones."""

from __future__ import annotations

import warnings
from pathlib import Path

import pydicom
import pydicom.data
import pytest

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.formats.image_header import ImageHeader, read_image_header
from tests.fakes.pixel_images import AXIAL, gradient, picture

FILES = Path(pydicom.data.__file__).parent / "test_files"
NAMES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "examples_ybr_color.dcm",
    "examples_palette.dcm",
    "image_dfl.dcm",
    "test-SR.dcm",
    "liver_1frame.dcm",
)


@pytest.mark.parametrize("name", NAMES)
def test_it_reads_what_pydicom_reads(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(FILES / name)
    header = read_image_header(FILES / name)
    assert header.rows == dataset.get("Rows", 0)
    assert header.columns == dataset.get("Columns", 0)
    assert header.frames == (dataset.get("NumberOfFrames") or 1)
    assert header.instance_number == dataset.get("InstanceNumber")
    assert header.sop_class == dataset.get("SOPClassUID", "")
    position = dataset.get("ImagePositionPatient")
    assert header.position == (None if position is None else tuple(map(float, position)))
    spacing = dataset.get("PixelSpacing")
    assert header.spacing == (None if spacing is None else tuple(map(float, spacing)))


def test_a_header_that_is_longer_than_the_first_block(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    comment = {"StrainAdditionalInformation": "x" * 300_000}
    file.write_bytes(picture(gradient(), InstanceNumber=7, **comment))
    assert read_image_header(file).instance_number == 7


def test_invalid_numbers_count_as_missing(tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    content = picture(gradient(), ImagePositionPatient=[1, 2, 3], ImageOrientationPatient=AXIAL)
    file.write_bytes(content.replace(b"1.0\\2.0\\3.0", b"1.0\\2.x\\3.0"))
    header = read_image_header(file)
    assert header.position is None
    assert header.orientation == tuple(AXIAL)


@pytest.mark.parametrize("content", [b"", b"text", b"\0" * 128 + b"DICM" + b"\xff" * 500])
def test_a_file_that_is_not_dicom_is_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "a.dcm"
    file.write_bytes(content)
    with pytest.raises(ForeignImageError):
        read_image_header(file)


def test_a_header_says_nothing_by_default() -> None:
    assert ImageHeader().frames == 1
