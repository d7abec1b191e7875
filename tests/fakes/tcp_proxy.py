"""A TCP proxy in front of a server: resets, stalls, latency and rates.

    with ArchiveServer(corpus) as server, TcpProxy(server.port) as proxy:
        proxy.script(Line(reset_after=10_000), Line(half_open=True))
        client = NbiaClient(proxy.url(server.base_url))

Each new connection takes the next line of the script, later ones `proxy.line`.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit, urlunsplit

BLOCK = 16_384
TICK = 0.02
"""Seconds between two looks at what the test wants of the proxy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What one connection is like; bytes are those from the server, heads included."""

    reset_after: int | None = None
    """Bytes after which the client gets a TCP reset."""
    cut_after: int | None = None
    """Bytes after which the connection is closed normally."""
    stall_after: int | None = None
    """Bytes after which nothing comes any more."""
    half_open: bool = False
    """The connection is accepted and nothing ever answers."""
    latency: float = 0.0
    """Seconds that every block from the server is late."""
    rate: float | None = None
    """Bytes a second."""

    @property
    def limit(self) -> int | None:
        """Bytes that go through before something happens."""
        limits = (self.reset_after, self.cut_after, self.stall_after)
        return min((limit for limit in limits if limit is not None), default=None)


class TcpProxy:
    """The proxy; `port` is its own."""

    def __init__(self, target_port: int, line: Line | None = None) -> None:
        self.line = line or Line()
        """What connections beyond the script are like; may be set at any time."""
        self.connections = 0
        self.bytes_down = 0
        """Bytes that went to clients."""
        self.resets = 0
        """How often `reset_all` was called."""
        self.closed = threading.Event()
        self.running = threading.Event()
        self.running.set()
        self._target = ("127.0.0.1", target_port)
        self._script: deque[Line] = deque()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self._listener.settimeout(TICK)
        self.port: int = self._listener.getsockname()[1]

    def url(self, url: str) -> str:
        """`url` of the server as it is through the proxy."""
        parts = urlsplit(url)
        return urlunsplit(parts._replace(netloc=f"{parts.hostname}:{self.port}"))

    def script(self, *lines: Line) -> None:
        """What the next connections are like, one after the other."""
        self._script.extend(lines)

    def pause(self) -> None:
        """Forward nothing until `resume`, on any connection."""
        self.running.clear()

    def resume(self) -> None:
        """Resume all connections."""
        self.running.set()

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        self.resets += 1

    def count(self, size: int) -> None:
        """Note that `size` bytes went to a client."""
        with self._lock:
            self.bytes_down += size

    def close(self) -> None:
        """Refuse connections from now on and end the open ones."""
        self.closed.set()
        for thread in self._threads:
            thread.join(5)
        self._listener.close()

    def __enter__(self) -> TcpProxy:
        self._spawn(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _spawn(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.closed.is_set():
            with suppress(TimeoutError):
                client, _ = self._listener.accept()
                self.connections += 1
                line = self._script.popleft() if self._script else self.line
                self._spawn(partial(self._serve, client, line))

    def _serve(self, client: socket.socket, line: Line) -> None:
        with client, suppress(OSError), socket.create_connection(self._target, 10) as server:
            for end in (client, server):
                end.settimeout(10)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _Connection(self, client, server, line).run()


class _Connection:
    """One connection through the proxy, both ways, in one thread."""

    def __init__(
        self, proxy: TcpProxy, client: socket.socket, server: socket.socket, line: Line
    ) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._line = line
        self._left = line.limit
        self._resets = proxy.resets

    def run(self) -> None:
        """Carry bytes until an end closes, the line's limit is reached, or the proxy closes."""
        while not self._proxy.closed.is_set():
            if self._proxy.resets > self._resets:
                _reset(self._client)
                return
            if not self._carry():
                return

    def _carry(self) -> bool:
        if self._line.half_open or not self._proxy.running.is_set():
            return not self._proxy.closed.wait(TICK)
        ends = [self._client] if self._left == 0 else [self._client, self._server]
        ready = select.select(ends, [], [], TICK)[0]
        if self._client in ready and not self._up():
            return False
        return self._server not in ready or self._down()

    def _up(self) -> bool:
        data = self._client.recv(BLOCK)
        self._server.sendall(data)
        return bool(data)

    def _down(self) -> bool:
        data = self._server.recv(self._block())
        line = self._line
        self._proxy.closed.wait(line.latency + (len(data) / line.rate if line.rate else 0.0))
        self._client.sendall(data)
        self._proxy.count(len(data))
        if self._left is not None:
            self._left -= len(data)
        return bool(data) and (self._left != 0 or self._at_limit())

    def _at_limit(self) -> bool:
        """What happens at the limit; whether the connection lives on."""
        if self._line.limit == self._line.reset_after:
            _reset(self._client)
            return False
        return self._line.limit == self._line.stall_after

    def _block(self) -> int:
        size = BLOCK if self._line.rate is None else max(1, min(BLOCK, int(self._line.rate / 20)))
        return size if self._left is None else min(size, self._left)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()
