"""Whether a DICOM file is complete: cuts and contradictions that a header does not show."""

from __future__ import annotations

import contextlib
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.formats.dicom import validate_file
from tests.unit.formats.dicom_elements import (
    DEFLATED,
    JPEG,
    UNDEFINED,
    element,
    identity,
    implicit,
    item,
    meta,
    native,
    sequence,
)

DATA = Path(__file__).parents[2] / "data"
SHIPPED = Path(pydicom.__file__).parent / "data"
CUT_OR_CONTRADICTORY = {
    "MR_truncated.dcm",
    "rtplan_truncated.dcm",
    "badVR.dcm",  # its number of frames is no number
    "chrJapMulti.dcm",  # these three declare pixels, and have none
    "chrJapMultiExplicitIR6.dcm",
    "chrKoreanMulti.dcm",
}
NO_IMAGES = {
    "chrSQEncoding.dcm",
    "chrSQEncoding1.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jls_lossy_sample.dcm",
    "UN_sequence.dcm",
    "empty_charset_LEI.dcm",
    "meta_missing_tsyntax.dcm",
    "nested_priv_SQ.dcm",
    "no_meta_group_length.dcm",
    "priv_SQ.dcm",
}  # without a UID
FILES = sorted(
    path
    for folder in (SHIPPED / "test_files", SHIPPED / "charset_files")
    for path in folder.glob("*.dcm")
    if path.read_bytes()[128:132] == b"DICM"
)


@pytest.fixture
def check(tmp_path):
    def check(data: bytes, **limits: int) -> str:
        path = tmp_path / "image"
        path.write_bytes(data)
        try:
            validate_file(path, **limits)
        except ForeignImageError as error:
            return error.message
        return ""

    return check


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_complete_files_pass_and_known_bad_files_fail(path):
    if path.name in CUT_OR_CONTRADICTORY | NO_IMAGES:
        with pytest.raises(ForeignImageError):
            validate_file(path)
    else:
        validate_file(path)


def test_a_truncated_file_is_detected(check):
    with zipfile.ZipFile(DATA / "getImage-complete.zip") as archive:
        whole = archive.read("00000001.dcm")
    assert check(whole) == ""

    # no byte shows a cut between two optional elements; with 29 there is none
    unseen = [length for length in range(0, len(whole), 29) if not check(whole[:length])]

    assert not unseen


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        (native(), ""),
        (native(pixels=bytes(50)), ""),
        (native(pixels=bytes(46)), "has 46 bytes of pixel data where its header says 48"),
        (native(extra=element(0x00280008, b"IS", b"2")), "48 bytes of pixel data"),
        (native(pixels=bytes(96), extra=element(0x00280008, b"IS", b"2")), ""),
        (native(extra=element(0x00280008, b"IS", b"x")), "cannot be read as DICOM (ValueError)"),
        (native(pixels=b""), "no pixel data"),
        (element(0x7FE00010, b"OW", bytes(8)), "cannot be read as DICOM (AttributeError)"),
    ],
)
def test_native_pixel_data_is_as_long_as_the_header_says(check, rest, words):
    message = check(meta() + identity(rest=rest))

    assert words in message
    assert bool(words) == bool(message)


@pytest.mark.parametrize(
    ("fragments", "words"),
    [
        ([item(b"", defined=True), item(b"jpeg", defined=True)], ""),
        ([item(b"", defined=True)], "no fragment"),
        ([item(b"", defined=True), implicit(0xFFFEE000, b"jpeg", 400)], "truncated"),
        ([item(b"", defined=True), b"not an item at all"], "does not consist of fragments"),
    ],
)
def test_encapsulated_pixel_data_consists_of_complete_fragments(check, fragments, words):
    pixels = element(0x7FE00010, b"OB", sequence(*fragments), UNDEFINED)
    message = check(meta(JPEG) + identity(rest=native(pixels=b"") + pixels))

    assert words in message
    assert bool(words) == bool(message)


def test_the_length_of_compressed_pixel_data_is_not_checked(check):
    assert check(meta(JPEG) + identity(rest=native(pixels=b"jpeg"))) == ""


def test_pixels_of_one_bit_are_counted_in_bits(check):
    rest = native(pixels=bytes(4)).replace(
        element(0x00280100, b"US", struct.pack("<H", 16)),
        element(0x00280100, b"US", struct.pack("<H", 1)),
    )

    assert check(meta() + identity(rest=rest)) == ""


def test_deflated_files(check):
    engine = zlib.compressobj(wbits=-15)
    deflated = engine.compress(identity(rest=native())) + engine.flush()

    assert check(meta(DEFLATED) + deflated) == ""
    assert "no end" in check(meta(DEFLATED) + deflated[:-1])
    assert check(meta(DEFLATED) + deflated[:60] + b"\xff" * 40)


@pytest.mark.parametrize("patient", [2, 6, 22, 26, 48, 50])
def test_a_deflated_file_may_end_at_a_block_boundary(check, patient):
    """The inflater may have taken all input then, and not yet returned all output."""
    rest = element(0x00211001, b"OB", bytes(1024 * 1024 - 74))
    engine = zlib.compressobj(wbits=-15)
    deflated = engine.compress(identity(patient=b"P" * patient, rest=rest)) + engine.flush()

    assert check(meta(DEFLATED) + deflated) == ""


def test_a_deflated_bomb_is_not_inflated_completely(check):
    engine = zlib.compressobj(wbits=-15)
    rest = element(0x00211001, b"OB", bytes(20_000_000))
    deflated = engine.compress(identity(rest=rest)) + engine.flush()

    assert "inflates to more than 10000 bytes" in check(
        meta(DEFLATED) + deflated, max_inflated=10_000
    )


def test_sequences_are_read(check):
    inner = element(0x00400275, b"SQ", item(identity(), defined=True))
    outer = element(0x00400275, b"SQ", sequence(item(inner)), UNDEFINED)

    assert check(meta() + identity(rest=outer)) == ""


def test_endless_nesting_is_refused(check):
    nested = b""
    for _ in range(2000):
        nested = element(0x00400275, b"SQ", sequence(item(nested)), UNDEFINED)

    assert "RecursionError" in check(meta() + identity(rest=nested))


def test_unusual_values_are_accepted(check):
    odd = element(0x00280030, b"DS", b"not a number")

    assert check(meta() + identity(rest=odd)) == ""


def test_two_pixels_may_share_their_color(check):
    rest = native(pixels=bytes(96)).replace(b"MONOCHROME2\0", b"YBR_FULL_422")

    assert check(meta() + identity(rest=rest)) == ""
    rest = native(pixels=bytes(48)).replace(b"MONOCHROME2\0", b"YBR_FULL_422")
    assert "says 96" in check(meta() + identity(rest=rest))


def test_a_file_that_is_not_dicom_is_refused(check):
    assert "not a DICOM file" in check(b"<html>")
    assert "is empty" in check(b"")


@given(
    path=st.sampled_from([p for p in FILES if p.stat().st_size < 40_000]),
    edits=st.lists(
        st.tuples(st.integers(0, 40_000), st.binary(min_size=1, max_size=4)), max_size=3
    ),
)
def test_damaged_files_pass_or_give_a_typed_error(tmp_path_factory, path, edits):
    data = bytearray(path.read_bytes())
    for place, replacement in edits:
        start = place % len(data)
        data[start : start + len(replacement)] = replacement
    copy = tmp_path_factory.getbasetemp() / "damaged"
    copy.write_bytes(data)

    with contextlib.suppress(ForeignImageError):
        validate_file(copy)


def test_a_deflated_bomb_takes_little_memory(tmp_path: Path) -> None:
    engine = zlib.compressobj(wbits=-15)
    start = identity(rest=element(0x00211001, b"OB", bytes(1 << 20)))
    zeros = bytes(1 << 20)
    parts = [engine.compress(start), *(engine.compress(zeros) for _ in range(350))]
    path = tmp_path / "bomb.dcm"
    path.write_bytes(meta(DEFLATED) + b"".join(parts) + engine.flush())
    program = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from tcia_covid.formats.dicom import validate_file\n"
        "validate_file(Path(sys.argv[1]))\n"
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program, path], capture_output=True, check=True, text=True
    )
    assert int(run.stdout) < 300_000, "KiB"
