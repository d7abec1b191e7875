"""Chunked bodies: decoded however they arrive; cut or invalid ones are errors."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from http.client import IncompleteRead

import pytest

from tcia_covid.http.body import ChunkedBody, ChunkedFramingError

BODY = bytes(range(256)) * 300
CHUNKS = [
    (b"1\r\n", BODY[:1]),
    (b"\r\n4E1F\r\n", BODY[1:20_000]),
    (b'\r\n%x ; name="a;b"\r\n' % (len(BODY) - 20_000), BODY[20_000:]),
    (b"\r\n000\r\n", b""),
]
FRAMED = b"".join(line + data for line, data in CHUNKS)
END = b"\r\n"
TRAILERS = b"Checksum: 1\r\nExpires: never\r\n\r\n"


def arriving(framed: bytes, sizes: Callable[[], int]) -> Callable[[int], bytes]:
    """A connection over which `framed` comes in pieces of such sizes, and ends."""
    left = bytearray(framed)

    def receive(size: int) -> bytes:
        piece = bytes(left[: min(size, sizes())])
        del left[: len(piece)]
        return piece

    return receive


def chunked(
    receive: Callable[[int], bytes], clock: Callable[[], float] = time.monotonic
) -> ChunkedBody:
    """A body of what `receive` gives, at most so many bytes at a time."""

    def fill(room: memoryview) -> int:
        came = receive(len(room))
        room[: len(came)] = came
        return len(came)

    return ChunkedBody(fill, bytearray(512 * 1024), clock)


def read_all(body: ChunkedBody, size: int = 65536) -> bytes:
    return b"".join(iter(lambda: body.read(size), b""))


@pytest.mark.parametrize("end", [END, TRAILERS, b"\n", b""], ids=["end", "trailers", "lf", "none"])
@pytest.mark.parametrize("seed", range(20))
def test_a_body_is_the_same_however_it_arrives(seed: int, end: bytes) -> None:
    chance = random.Random(seed)
    longest = chance.choice([2, 50, 5000, 100_000])
    body = chunked(arriving(FRAMED + end, lambda: chance.randint(1, longest)))
    assert read_all(body, chance.choice([1000, 65536])) == BODY
    assert body.ended
    assert body.read(10) == b""


def data_before(cut: int) -> bytes:
    """The chunk data in the first bytes of `FRAMED`."""
    found, at = b"", 0
    for line, data in CHUNKS:
        at += len(line)
        found += data[: max(0, cut - at)]
        at += len(data)
    return found


def read_until_cut(body: ChunkedBody) -> bytes:
    received = b""
    while not body.ended:
        try:
            received += body.read(65536)
        except (IncompleteRead, ChunkedFramingError):
            return received
    pytest.fail("nobody noticed the cut")


@pytest.mark.parametrize("cut", [0, 1, 3, 4, 5, 6, 9, 70, 20_003, 20_020, len(FRAMED) - 4])
def test_what_came_before_a_cut_is_returned(cut: int) -> None:
    body = chunked(arriving(FRAMED[:cut], lambda: 7))
    assert read_until_cut(body) == data_before(cut)


@pytest.mark.parametrize(
    "wrong",
    [b"zz\r\n", b"-1\r\nx", b"\r\n", b"0x4\r\n", b"1_0\r\n", b" 4\r\n", b"4" * 16 + b"\r\n"],
)
def test_a_chunk_of_no_known_size_is_distinguished_from_a_cut(wrong: bytes) -> None:
    """Nor is more of it waited for."""
    pieces = [b"4\r\nfour\r\n" + wrong]
    body = chunked(lambda size: pieces.pop())
    assert body.read(100) == b"four"
    for _ in range(2):
        with pytest.raises(ChunkedFramingError):
            body.read(100)


@pytest.mark.parametrize("between", [b"xx", b"5\r\n", b"\n\r"])
def test_a_chunk_that_is_longer_than_declared_is_distinguished_from_a_cut(between: bytes) -> None:
    pieces = [b"4\r\nfour" + between + b"4\r\nfive\r\n0\r\n\r\n"]
    body = chunked(lambda size: pieces.pop())
    assert body.read(100) == b"four"
    with pytest.raises(ChunkedFramingError):
        body.read(100)


@pytest.mark.parametrize("before", [b"", b"4\r\nfour\r\n"])
def test_a_line_without_an_end_is_not_gathered_forever(before: bytes) -> None:
    body = chunked(arriving(before + b"4;" + b"x" * 1_000_000, lambda: 5000))
    assert read_until_cut(body) == before[3:7]


def test_lines_behind_the_last_chunk_are_not_gathered_forever() -> None:
    """The rest is still arriving, so the connection cannot be used again."""
    received = 0

    def receive(size: int) -> bytes:
        nonlocal received
        received += size
        return b"X: y\r\n" * (size // 6)

    pieces = [b"1\r\na\r\n0\r\n"]
    body = chunked(lambda size: pieces.pop() if pieces else receive(size))
    assert read_until_cut(body) == b"a"
    assert received < 1_000_000


def test_small_pieces_of_a_body_are_gathered() -> None:
    framed = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY) * 5, BODY * 5)
    assert 262_144 <= len(chunked(arriving(framed, lambda: 100)).read(512 * 1024)) < 263_000
    assert len(chunked(arriving(framed, lambda: 100)).read(10)) == 10


def test_pieces_that_come_slowly_are_not_waited_for() -> None:
    now = 0.0
    framed = arriving(FRAMED + END, lambda: 1000)

    def receive(size: int) -> bytes:
        nonlocal now
        now += 0.03
        return framed(size)

    body = chunked(receive, lambda: now)
    first = body.read(65536)
    assert 3000 < len(first) < 5000
    assert first + read_all(body) == BODY


def test_long_lines_between_small_chunks_are_not_kept() -> None:
    """However small the chunks are, at most half a MiB of them is gathered at once."""
    framed = (b"1;%s\r\nA\r\n" % (b"x" * 60_000)) * 100 + b"0\r\n\r\n"
    body = chunked(arriving(framed, lambda: 5000))
    first = body.read(65536)
    assert len(first) < 10
    assert first + read_all(body) == b"A" * 100


def test_reading_nothing_is_no_cut() -> None:
    body = chunked(arriving(FRAMED, lambda: 100))
    assert body.read(0) == b""
    assert body.read(1) == BODY[:1]
