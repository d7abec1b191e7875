"""Cuts and damage at every place: never a success, never an error of another type."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tcia_covid.core.errors import TruncatedZipError, ZipError
from tcia_covid.formats.inflate import ZLIB, Engine, find_isal
from tcia_covid.formats.zipstream import read_zip
from tests.unit.formats.zip_framing import ROOMY, Member, feeder, frame, unzip

DATA = Path(__file__).parents[2] / "data"
ENGINES = [engine for engine in (ZLIB, find_isal()) if engine]
ZIPS = {
    "java": frame([Member(b"a", b"first" * 30), Member(b"dir/", b""), Member(b"b", b"second")]),
    "plain": frame([Member(b"a", descriptor=None), Member(b"b", b"two", 0, 0x800, None)]),
    "unsigned": frame([Member(b"a", b"", descriptor="plain 32"), Member(b"b")]),
    "wide": frame(
        [Member(b"a", descriptor="plain 64", zip64=True), Member(b"b", descriptor="signed 64")],
        zip64_end=True,
        comment=b"a comment",
    ),
    "empty": frame([]),
}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name.split()[0])
@pytest.mark.parametrize("kind", ZIPS)
def test_truncation_at_any_byte_is_detected(kind: str, engine: Engine):
    whole = ZIPS[kind]
    assert unzip(whole, engine=engine) is not None

    for length in range(len(whole)):
        with pytest.raises(TruncatedZipError):
            unzip(whole[:length], engine=engine)


def test_truncation_of_a_real_series_near_its_end_is_detected():
    whole = (DATA / "getImage-complete.zip").read_bytes()

    for length in [*range(len(whole) - 700, len(whole)), *range(0, len(whole), 97)]:
        with pytest.raises(TruncatedZipError):
            unzip(whole[:length])


def test_complete_entries_before_a_truncation_are_returned():
    cut = ZIPS["java"][:-1]
    got = {}
    with contextlib.suppress(TruncatedZipError):
        for entry in read_zip(feeder(cut), max_entry_size=ROOMY, max_total_size=ROOMY):
            got[entry.name] = b"".join(entry.chunks())

    assert got == {"a": b"first" * 30, "b": b"second"}


@pytest.mark.parametrize("engine", ENGINES, ids=lambda e: e.name.split()[0])
@pytest.mark.parametrize("kind", ZIPS)
def test_a_flipped_bit_changes_nothing_or_is_refused(kind: str, engine: Engine):
    whole = ZIPS[kind]
    contents = [content for _, content in unzip(whole)]

    for place in range(len(whole)):
        for bit in (1, 32, 128):
            damaged = bytearray(whole)
            damaged[place] ^= bit
            with contextlib.suppress(ZipError):
                assert [content for _, content in unzip(bytes(damaged), engine=engine)] == contents


@given(
    kind=st.sampled_from(sorted(ZIPS)),
    edits=st.lists(st.tuples(st.integers(0, 10_000), st.binary(max_size=6)), max_size=3),
    sizes=st.lists(st.integers(1, 80), min_size=1, max_size=4),
    engine=st.sampled_from(ENGINES),
)
def test_any_damage_gives_files_or_a_typed_error(kind, edits, sizes, engine):
    data = bytearray(ZIPS[kind])
    for place, replacement in edits:
        start = place % (len(data) + 1)
        data[start : start + len(replacement) // 2] = replacement

    with contextlib.suppress(ZipError):
        unzip(bytes(data), sizes=sizes, engine=engine)


@given(st.binary(max_size=400), st.sampled_from([b"", b"PK\x03\x04", b"PK\x05\x06"]))
def test_random_bytes_are_refused(noise, start):
    assume(start + noise != ZIPS["empty"])
    with pytest.raises(ZipError):
        unzip(start + noise)


def test_errors_of_the_source_propagate_and_end_the_stream():
    class LineDroppedError(Exception):
        pass

    pieces = iter([ZIPS["java"][:60]])

    def read(_: int) -> bytes:
        for piece in pieces:
            return piece
        raise LineDroppedError

    stream = read_zip(read, max_entry_size=ROOMY, max_total_size=ROOMY)
    entry = next(stream)
    with pytest.raises(LineDroppedError):
        list(entry.chunks())
    with pytest.raises(ZipError, match="after an error"):
        next(stream)
