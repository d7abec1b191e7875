"""Buffers of bodies: used again, and by one body at a time."""

from __future__ import annotations

import contextlib

import pytest

from tcia_covid.core.errors import ArchiveError
from tcia_covid.http.body import buffer_pool, take_buffer
from tests.fakes.scripted_server import Fin, ScriptedServer, Send, Step, head, in_chunks, ok, status
from tests.unit.http.helpers import client_with, get

BODY = bytes(range(256)) * 500


def every_buffer_is_unique() -> bool:
    return len({id(buffer) for buffer in buffer_pool}) == len(buffer_pool)


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
def test_a_buffer_returns_to_the_pool_once(script: list[Step]) -> None:
    buffer = take_buffer()
    buffer_pool.append(buffer)
    with ScriptedServer(script, script) as server, client_with() as client:
        for _ in range(2):
            with contextlib.suppress(ArchiveError):
                get(client, server.url, bytearray())
    assert every_buffer_is_unique()
    assert any(pooled is buffer for pooled in buffer_pool)


def test_a_response_that_is_not_read_to_its_end_returns_its_buffer() -> None:
    before = len(buffer_pool)
    with ScriptedServer(in_chunks(BODY)) as server, client_with() as client:
        with client.stream("GET", server.url) as response:
            response.read(10)
        assert len(buffer_pool) >= max(1, before)
    assert every_buffer_is_unique()


def test_a_view_stays_as_it_is_while_its_connection_serves_another_request() -> None:
    other = BODY[::-1]
    with ScriptedServer(ok(BODY), ok(other)) as server, client_with(jobs=1) as client:
        with client.stream("GET", f"{server.url}/image") as response:
            views = response.views()
            last = next(views)
            while response.received < len(BODY):
                last = next(views)
            with client.stream("GET", f"{server.url}/image") as second:
                assert second.read_all(len(other)) == other
            assert server.connections == 1
            assert last == BODY[-len(last) :]
        assert any(isinstance(last, memoryview) and last.obj is buffer for buffer in buffer_pool)


def test_two_bodies_at_once_have_two_buffers() -> None:
    first, second = take_buffer(), take_buffer()
    assert first is not second
    buffer_pool.extend([first, second])
    assert every_buffer_is_unique()
