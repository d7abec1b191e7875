"""What the ZIP reader reads: every framing that an honest writer may choose."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcia_covid.formats.hashes import parse_md5_list, same_md5
from tcia_covid.formats.inflate import ZLIB, Engine, find_isal
from tcia_covid.formats.zipstream import CHUNK, read_zip
from tests.unit.formats.zip_framing import ROOMY, Member, feeder, frame, unzip

DATA = Path(__file__).parents[2] / "data"
ENGINES = [
    pytest.param(ZLIB, id="zlib"),
    pytest.param(
        find_isal(),
        id="isal",
        marks=pytest.mark.skipif(find_isal() is None, reason="isal is not installed"),
    ),
]
DESCRIPTORS = ["signed 32", "plain 32", "signed 64", "plain 64", None]


class OneWay(io.RawIOBase):
    """A file that can only be written to, front to back."""

    def __init__(self) -> None:
        self.out = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.out += data
        return len(data)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return request.param


@pytest.mark.parametrize("sizes", [(), (1,), (7, 1, 300), (100_000,)])
def test_reads_a_complete_series_as_the_archive_frames_it(engine, sizes):
    members = unzip((DATA / "getImage-complete.zip").read_bytes(), sizes=sizes, engine=engine)

    names = [name for name, _ in members]
    assert names == ["LICENSE", *(f"0000000{n}.dcm" for n in range(1, 6)), "md5hashes.csv"]
    contents = dict(members)
    hashes = parse_md5_list(contents["md5hashes.csv"])
    assert len(hashes) == 5
    for name, md5 in hashes.items():
        assert same_md5(md5, hashlib.md5(contents[name]).hexdigest())


@pytest.mark.parametrize(
    ("file", "last_size"), [("missing-image", 3936), ("truncated-entry", 1968)]
)
def test_a_series_that_the_server_ended_early_is_a_valid_zip(file, last_size, engine):
    members = unzip((DATA / f"getImage-{file}.zip").read_bytes(), engine=engine)

    assert [name for name, _ in members] == ["LICENSE", *(f"0000000{n}.dcm" for n in range(1, 4))]
    assert len(members[-1][1]) == last_size


@pytest.mark.parametrize("descriptor", DESCRIPTORS)
@pytest.mark.parametrize("sizes", [(), (1,)])
def test_reads_each_spelling_of_the_data_descriptor(descriptor, sizes, engine):
    files = [(b"a", b"abc" * 1000), (b"empty", b""), (b"z", bytes(70_000))]
    data = frame([Member(name, content, descriptor=descriptor) for name, content in files])

    assert unzip(data, sizes=sizes, engine=engine) == [(n.decode(), c) for n, c in files]


def test_reads_an_entry_whose_checksum_looks_like_a_descriptor_signature():
    member = Member(crc=0x08074B50, data=_with_crc(0x08074B50))

    for descriptor in DESCRIPTORS:
        assert unzip(frame([Member(data=member.data, descriptor=descriptor)]))[0][1] == member.data


def _with_crc(crc: int) -> bytes:
    """Eight bytes with the given CRC-32, found by running the CRC backwards."""
    table = [_crc_step(i) for i in range(256)]
    backwards = {entry >> 24: (i, entry) for i, entry in enumerate(table)}
    state, indices = crc ^ 0xFFFFFFFF, []
    for _ in range(4):
        index, entry = backwards[state >> 24]
        state = (state ^ entry) << 8 & 0xFFFFFFFF
        indices.append(index)
    state, out = 0xFFFFFFFF, bytearray()
    for index in reversed(indices):
        out.append((state ^ index) & 0xFF)
        state = state >> 8 ^ table[index]
    return bytes(out)


def _crc_step(value: int) -> int:
    for _ in range(8):
        value = value >> 1 ^ (0xEDB88320 if value & 1 else 0)
    return value


def test_an_empty_zip_has_no_entries():
    assert unzip(frame([])) == []
    assert len(frame([])) == 22


def test_reads_stored_entries_with_sizes_in_the_local_header():
    data = frame([Member(b"s", b"stored " * 50_000, method=0, descriptor=None), Member(b"d")])

    assert [n for n, _ in unzip(data, sizes=(1000,))] == ["s", "d"]
    assert unzip(data)[0][1] == b"stored " * 50_000


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_what_zipfile_writes(method, engine):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = b"a comment"
        archive.mkdir("folder") if hasattr(archive, "mkdir") else None
        with archive.open("folder/wide", "w", force_zip64=True) as member:
            member.write(b"x" * 1000)
        archive.writestr("ümlaut", b"y")

    assert unzip(out.getvalue(), engine=engine) == [("folder/wide", b"x" * 1000), ("ümlaut", b"y")]


def test_reads_what_zipfile_streams():
    out = OneWay()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", b"a" * 100)
        with archive.open("b", "w", force_zip64=True) as member:
            member.write(b"b" * 100)

    assert unzip(bytes(out.out)) == [("a", b"a" * 100), ("b", b"b" * 100)]


def test_skips_folders_as_java_deflates_them():
    folder = Member(b"dir/", b"", stream=b"\x03\x00")

    assert [n for n, _ in unzip(frame([folder, Member(b"dir/a")]))] == ["dir/a"]


@pytest.mark.parametrize("zip64_end", [True, False])
def test_reads_zip64_records(zip64_end):
    members = [Member(b"a", zip64=True), Member(b"b", descriptor="signed 64")]

    assert len(unzip(frame(members, zip64_end=zip64_end), sizes=(3,))) == 2


def test_reads_sizes_from_a_local_zip64_field():
    content = b"wide" * 10
    wide = struct.pack("<HH", 0x7777, 3) + b"abc" + struct.pack("<HHQQ", 1, 16, 40, 40)
    fields = (Member(data=content).facts[0], 0xFFFFFFFF, 0xFFFFFFFF)
    member = Member(data=content, method=0, descriptor=None, local_fields=fields, local_extra=wide)

    assert unzip(frame([member]))[0][1] == content


def test_java_counts_more_than_65535_entries_in_a_zip64_record():
    members = [Member(b"%d" % i, b"", stream=b"\x03\x00") for i in range(3)]

    assert len(unzip(frame(members, zip64_end=True))) == 3


def test_the_directory_may_list_entries_in_another_order():
    members = [Member(b"a"), Member(b"b"), Member(b"c")]

    assert [n for n, _ in unzip(frame(members, backwards=True))] == ["a", "b", "c"]


def test_a_comment_and_nul_padding_are_accepted():
    data = frame([Member()], comment=b"made by hand", tail=bytes(1000))

    assert len(unzip(data, sizes=(1,))) == 1


def test_names_are_returned_unchanged_even_if_hostile():
    names = [b"../../x", b"C:\\x", b"a\0b", b"X", b"x", b"\xff\xfe", b"n" * 60_000, b""]
    members = [Member(name) for name in names]

    got = [name for name, _ in unzip(frame(members))]

    assert got[:5] == ["../../x", "C:\\x", "a\0b", "X", "x"]
    assert len(got) == len(names)


def test_names_without_the_utf8_flag_are_cp437():
    assert unzip(frame([Member(b"\x81ber", flags=0x0008)]))[0][0] == "über"


def test_the_rest_of_an_entry_is_skipped_by_the_next():
    members = [Member(b"a", bytes(1 << 20)), Member(b"b", b"bb"), Member(b"c", b"ccc")]
    stream = read_zip(feeder(frame(members)), max_entry_size=ROOMY, max_total_size=ROOMY)

    assert next(next(stream).chunks())
    assert next(stream).name == "b"
    last = next(stream)
    assert b"".join(last.chunks()) == b"ccc"
    assert list(last.chunks()) == []
    assert list(stream) == []
    assert list(stream) == []


def test_a_small_file_can_be_read_at_once():
    stream = read_zip(feeder(frame([Member()])), max_entry_size=ROOMY, max_total_size=ROOMY)

    assert next(stream).read(limit=len(Member().data)) == Member().data


def test_chunks_are_never_empty_and_at_most_chunk_size(engine):
    data = frame([Member(b"zeros", bytes(3_000_000)), Member(b"s", bytes(600_000), 0, 0x800, None)])
    stream = read_zip(feeder(data), max_entry_size=ROOMY, max_total_size=ROOMY, engine=engine)

    lengths = [len(piece) for entry in stream for piece in entry.chunks()]

    assert min(lengths) > 0
    assert max(lengths) <= CHUNK
    assert sum(lengths) == 3_600_000


@pytest.mark.parametrize("behind", range(-9, 25))
def test_a_deflate_stream_may_end_in_a_later_feed(engine, behind):
    """A piece is full before the end: what follows may be in the inflater when that is seen."""
    members = [
        Member(b"a", b"x" * (CHUNK + 1000)),
        Member(b"b", b"y" * 3 * CHUNK),
        Member(b"c", b"end"),
    ]
    end = 30 + len(members[0].name) + len(members[0].body)
    first, size = end + behind, len(frame(members))

    assert unzip(frame(members), sizes=[first, 3, size], engine=engine) == [
        (member.name.decode(), member.data) for member in members
    ]


@given(
    contents=st.lists(st.binary(max_size=300) | st.integers(0, 9000).map(bytes), max_size=4),
    descriptor=st.sampled_from(DESCRIPTORS),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=5),
    isal=st.booleans(),
)
def test_any_split_of_the_stream_gives_the_same_files(contents, descriptor, sizes, isal):
    members = [Member(b"%d" % i, c, descriptor=descriptor) for i, c in enumerate(contents)]
    engine = (find_isal() if isal else None) or ZLIB

    got = unzip(frame(members), sizes=sizes, engine=engine)

    assert got == [(str(i), content) for i, content in enumerate(contents)]
