"""The demonstration archive as a server on loopback."""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tcia_covid.demo.corpus import Corpus
from tcia_covid.demo.exchange import (
    Call,
    DisconnectError,
    Interceptor,
    Reply,
    RequestRecord,
    failure,
)
from tcia_covid.demo.routes import Endpoint, refused, route
from tcia_covid.demo.rows import Generation

CLOSING_TIME = 5.0
"""Seconds that open connections have to end once the server stops."""
APPLICATION = "nbia-api"
NO_BODY = (204, 304)
OUTSIDE = Reply(
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n"
    b"</html>\r\n",
    404,
    "text/html",
)
BUFFER = 8192


class ArchiveServer:
    """Answers NBIA's v1, v2 and v4 over a corpus, from threads of this process.

    Use it as a context manager, or call `start` and `stop`. It speaks as NBIA does, except that
    a list's `format` can only be JSON or CSV.

    Args:
        corpus: what it holds; may be changed while it is served.
        host: the address to listen on.
        port: 0 takes a free one.
        tls: the context to speak TLS with; None speaks plain HTTP.
        interceptor: steps in between endpoints and network.
        compression: zlib's level for ZIPs; NBIA's is 6, 0 or 1 cost less.
        seed: of the arbitrary order of rows and images, which changes from call to call; None
            keeps the corpus' order.
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
        self.corpus = corpus
        self.interceptor = interceptor or Interceptor()
        self.requests: list[RequestRecord] = []
        """Every request to the API so far, in order of arrival."""
        self.errors: list[Exception] = []
        """What went wrong inside the server itself; each was answered with a 500."""
        self._compression = compression
        self._seed = seed
        self._calls: Counter[str] = Counter()
        self._stopping = threading.Event()
        self._tls = tls
        self._http = _Listener((host, port), self._handler(), tls)
        self._thread: threading.Thread | None = None

    @property
    def host(self) -> str:
        """The address it listens on."""
        return str(self._http.server_address[0])

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    @property
    def root(self) -> str:
        """The URL that all services are below."""
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{self.host}:{self.port}/nbia-api/services"

    @property
    def base_url(self) -> str:
        """The base URL of v4."""
        return f"{self.root}/v4"

    @property
    def v1_url(self) -> str:
        """The base URL of v1."""
        return f"{self.root}/v1"

    def start(self) -> ArchiveServer:
        """Serve from a thread of its own."""
        serve = self._http.serve_forever
        self._thread = threading.Thread(target=serve, args=(0.02,), name="archive", daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop listening and end every connection."""
        self._stopping.set()
        if self._thread is not None:
            self._http.shutdown()
            self._thread.join()
        self._http.server_close()
        self._http.drop_connections()

    def __enter__(self) -> ArchiveServer:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def count(self, endpoint: str) -> int:
        """How many requests asked for `endpoint` so far."""
        return sum(record.endpoint == endpoint for record in self.requests)

    def reply(self, record: RequestRecord, form: Mapping[str, list[str]]) -> Reply:
        """The reply to a request, which is entered in the log."""
        self.requests.append(record)
        endpoint = route(record.generation, record.endpoint)
        call = self._call(record, form, endpoint)
        try:
            return self.interceptor.answer(call, lambda: _answer(endpoint, call))
        except Exception as error:  # noqa: BLE001 -- as the server: any exception is a 500
            self.errors.append(error)
            return failure(str(error))

    def _call(
        self, record: RequestRecord, form: Mapping[str, list[str]], endpoint: Endpoint | None
    ) -> Call:
        asked = endpoint or Endpoint(lambda _: Reply())
        call = Call(
            record=record,
            form=form,
            wanted=asked.wanted(record.params),
            corpus=self.corpus,
            order=self._order(record),
            stopping=self._stopping,
            entries=lambda entries: self.interceptor.entries(call, entries),
            compression=self._compression,
        )
        return call

    def _order(self, record: RequestRecord) -> random.Random | None:
        if self._seed is None:
            return None
        key = f"{record.generation.value}/{record.endpoint}?{sorted(record.params.items())}"
        self._calls[key] += 1
        return random.Random(f"{self._seed} {self._calls[key]} {key}")

    def _handler(self) -> type[ArchiveHandler]:
        return type("BoundHandler", (ArchiveHandler,), {"archive": self})


class _Listener(ThreadingHTTPServer):
    """Accepts connections, and knows which are open."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        address: tuple[str, int],
        handler: type[ArchiveHandler],
        tls: ssl.SSLContext | None,
    ) -> None:
        self._tls = tls
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, handler)

    def get_request(self) -> tuple[Any, Any]:
        """The next connection; a TLS handshake waits for the connection's own thread."""
        connection, address = super().get_request()
        if self._tls is not None:
            connection = self._tls.wrap_socket(
                connection, server_side=True, do_handshake_on_connect=False
            )
        return connection, address

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection from a thread of its own."""
        with self._changed:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """End a connection."""
        super().shutdown_request(request)
        with self._changed:
            self._open.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a connection that broke: that is the client's to notice."""

    def server_bind(self) -> None:
        """Bind without asking the name service for a name of the address."""
        socket_server_bind(self)

    def drop_connections(self) -> None:
        """Shut every connection and wait until its thread let go of it."""
        with self._changed:
            for connection in self._open:
                _shut(connection)
            self._changed.wait_for(lambda: not self._open, CLOSING_TIME)


def socket_server_bind(server: ThreadingHTTPServer) -> None:
    """What TCPServer does to bind."""
    server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.socket.bind(server.server_address)
    server.server_address = server.socket.getsockname()


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is gone already


def _answer(endpoint: Endpoint | None, call: Call) -> Reply:
    reply = refused(endpoint, call)
    if reply is not None or endpoint is None:
        return reply or failure("HTTP 404 Not Found")
    return endpoint.answer(call)


class ArchiveHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 with keep-alive; quiet."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: ArchiveServer
    """Set by the server on a subclass of its own."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self._answer({})

    def do_HEAD(self) -> None:
        """Answer a HEAD: NBIA does the work of the GET and sends no body."""
        self._answer({})

    def do_POST(self) -> None:
        """Answer a POST with a form."""
        length = int(self.headers.get("Content-Length", "0"))
        body = self.rfile.read(length).decode()
        self._answer(parse_qs(body, keep_blank_values=True))

    def log_message(self, *_: object) -> None:
        """Say nothing: the server keeps its own log of requests."""

    def _answer(self, form: dict[str, list[str]]) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query, keep_blank_values=True)
        place = _place(url.path)
        params = {name: values[0] for name, values in {**query, **form}.items()}
        generation, endpoint = place or (Generation.ADVANCED, url.path)
        record = RequestRecord(
            self.command, generation, endpoint, params, dict(self.headers.items())
        )
        reply = self.archive.reply(record, form) if place else OUTSIDE
        self._send(reply, record)

    def _send(self, reply: Reply, record: RequestRecord) -> None:
        record.status = reply.status
        body = _pieces(reply)
        sender = BodySender(self._write, lambda length: self._head(reply, length), record)
        try:
            if self.command == "HEAD" or reply.status in NO_BODY:
                self._write(self._head(reply, _known_length(reply)))
            else:
                sender.send(body)
        except DisconnectError as ending:
            self._drop(reset=ending.reset)
        except (ConnectionError, ssl.SSLError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 -- kept for whoever looks, the connection ends
            self.archive.errors.append(error)
            self.close_connection = True

    def _write(self, data: bytes) -> None:
        self.connection.sendall(data)

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

    def _drop(self, *, reset: bool) -> None:
        self.close_connection = True
        if reset:
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.connection.close()


def _pieces(reply: Reply) -> Iterable[bytes]:
    if isinstance(reply.body, bytes):
        return [reply.body] if reply.body else []
    return reply.body


def _known_length(reply: Reply) -> int | None:
    return len(reply.body) if isinstance(reply.body, bytes) else None


def _place(path: str) -> tuple[Generation, str] | None:
    """Generation and endpoint of a path, which NBIA serves with and without `/services`."""
    parts = [part for part in path.split("/") if part]
    if not parts or parts[0] != APPLICATION:
        return None
    rest = parts[2:] if parts[1:2] == ["services"] else parts[1:]
    versions = [generation.value for generation in Generation if generation.value]
    generation = Generation(rest.pop(0)) if rest and rest[0] in versions else Generation.ADVANCED
    if rest == ["oauth", "token"]:
        rest = ["token"]
    return generation, "/".join(rest)


class BodySender:
    """Sends one body: with its length where it fits the buffer, else in chunks of the buffer.

    Args:
        send: hands bytes to the network.
        head: the response's head; its argument is the length, None for a chunked body.
        record: where the bytes sent are counted.
    """

    def __init__(
        self,
        send: Callable[[bytes], object],
        head: Callable[[int | None], bytes],
        record: RequestRecord,
    ) -> None:
        self._send = send
        self._head = head
        self._record = record
        self._buffer = bytearray()
        self._started = False

    def send(self, pieces: Iterable[bytes]) -> None:
        """Send the whole body.

        Raises:
            DisconnectError: the body asks for the connection to be dropped; what came before it
                has been sent, without the end of the body.
        """
        try:
            for piece in pieces:
                self._take(piece)
        except DisconnectError:
            self._send_chunks(len(self._buffer))
            raise
        self._finish()

    def _take(self, piece: bytes) -> None:
        self._buffer += piece
        if not piece:
            self._send_chunks(len(self._buffer))
        elif len(self._buffer) > BUFFER:
            self._send_chunks(len(self._buffer) // BUFFER * BUFFER)

    def _send_chunks(self, size: int) -> None:
        out = bytearray() if self._started else bytearray(self._head(None))
        self._started = True
        for start in range(0, size, BUFFER):
            chunk = bytes(self._buffer[start : min(start + BUFFER, size)])
            out += b"%x\r\n%b\r\n" % (len(chunk), chunk)
        del self._buffer[:size]
        self._record.sent += size
        self._send(bytes(out))

    def _finish(self) -> None:
        size = len(self._buffer)
        if self._started:
            if size:
                self._send_chunks(size)
            self._send(b"0\r\n\r\n")
        else:
            self._record.sent += size
            self._send(self._head(size) + bytes(self._buffer))
