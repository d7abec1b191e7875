"""A plain-socket server that does exactly what a script says, byte by byte.

    with ScriptedServer([ok(b"first")], [Send(head(length=9)), Send(b"half"), Reset()]) as server:
        ...  # server.url, server.heads, server.connections

The n-th request runs the n-th script, the last one serves all further requests. A function that
takes the request's `Head` and returns the steps can replace the scripts.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tcia_covid.http.watchdog import shut_down

RESET = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends RST instead of FIN."""
TLS_RECORD = b"\x16\x03"
"""The first byte of a TLS handshake."""


@dataclass(frozen=True)
class Send:
    """Send bytes as they are."""

    data: bytes


@dataclass(frozen=True)
class Chunk:
    """Send one chunk of a chunked body; `b""` is the last one."""

    data: bytes


@dataclass(frozen=True)
class Sleep:
    """Do nothing for `seconds`; ends early when the server is closed."""

    seconds: float


@dataclass(frozen=True)
class Drip:
    """Send `size` bytes of `data` every `every` seconds."""

    data: bytes
    every: float
    size: int = 1


@dataclass(frozen=True)
class Reset:
    """Close with RST."""


@dataclass(frozen=True)
class Fin:
    """Close with FIN."""


Step = Send | Chunk | Sleep | Drip | Reset | Fin
Script = Sequence[Step]


@dataclass(frozen=True)
class Head:
    """A request as received."""

    connection: int
    method: str
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    """By lower-case name."""
    body: bytes = b""


def head(
    status: int = 200, *, length: int | None = None, chunked: bool = False, **headers: str
) -> bytes:
    """Give a response head; `Retry_After="1"` becomes `Retry-After: 1`."""
    lines = [f"HTTP/1.1 {status} Whatever"]
    if length is not None:
        lines.append(f"Content-Length: {length}")
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def ok(body: bytes = b"fine", **headers: str) -> list[Step]:
    """Answer 200 with `body` and its length."""
    return status(200, body, **headers)


def status(code: int, body: bytes = b"", **headers: str) -> list[Step]:
    """Answer `code` with `body` and its length."""
    return [Send(head(code, length=len(body), **headers) + body)]


def in_chunks(body: bytes, size: int = 8192, **headers: str) -> list[Step]:
    """Answer 200 with `body` in chunks of `size`, as Tomcat does."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return [Send(head(chunked=True, **headers)), *map(Chunk, pieces), Chunk(b"")]


class ScriptedServer:
    """Serves on loopback from entering to leaving; one thread a connection."""

    def __init__(
        self,
        *scripts: Script,
        answer: Callable[[Head], Script] | None = None,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.heads: list[Head] = []
        self.connections = 0
        self.active = 0
        """Requests whose script runs now, the one that is being answered included."""
        self._scripts = scripts
        self._answer = answer or self._next
        self._tls = tls
        self._host = host
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=64)
        self.port: int = self._listener.getsockname()[1]

    @property
    def url(self) -> str:
        """`http://host:port`, without a slash at the end."""
        return self.url_as(f"[{self._host}]" if ":" in self._host else self._host)

    def url_as(self, host: str) -> str:
        """The same under another name of this machine, or with user information."""
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def is_connected(self) -> bool:
        """Whether any connection is open."""
        return bool(self._open)

    def __enter__(self) -> ScriptedServer:
        self._start(self._accept)
        return self

    def __exit__(self, *exception: object) -> None:
        self._closing.set()
        shut_down(self._listener)
        self._listener.close()
        with self._lock:
            for sock in self._open:
                shut_down(sock)
        # The listening thread first: after it, no more are added.
        while self._threads:
            self._threads.pop(0).join()

    def close_idle(self) -> None:
        """Close all connections now, as a server does whose keep-alive time is over."""
        with self._lock:
            for sock in self._open:
                shut_down(sock)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._converse, sock, self.connections)

    def _converse(self, plain: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError), self._secured(plain) as sock:
            with self._lock:
                self._open.add(sock)
            try:
                while not self._closing.is_set() and self._exchange(sock, number):
                    pass
            finally:
                with self._lock:
                    self._open.discard(sock)

    def _secured(self, plain: socket.socket) -> socket.socket:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls is None:
            return plain
        try:
            return self._tls.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            raise

    def _exchange(self, sock: socket.socket, number: int) -> bool:
        """Answer one request; False if the connection is done."""
        request = _read_request(sock, number)
        if request is None:
            return False
        with self._lock:
            self.heads.append(request)
            self.active += 1
        try:
            return all(self._do(step, sock) for step in self._answer(request))
        finally:
            with self._lock:
                self.active -= 1

    def _next(self, request: Head) -> Script:
        return self._scripts[min(len(self.heads), len(self._scripts)) - 1]

    def _do(self, step: Step, sock: socket.socket) -> bool:
        match step:
            case Send(data):
                sock.sendall(data)
            case Chunk(data):
                sock.sendall(b"%x\r\n%s\r\n" % (len(data), data))
            case Sleep(seconds):
                return not self._closing.wait(seconds)
            case Drip(data, every, size):
                return self._drip(sock, data, every, size)
            case Reset():
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                sock.close()
                return False
            case Fin():
                return False
        return True

    def _drip(self, sock: socket.socket, data: bytes, every: float, size: int) -> bool:
        for at in range(0, len(data), size):
            if self._closing.wait(every):
                return False
            sock.sendall(data[at : at + size])
        return True


def _read_request(sock: socket.socket, number: int) -> Head | None:
    received = b""
    while b"\r\n\r\n" not in received:
        more = sock.recv(65536)
        if not more:
            return None
        received += more
        if received.startswith(TLS_RECORD):
            return Head(number, "TLS", "")
    text, _, body = received.partition(b"\r\n\r\n")
    first, *lines = text.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
    while len(body) < int(headers.get("content-length", "0")):
        body += sock.recv(65536)
    method, path, _ = first.split(" ", 2)
    return Head(number, method, path, headers, body)


def closed_port() -> int:
    """A port of this machine without a server."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
