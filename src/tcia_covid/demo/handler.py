"""One connection to the demonstration archive: reads requests, sends what the routes answer."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from tcia_covid.demo.exchange import DisconnectError, Reply, RequestRecord
from tcia_covid.demo.framing import BodySender
from tcia_covid.demo.rows import Generation

if TYPE_CHECKING:
    from tcia_covid.demo.server import ArchiveServer

APPLICATION = "nbia-api"
NO_BODY = (204, 304)
OUTSIDE = Reply(
    b"<html>\r\n<head><title>404 Not Found</title></head>\r\n<body>\r\n"
    b"<center><h1>404 Not Found</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n"
    b"</html>\r\n",
    404,
    "text/html",
)


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
