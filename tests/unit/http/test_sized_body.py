"""Bodies of known length: complete however they arrive, and never read beyond their end."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tcia_covid.http.body import SizedBody

BODY = bytes(range(256)) * 3000


class Connection:
    """Over which bytes come in pieces of such sizes."""

    def __init__(self, content: bytes, sizes: Callable[[], int] = lambda: 1_000_000) -> None:
        self.left = bytearray(content)
        self._sizes = sizes

    def receive(self, room: memoryview) -> int:
        piece = self.left[: min(len(room), self._sizes())]
        room[: len(piece)] = piece
        del self.left[: len(piece)]
        return len(piece)


def body_over(connection: Connection) -> SizedBody:
    return SizedBody(connection.receive, bytearray(512 * 1024), len(BODY))


def read_all(body: SizedBody, size: int = 512 * 1024) -> bytes:
    return b"".join(map(bytes, iter(lambda: body.read(size), b"")))


@pytest.mark.parametrize("seed", range(10))
def test_a_body_is_the_same_however_it_arrives(seed: int) -> None:
    chance = random.Random(seed)
    longest = chance.choice([500, 5000, 100_000, 1_000_000])
    connection = Connection(BODY, lambda: chance.randint(1, longest))
    body = body_over(connection)
    assert read_all(body, chance.choice([1000, 65536, 1_000_000])) == BODY
    assert body.ended


def test_a_rest_that_fits_into_the_buffer_is_read_at_once() -> None:
    body = body_over(Connection(BODY, lambda: 50_000))
    pieces = [bytes(body.read(512 * 1024))]
    while not body.ended:
        pieces.append(bytes(body.read(512 * 1024)))
    assert b"".join(pieces) == BODY
    assert len(pieces[-1]) > 256 * 1024


def test_what_follows_the_body_is_not_read() -> None:
    connection = Connection(BODY + b"HTTP/1.1 200 OK")
    assert read_all(body_over(connection)) == BODY
    assert connection.left == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize("cut", [0, 1, 70_000, len(BODY) - 1])
def test_what_came_before_a_cut_is_returned(cut: int) -> None:
    body = body_over(Connection(BODY[:cut], lambda: 5000))
    assert read_all(body) == BODY[:cut]
    assert not body.ended
    assert body.left == len(BODY) - cut


def test_small_pieces_are_gathered() -> None:
    body = body_over(Connection(BODY, lambda: 16 * 1024))
    assert 256 * 1024 <= len(body.read(512 * 1024)) < 300_000
    assert len(body.read(10)) == 10


def test_pieces_that_come_slowly_are_not_waited_for() -> None:
    now = 0.0

    def a_kilobyte_later() -> int:
        nonlocal now
        now += 0.03
        return 1000

    connection = Connection(BODY, a_kilobyte_later)
    body = SizedBody(connection.receive, bytearray(512 * 1024), len(BODY), lambda: now)
    assert 3000 < len(body.read(65536)) < 5000
