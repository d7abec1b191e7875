"""Buffers of bodies: used again, and by one body at a time."""

from __future__ import annotations

import contextlib

import pytest

from tcia_covid.core.errors import ArchiveError
from tcia_covid.http import body as buffers
from tests.fakes.scripted import Fin, ScriptedServer, Send, Step, head, in_chunks, ok, status
from tests.unit.http.requesting import client_with, get

BODY = bytes(range(256)) * 500


def each_is_there_once() -> bool:
    return len({id(one) for one in buffers.buffer_pool}) == len(buffers.buffer_pool)


@pytest.mark.parametrize(
    "script",
    [
        ok(BODY),
        in_chunks(BODY),
        [Send(head(length=len(BODY)) + BODY[:1000]), Fin()],
        [Send(head(chunked=True) + b"4\r\nfo"), Fin()],
        status(404, body=b"not here"),
    ],
    ids=["length", "chunks", "cut", "cut in a chunk", "error"],
)
def test_a_buffer_is_given_back_once(script: list[Step]) -> None:
    kept = buffers.take_buffer()
    buffers.return_buffer(kept)
    with ScriptedServer(script, script) as server, client_with() as client:
        for _ in range(2):
            with contextlib.suppress(ArchiveError):
                get(client, server.url, bytearray())
    assert each_is_there_once()
    assert any(one is kept for one in buffers.buffer_pool)


def test_an_answer_that_is_not_read_to_its_end_gives_its_buffer_back() -> None:
    before = len(buffers.buffer_pool)
    with ScriptedServer(in_chunks(BODY)) as server, client_with() as client:
        with client.stream("GET", server.url) as answer:
            answer.read(10)
        assert len(buffers.buffer_pool) >= max(1, before)
    assert each_is_there_once()


def test_two_bodies_at_once_have_two_buffers() -> None:
    first, second = buffers.take_buffer(), buffers.take_buffer()
    assert first is not second
    buffers.return_buffer(first)
    buffers.return_buffer(second)
    assert each_is_there_once()
