"""Connections that stay alive while an archive prepares a big series."""

from __future__ import annotations

import socket
import sys

import pytest

from tcia_covid.http.connection import enable_keepalive


@pytest.mark.skipif(sys.platform != "linux", reason="reads the options under Linux's names")
@pytest.mark.parametrize("name", ["TCP_KEEPIDLE", "TCP_KEEPALIVE"])
def test_a_silent_connection_is_probed_whatever_the_system_calls_it(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    idle = socket.TCP_KEEPIDLE
    monkeypatch.delattr(socket, "TCP_KEEPIDLE")
    monkeypatch.setattr(socket, name, idle, raising=False)
    with socket.socket() as sock:
        enable_keepalive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, idle) == 60
