"""NBIA as a test server on loopback: every call of v1, v2 and v4, with faults.

    with ArchiveServer(corpus, interceptor=Faults(Cut("getImage", at=20_000))) as server: ...

It checks parameters as NBIA does, changes the order of rows and images from call to call, writes
ZIPs as Java does, sends NBIA's chunks, and speaks TLS.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tcia_covid.http.watchdog import shut_down
from tests.fakes.corpus import Corpus
from tests.fakes.java_zips import Entry, shuffled
from tests.fakes.nbia_calls import CALLS, refused
from tests.fakes.nbia_replies import Archive, Call, DisconnectError, Reply, Row, failure

APPLICATION = "/nbia-api/"
BUFFER = 8192
CLOSING_TIME = 5.0
"""Seconds that open connections have to close when the server stops."""
NO_BODY = (204, 304)
NOT_FOUND = Reply(b"<html><body><h1>404 Not Found</h1></body></html>", 404, "text/html")


class ResetError(DisconnectError):
    """Raised while a reply's body is read: the connection ends with a TCP reset."""


class Interceptor:
    """Changes replies; this one changes nothing.

    Subclasses reply in place of the endpoint, wrap the body of its reply, or change the entries of
    a ZIP. Methods are called from many threads.
    """

    def answer(self, call: Call, proceed: Callable[[], Reply]) -> Reply:
        """The reply to `call`; `proceed` returns the endpoint's own."""
        return proceed()

    def entries(self, call: Call, entries: Iterable[Entry]) -> Iterable[Entry]:
        """The entries of the ZIP that answers `call`."""
        return entries


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive; bodies have a length if they fit the buffer, else chunks."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: ArchiveServer
    """Set by the server on a subclass of its own."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer({})

    def do_HEAD(self) -> None:
        """Answer a HEAD as the GET, without the body."""
        self._answer({})

    def do_POST(self) -> None:
        """Answer a POST with a form."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self._answer(parse_qs(body, keep_blank_values=True))

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def _answer(self, form: dict[str, list[str]]) -> None:
        """Answer one request."""
        url = urlsplit(self.path)
        values = {**parse_qs(url.query, keep_blank_values=True), **form}
        version, endpoint = _split_path(url.path)
        call = Call(
            archive=self.archive,
            method=self.command,
            version=version,
            endpoint=endpoint,
            form=form,
            params={name: texts[0] for name, texts in values.items()},
            headers=dict(self.headers.items()),
        )
        reply = self.archive.reply(call) if url.path.startswith(APPLICATION) else NOT_FOUND
        call.status = reply.status
        try:
            self._send(reply, call)
        except (DisconnectError, OSError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 -- recorded; the connection closes
            self.archive.errors.append(error)
            self.close_connection = True

    def _send(self, reply: Reply, call: Call) -> None:
        body = reply.body
        if self.command == "HEAD" or reply.status in NO_BODY:
            self.connection.sendall(
                self._head(reply, len(body) if isinstance(body, bytes) else None)
            )
            return
        self._reply, self._call = reply, call
        self._buffer, self._started = bytearray(), False
        try:
            for piece in filter(None, [body]) if isinstance(body, bytes) else body:
                self._take(piece)
        except DisconnectError as error:
            self._send_chunks(len(self._buffer))
            if isinstance(error, ResetError):
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.connection.close()
            raise
        self._finish()

    def _head(self, reply: Reply, length: int | None) -> bytes:
        fields = {"Server": "nginx", "Date": self.date_time_string()}
        if reply.content_type:
            fields["Content-Type"] = reply.content_type
        if length is None:
            fields["Transfer-Encoding"] = "chunked"
        elif reply.status not in NO_BODY:
            fields["Content-Length"] = str(length)
        fields.update({"Access-Control-Allow-Origin": "*", **reply.headers})
        lines = [f"{name}: {value}\r\n" for name, value in fields.items()]
        phrase = self.responses.get(reply.status, ("",))[0]
        status = f"{self.protocol_version} {reply.status} {phrase}\r\n"
        return "".join([status, *lines, "\r\n"]).encode("latin-1")

    def _take(self, piece: bytes) -> None:
        """Buffer a piece of the body; an empty one sends what is buffered."""
        self._buffer += piece
        if not piece:
            self._send_chunks(len(self._buffer))
        elif len(self._buffer) > BUFFER:
            self._send_chunks(len(self._buffer) // BUFFER * BUFFER)

    def _send_chunks(self, size: int) -> None:
        out = bytearray() if self._started else bytearray(self._head(self._reply, None))
        self._started = True
        for start in range(0, size, BUFFER):
            chunk = bytes(self._buffer[start : min(start + BUFFER, size)])
            out += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        del self._buffer[:size]
        self._call.sent += size
        self.connection.sendall(bytes(out))

    def _finish(self) -> None:
        size = len(self._buffer)
        if self._started:
            if size:
                self._send_chunks(size)
            self.connection.sendall(b"0\r\n\r\n")
        else:
            self._call.sent += size
            self.connection.sendall(self._head(self._reply, size) + bytes(self._buffer))


class _HttpServer(ThreadingHTTPServer):
    """Keeps the open connections, so that stopping closes them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[_Handler]) -> None:
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Bind without asking the name service for a name of the address."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection from a thread of its own."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Close a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing about a broken connection."""

    def drop_connections(self) -> None:
        """Shut down every connection and wait until its thread has finished."""
        with self._changed:
            for connection in self._open:
                shut_down(connection)
            self._changed.wait_for(lambda: not self._open, CLOSING_TIME)


class ArchiveServer(Archive):
    """See the module.

    Args:
        corpus: the contents; may be changed while they are served.
        host: the address to listen on.
        port: 0 selects a free one.
        tls: the context to speak TLS with; None speaks plain HTTP.
        interceptor: changes replies.
        compression: zlib's level for ZIPs; NBIA's is 6, 0 or 1 cost less.
        seed: of the order of rows and images; None keeps the order of the corpus.
    """

    def __init__(
        self,
        corpus: Corpus,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        interceptor: Interceptor | None = None,
        compression: int = 6,
        seed: int | None = 0,
    ) -> None:
        super().__init__(corpus, compression=compression)
        self.http = _HttpServer((host, port), type("BoundHandler", (_Handler,), {"archive": self}))
        self._thread = threading.Thread(
            target=self.http.serve_forever, args=(0.02,), name="archive", daemon=True
        )
        self._scheme = "https" if tls else "http"
        if tls is not None:
            self.http.socket = tls.wrap_socket(  # the handshake waits for the connection's thread
                self.http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.interceptor = interceptor or Interceptor()
        self.carts: dict[str, list[str]] = {}
        """Shared carts: the SeriesInstanceUIDs of each name."""
        self.stopping = threading.Event()
        """Set when the server stops; every wait waits for this."""
        self._seed = seed
        self._counts: Counter[str] = Counter()
        self._current = threading.local()

    @property
    def host(self) -> str:
        """The address that it listens on."""
        return str(self.http.server_address[0])

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.http.server_address[1])

    @property
    def root(self) -> str:
        """The URL of all services."""
        return f"{self._scheme}://{self.host}:{self.port}{APPLICATION}services"

    @property
    def base_url(self) -> str:
        """The base URL of v4."""
        return f"{self.root}/v4"

    @property
    def v1_url(self) -> str:
        """The base URL of v1."""
        return f"{self.root}/v1"

    @property
    def order(self) -> random.Random | None:
        """The order of the rows and images of the current call."""
        return self._current.order

    def count(self, endpoint: str) -> int:
        """How many requests for `endpoint` there were so far."""
        return sum(call.endpoint == endpoint for call in self.requests)

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.stopping.set()
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()
        self.http.drop_connections()

    def __enter__(self) -> ArchiveServer:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def reply(self, call: Call) -> Reply:
        """The reply to a call, which is added to `requests`."""
        self.requests.append(call)
        self._current.order = self._random(call)
        try:
            return self.interceptor.answer(call, lambda: self._answer(call))
        except Exception as error:  # noqa: BLE001 -- as the real server: any exception is a 500
            self.errors.append(error)
            return failure(str(error))

    def entries(self, call: Call, entries: Iterable[Entry]) -> Iterable[Entry]:
        """The entries of the ZIP that answers `call`, after the interceptor's changes."""
        return self.interceptor.entries(call, entries)

    def list_reply(self, call: Call, rows: Sequence[Row]) -> Reply:
        """A list, in an order that changes from call to call."""
        return super().list_reply(call, shuffled(rows, self.order))

    def _answer(self, call: Call) -> Reply:
        version = "v1" if call.version == "v2" else call.version
        known = CALLS.get((version, call.endpoint))
        if known is None:
            return failure("HTTP 404 Not Found")
        return refused(known, call) or known.answer(call)

    def _random(self, call: Call) -> random.Random | None:
        if self._seed is None:
            return None
        key = f"{call.version}/{call.endpoint}?{sorted(call.params.items())}"
        self._counts[key] += 1
        return random.Random(f"{self._seed} {self._counts[key]} {key}")


def _split_path(path: str) -> tuple[str, str]:
    """Version and endpoint of a path, which NBIA serves with and without `/services`."""
    parts = path.removeprefix(APPLICATION).removeprefix("services/").strip("/").split("/")
    version = parts.pop(0) if parts[0] in ("v1", "v2", "v4") else ""
    return version, "token" if parts == ["oauth", "token"] else "/".join(parts)
