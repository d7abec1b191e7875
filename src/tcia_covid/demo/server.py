"""The demo archive as an HTTP server on loopback."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, ClassVar, TypeVar
from urllib.parse import parse_qs, urlsplit

from tcia_covid.demo.corpus import Corpus
from tcia_covid.demo.endpoints import Archive, Call, DisconnectError, Reply
from tcia_covid.http.watchdog import shut_down

CLOSING_TIME = 5.0
"""Seconds that open connections have to close when the server stops."""
APPLICATION = "/nbia-api/"
Server = TypeVar("Server", bound="ArchiveServer")
NOT_FOUND = Reply(b"<html><body><h1>404 Not Found</h1></body></html>", 404, "text/html")


class ArchiveHandler(BaseHTTPRequestHandler):
    """HTTP/1.1 with keep-alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    archive: ArchiveServer
    """Set by the server on a subclass of its own."""

    def do_GET(self) -> None:
        """Answer a GET."""
        self.answer({})

    def do_HEAD(self) -> None:
        """Answer a HEAD as the GET, without the body."""
        self.answer({})

    def do_POST(self) -> None:
        """Answer a POST with a form."""
        body = self.rfile.read(int(self.headers.get("Content-Length", "0"))).decode()
        self.answer(parse_qs(body, keep_blank_values=True))

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def answer(self, form: dict[str, list[str]]) -> None:
        """Answer one request."""
        url = urlsplit(self.path)
        values = {**parse_qs(url.query, keep_blank_values=True), **form}
        version, endpoint = split_path(url.path)
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
            self.send(reply, call)
        except (DisconnectError, OSError):
            self.close_connection = True
        except Exception as error:  # noqa: BLE001 -- recorded; the connection closes
            self.archive.errors.append(error)
            self.close_connection = True

    def send(self, reply: Reply, call: Call) -> None:
        """Send a reply: with its length if it is known, else in chunks."""
        if isinstance(reply.body, bytes):
            self.send_head(reply, len(reply.body))
            if self.command != "HEAD":
                self.wfile.write(reply.body)
                call.sent = len(reply.body)
            return
        self.send_head(reply, None)
        for piece in filter(None, reply.body if self.command != "HEAD" else ()):
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            call.sent += len(piece)
        self.wfile.write(b"0\r\n\r\n" if self.command != "HEAD" else b"")

    def send_head(self, reply: Reply, length: int | None) -> None:
        """Send status and headers; without a `length` the body is chunked."""
        self.send_response(reply.status)
        if length is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(length))
        if reply.content_type:
            self.send_header("Content-Type", reply.content_type)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()


class ArchiveServer(Archive):
    """Serves NBIA's API from threads of this process. Use it as a context manager.

    Args:
        corpus: the contents; may be changed while they are served.
        host: the address to listen on.
        port: 0 selects a free one.
        compression: zlib's level for ZIPs.
    """

    handler: ClassVar[type[ArchiveHandler]] = ArchiveHandler
    scheme = "http"

    def __init__(
        self, corpus: Corpus, host: str = "127.0.0.1", port: int = 0, *, compression: int = 6
    ) -> None:
        super().__init__(corpus, compression=compression)
        handler = type("BoundHandler", (self.handler,), {"archive": self})
        self.http = _HttpServer((host, port), handler)
        self._thread = threading.Thread(
            target=self.http.serve_forever, args=(0.02,), name="archive", daemon=True
        )

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
        return f"{self.scheme}://{self.host}:{self.port}{APPLICATION}services"

    @property
    def base_url(self) -> str:
        """The base URL of v4."""
        return f"{self.root}/v4"

    def stop(self) -> None:
        """Stop listening and close every connection."""
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()
        self.http.drop_connections()

    def __enter__(self: Server) -> Server:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class _HttpServer(ThreadingHTTPServer):
    """Keeps the open connections, so that stopping closes them."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], handler: type[ArchiveHandler]) -> None:
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


def split_path(path: str) -> tuple[str, str]:
    """Version and endpoint of a path, which NBIA serves with and without `/services`."""
    parts = path.removeprefix(APPLICATION).removeprefix("services/").strip("/").split("/")
    version = parts.pop(0) if parts[0] in ("v1", "v2", "v4") else ""
    return version, "token" if parts == ["oauth", "token"] else "/".join(parts)
