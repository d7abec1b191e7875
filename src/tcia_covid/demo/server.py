"""The demonstration archive as a server on loopback."""

from __future__ import annotations

import random
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Mapping
from http.server import ThreadingHTTPServer
from types import TracebackType
from typing import Any

from tcia_covid.demo.corpus import Corpus
from tcia_covid.demo.exchange import Call, Interceptor, Reply, RequestRecord
from tcia_covid.demo.handler import ArchiveHandler
from tcia_covid.demo.render import failure
from tcia_covid.demo.routes import Endpoint, refused, route

CLOSING_TIME = 5.0
"""Seconds that open connections have to end once the server stops."""


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
