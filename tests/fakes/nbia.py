"""NBIA as a test server: the demo archive, with every call of v1, v2 and v4, and with faults.

    with ArchiveServer(corpus, interceptor=Faults(Cut("getImage", at=20_000))) as server: ...

In addition to the demo archive it checks parameters as NBIA does, changes the order of rows and
images from call to call, writes ZIPs as Java does, sends NBIA's chunks, and speaks TLS.
"""

from __future__ import annotations

import random
import socket
import ssl
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tcia_covid.demo.corpus import Corpus
from tcia_covid.demo.endpoints import Call, DisconnectError, Reply, Row, csv_table, failure
from tcia_covid.demo.server import ArchiveHandler
from tcia_covid.demo.server import ArchiveServer as DemoServer
from tests.fakes.java_zips import Entry, shuffled
from tests.fakes.nbia_calls import CALLS, refused

BUFFER = 8192
NO_BODY = (204, 304)


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


class SimulatorHandler(ArchiveHandler):
    """Sends bodies as NBIA does: with a length if they fit the buffer, else in chunks."""

    def send(self, reply: Reply, call: Call) -> None:
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


class ArchiveServer(DemoServer):
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

    handler = SimulatorHandler

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
        super().__init__(corpus, host, port, compression=compression)
        if tls is not None:
            self.scheme = "https"
            self.http.socket = tls.wrap_socket(  # the handshake waits for the connection's thread
                self.http.socket, server_side=True, do_handshake_on_connect=False
            )
        self.interceptor = interceptor or Interceptor()
        self.carts: dict[str, list[str]] = {}
        """Shared carts: the SeriesInstanceUIDs of each name."""
        self.stopping = threading.Event()
        """Set when the server stops: whatever waits should wait for this."""
        self._seed = seed
        self._counts: Counter[str] = Counter()
        self._current = threading.local()

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
        self.stopping.set()
        super().stop()

    def answer(self, call: Call) -> Reply:
        self._current.order = self._random(call)
        return self.interceptor.answer(call, lambda: self._answer(call))

    def entries(self, call: Call, entries: Iterable[Entry]) -> Iterable[Entry]:
        """The entries of the ZIP that answers `call`, after the interceptor's changes."""
        return self.interceptor.entries(call, entries)

    def list_reply(self, call: Call, rows: Sequence[Row]) -> Reply:
        rows = shuffled(rows, self.order)
        kind = call.params.get("format", "JSON").upper()
        if rows and kind in ("CSVQUOTED", "CSV-DOWNLOAD"):
            return Reply(csv_table(rows), content_type="text/csv")
        return super().list_reply(call, rows)

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
