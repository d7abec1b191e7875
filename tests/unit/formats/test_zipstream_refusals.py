"""What the ZIP reader refuses, and in which words."""

from __future__ import annotations

import itertools
import struct
from dataclasses import replace

import pytest

from tcia_covid.core.errors import TruncatedZipError, ZipError
from tcia_covid.formats.inflate import ZLIB
from tcia_covid.formats.zipstream import read_zip
from tests.unit.formats.zip_framing import ROOMY, Member, deflate, feeder, frame, unzip

IMAGE = Member()
OTHER = Member(b"00000002.dcm", b"another image")


def refusal(data: bytes, **limits: int) -> ZipError:
    with pytest.raises(ZipError) as caught:
        unzip(data, **limits)
    assert not isinstance(caught.value, TruncatedZipError)
    return caught.value


@pytest.mark.parametrize(
    "page",
    [
        b"<html>\n<head><title>503 Service\tUnavailable</title>" + b"x" * 5000,
        b"{}",
        b'{"error": "no such series"}',
        b"PKZIP is not a ZIP",
        b"\x1b[31mServer was not able to process your request\nnull",
        bytes(500),
    ],
)
@pytest.mark.parametrize("sizes", [(), (1,)])
def test_a_response_that_is_not_a_zip_is_quoted(page, sizes):
    with pytest.raises(ZipError, match="is not a ZIP") as caught:
        unzip(page, sizes=sizes)

    assert not isinstance(caught.value, TruncatedZipError)
    assert caught.value.retryable
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200


def test_the_quotation_shows_the_text_of_the_page():
    assert "'<html> <title>503</title>'" in refusal(b"<html>\n <title>503</title>").message


def test_an_empty_response_is_a_truncation():
    with pytest.raises(TruncatedZipError, match="the response is empty") as caught:
        unzip(b"")
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (replace(IMAGE, flags=0x0809), "is encrypted"),
        (replace(IMAGE, flags=0x0848), "is encrypted"),
        (replace(IMAGE, flags=0x2808), "is encrypted"),
        (replace(IMAGE, flags=0x0828), "is patch data"),
        (replace(IMAGE, method=12), "unknown method 12"),
        (replace(IMAGE, method=0), "stored without its size"),
        (replace(IMAGE, attributes=0o120777 << 16), "is a symbolic link"),
        (Member(b"dir/", b"data"), "folder with data"),
    ],
)
def test_unsupported_entries_are_refused(member, words):
    error = refusal(frame([OTHER, member]))

    assert words in error.message
    assert not error.retryable


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (replace(IMAGE, crc=1), "contradicts its own checksum or size"),
        (replace(IMAGE, size=1), "contradicts its own checksum or size"),
        (replace(IMAGE, compressed=1), "contradicts its own checksum or size"),
        (replace(IMAGE, descriptor=None, crc=1), "contradicts its own checksum or size"),
        (replace(IMAGE, descriptor=None, size=1), "contradicts its own checksum or size"),
        (replace(IMAGE, descriptor=None, compressed=1), "contradicts its own checksum or size"),
        (replace(IMAGE, local_fields=(1, 0, 0)), "contradicts its own checksum or size"),
        (replace(IMAGE, local_fields=(0, 0, 1)), "contradicts its own checksum or size"),
        (replace(IMAGE, stream=b"\xff" * 50), "cannot be inflated"),
        (replace(IMAGE, listed_name=b"x"), "lists 'x' differently than it arrived"),
        (replace(IMAGE, listed_size=1), "differently than it arrived"),
        (replace(IMAGE, listed_crc=1), "differently than it arrived"),
        (replace(IMAGE, listed_offset=1), "differently than it arrived"),
        (replace(IMAGE, listed=False), "does not list '00000001.dcm'"),
        (replace(IMAGE, name=OTHER.name), "two entries of the same name"),
    ],
)
def test_contradictions_within_the_zip_are_refused(member, words):
    error = refusal(frame([OTHER, member]))

    assert words in error.message
    assert error.retryable


def test_an_entry_that_is_listed_but_did_not_arrive_is_refused():
    alone = frame([IMAGE])
    both = frame([IMAGE, OTHER])
    directory = both.index(b"PK\x01\x02")

    assert (
        "differently than"
        in refusal(alone[: alone.index(b"PK\x01\x02")] + both[directory:]).message
    )


def test_an_entry_that_is_listed_twice_is_refused():
    twice = frame([IMAGE])
    start, end = twice.index(b"PK\x01\x02"), twice.index(b"PK\x05\x06")

    assert "differently" in refusal(twice[:end] + twice[start:end] + twice[end:]).message


@pytest.mark.parametrize("zip64_end", [True, False])
@pytest.mark.parametrize("lie", [{"count": 2}, {"count": 0}, {"shift": 1}])
def test_an_end_record_that_contradicts_the_directory_is_refused(zip64_end, lie):
    assert (
        "contradicts its directory" in refusal(frame([IMAGE], zip64_end=zip64_end, **lie)).message
    )


def test_a_locator_that_points_elsewhere_is_refused():
    data = bytearray(frame([IMAGE], zip64_end=True))
    data[data.index(b"PK\x06\x07") + 8] ^= 1

    assert "locator" in refusal(bytes(data)).message


def test_a_zip64_end_record_of_impossible_size_is_refused():
    data = bytearray(frame([IMAGE], zip64_end=True))
    struct.pack_into("<Q", data, data.index(b"PK\x06\x06") + 4, 1 << 50)

    assert "impossible size" in refusal(bytes(data)).message


@pytest.mark.parametrize("tail", [b"\0\0x", b"PK\x05\x06" + bytes(18), frame([OTHER])])
def test_data_after_the_end_is_refused(tail):
    assert "does not belong" in refusal(frame([IMAGE], tail=tail)).message


def test_endless_padding_is_refused():
    endless = itertools.chain([frame([IMAGE])], itertools.repeat(bytes(1000)))
    stream = read_zip(lambda _: next(endless), max_entry_size=ROOMY, max_total_size=ROOMY)

    with pytest.raises(ZipError, match="does not belong"):
        list(stream)


def test_data_between_entries_is_refused():
    data = frame([IMAGE])
    directory = data.index(b"PK\x01\x02")

    assert "neither" in refusal(data[:directory] + bytes(100) + data[directory:]).message


def test_an_entry_above_the_limit_is_refused():
    error = refusal(frame([Member(data=bytes(10_000_000))]), max_entry_size=100_000)

    assert "larger than 100000 bytes" in error.message
    assert not error.retryable


def test_entries_above_the_total_limit_are_refused():
    members = [Member(b"%d" % i, bytes(1000)) for i in range(4)]

    assert "'3' is larger than 500 bytes" in refusal(frame(members), max_total_size=3500).message
    assert len(unzip(frame(members), max_entry_size=1000, max_total_size=4000)) == 4


def test_a_stored_entry_that_declares_a_size_above_the_limit_is_refused():
    member = Member(data=b"x" * 1000, method=0, descriptor=None)

    assert "larger than 999" in refusal(frame([member]), max_entry_size=999).message


def test_a_stream_that_inflates_to_nothing_is_limited():
    head = frame([Member(stream=b"")]).partition(b"PK\x07\x08")[0]
    empty_blocks = b"\0\0\0\xff\xff" * 10_000
    endless = itertools.chain([head], itertools.repeat(empty_blocks))
    stream = read_zip(
        lambda _: next(endless), max_entry_size=1000, max_total_size=1000, engine=ZLIB
    )

    with pytest.raises(ZipError, match="longer than"):
        list(stream)


def test_too_many_entries_are_refused():
    members = [Member(b"%d" % i, b"") for i in range(4)]

    assert "more entries than the limit of 3" in refusal(frame(members), max_entries=3).message


def test_names_above_the_total_limit_are_refused():
    members = [Member(b"%d" % i + b"n" * 65_000, b"") for i in range(270)]

    assert "names" in refusal(frame(members)).message


def test_a_small_file_above_its_limit_is_refused():
    stream = read_zip(feeder(frame([IMAGE])), max_entry_size=ROOMY, max_total_size=ROOMY)

    with pytest.raises(ZipError, match="larger than 10 bytes"):
        next(stream).read(limit=10)


def test_a_broken_entry_cannot_be_read_again():
    broken = replace(IMAGE, stream=deflate(b"first")[:-2] + b"\xff" * 90)
    stream = read_zip(feeder(frame([broken])), max_entry_size=ROOMY, max_total_size=ROOMY)
    entry = next(stream)

    for _ in range(3):
        with pytest.raises(ZipError):
            list(entry.chunks())
    with pytest.raises(ZipError, match="after an error"):
        next(stream)
