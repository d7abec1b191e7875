"""Connecting to hosts with several addresses, some of which do not respond."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tcia_covid.http.connection import connect

V6, V4 = "::1", "127.0.0.1"


def resolve(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    """Have every name resolve to these addresses."""
    real = socket.getaddrinfo

    def getaddrinfo(_: str, port: int, *args: object, **kwargs: object) -> list[object]:
        return [found for address in addresses for found in real(address, port, type=1)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


def listener(address: str, port: int, backlog: int = 8) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((address, port))
    except OSError:
        server.close()
        pytest.skip(f"no {address} here")
    server.listen(backlog)
    return server


@contextmanager
def black_hole(address: str) -> Iterator[int]:
    """A port that drops packets, as Linux does while the backlog is full; yields its number."""
    if sys.platform != "linux":
        pytest.skip("only Linux drops packets to a full backlog")
    with ExitStack() as stack:
        server = stack.enter_context(listener(address, 0, backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket(server.family))
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        time.sleep(0.1)
        yield server.getsockname()[1]


def test_fault_36_an_address_that_drops_packets_costs_little_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with black_hole(V6) as port, listener(V4, port):
        resolve(monkeypatch, V6, V4)
        began = time.monotonic()
        with connect("archive.example", port, 20) as sock:
            assert sock.getpeername()[0] == V4
            assert sock.gettimeout() == 20
        assert time.monotonic() - began < 5


def test_the_preferred_address_is_used_if_it_responds(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(V6, 0) as server, listener(V4, server.getsockname()[1]):
        resolve(monkeypatch, V6, V4)
        with connect("archive.example", server.getsockname()[1], 20) as sock:
            assert sock.getpeername()[0] == V6


def test_after_a_refused_address_the_next_is_tried_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with listener(V4, 0) as server:
        resolve(monkeypatch, V6, V4)
        began = time.monotonic()
        with connect("archive.example", server.getsockname()[1], 20, head_start=15) as sock:
            assert sock.getpeername()[0] == V4
        assert time.monotonic() - began < 10


def test_the_error_of_a_refusal_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve(monkeypatch, V6, V4)
    with pytest.raises(ConnectionRefusedError):
        connect("archive.example", 9, 20)


def test_all_addresses_together_have_the_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    with black_hole(V4) as port:
        resolve(monkeypatch, V4, V4, V4)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            connect("archive.example", port, 0.6, head_start=0.1)
        assert 0.5 < time.monotonic() - began < 5
