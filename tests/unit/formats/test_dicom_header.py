"""The UIDs in an image's header: our reader, pydicom as its fallback, and damaged files."""

from __future__ import annotations

import contextlib
import threading
import time
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.multival import MultiValue
from pydicom.uid import UID

from tcia_covid.core.errors import ForeignImageError
from tcia_covid.core.models import IMAGE_NAMES, ImageAttributes
from tcia_covid.core.safe_names import is_uid
from tcia_covid.formats.dicom import (
    SOP_CLASSES,
    Header,
    header_of_file,
    read_header,
    sop_class_name,
)
from tests.unit.formats.dicom_elements import (
    DEFLATED,
    EXPLICIT,
    IMPLICIT,
    JPEG,
    UNDEFINED,
    element,
    identity,
    implicit,
    item,
    meta,
    sequence,
)

DATA = Path(__file__).parents[2] / "data"
SHIPPED = Path(pydicom.__file__).parent / "data"
FILES = sorted(
    path for path in SHIPPED.rglob("*") if path.is_file() and path.read_bytes()[128:132] == b"DICM"
)
SMALL = Header("1.2.5", "1.2.3", "1.2.4", "P1", "CT", ImageAttributes(transfer_syntax=EXPLICIT))


def by_pydicom(path: Path) -> Header | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        words = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "PatientID", "Modality")
        values = [str(dataset.get(word) or "").strip() for word in words]
        texts = {name: as_text(dataset.get(word)) for name, word in IMAGE_NAMES.items()}
        texts["transfer_syntax"] = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    header = Header(*values, ImageAttributes(**texts))
    return header if all(map(is_uid, values[:3])) else None


def as_text(value) -> str:
    if isinstance(value, MultiValue):
        return "\\".join(map(str, value))
    return "" if value is None else str(value).strip()


def test_pydicom_ships_enough_files_to_compare_with():
    assert len(FILES) > 100


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name)
def test_agrees_with_pydicom(path):
    expected = by_pydicom(path)

    assert read_header(path.read_bytes()) in (expected, None)
    if expected is None:
        with pytest.raises(ForeignImageError):
            header_of_file(path)
    else:
        assert header_of_file(path) == expected
        assert header_of_file(path, path.read_bytes()[:300]) == expected


ATTRIBUTES = (
    element(0x00200012, b"IS", b"2"),
    element(0x00200013, b"IS", b"17 "),
    element(0x00200032, b"DS", b"-1.5\\2\\3e1"),
    element(0x00200037, b"DS", b"1\\0\\0\\0\\1\\0"),
)


def test_reads_what_orders_the_images_of_a_series():
    sop_class = element(0x00080016, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
    header = read_header(meta() + sop_class + identity(rest=b"".join(ATTRIBUTES)))

    assert header is not None
    assert header.attributes == ImageAttributes(
        sop_class="1.2.840.10008.5.1.4.1.1.2",
        number="17",
        acquisition="2",
        position="-1.5\\2\\3e1",
        orientation="1\\0\\0\\0\\1\\0",
        transfer_syntax=EXPLICIT,
    )


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00200013, b"IS", b"=1+1"),
        (0x00200013, b"IS", b"1\\2"),
        (0x00200032, b"DS", b"1\\2"),
        (0x00200032, b"DS", b"nan\\2\\3"),
        (0x00200032, b"DS", b"\xff\\2\\3"),
        (0x00200037, b"DS", b"1\\0\\0"),
    ],
)
def test_an_attribute_without_a_valid_value_is_empty(tag, vr, value):
    header = read_header(meta() + identity(rest=element(tag, vr, value)))

    assert header == SMALL


@pytest.mark.parametrize(
    "rest",
    [
        b"".join(ATTRIBUTES)[:-3],
        element(0x00200013, b"IS", b"1") + element(0x00200012, b"IS", b"2"),
        b"\x20\x00\x13\x00??",
        element(0x00200013, b"IS", b"1", length=5000),
    ],
)
def test_what_is_wrong_behind_the_identity_does_not_hide_it(rest):
    header = read_header(meta() + identity(rest=rest))

    assert header is not None
    assert (header.sop, header.series) == (SMALL.sop, SMALL.series)


def test_the_walker_alone_reads_nearly_all_little_endian_files():
    walked = [path for path in FILES if read_header(path.read_bytes()[:65536])]

    assert len(walked) > 140


def test_reads_an_image_of_the_archive_from_its_first_8_kib():
    with zipfile.ZipFile(DATA / "getImage-complete.zip") as archive:
        head = archive.read("00000001.dcm")[:8192]

    header = read_header(head)

    assert header is not None
    assert header.series == "1.3.6.1.4.1.5962.1.1.0.0.0.1194734704.16302.0.6"
    assert (header.patient, header.modality) == ("98890234", "CT")


@pytest.mark.parametrize(
    "between",
    [
        element(0x00081140, b"SQ", sequence(), UNDEFINED),
        element(0x00081140, b"SQ", sequence(item(identity(series=b"9.9"))), UNDEFINED),
        element(0x00081140, b"SQ", sequence(item(b"", defined=True), item(b"")), UNDEFINED),
        element(0x00081140, b"SQ", item(identity(), defined=True)),
        element(
            0x00081140,
            b"SQ",
            sequence(item(element(0x00081199, b"SQ", sequence(item(identity())), UNDEFINED))),
            UNDEFINED,
        ),
        element(0x00090010, b"LO", b"PRIVATE") + element(0x00091001, b"UN", bytes(5000)),
        element(0x00091002, b"OB", sequence(item(b"icon", defined=True)), UNDEFINED),
    ],
)
def test_walks_over_sequences_and_private_elements(between):
    assert read_header(meta() + identity(between)) == SMALL


def test_reads_implicit_vr():
    between = implicit(0x00081140, sequence(item(implicit(0x00081150, b"9.9"))), UNDEFINED)
    data = (
        implicit(0x00080018, b"1.2.5")
        + implicit(0x00080060, b"CT ")
        + between
        + implicit(0x00100020, b"P1")
        + implicit(0x0020000D, b"1.2.3")
        + implicit(0x0020000E, b"1.2.4\0")
    )

    header = read_header(meta(IMPLICIT) + data)

    assert header == Header(
        "1.2.5", "1.2.3", "1.2.4", "P1", "CT", ImageAttributes(transfer_syntax=IMPLICIT)
    )


def test_reads_deflated_datasets():
    engine = zlib.compressobj(wbits=-15)
    deflated = engine.compress(identity() + bytes(100_000)) + engine.flush()

    header = read_header(meta(DEFLATED) + deflated)

    assert header is not None
    assert header.series == "1.2.4"
    assert header.attributes.transfer_syntax == DEFLATED


def test_reads_encapsulated_images():
    header = read_header(meta(JPEG) + identity())

    assert header is not None
    assert header.attributes.transfer_syntax == JPEG


def test_a_head_that_is_too_short_is_completed_from_the_file(tmp_path):
    data = meta() + identity(element(0x00091001, b"OB", bytes(3_000_000)))
    path = tmp_path / "image"
    path.write_bytes(data)

    assert read_header(data[:8192]) is None
    assert header_of_file(path, data[:8192]) == SMALL


def test_a_truncated_head_is_never_accepted():
    data = meta() + identity(element(0x00081140, b"SQ", sequence(item(b"")), UNDEFINED))

    assert read_header(data)
    for length in range(len(data)):
        assert read_header(data[:length]) is None


def test_a_patient_in_another_character_set_is_left_to_pydicom(tmp_path):
    charset = element(0x00080005, b"CS", b"ISO_IR 100")
    path = tmp_path / "image"
    path.write_bytes(meta() + charset + identity(patient="Jürgen".encode("latin-1")))

    assert read_header(path.read_bytes()) is None
    assert header_of_file(path).patient == "Jürgen"


def test_several_values_are_joined_as_written(tmp_path):
    path = tmp_path / "image"
    path.write_bytes(meta() + identity(patient=b"A\\B"))

    assert header_of_file(path).patient == "A\\B"


def test_patient_and_modality_may_be_missing():
    data = identity().replace(element(0x00100020, b"LO", b"P1"), b"")
    header = read_header(meta() + data.replace(element(0x00080060, b"CS", b"CT"), b""))

    assert header is not None
    assert (header.patient, header.modality) == ("", "")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty"),
        (b"<html>", "is not a DICOM file"),
        (identity(), "is not a DICOM file"),
        (bytes(128) + b"DICM", "no valid SOPInstanceUID"),
        (meta(), "no valid SOPInstanceUID"),
        (meta() + identity(series=b""), "no valid SeriesInstanceUID"),
        (meta() + identity(series=b"../.."), "no valid SeriesInstanceUID"),
        (meta() + identity(series=b"1." * 40), "no valid SeriesInstanceUID"),
        (meta() + identity(series=b"1.2\\1.3"), "no valid SeriesInstanceUID"),
        (meta(DEFLATED) + b"\xff" * 100, "deflated header cannot be read"),
    ],
)
def test_files_that_are_not_images_are_refused(data, words, tmp_path):
    path = tmp_path / "secret-folder"
    path.write_bytes(data)

    with pytest.raises(ForeignImageError, match=words) as caught:
        header_of_file(path, data[:200])
    assert "secret" not in caught.value.message


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        header_of_file(tmp_path / "gone")


def test_a_deflated_bomb_is_not_inflated(tmp_path):
    engine = zlib.compressobj(9, wbits=-15)
    bomb = b"".join(engine.compress(bytes(1 << 20)) for _ in range(200)) + engine.flush()
    path = tmp_path / "bomb"
    path.write_bytes(meta(DEFLATED) + bomb)

    tracemalloc.start()
    with pytest.raises(ForeignImageError):
        header_of_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 40_000_000


@pytest.mark.parametrize("syntax", [EXPLICIT, "1.2.840.10008.1.2.2"])
def test_endless_nesting_is_refused(syntax, tmp_path):
    deeper = element(0x00081140, b"SQ", b"", UNDEFINED) + implicit(0xFFFEE000, b"", UNDEFINED)
    path = tmp_path / "image"
    path.write_bytes(meta(syntax) + deeper * 30_000)

    with pytest.raises(ForeignImageError):
        header_of_file(path)


REAL = [path.read_bytes()[:20_000] for path in FILES if path.name in (
    "CT_small.dcm", "MR_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm",
    "image_dfl.dcm", "nested_priv_SQ.dcm", "examples_overlay.dcm", "chrX1.dcm", "badVR.dcm",
)]  # fmt: skip


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("headers") / "image"


@given(
    data=st.sampled_from(REAL),
    edits=st.lists(
        st.tuples(st.integers(128, 2500), st.binary(min_size=1, max_size=6)), min_size=1, max_size=3
    ),
    length=st.none() | st.integers(0, 3000),
)
def test_a_damaged_header_gives_an_identity_or_a_typed_error(scratch, data, edits, length):
    damaged = bytearray(data)
    for place, replacement in edits:
        damaged[place : place + len(replacement)] = replacement
    scratch.write_bytes(damaged[:length])

    started = time.monotonic()
    with contextlib.suppress(ForeignImageError):
        header = header_of_file(scratch, bytes(damaged[:1000]))
        assert all(map(is_uid, (header.sop, header.study, header.series)))
    assert time.monotonic() - started < 5


def test_pydicoms_warnings_are_suppressed_and_filters_restored(tmp_path):
    path = tmp_path / "image"
    charset = element(0x00080005, b"CS", b"NO SUCH SET")
    path.write_bytes(meta() + charset + identity(patient=b"\xfcber", series=b"1.2.4"))
    filters = list(warnings.filters)

    def read() -> None:
        for _ in range(5):
            header_of_file(path)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert list(warnings.filters) == filters


@pytest.mark.parametrize("uid", [*SOP_CLASSES, "1.2.840.10008.5.1.4.1.1.481.5"])
def test_sop_classes_have_the_names_of_the_standard(uid: str) -> None:
    assert sop_class_name(uid) == UID(uid).name


def test_an_unknown_sop_class_has_no_name() -> None:
    assert (sop_class_name("1.2.3"), sop_class_name("")) == ("", "")
